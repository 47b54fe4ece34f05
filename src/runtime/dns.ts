import { isIP } from 'node:net';
import type { Endpoint } from '../model/cluster.ts';
import type { NameResolver, WatchedName } from './resolver.ts';

/** Keeps the addresses of the names of one cluster up to date. */
export interface NameWatch {
  /** Settles when every name has had its first answer or failure; absent afterwards. */
  warming(): Promise<void> | undefined;
  close(): void;
}

/** Addresses of one name that are used; more come from a mistake or an attack. */
const maxAddresses = 1_000;

/**
 * Turns each name among `endpoints` into one endpoint for each of its addresses, as Envoy's
 * STRICT_DNS does, and again whenever an answer changes. `resolved` is called first when all names
 * have had an answer or a failure.
 */
export function watchNames(options: {
  readonly endpoints: readonly Endpoint[];
  readonly resolver: NameResolver;
  resolved(endpoints: readonly Endpoint[]): void;
}): NameWatch {
  const { endpoints, resolved, resolver } = options;
  const watched = new Map<string, WatchedName>();
  let closed = false;
  let warm: Promise<void> | undefined;

  const report = (): void => {
    if (!closed && warm === undefined) resolved(expand(endpoints, watched));
  };
  for (const { address } of endpoints) {
    if (isIP(address) === 0 && !watched.has(address)) watched.set(address, resolver.watch(address, report));
  }
  warm = Promise.all([...watched.values()].map(({ first }) => first)).then(() => {
    warm = undefined;
    report();
  });

  return {
    warming: () => warm,
    close() {
      closed = true;
      for (const name of watched.values()) name.release();
    },
  };
}

function expand(endpoints: readonly Endpoint[], names: ReadonlyMap<string, WatchedName>): Endpoint[] {
  const result = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const name = names.get(endpoint.address);
    const places = name === undefined ? [{ address: endpoint.address }] : placesOf(name.addresses);
    // Two names for one address are one endpoint.
    for (const place of places) result.set(`${place.address} ${endpoint.port}`, { ...endpoint, ...place });
  }
  return [...result.values()];
}

type Place = Pick<Endpoint, 'address' | 'otherFamily'>;

/** What is called, each with an address of the other family to fall back on, where the name has both. */
function placesOf(addresses: readonly string[]): readonly Place[] {
  const called = preferIpv4(addresses).slice(0, maxAddresses);
  const others = called.length === addresses.length ? [] : addresses.filter((address) => isIP(address) === 6);
  if (others.length === 0) return called.map((address) => ({ address }));
  return called.map((address, index) => ({ address, otherFamily: others[index % others.length] as string }));
}

/**
 * The IPv4 addresses where there are any (Envoy `V4_PREFERRED`): each address becomes an endpoint,
 * and where IPv6 is broken, or a server listens on IPv4 only, half of them would not answer.
 */
export function preferIpv4(addresses: readonly string[]): readonly string[] {
  const v4 = addresses.filter((address) => isIP(address) === 4);
  return v4.length > 0 ? v4 : addresses;
}
