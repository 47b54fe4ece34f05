import type { Round } from './measure.ts';

/** All rounds of one variant at one concurrency. */
export interface Row {
  readonly name: string;
  readonly base: string;
  readonly direction: 'outbound' | 'outbound, TLS' | 'inbound';
  /** Calls at a time, or a second where {@link isSteady}. */
  readonly concurrency: number;
  readonly isSteady?: boolean;
  readonly rounds: readonly Round[];
}

/** Medians of a row. */
export interface Summary {
  readonly name: string;
  readonly base: string;
  readonly direction: 'outbound' | 'outbound, TLS' | 'inbound';
  readonly concurrency: number;
  readonly isSteady?: boolean;
  readonly callsPerSecond: number;
  /** Throughput ÷ that of the base, round by round, then the median: what drifts hits both. */
  readonly ofBase: number;
  readonly cpuMicrosPerCall: number;
  /** Processor time per call above that of the base, likewise: hardly disturbed by other programs. */
  readonly addedCpuMicros: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  /** The 99th percentile ÷ that of the base, round by round, then the median. */
  readonly p99OfBase: number;
  readonly errors: number;
}

/** Middle value, or the mean of the two in the middle; NaN without any. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length % 2 === 1) return sorted[Math.floor(middle)] as number;
  return ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

export function summarize(rows: readonly Row[]): readonly Summary[] {
  const rate = ({ calls, seconds }: Round): number => calls / seconds;
  const cost = ({ calls, cpuMicros }: Round): number => cpuMicros / calls;
  return rows.map(({ rounds: all, ...row }) => {
    // In a very short round on a busy machine not a single call may end: it says nothing.
    const rounds = all.filter(({ calls }) => calls > 0);
    const base = rows.find(({ name, concurrency }) => name === row.base && concurrency === row.concurrency);
    const compare = (how: (round: Round, base: Round) => number): number =>
      median(
        all.flatMap((round, i) => {
          const its = base?.rounds[i];
          return its === undefined || its.calls === 0 || round.calls === 0 ? [] : [how(round, its)];
        }),
      );
    return {
      ...row,
      callsPerSecond: median(rounds.map(rate)),
      ofBase: compare((round, its) => rate(round) / rate(its)),
      cpuMicrosPerCall: median(rounds.map(cost)),
      addedCpuMicros: compare((round, its) => cost(round) - cost(its)),
      p50Micros: median(rounds.map(({ p50Micros }) => p50Micros)),
      p99Micros: median(rounds.map(({ p99Micros }) => p99Micros)),
      p99OfBase: compare((round, its) => round.p99Micros / its.p99Micros),
      errors: all.reduce((sum, { errors }) => sum + errors, 0),
    };
  });
}

/** A table for people: one block for each direction and concurrency. */
export function formatTable(summaries: readonly Summary[]): string {
  const titleOf = ({ direction, concurrency, isSteady }: Summary): string =>
    `${direction}, ${isSteady ? `${concurrency.toLocaleString('en')} a second` : `${concurrency} at a time`}`;
  const blocks = Map.groupBy(summaries, titleOf);
  const text = [...blocks].map(([title, block]) => {
    const rows = block.map((row) => [
      row.name,
      Math.round(row.callsPerSecond).toLocaleString('en'),
      row.ofBase.toFixed(2),
      row.cpuMicrosPerCall.toFixed(1),
      row.name === row.base ? '' : signed(row.addedCpuMicros),
      row.p50Micros.toFixed(0),
      row.p99Micros.toFixed(0),
      row.name === row.base ? '' : row.p99OfBase.toFixed(2),
      row.errors === 0 ? '' : `${row.errors} ERRORS`,
    ]);
    return `${title}\n${columns([['', 'req/s', '× base', 'CPU µs', '+ CPU', 'p50 µs', 'p99 µs', '× base', ''], ...rows])}`;
  });
  return `${text.join('\n\n')}\n`;
}

const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(1)}`;

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ');
  return rows.map((row) => `  ${line(row)}`.trimEnd()).join('\n');
}
