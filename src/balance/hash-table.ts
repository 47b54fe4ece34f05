/** Who answers for which hash. Made for a fixed set; the result is an index into it. */
export interface HashTable {
  /**
   * The choice for a hash, given as two halves of 32 bits. `attempt` above 0: another choice for the
   * same hash, often another endpoint.
   */
  find(high: number, low: number, attempt: number): number;
  /** Points of the ring, or lines of the table, for people. */
  readonly size: number;
}

/** What there is to choose from. */
export interface HashedSet {
  /** `10.0.0.7:9080`: what is hashed of each endpoint, as Envoy does with `use_hostname_for_hashing` off. */
  readonly names: readonly string[];
  /** Shares of 1, each above 0. */
  readonly weights: readonly number[];
}
