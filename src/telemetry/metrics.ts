/** Labels of one series of requests. Names follow Istio's standard metrics. */
export interface SeriesLabels {
  /** `source`: calls that this process makes; `destination`: requests that it serves. */
  readonly reporter: 'source' | 'destination';
  readonly sourceWorkload: string;
  /** SPIFFE ID of the caller, or 'unknown'. */
  readonly sourcePrincipal: string;
  /** Full service host, or 'PassthroughCluster'. */
  readonly destinationService: string;
  /** Workload of the endpoint that answered, or 'unknown'. */
  readonly destinationWorkload: string;
  /** Version label or subset of the destination, or ''. */
  readonly destinationVersion: string;
}

/** One series, bound once; recording is a few array writes. */
export interface Series {
  readonly labels: SeriesLabels;
  /** `status` 0 means that no response came. `flag` is Envoy's response flag or ''. */
  record(status: number, flag: string, durationMs: number): void;
}

/** Everything recorded so far for one series. Counters only grow. */
export interface SeriesSnapshot {
  readonly labels: SeriesLabels;
  readonly requests: number;
  /** By status code. */
  readonly statuses: Readonly<Record<string, number>>;
  /** By response flag, without ''. */
  readonly flags: Readonly<Record<string, number>>;
  /** Counts per bucket of {@link bucketBoundsMs}; one more at the end for larger ones. */
  readonly buckets: readonly number[];
  readonly sumMs: number;
}

/** Upper bounds of the duration histogram in milliseconds: Istio's, with finer steps below 10 ms. */
export const bucketBoundsMs: readonly number[] = [
  0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
  600_000, 1_800_000, 3_600_000,
];

/** The counters of one mesh. */
export interface Metrics {
  /** The series with these labels, created on first use. Keep it; do not look it up per call. */
  series(labels: SeriesLabels): Series;
  snapshot(): readonly SeriesSnapshot[];
}

export function createMetrics(): Metrics {
  const all = new Map<string, BoundSeries>();
  return {
    series(labels) {
      const key = [
        labels.reporter,
        labels.sourceWorkload,
        labels.sourcePrincipal,
        labels.destinationService,
        labels.destinationWorkload,
        labels.destinationVersion,
      ].join('\0');
      let series = all.get(key);
      if (series === undefined) all.set(key, (series = boundSeries(labels)));
      return series;
    },
    snapshot: () => [...all.values()].map((series) => series.snapshot()),
  };
}

interface BoundSeries extends Series {
  snapshot(): SeriesSnapshot;
}

function boundSeries(labels: SeriesLabels): BoundSeries {
  const statuses = new Uint32Array(600);
  const flags = new Map<string, number>();
  const buckets = new Float64Array(bucketBoundsMs.length + 1);
  let requests = 0;
  let sumMs = 0;
  return {
    labels,
    record(status, flag, durationMs) {
      requests++;
      const slot = status >= 0 && status < 600 ? status : 0;
      statuses[slot] = (statuses[slot] as number) + 1;
      if (flag !== '') flags.set(flag, (flags.get(flag) ?? 0) + 1);
      let i = 0;
      while (i < bucketBoundsMs.length && durationMs > (bucketBoundsMs[i] as number)) i++;
      buckets[i] = (buckets[i] as number) + 1;
      sumMs += durationMs;
    },
    snapshot() {
      const byStatus: Record<string, number> = {};
      statuses.forEach((count, status) => {
        if (count > 0) byStatus[String(status)] = count;
      });
      return { labels, requests, statuses: byStatus, flags: Object.fromEntries(flags), buckets: [...buckets], sumMs };
    },
  };
}

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
