/** What a balancer needs to know of an endpoint. */
export interface Candidate {
  /** Relative to the others; 0 only where others have more. */
  readonly weight: number;
  /** Tries that are on their way. */
  inFlight: number;
}

/**
 * Chooses one of a fixed set. Built anew when the set changes; picking is O(1) or O(log n). Those that
 * choose by key look at `hash`, the hash of the request; `attempt` above 0 asks them for the next
 * choice of the same key, others just choose again.
 */
export type Picker<E> = (hash?: bigint, attempt?: number) => E | undefined;

/** Those that count: an endpoint without weight gets nothing as long as another one has some. */
export function weighted<E extends Candidate>(all: readonly E[]): readonly E[] {
  const some = all.filter(({ weight }) => weight > 0);
  return some.length === 0 || some.length === all.length ? all : some;
}
