/** Upper bounds of the duration histogram in milliseconds: Istio's, with finer steps below 10 ms. */
export const bucketBoundsMs: readonly number[] = [
  0.25, 0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000,
  600_000, 1_800_000, 3_600_000,
];

/**
 * Upper bounds of the histograms that Prometheus is shown, milliseconds and bytes alike: those of Istio's
 * sidecars (Envoy's defaults), so that what both report can be added up.
 */
export const istioBounds: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

/** In place of a gRPC status: the call was none of gRPC. */
export const notGrpc = -1;

/** In place of a number of bytes: nobody has counted them. */
export const notCounted = -1;

/** A histogram of sizes. Calls whose size nobody counted are not in it. */
export interface SizeSnapshot {
  readonly count: number;
  readonly sum: number;
  /** Counts per bucket of {@link istioBounds}; one more at the end for larger ones. */
  readonly buckets: readonly number[];
}

/** The calls of one series that ended alike. */
export interface OutcomeSnapshot {
  /** 0: no response came. 'other': there were too many different ones. */
  readonly status: number | 'other';
  /** Envoy's response flags, '' for none. */
  readonly flag: string;
  /** Absent: the call was none of gRPC. */
  readonly grpcStatus?: number;
  readonly requests: number;
  readonly sumMs: number;
  /** Counts per bucket of {@link bucketBoundsMs}; one more at the end for larger ones. */
  readonly buckets: readonly number[];
  readonly requestBytes: SizeSnapshot;
  readonly responseBytes: SizeSnapshot;
}

/** {@link OutcomeSnapshot} in the making. */
export class Outcome {
  readonly status: number;
  readonly flag: string;
  readonly grpcStatus: number;
  readonly #overflow: boolean;
  #requests: number;
  #sumMs: number;
  readonly #buckets: Float64Array;
  readonly #requestBytes: Sizes;
  readonly #responseBytes: Sizes;

  constructor(status: number, flag: string, grpcStatus: number, overflow = false) {
    this.status = status;
    this.flag = flag;
    this.grpcStatus = grpcStatus;
    this.#overflow = overflow;
    this.#requests = 0;
    this.#sumMs = 0;
    this.#buckets = new Float64Array(bucketBoundsMs.length + 1);
    this.#requestBytes = new Sizes();
    this.#responseBytes = new Sizes();
  }

  add(durationMs: number, requestBytes: number, responseBytes: number): void {
    this.#requests++;
    this.#sumMs += durationMs;
    const at = bucketOf(bucketBoundsMs, durationMs);
    this.#buckets[at] = (this.#buckets[at] as number) + 1;
    if (requestBytes >= 0) this.#requestBytes.add(requestBytes);
    if (responseBytes >= 0) this.#responseBytes.add(responseBytes);
  }

  /** Adds what another has counted. */
  absorb(other: Outcome): void {
    this.#requests += other.#requests;
    this.#sumMs += other.#sumMs;
    addInto(this.#buckets, other.#buckets);
    this.#requestBytes.absorb(other.#requestBytes);
    this.#responseBytes.absorb(other.#responseBytes);
  }

  snapshot(): OutcomeSnapshot {
    return {
      status: this.#overflow ? 'other' : this.status,
      flag: this.flag,
      ...(this.grpcStatus === notGrpc ? {} : { grpcStatus: this.grpcStatus }),
      requests: this.#requests,
      sumMs: this.#sumMs,
      buckets: [...this.#buckets],
      requestBytes: this.#requestBytes.snapshot(),
      responseBytes: this.#responseBytes.snapshot(),
    };
  }
}

class Sizes {
  #count = 0;
  #sum = 0;
  readonly #buckets = new Float64Array(istioBounds.length + 1);

  add(bytes: number): void {
    this.#count++;
    this.#sum += bytes;
    const at = bucketOf(istioBounds, bytes);
    this.#buckets[at] = (this.#buckets[at] as number) + 1;
  }

  absorb(other: Sizes): void {
    this.#count += other.#count;
    this.#sum += other.#sum;
    addInto(this.#buckets, other.#buckets);
  }

  snapshot(): SizeSnapshot {
    return { count: this.#count, sum: this.#sum, buckets: [...this.#buckets] };
  }
}

function addInto(sums: Float64Array, more: Float64Array): void {
  for (let at = 0; at < sums.length; at++) sums[at] = (sums[at] as number) + (more[at] as number);
}

function bucketOf(bounds: readonly number[], value: number): number {
  let at = 0;
  while (at < bounds.length && value > (bounds[at] as number)) at++;
  return at;
}
