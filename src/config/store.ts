import type { Snapshot } from '../model/snapshot.ts';
import { shareUnchanged } from '../model/snapshot.ts';
import type { ConfigProblem, ConfigSink, EnforcementReport } from './source.ts';

/** Holds the configuration in force, and tells whoever works with it. */
export interface ConfigStore {
  /** Nothing before the first good configuration. */
  current(): Snapshot | undefined;
  /** Report of the configuration in force; empty before the first. */
  report(): EnforcementReport;
  /** Why the newest configuration was refused; empty again once a good one comes. */
  problems(): readonly ConfigProblem[];
  /** Why the source cannot be reached, until it can again. */
  lostReason(): Error | undefined;
  /** Resolves at the first good configuration. */
  readonly ready: Promise<void>;
  /** Called after the store has changed, in the order of subscription. Returns a function that ends it. */
  subscribe(listener: Partial<ConfigSink>): () => void;
  /** What a source reports to. */
  readonly sink: ConfigSink;
}

/** A store for one source. The last good configuration stays in force whatever the source says next. */
export function createConfigStore(): ConfigStore {
  let snapshot: Snapshot | undefined;
  let report: EnforcementReport = { entries: [] };
  let problems: readonly ConfigProblem[] = [];
  let lost: Error | undefined;
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  const listeners = new Set<Partial<ConfigSink>>();
  return {
    current: () => snapshot,
    report: () => report,
    problems: () => problems,
    lostReason: () => lost,
    ready,
    subscribe(listener) {
      // A copy, so that subscribing twice with one object makes two subscriptions.
      const entry = { ...listener };
      listeners.add(entry);
      return () => void listeners.delete(entry);
    },
    sink: {
      update(next, nextReport) {
        const shared = shareUnchanged(snapshot, next);
        snapshot = shared;
        report = nextReport;
        problems = [];
        lost = undefined;
        for (const listener of [...listeners]) listener.update?.(shared, nextReport);
        resolve();
      },
      reject(nextProblems) {
        problems = nextProblems;
        lost = undefined;
        for (const listener of [...listeners]) listener.reject?.(nextProblems);
      },
      lost(reason) {
        lost = reason;
        for (const listener of [...listeners]) listener.lost?.(reason);
      },
    },
  };
}
