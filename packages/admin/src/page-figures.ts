/** What the page reads of `GET /stats`. */
export interface PageStats {
  readonly requests: readonly {
    readonly labels: {
      readonly reporter: string;
      readonly destinationService: string;
      readonly destinationVersion: string;
      readonly sourcePrincipal: string;
    };
    readonly requests: number;
    readonly statuses: Readonly<Record<string, number>>;
    readonly buckets: readonly number[];
  }[];
}

/** One line of the page. */
export interface PageRow {
  readonly direction: 'out' | 'in';
  readonly name: string;
  readonly total: number;
  readonly perSecond: number;
  /** 0 to 1; -1 when nothing was asked for meanwhile. */
  readonly success: number;
  /** Milliseconds; -1 without a request. */
  readonly p50: number;
  readonly p99: number;
}

/**
 * Figures of the time between two readings. It runs in the browser: it refers to nothing outside of itself.
 * A response below 500 is a success, as on Istio's dashboards.
 */
export function pageRows(
  before: PageStats | undefined,
  now: PageStats,
  seconds: number,
  bounds: readonly number[],
): readonly PageRow[] {
  interface Sum {
    readonly direction: 'out' | 'in';
    readonly name: string;
    total: number;
    count: number;
    good: number;
    readonly buckets: number[];
  }
  const sums = new Map<string, Sum>();
  const add = (stats: PageStats, sign: number): void => {
    for (const { buckets, labels, requests, statuses } of stats.requests) {
      const direction = labels.reporter === 'source' ? 'out' : 'in';
      const version = labels.destinationVersion === '' ? '' : ` ${labels.destinationVersion}`;
      const name = direction === 'out' ? labels.destinationService + version : labels.sourcePrincipal;
      const key = `${direction} ${name}`;
      let sum = sums.get(key);
      if (sum === undefined) {
        sum = { direction, name, total: 0, count: 0, good: 0, buckets: buckets.map(() => 0) };
        sums.set(key, sum);
      }
      if (sign > 0) sum.total += requests;
      sum.count += sign * requests;
      for (const [status, count] of Object.entries(statuses)) {
        if (Number(status) >= 100 && Number(status) < 500) sum.good += sign * count;
      }
      for (let at = 0; at < buckets.length; at++) sum.buckets[at] = (sum.buckets[at] ?? 0) + sign * (buckets[at] ?? 0);
    }
  };
  add(now, 1);
  if (before !== undefined) add(before, -1);
  const quantile = (buckets: readonly number[], share: number): number => {
    const all = buckets.reduce((sum, count) => sum + count, 0);
    if (all <= 0) return -1;
    let below = 0;
    for (let at = 0; at < buckets.length; at++) {
      const count = buckets[at] ?? 0;
      if (count > 0 && below + count >= share * all) {
        const lower = at === 0 ? 0 : (bounds[at - 1] ?? 0);
        return lower + ((bounds[at] ?? lower) - lower) * ((share * all - below) / count);
      }
      below += count;
    }
    return bounds[bounds.length - 1] ?? -1;
  };
  const rows = [...sums.values()].map(({ buckets, count, direction, good, name, total }) => ({
    direction,
    name,
    total,
    perSecond: seconds > 0 ? Math.max(0, count) / seconds : 0,
    success: count > 0 ? good / count : -1,
    p50: quantile(buckets, 0.5),
    p99: quantile(buckets, 0.99),
  }));
  return rows.sort((a, b) => (a.direction + a.name < b.direction + b.name ? -1 : 1));
}
