import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Message } from './messages.ts';

/** A process that the launcher started. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  running(): boolean;
  send(message: object): void;
  /** The last lines that it wrote, for when it dies. */
  output(): string;
  /** SIGTERM, and SIGKILL when that did not help in time. Resolves when the process is gone. */
  stop(graceMs: number): Promise<void>;
  /** SIGKILL, as a crash, and reported as one. Resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface ChildOptions {
  readonly name: string;
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  onMessage(message: Message): void;
  /** Each line that it writes. */
  onLine(line: string): void;
  /** Only for an exit that nobody asked for. */
  onCrash(reason: string): void;
}

/** Starts a Node process with a channel to us, in a process group of its own: Ctrl-C is for the launcher alone. */
export function startChild(options: ChildOptions): Child {
  const child = fork(options.file, {
    env: { ...inheritedEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  const lines: string[] = [];
  const keep = (line: string): void => {
    lines.push(line);
    lines.splice(0, lines.length - 20);
    options.onLine(line);
  };
  for (const stream of [child.stdout, child.stderr] as (Readable | null)[]) {
    if (stream !== null) createInterface({ input: stream }).on('line', keep);
  }
  child.on('message', (message) => options.onMessage(message as Message));
  let asked = false;
  const running = (): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  child.once('error', (error) => options.onCrash(error.message));
  child.once('exit', (code, signal) => {
    if (!asked) options.onCrash(signal === null ? `exit code ${code}` : signal);
  });
  const end = async (signal: NodeJS.Signals, graceMs: number): Promise<void> => {
    if (!running()) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    const force = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await gone;
    clearTimeout(force);
  };
  return {
    name: options.name,
    pid: child.pid ?? 0,
    running,
    send: (message) => void (child.connected && child.send(message, () => {})),
    output: () => lines.join('\n'),
    stop(graceMs) {
      asked = true;
      return end('SIGTERM', graceMs);
    },
    kill: () => end('SIGKILL', 1_000),
  };
}

/** Our environment without the settings of some other mesh. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('INMESH_') && name !== 'NODE_OPTIONS'),
  );
}
