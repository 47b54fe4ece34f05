import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { InboundLimits } from '../../../src/index.ts';
import { plainEnvironment } from '../../support/plain-environment.ts';

/** One server of the matrix in a process of its own, with a policy that allows everything. */
export interface FullServer {
  /** For plaintext. */
  readonly port: number;
  /** Resident memory of the process, bytes: `settle` after a collection, when a new peak begins; `peak` the highest since then. */
  memory(ask: 'settle' | 'peak'): Promise<number>;
  stop(): void;
}

/** Starts the server of a way. `limits` absent: its defaults. */
export async function startServer(way: string, limits: Partial<InboundLimits> = {}): Promise<FullServer> {
  const entry = fileURLToPath(new URL('./full-server-child.ts', import.meta.url));
  const child: ChildProcess = fork(entry, [way, JSON.stringify(limits)], {
    env: plainEnvironment(),
    // What V8 has not collected yet is no memory that a request needs: the young generation stays small.
    execArgv: ['--conditions=@inmesh/source', '--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'],
  });
  const answer = async (): Promise<number> => {
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`the server ended with ${code}`);
    });
    const [{ value }] = (await Promise.race([once(child, 'message'), ended])) as [{ value: number }];
    return value;
  };
  const port = await answer();
  return {
    port,
    memory(ask) {
      child.send(ask);
      return answer();
    },
    stop: () => void child.kill(),
  };
}
