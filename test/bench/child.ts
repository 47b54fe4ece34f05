import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Answer, Order } from './worker.ts';

/** A worker process; answers one order at a time. */
export interface Worker {
  ask(order: Order): Promise<Answer>;
  /** Lets the worker close what it holds, and ends it. */
  end(): Promise<void>;
}

/** The processors that this process may use, if it can pin others to them. */
export function processors(): readonly number[] {
  if (spawnSync('taskset', ['--version'], { stdio: 'ignore' }).status !== 0) return [];
  try {
    const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    return allowed.split(',').flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
  } catch {
    return [];
  }
}

/**
 * V8 guesses which object literals live long and allocates those among the old objects. Whether it
 * guesses so for literals that undici makes for each call differs from run to run, with mesh and
 * without, and costs up to half of the throughput when it does. Without the guess all variants
 * are compared under the same, steady conditions.
 */
const steady = '--no-allocation-site-pretenuring';

/** Starts a worker, pinned to one processor if given. */
export function startWorker(processor: number | undefined): Worker {
  const file = fileURLToPath(new URL('./worker.ts', import.meta.url));
  const program = [process.execPath, '--disable-warning=ExperimentalWarning', steady, file];
  const [command = '', ...args] = processor === undefined ? program : ['taskset', '-c', String(processor), ...program];
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ended = once(child, 'exit');
  const ask = async (order: Order): Promise<Answer> => {
    const heard = once(child, 'message') as Promise<[Answer]>;
    child.send(order);
    const [answer] = await Promise.race([
      heard,
      ended.then(([code, signal]) => {
        throw new Error(`a process of the benchmark ended (${code ?? signal}) while asked to ${order.do}`);
      }),
    ]);
    if (answer.error !== undefined) throw new Error(`${order.do}: ${answer.error}`);
    return answer;
  };
  return {
    ask,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      try {
        await ask({ do: 'close' });
      } finally {
        if (child.connected) child.disconnect();
        await ended;
      }
    },
  };
}
