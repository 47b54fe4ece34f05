import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';

/** What one process reports about one round. */
export interface Round {
  /** Calls that ended within the measured time. */
  readonly calls: number;
  readonly seconds: number;
  readonly errors: number;
  /** The first error, for people. */
  readonly firstError?: string;
  /** Processor time of the measured process in the measured time, microseconds. */
  readonly cpuMicros: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

export interface RoundOptions {
  readonly concurrency: number;
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** Calls a second, begun steadily whether answers come or not; instead of {@link concurrency}. */
  readonly rate?: number;
  /** Monotonic time in milliseconds. Default `performance.now`. */
  readonly now?: () => number;
}

/**
 * Runs `call` at a steady rate, first to warm up, then measured. An open loop: a latency counts from the moment at
 * which a call was due, so that what holds one up is seen in all that come after it. The event loop never sleeps in
 * between, since timers are too coarse; processor times say nothing here.
 */
export async function runSteadily(call: () => Promise<void>, rate: number, options: RoundOptions): Promise<Round> {
  const { durationMs, warmUpMs, now: clock = () => performance.now() } = options;
  const start = clock() + warmUpMs;
  const end = start + durationMs;
  const latencies: number[] = [];
  let errors = 0;
  let firstError: string | undefined;
  const under: Set<Promise<void>> = new Set();
  const make = async (due: number): Promise<void> => {
    try {
      await call();
    } catch (error) {
      errors++;
      firstError ??= inspect(error, { depth: 3 }).slice(0, 2_000);
    }
    if (due >= start) latencies.push(clock() - due);
  };
  const before = process.cpuUsage();
  for (let due = clock(); due < end; ) {
    for (const now = clock(); due <= now && due < end; due += 1_000 / rate) {
      const made: Promise<void> = make(due).finally(() => under.delete(made));
      under.add(made);
    }
    await nextTurn();
  }
  await Promise.all(under);
  return roundOf(latencies, durationMs, errors, firstError, process.cpuUsage(before));
}

/** Runs `call` in `concurrency` loops, first to warm up, then measured. A closed loop: each waits for its answer. */
export async function runRound(call: () => Promise<void>, options: RoundOptions): Promise<Round> {
  const { concurrency, durationMs, warmUpMs, now: clock = () => performance.now() } = options;
  const start = clock() + warmUpMs;
  const end = start + durationMs;
  const latencies: number[] = [];
  let errors = 0;
  let firstError: string | undefined;
  let before: NodeJS.CpuUsage | undefined;
  let after: NodeJS.CpuUsage | undefined;
  let from = 0;
  let to = 0;

  const loop = async (): Promise<void> => {
    for (let now = clock(); ; ) {
      const began = now;
      try {
        await call();
      } catch (error) {
        errors++;
        firstError ??= inspect(error, { depth: 3 }).slice(0, 2_000);
      }
      now = clock();
      if (now < start) continue;
      if (before === undefined) {
        before = process.cpuUsage();
        from = now;
        continue;
      }
      if (now >= end) {
        if (after === undefined) {
          after = process.cpuUsage(before);
          to = now;
        }
        return;
      }
      if (began >= from) latencies.push(now - began);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, loop));

  return roundOf(latencies, to - from, errors, firstError, after);
}

function roundOf(
  latencies: readonly number[],
  durationMs: number,
  errors: number,
  firstError: string | undefined,
  after: NodeJS.CpuUsage | undefined,
): Round {
  const sorted = Float64Array.from(latencies).sort();
  return {
    calls: latencies.length,
    seconds: durationMs / 1_000,
    errors,
    ...(firstError === undefined ? {} : { firstError }),
    cpuMicros: (after?.user ?? 0) + (after?.system ?? 0),
    p50Micros: quantile(sorted, 0.5) * 1_000,
    p99Micros: quantile(sorted, 0.99) * 1_000,
  };
}

/** Nearest-rank quantile of sorted values; NaN without any. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const index = Math.max(0, Math.ceil(share * sorted.length) - 1);
  return sorted[index] ?? Number.NaN;
}
