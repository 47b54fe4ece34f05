/** Latencies of millions of requests, to about one percent, in little space. */
export interface Latencies {
  readonly count: number;
  record(ms: number): void;
  /** The latency that this share of the requests does not exceed, 0 to 1. */
  quantile(share: number): number;
}

/** Buckets grow by one percent each, from a hundredth of a millisecond on. */
const growth = Math.log(1.01);
const leastMs = 0.01;
const buckets = 2_000;

export function createLatencies(): Latencies {
  const counts = new Uint32Array(buckets);
  let count = 0;
  let longest = 0;
  return {
    get count() {
      return count;
    },
    record(ms) {
      const bucket = ms <= leastMs ? 0 : Math.ceil(Math.log(ms / leastMs) / growth);
      const at = Math.min(bucket, buckets - 1);
      counts[at] = (counts[at] as number) + 1;
      count++;
      longest = Math.max(longest, ms);
    },
    quantile(share) {
      let left = Math.ceil(share * count);
      for (let bucket = 0; bucket < buckets; bucket++) {
        left -= counts[bucket] as number;
        if (left <= 0) return Math.min(longest, leastMs * Math.exp(bucket * growth));
      }
      return Number.NaN;
    },
  };
}
