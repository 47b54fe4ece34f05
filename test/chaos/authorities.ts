import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { plainEnvironment } from '../support/plain-environment.ts';
import { within } from './load.ts';

/** What an authority is started with. */
export interface AuthorityProcessOptions {
  /** Default: any. */
  readonly port?: number;
  /** Folder that outlives it. Default: it lives in memory, and takes its root with it. */
  readonly dir?: string;
  readonly leafTtlMs?: number;
  /** How long it takes for each certificate. */
  readonly delayMs?: number;
  /** By how much its clock is ahead. */
  readonly skewMs?: number;
}

/** A certificate authority (`@inmesh/ca`) in a process of its own. */
export interface AuthorityProcess {
  readonly url: string;
  readonly port: number;
  readonly rootPem: string;
  /** A join token that serves many times, for a service account of namespace `shop`. */
  token(serviceAccount: string): Promise<string>;
  /** A step of the exchange of its root; `finish` is forced. */
  rotate(step: 'prepare' | 'activate' | 'finish'): Promise<void>;
  roots(): Promise<readonly string[]>;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
}

const program = fileURLToPath(new URL('./authority.ts', import.meta.url));

interface Message {
  readonly url?: string;
  readonly port?: number;
  readonly rootPem?: string;
  readonly number?: number;
  readonly result?: unknown;
}

/** Starts an authority; it is killed at the end of the case, and dies when this process does. */
export async function authorityProcess(
  owner: { teardown(end: () => unknown): void },
  options: AuthorityProcessOptions = {},
): Promise<AuthorityProcess> {
  // The runner of tests would put its loaders into the environment of every child.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, '--conditions=@inmesh/source', program];
  const child = spawn('env', [...command, JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: plainEnvironment(),
  });
  const gone = once(child, 'exit');
  let started: Message | undefined;
  let calls = 0;
  const waiting = new Map<number, (result: unknown) => void>();
  child.on('message', (message: Message) => {
    if (message.number === undefined) started = message;
    else waiting.get(message.number)?.(message.result);
  });
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  };
  owner.teardown(kill);
  await within(30_000, () => started !== undefined || child.exitCode !== null);
  const { port = 0, rootPem = '', url } = started ?? {};
  if (url === undefined) throw new Error('the authority of a case did not start');
  const call = (name: string, argument = ''): Promise<unknown> =>
    new Promise((resolve) => {
      const number = ++calls;
      waiting.set(number, resolve);
      child.send({ number, call: name, argument });
    });
  return {
    url,
    port,
    rootPem,
    token: async (serviceAccount) => String(await call('token', serviceAccount)),
    rotate: async (step) => void (await call(step)),
    roots: async () => (await call('roots')) as readonly string[],
    kill,
  };
}
