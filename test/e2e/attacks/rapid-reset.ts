import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { frameTypes } from '../../support/http2-frames.ts';
import { endHeaders, endStream, literals, rawHttp2, uint32 } from '../../support/http2-raw-client.ts';
import { plainEnvironment } from '../../support/plain-environment.ts';
import { startServer } from './full-server.ts';
import type { Outcome } from './layers.ts';

/** Pairs of rounds, one in peace and one beside the attack. */
const rounds = 5;
/** Requests of the other client in a round. */
const requests = 1_000;
/** What is wanted, and what fails the test on a machine that does other things as well. */
const [goal, gross] = [2, 10];
const streams = 100_000;

const block = literals([
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'web'],
]);

/** Times of requests one after the other on one connection, milliseconds, sorted. */
async function latencies(port: number): Promise<readonly number[]> {
  const client = rawHttp2(port);
  // All answers fit into the connection.
  client.send(frameTypes.window, 0, 0, uint32(0x7f_ff_00_00));
  const times: number[] = [];
  for (let i = 0; i < requests; i++) {
    const stream = i * 2 + 1;
    const began = performance.now();
    client.send(frameTypes.headers, endStream | endHeaders, stream, block);
    const answered = await client.until(() => client.streams.get(stream)?.ended === true);
    if (!answered) throw new Error('another client is not answered any more');
    times.push(performance.now() - began);
    client.streams.delete(stream);
  }
  client.destroy();
  return times.sort((a, b) => a - b);
}

const at = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
const median = (values: readonly number[]): number =>
  at(
    values.toSorted((a, b) => a - b),
    0.5,
  );

/** Attacks from a process of its own until told to stop. */
class Attacker {
  readonly #child: ChildProcess;

  constructor(port: number) {
    const entry = fileURLToPath(new URL('./rapid-reset-child.ts', import.meta.url));
    const execArgv = ['--conditions=@inmesh/source', '--disable-warning=ExperimentalWarning'];
    this.#child = fork(entry, [String(port)], { env: plainEnvironment(), execArgv });
  }

  /** Resolves when it stands ready. */
  ready(): Promise<unknown> {
    return once(this.#child, 'message');
  }

  /** Writes up to so many streams; over one connection, or over as many as it takes. */
  async attack(
    how: 'once' | 'again',
    count: number,
  ): Promise<{ readonly written: number; readonly connections: number }> {
    this.#child.send({ how, count });
    const [told] = (await once(this.#child, 'message')) as [{ written: number; connections: number }];
    return told;
  }

  stop(): void {
    this.#child.kill();
  }
}

async function paired(port: number, attacker: Attacker, how: 'once' | 'again'): Promise<Outcome & { ratio: number }> {
  const ratios: number[] = [];
  const [peace, beside]: [number[], number[]] = [[], []];
  let told = { written: 0, connections: 0 };
  for (let i = 0; i < rounds; i++) {
    const quiet = await latencies(port);
    const attack = attacker.attack(how, streams);
    const busy = await latencies(port);
    told = await attack;
    peace.push(at(quiet, 0.99));
    beside.push(at(busy, 0.99));
    ratios.push(at(busy, 0.99) / at(quiet, 0.99));
  }
  const ratio = median(ratios);
  const met = ratio < goal ? 'goal met' : 'over goal';
  const name = how === 'once' ? 'one connection' : `${told.connections} connections one after the other`;
  const figures = `${name}, ${told.written} streams written: p99 of another client ${median(peace).toFixed(2)} ms in peace, ${median(beside).toFixed(2)} ms beside it, ratio ${ratio.toFixed(2)} (median of ${rounds}; goal ${goal}, ${met})`;
  return { figures, ratio };
}

/** What another client notices of 100,000 streams that are opened and reset: on one connection, which ends soon, and again and again. */
export async function besideRapidReset(): Promise<Outcome> {
  const server = await startServer('node:http, h2c');
  const attacker = new Attacker(server.port);
  try {
    await attacker.ready();
    await latencies(server.port);
    const once_ = await paired(server.port, attacker, 'once');
    const again = await paired(server.port, attacker, 'again');
    const figures = `${once_.figures}; ${again.figures}`;
    return once_.ratio < gross ? { figures } : { figures, problem: figures };
  } finally {
    attacker.stop();
    server.stop();
  }
}
