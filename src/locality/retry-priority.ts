import { type LevelHealth, loadsWithout } from './priority-load.ts';

/** Loads change after this many tries, as Istio sets Envoy's `update_frequency`. */
const updateFrequency = 2;

/**
 * The loads of the next try of a call whose tries so far were in the priorities `tried`, in this
 * order: after each two tries, priorities that were tried are left out (Istio
 * `retryRemoteLocalities`, Envoy's `previous_priorities`). When none is left all are in again.
 * Nothing: the loads are as ever.
 */
export function retryLoads(levels: readonly LevelHealth[], tried: readonly number[]): readonly number[] | undefined {
  let loads: readonly number[] | undefined;
  let since = 0;
  const excluded = new Set<number>();
  for (let count = updateFrequency; count <= tried.length; count++) {
    if (count - since < updateFrequency) {
      // Envoy forgets the tries before it, and so begins anew.
      loads = undefined;
      continue;
    }
    if ((count - since) % updateFrequency !== 0) continue;
    for (let at = since; at < count; at++) excluded.add(tried[at] as number);
    loads = loadsWithout(levels, excluded);
    if (loads !== undefined) continue;
    excluded.clear();
    since = count;
    loads = loadsWithout(levels, excluded);
  }
  return loads;
}
