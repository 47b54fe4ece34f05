/** How many available endpoints a locality has. */
export interface LocalitySize {
  /** `region/zone/subzone`. */
  readonly locality: string;
  readonly size: number;
}

/** Where the tries of a zone-aware balancer go. */
export interface ZoneShares {
  /** Of 10,000 tries this many stay in the own locality. */
  readonly own: number;
  /** The rest goes to others by these weights, in the order of the localities. */
  readonly others: readonly number[];
}

/** Shares are counted in parts of this, as in Envoy. */
export const wholeShare = 10_000;

/**
 * Envoy's zone-aware routing: as many tries as possible stay in the own locality, and yet every
 * endpoint gets about the same, for callers in other localities do likewise. The own locality keeps
 * all where it has at least as large a share of the endpoints as of the callers; otherwise the part
 * that it can carry, and the rest goes where endpoints are more than callers. Nothing: localities do
 * not count, because callers or endpoints are in one locality only, no caller is known in the own
 * one, or there are too few endpoints.
 */
export function zoneShares(
  localities: readonly LocalitySize[],
  callers: Readonly<Record<string, number>>,
  own: string,
  minClusterSize: number,
): ZoneShares | undefined {
  const callersIn = (locality: string): number => (Object.hasOwn(callers, locality) ? (callers[locality] ?? 0) : 0);
  const endpoints = localities.reduce((sum, { size }) => sum + size, 0);
  const places = Object.values(callers).filter((count) => count > 0);
  if (localities.length < 2 || places.length < 2 || callersIn(own) === 0 || endpoints < minClusterSize) {
    return undefined;
  }
  const all = places.reduce((sum, count) => sum + count, 0);
  const shares = localities.map(({ locality, size }) => ({
    locality,
    upstream: Math.floor((wholeShare * size) / endpoints),
    // Where there is no endpoint it does not matter how many call.
    local: size === 0 ? 0 : Math.floor((wholeShare * callersIn(locality)) / all),
  }));
  const mine = shares.find(({ locality }) => locality === own);
  if (mine !== undefined && mine.upstream > 0 && mine.upstream >= mine.local) {
    return { own: wholeShare, others: shares.map(() => 0) };
  }
  const others = shares.map((share) => (share === mine ? 0 : Math.max(0, share.upstream - share.local)));
  const kept = mine === undefined || mine.local === 0 ? 0 : Math.floor((mine.upstream * wholeShare) / mine.local);
  // Rounding may leave no room anywhere: then anywhere it is.
  return {
    own: kept,
    others: others.some((room) => room > 0) ? others : localities.map(({ size }) => Math.min(1, size)),
  };
}
