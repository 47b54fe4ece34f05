import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Credentials, IdentitySource } from '../../src/identity/source.ts';

export interface FollowedSource {
  readonly updates: readonly Credentials[];
  readonly problems: readonly string[];
  /** Waits up to two minutes. */
  until(what: string, reached: () => boolean): Promise<void>;
}

/** Runs a source for the length of a test; what it told, and how to wait for more. */
export function followSource(t: Test, source: IdentitySource): FollowedSource {
  const updates: Credentials[] = [];
  const problems: string[] = [];
  const stop = new AbortController();
  const running = source.run(
    {
      update: (credentials) => void updates.push(credentials),
      reject: (problem) => void problems.push(`rejected: ${problem.message}`),
      lost: (reason) => void problems.push(`lost: ${reason.message}`),
    },
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  const until = async (what: string, reached: () => boolean): Promise<void> => {
    for (let i = 0; i < 2_400; i++) {
      if (reached()) return;
      await wait(50);
    }
    throw new Error(`waited in vain for ${what}; ${updates.length} updates; ${problems.join('; ')}`);
  };
  return { updates, problems, until };
}
