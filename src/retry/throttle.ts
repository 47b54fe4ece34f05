/** gRFC A6 `retryThrottling`. */
export interface RetryThrottling {
  /** Above 0, at most 1,000. */
  readonly maxTokens: number;
  /** Tokens for each good call; three decimals count. */
  readonly tokenRatio: number;
}

/**
 * The token bucket of gRFC A6: each failure that would be retried costs a token, each good call pays
 * for a part of one, and there are no retries while half of the tokens or fewer are left. One for all
 * calls of a client. Counts in thousandths, as fractions would drift.
 */
export class RetryThrottleBucket {
  readonly #most: number;
  readonly #gain: number;
  #thousandths: number;

  constructor({ maxTokens, tokenRatio }: RetryThrottling) {
    this.#most = Math.round(maxTokens * 1_000);
    this.#gain = Math.round(tokenRatio * 1_000);
    this.#thousandths = this.#most;
  }

  get tokens(): number {
    return this.#thousandths / 1_000;
  }

  /** A try failed with a status that would be retried. May it be? */
  failed(): boolean {
    this.#thousandths = Math.max(0, this.#thousandths - 1_000);
    return this.#thousandths > this.#most / 2;
  }

  succeeded(): void {
    this.#thousandths = Math.min(this.#most, this.#thousandths + this.#gain);
  }
}
