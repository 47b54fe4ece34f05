import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { plainEnvironment } from '../support/plain-environment.ts';
import { within } from './load.ts';

/** A server in a process of its own. */
export interface Victim {
  readonly port: number;
  readonly pid: number;
  /** Numbers of the calls whose head has arrived. */
  readonly begun: readonly string[];
  /** Numbers of the calls that arrived whole. */
  readonly complete: readonly string[];
  arrived(count: number): Promise<boolean>;
  /** SIGSTOP: the kernel still accepts for it, nobody answers. */
  freeze(): void;
  thaw(): void;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
}

const program = fileURLToPath(new URL('./victim.ts', import.meta.url));

export interface VictimOptions {
  readonly address?: string;
  /** Default: any. */
  readonly port?: number;
  readonly backlog?: number;
  /** Runs the server by means of this command, such as `unshare -n`. */
  readonly under?: readonly string[];
}

/** Starts a {@link Victim}; it is killed at the end of the case, and dies when this process does. */
export async function victim(
  owner: { teardown(end: () => unknown): void },
  options: VictimOptions = {},
): Promise<Victim> {
  const { address = '127.0.0.1', backlog = 511, port = 0, under = [] } = options;
  const args = [program, address, String(port), String(backlog)];
  // The runner of tests would put its loaders into the environment of every child.
  const [command = '', ...rest] = [...under, 'env', '-u', 'NODE_OPTIONS', process.execPath, ...args];
  const child: ChildProcess = spawn(command, rest, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: plainEnvironment(),
  });
  const gone = once(child, 'exit');
  const begun: string[] = [];
  const complete: string[] = [];
  let listening = 0;
  child.on('message', (message: { port?: number; call?: string; complete?: string }) => {
    if (message.port !== undefined) listening = message.port;
    if (message.call !== undefined) begun.push(message.call);
    if (message.complete !== undefined) complete.push(message.complete);
  });
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  };
  owner.teardown(kill);
  if (!(await within(20_000, () => listening !== 0 || child.exitCode !== null))) throw new Error('no victim');
  if (listening === 0) throw new Error('the server of a case did not start');
  return {
    port: listening,
    pid: child.pid as number,
    begun,
    complete,
    arrived: (count) => within(20_000, () => begun.length >= count),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill,
  };
}
