import { join } from 'node:path';
import { Bookinfo } from './bookinfo.ts';
import { createRunFolder } from './folders.ts';
import { type Live, showLive } from './live.ts';
import { duration } from './table.ts';
import { topology } from './topology.ts';

export interface DemoOptions {
  /** Pages a second that the load generator asks for; 0: no load. */
  readonly rate: number;
  /** Port of the page. */
  readonly port: number;
}

/** Certificates live this long in the demo, so that one can watch them being renewed. */
const certificateLifeMs = 90_000;

/** Runs the demo until it is interrupted. Returns the exit code. */
export async function runDemo({ rate, port }: DemoOptions): Promise<number> {
  const bookinfo = new Bookinfo({ folder: createRunFolder('link'), pagePort: port, certificateLifeMs });
  const interrupted = untilInterrupted();
  let live: Live | undefined;
  process.stdout.write('Starting Bookinfo: a certificate authority and six services …\n');
  const started = Date.now();
  try {
    await Promise.race([bookinfo.start(), interrupted.promise]);
    if (!interrupted.now()) {
      if (rate > 0) bookinfo.startLoad(rate);
      live = showLive({
        bookinfo,
        editFile: join(bookinfo.folder.editFolder, 'traffic.yaml'),
        rate,
        onKey: (key) => (key === 'quit' ? interrupted.interrupt() : toggleRatings(bookinfo)),
      });
      await interrupted.promise;
    }
    live?.stop();
    process.stdout.write('Stopping …\n');
    await bookinfo.stop();
    const { pages = 0, incomplete = 0, failed = 0 } = bookinfo.load ?? {};
    process.stdout.write(
      `Stopped after ${duration(Date.now() - started)}. ` +
        `Pages: ${pages} whole, ${incomplete} without a part, ${failed} failed.\n`,
    );
    return 0;
  } catch (error) {
    live?.stop();
    await bookinfo.stop();
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    return 1;
  }
}

let switching = false;

/** Kills ratings, or starts it again. */
function toggleRatings(bookinfo: Bookinfo): void {
  const ratings = topology.find((service) => service.app === 'ratings');
  if (ratings === undefined || switching) return;
  switching = true;
  const done = (): void => {
    switching = false;
  };
  const action = bookinfo.running(ratings.name) ? bookinfo.kill(ratings.name) : bookinfo.startService(ratings);
  action.then(done, done);
}

interface Interruption {
  readonly promise: Promise<void>;
  now(): boolean;
  interrupt(): void;
}

/** SIGINT, SIGTERM, SIGHUP or a key: all of them end the demo in good order. */
function untilInterrupted(): Interruption {
  let interrupted = false;
  let interrupt: () => void = () => {};
  const promise = new Promise<void>((resolve) => {
    interrupt = () => {
      interrupted = true;
      resolve();
    };
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  return { promise, now: () => interrupted, interrupt };
}
