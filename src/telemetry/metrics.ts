import type { Clock } from '../lib/clock.ts';
import { labelsKey, onlyTagged, othersTagged, overflowLabels, type SeriesLabels } from './labels.ts';
import { bucketBoundsMs } from './outcome.ts';
import { BoundSeries, type Series, type SeriesSnapshot } from './series.ts';
import { BoundTcpSeries, type TcpSeries, type TcpSeriesSnapshot } from './tcp-series.ts';

export type { SeriesLabels } from './labels.ts';
export { bucketBoundsMs, istioBounds, type OutcomeSnapshot, type SizeSnapshot } from './outcome.ts';
export type { Series, SeriesSnapshot } from './series.ts';
export type { TcpSeries, TcpSeriesSnapshot } from './tcp-series.ts';

/** The counters of one mesh. */
export interface Metrics {
  /**
   * The series with these labels, created on first use. Keep it; do not look it up per call. When there
   * are too many of them, one that all further callers (or destinations) share.
   */
  series(labels: SeriesLabels): Series;
  /** The same for connections whose protocol the mesh does not read. */
  tcp(labels: SeriesLabels): TcpSeries;
  /** No series leaves from now on: where series are shown as sums, one that left would make its sum shrink. */
  keepAll(on: boolean): void;
  /** No tags but these are told apart from now on: series that differed by others alone become one, with all their counts. */
  keepTags(texts: ReadonlySet<string>): void;
  snapshot(): readonly SeriesSnapshot[];
  connections(): readonly TcpSeriesSnapshot[];
}

/** How much is remembered. */
export interface MetricsOptions {
  /** Absent: nothing is ever idle, and no series leaves. */
  readonly clock?: Clock;
  /** Series of requests, and as many of connections, beyond which new labels share one. Default 5,000. */
  readonly maxSeries?: number;
  /** A series without calls for so long makes place for another when there are too many. Default one hour. */
  readonly idleMs?: number;
}

export function createMetrics({ clock, idleMs = 3_600_000, maxSeries = 5_000 }: MetricsOptions = {}): Metrics {
  const requests = createTable<BoundSeries>(
    clock,
    idleMs,
    maxSeries,
    (labels, revive) => new BoundSeries(labels, revive),
  );
  const connections = createTable<BoundTcpSeries>(
    clock,
    idleMs,
    maxSeries,
    (labels, revive) => new BoundTcpSeries(labels, revive),
  );
  return {
    series: (labels) => requests.get(labels),
    tcp: (labels) => connections.get(labels),
    keepAll(on) {
      requests.keepsAll = on;
      connections.keepsAll = on;
    },
    keepTags(texts) {
      requests.keepTags(texts);
      connections.keepTags(texts);
    },
    snapshot: () => requests.all().map((series) => series.snapshot()),
    connections: () => connections.all().map((series) => series.snapshot()),
  };
}

interface Member<S> {
  evicted: boolean;
  /** Grows with use. */
  readonly requests: number;
  readonly labels: SeriesLabels;
  absorb(other: S): void;
}

interface Table<S> {
  keepsAll: boolean;
  keepTags(texts: ReadonlySet<string>): void;
  get(labels: SeriesLabels): S;
  all(): readonly S[];
}

function createTable<S extends Member<S>>(
  clock: Clock | undefined,
  idleMs: number,
  maxSeries: number,
  make: (labels: SeriesLabels, revive: (series: S) => S) => S,
): Table<S> {
  const byKey = new Map<string, S>();
  /** When a series was last found to have counted anything. */
  const used = new Map<S, { requests: number; at: number }>();
  let sweptAt = Number.NEGATIVE_INFINITY;
  const maxTagged = Math.floor(maxSeries * maxTaggedShare);
  /** Series with tags: what strangers send takes no place from other callers and destinations. */
  let tagged = 0;
  const add = (key: string, series: S): S => {
    if (series.labels.tags !== undefined) tagged++;
    byKey.set(key, series);
    return series;
  };
  const remove = (key: string, series: S): void => {
    if (series.labels.tags !== undefined) tagged--;
    series.evicted = true;
    byKey.delete(key);
    used.delete(series);
  };

  /** Back into the list, unless another has its labels by now: then that one counts for both. */
  const revive = (series: S): S => {
    const key = labelsKey(series.labels);
    const other = byKey.get(key);
    if (other !== undefined) return other;
    series.evicted = false;
    return add(key, series);
  };
  const note = (now: number): void => {
    for (const series of byKey.values()) {
      const before = used.get(series);
      if (before === undefined || before.requests !== series.requests) {
        used.set(series, { requests: series.requests, at: now });
      }
    }
  };
  const makePlace = (): void => {
    const now = clock?.now() ?? 0;
    // Looking at all of them is not done for each label that is new.
    if (now - sweptAt < sweepMs) return;
    sweptAt = now;
    note(now);
    for (const [key, series] of byKey) {
      const since = used.get(series)?.at ?? now;
      if (now - since >= idleMs) remove(key, series);
    }
  };
  const shared = new Map<string, S>();
  return {
    keepsAll: false,
    get(given) {
      let labels = given;
      let key = labelsKey(labels);
      let known = byKey.get(key);
      if (known === undefined && labels.tags !== undefined && tagged >= maxTagged) {
        labels = othersTagged(labels);
        key = labelsKey(labels);
        known = byKey.get(key);
      }
      if (known !== undefined) return known;
      if (byKey.size >= maxSeries && clock !== undefined && !this.keepsAll) makePlace();
      if (byKey.size < maxSeries) return add(key, make(labels, revive));
      const others = overflowLabels(labels);
      const otherKey = labelsKey(others);
      // What this process says of itself is of a few kinds only, but nothing here may grow without a bound.
      const place = shared.has(otherKey) || shared.size < maxShared ? otherKey : '';
      let series = shared.get(place);
      if (series === undefined) shared.set(place, (series = make(others, revive)));
      return series;
    },
    keepTags(texts) {
      for (const [key, series] of [...byKey]) {
        const labels = onlyTagged(series.labels, texts);
        if (labels === series.labels) continue;
        remove(key, series);
        const next = labelsKey(labels);
        (byKey.get(next) ?? add(next, make(labels, revive))).absorb(series);
      }
    },
    all() {
      if (clock !== undefined) note(clock.now());
      return [...byKey.values(), ...shared.values()];
    },
  };
}

const sweepMs = 10_000;
const maxShared = 16;
/** 2,000 of 5,000: as many as OpenTelemetry tells apart by default. */
const maxTaggedShare = 0.4;

/**
 * Estimates a quantile (0 to 1) in milliseconds from histogram counts, linear within a bucket, as
 * Prometheus' `histogram_quantile` does. NaN when nothing was counted.
 */
export function quantileMs(buckets: readonly number[], quantile: number): number {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return Number.NaN;
  const rank = quantile * total;
  let below = 0;
  for (let i = 0; i < buckets.length; i++) {
    const count = buckets[i] as number;
    if (below + count >= rank && count > 0) {
      const lower = i === 0 ? 0 : (bucketBoundsMs[i - 1] as number);
      const upper = bucketBoundsMs[i] ?? lower;
      return lower + (upper - lower) * ((rank - below) / count);
    }
    below += count;
  }
  return bucketBoundsMs.at(-1) as number;
}
