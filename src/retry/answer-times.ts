/** How long answers of a cluster take, roughly and lately: for hedging by percentile. */
export interface AnswerTimes {
  record(ms: number): void;
  /** The time within which `percentile` of the answers came, rounded up by at most a tenth; nothing: too few. */
  quantileMs(percentile: number): number | undefined;
}

const growth = Math.log(1.1);
const buckets = 160;
/** Fewer answers tell nothing. */
const enough = 20;
/** From so many on old answers fade: their weight is halved. */
const fadeAt = 2_000;

/** Counts in buckets that grow by a tenth, from 0.1 ms to six minutes. */
export function createAnswerTimes(): AnswerTimes {
  const counts = new Float64Array(buckets);
  let total = 0;
  let asked = -1;
  let known: number | undefined;
  let stale = 0;

  const bucketOf = (ms: number): number =>
    Math.min(buckets - 1, Math.max(0, Math.ceil(Math.log(Math.max(ms, 0.1) * 10) / growth)));

  const find = (percentile: number): number | undefined => {
    if (total < enough) return undefined;
    let left = (total * percentile) / 100;
    for (let i = 0; i < buckets; i++) {
      left -= counts[i] as number;
      if (left <= 0) return Math.exp(i * growth) / 10;
    }
    return undefined;
  };

  return {
    record(ms) {
      const bucket = bucketOf(ms);
      counts[bucket] = (counts[bucket] as number) + 1;
      total++;
      stale++;
      if (total < fadeAt) return;
      for (let i = 0; i < buckets; i++) counts[i] = (counts[i] as number) / 2;
      total /= 2;
    },
    quantileMs(percentile) {
      // A figure that is a few answers old is as good, and costs nothing.
      if (asked !== percentile || stale >= 16) {
        asked = percentile;
        stale = 0;
        known = find(percentile);
      }
      return known;
    },
  };
}
