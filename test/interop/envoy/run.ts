import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Owner } from '../../support/upstream.ts';
import { bootstrap, type Message, type Parts } from './bootstrap.ts';

/** An Envoy that runs until the test is over. */
export interface Envoy {
  /** The port of a listener. */
  port(listener: string): number;
  /** The value of one counter or gauge; 0 when there is none. */
  stat(name: string): Promise<number>;
  /** What its access log says so far, one object a connection or request. */
  accessLog(): readonly Message[];
  /** A page of its admin interface. */
  admin(path: string): Promise<string>;
}

/** The file that access logs of this Envoy go to, for listeners that write one. */
export const accessLogFile = 'access.log';

/** Starts an Envoy and waits until it serves. `make` gets the folder that its files are in. */
export async function startEnvoy(t: Owner, program: string, make: (folder: string) => Parts): Promise<Envoy> {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-envoy-'));
  const config = join(folder, 'envoy.json');
  const adminFile = join(folder, 'admin.txt');
  writeFileSync(config, JSON.stringify(bootstrap(make(folder)), undefined, 2));
  const flags = ['--disable-hot-restart', '--concurrency', '1', '--log-level', 'warning', '--skip-deprecated-logs'];
  const files = ['--config-path', config, '--admin-address-path', adminFile, '--file-flush-interval-msec', '20'];
  const child = spawn(program, [...files, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk).slice(-4_000)));
  t.teardown(async () => {
    await end(child);
    rmSync(folder, { recursive: true, force: true });
  });

  const address = await waitFor(
    child,
    () => said,
    async () => {
      const written = existsSync(adminFile) ? readFileSync(adminFile, 'utf8').trim() : '';
      if (written === '') return undefined;
      const ready = await fetch(`http://${written}/ready`).catch(() => undefined);
      return ready?.status === 200 ? written : undefined;
    },
  );
  const admin = async (path: string): Promise<string> => (await fetch(`http://${address}${path}`)).text();
  const listening = JSON.parse(await admin('/listeners?format=json')) as Listening;
  const ports = new Map(
    (listening.listener_statuses ?? []).map(({ local_address, name }) => [
      name,
      local_address.socket_address.port_value,
    ]),
  );
  return {
    admin,
    port(listener) {
      const port = ports.get(listener);
      if (port === undefined) throw new Error(`no listener ${listener} among ${[...ports.keys()].join(', ')}`);
      return port;
    },
    async stat(name) {
      const { stats } = JSON.parse(await admin('/stats?format=json')) as Stats;
      return stats.find((each) => each.name === name)?.value ?? 0;
    },
    accessLog() {
      const file = join(folder, accessLogFile);
      const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
      // What is behind the last end of a line is still being written.
      const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
      return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Message);
    },
  };
}

interface Listening {
  readonly listener_statuses?: readonly {
    readonly name: string;
    readonly local_address: { readonly socket_address: { readonly port_value: number } };
  }[];
}

interface Stats {
  readonly stats: readonly { readonly name?: string; readonly value?: number }[];
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Asks until there is an answer, or the program has ended, or two minutes are over. */
async function waitFor(
  child: ChildProcess,
  said: () => string,
  ask: () => Promise<string | undefined>,
): Promise<string> {
  for (let i = 0; i < 2_400 && child.exitCode === null && child.signalCode === null; i++) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await wait(50);
  }
  throw new Error(`Envoy does not serve: ${said()}`);
}
