import type { Random } from '../lib/random.ts';
import { unitInterval, xxHash64 } from '../lib/xxhash64.ts';
import type { StickySplit, WeightedDestination } from '../model/route.ts';
import { baggageOf, headerOf, headerReader, type Reader } from './request-view.ts';
import { createWeightedChoice } from './weighted.ts';

/** An option of a split. */
export interface SplitOption<T> {
  readonly destination: WeightedDestination;
  readonly value: T;
}

/**
 * The name by which a choice travels in `baggage`: the subset, else the host of its cluster.
 * `outbound|9080|v2|reviews.shop.svc.cluster.local` is `v2`.
 */
export function labelOf(cluster: string): string {
  const { host, subset } = partsOf(cluster);
  return subset === '' ? host : subset;
}

/**
 * A weighted choice that is the same for the same caller, in every process.
 *
 * Weighted rendezvous hashing: each destination with a weight above 0 draws
 * `u = unitInterval(XXH64(seed NUL key NUL subset|host))` for this key, and the least `-ln(u) / weight`
 * wins. Shares follow the weights. When a weight changes, keys move to or from that destination and
 * to no third one by its doing: between two destinations exactly the share that moved moves, among
 * more hardly any others (no way of choosing that knows only the new weights can avoid that
 * altogether). The order of destinations and their ports do not matter.
 *
 * Without a key a choice that travels in the caller's baggage is kept if it is one of these
 * destinations; else each call chooses anew.
 */
export function createStickyChoice<T>(
  { baggage, key, seed }: StickySplit,
  options: readonly SplitOption<T>[],
  random: Random,
): (request: Parameters<Reader>[0]) => T {
  const read = keyReader(key);
  const anew = createWeightedChoice(
    options.map(({ destination, value }) => ({ weight: destination.weight, value })),
    random,
  );
  const seen = new Map<string, number>();
  const usable = options
    .filter(({ destination }) => destination.weight > 0)
    .map(({ destination, value }) => {
      const { host, subset } = partsOf(destination.cluster);
      const name = `${subset}|${host}`;
      // The same destination twice needs two draws, or the heavier entry would win every time.
      const count = seen.get(name) ?? 0;
      seen.set(name, count + 1);
      return {
        salt: count === 0 ? name : `${name}#${count}`,
        label: labelOf(destination.cluster),
        weight: destination.weight,
        value,
      };
    });

  return (request) => {
    const given = read(request);
    if (given === undefined || given === '') {
      const travelled = baggage === undefined ? undefined : baggageOf(request, baggage);
      const kept = travelled === undefined ? undefined : usable.find(({ label }) => label === travelled);
      return kept === undefined ? anew() : kept.value;
    }
    const [first] = usable;
    if (first === undefined || usable.length === 1) return anew();
    let best = first;
    let bestScore = Number.POSITIVE_INFINITY;
    for (const option of usable) {
      const score = -Math.log(unitInterval(xxHash64(`${seed}\0${given}\0${option.salt}`))) / option.weight;
      if (score >= bestScore) continue;
      best = option;
      bestScore = score;
    }
    return best.value;
  };
}

function keyReader(key: StickySplit['key']): Reader {
  switch (key.kind) {
    case 'header':
      return headerReader(key.name.toLowerCase());
    case 'cookie':
      return (request) => cookieIn(headerOf(request, 'cookie') ?? '', key.name);
    case 'claim':
      return (request) => claimIn(request.scope?.claims, key.name);
    default:
      return (request) => request.scope?.peer?.spiffeId;
  }
}

/** Value of the first cookie of this name, without the quotes that it may stand in. */
export function cookieIn(header: string, name: string): string | undefined {
  for (const pair of header.split(/[;,]/)) {
    const sign = pair.indexOf('=');
    if (sign === -1 || pair.slice(0, sign).trim() !== name) continue;
    const value = pair.slice(sign + 1).trim();
    return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
  }
  return undefined;
}

/** A claim that is text, a number or a truth value; `a.b` is the claim `b` inside of `a`. */
export function claimIn(claims: Readonly<Record<string, unknown>> | undefined, name: string): string | undefined {
  if (claims === undefined) return undefined;
  let value: unknown = claims;
  for (const part of Object.hasOwn(claims, name) ? [name] : name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined;
}

/** Cluster names are `direction|port|subset|host`. */
function partsOf(cluster: string): { readonly host: string; readonly subset: string } {
  const [, , subset, host, ...more] = cluster.split('|');
  return subset === undefined || host === undefined || more.length > 0
    ? { host: cluster, subset: '' }
    : { host, subset };
}
