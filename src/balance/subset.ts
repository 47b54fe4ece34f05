import { xxHash64 } from '../lib/xxhash64.ts';

/** Which of many endpoints this process calls. */
export interface Subset<E> {
  readonly size: number;
  /** Those of `endpoints` that are for this process: all of them when there are no more than the size. */
  of(endpoints: readonly E[]): readonly E[];
}

/**
 * Rendezvous hashing (gRFC A68): every process draws a lot for each endpoint from its own name and
 * the endpoint's, and takes the `size` lowest lots. Nobody has to know how many processes there are, and who
 * comes or goes among the endpoints moves one connection of just those processes that have it or get it.
 * Which endpoints are given decides: leave out those that are ejected, and the next ones take their place.
 */
export function createSubset<E extends { readonly name: string }>(instance: string, size: number): Subset<E> {
  // Lots by name: the same endpoints are asked about again and again, whenever one of them changes.
  let lots = new Map<string, number>();
  const lotOf = (name: string): number => {
    let lot = lots.get(name);
    if (lot === undefined) {
      // Upper 52 bits: exact as a number, and equal for two of a million names once in 9,000 processes.
      const { high, low } = xxHash64(`${instance}\0${name}`);
      lots.set(name, (lot = high * 1_048_576 + (low >>> 12)));
    }
    return lot;
  };
  return {
    size,
    of(endpoints) {
      if (endpoints.length <= size) return endpoints;
      // Names that are gone are forgotten when there are more of them than of others.
      if (lots.size > 2 * endpoints.length) lots = new Map();
      const drawn = Float64Array.from(endpoints, ({ name }) => lotOf(name));
      const limit = drawn.slice().sort()[size - 1] as number;
      // In their own order, whatever that is; equal lots do not make more of them.
      return endpoints.filter((_, i) => (drawn[i] as number) <= limit).slice(0, size);
    },
  };
}
