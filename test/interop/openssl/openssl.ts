import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import type { Owner } from '../../support/upstream.ts';

/** What a run of openssl said and how it ended. */
export interface Ran {
  readonly status: number;
  /** Both streams, in the order of their arrival. */
  readonly text: string;
}

/** Runs openssl to its end; no longer than a minute. */
export function openssl(args: readonly string[], input = '', cwd = '.'): Ran {
  const options = { input, cwd, encoding: 'utf8', timeout: 60_000 } as const;
  const { error, status, stderr, stdout } = spawnSync('openssl', args, options);
  return { status: status ?? -1, text: `${stdout}${stderr}${error?.message ?? ''}` };
}

/** A test that needs openssl; says which one it is, or passes over where there is none. */
export function withOpenssl(name: string, body: (t: Test) => Promise<void>): [string, (t: Test) => Promise<void>] {
  return [
    name,
    async (t) => {
      const version = openssl(['version']);
      if (version.status !== 0) {
        t.comment(`skipped, there is no openssl here: ${version.text}`);
        return;
      }
      t.comment(version.text.trim());
      await body(t);
    },
  ];
}

/** What a client of openssl is to do. */
export interface ClientOptions {
  readonly args: readonly string[];
  /** Written once the handshake is done; the client ends with the connection, or when `until` was seen. */
  readonly send?: string;
  readonly until?: RegExp;
}

/** Connects with `openssl s_client` and reads until the connection ends. */
export async function opensslClient(port: number, { args, send = '', until }: ClientOptions): Promise<Ran> {
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  // With `exit` not all of what it said has arrived.
  const ended = once(child, 'close') as Promise<[number | null]>;
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (until?.test(text) === true) child.kill('SIGTERM');
    });
  }
  child.stdin.on('error', () => {});
  child.stdin.write(send);
  const [code] = await ended;
  return { status: code ?? 0, text };
}

/** A running `openssl s_server`. */
export interface OpensslServer {
  readonly port: number;
  /** What it has said so far. */
  said(): string;
}

/** Starts `openssl s_server` on a port of its choice; it answers each GET with what it knows of the connection. */
export async function opensslServer(t: Owner, args: readonly string[]): Promise<OpensslServer> {
  const child = spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', '-www', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let said = '';
  const port = new Promise<number>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('latin1').on('data', (chunk: string) => {
        said += chunk;
        const found = /ACCEPT 127\.0\.0\.1:(\d+)\s/.exec(said)?.[1];
        if (found !== undefined) resolve(Number(found));
      });
    }
    child.once('exit', () => reject(new Error(`openssl s_server: ${said}`)));
  });
  t.teardown(() => end(child));
  return { port: await port, said: () => said };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
