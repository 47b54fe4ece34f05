import { compileRequestHash, type RequestHash, type RequestHashOptions } from './balance/request-hash.ts';
import type { Cluster, ConsistentHash, HashKey } from './model/cluster.ts';
import type { Route } from './model/route.ts';

/** How the requests of a route to a cluster are hashed; nothing for clusters that do not choose endpoints by it. */
export type RequestHashes = (cluster: Cluster, route?: Route) => RequestHash | undefined;

/** What hashing needs from outside. */
export interface RequestHashesOptions extends RequestHashOptions {
  /** The cluster of this name as it is configured now. Absent: each cluster is by itself. */
  configured?(name: string): Cluster | undefined;
}

/** Each hash is compiled once for the configuration that says it. */
export function createRequestHashes(options: RequestHashesOptions): RequestHashes {
  const { configured } = options;
  const ofClusters = new WeakMap<ConsistentHash, RequestHash>();
  const ofRoutes = new WeakMap<Route, RequestHash>();

  /**
   * Istio gives a route the keys of all its destinations, and Envoy mixes them, also a key that is
   * there twice: so that a split chooses the endpoints that sidecars choose.
   */
  const ofSplit = (route: Route, clusterOf: (name: string) => Cluster | undefined): RequestHash => {
    const names = route.destinations.filter(({ weight }) => weight > 0).map(({ cluster }) => cluster);
    let known: readonly (ConsistentHash | undefined)[] = [];
    let compiled: RequestHash | undefined;
    const now = (): RequestHash => {
      if (compiled !== undefined && names.every((name, i) => clusterOf(name)?.hash === known[i])) return compiled;
      known = names.map((name) => clusterOf(name)?.hash);
      compiled = compileRequestHash(known.flatMap(keysOf), options);
      return compiled;
    };
    return { makesCookies: true, of: (request, host, scope, made) => now().of(request, host, scope, made) };
  };

  const once = <K extends object>(map: WeakMap<K, RequestHash>, key: K, make: () => RequestHash): RequestHash => {
    let found = map.get(key);
    if (found === undefined) map.set(key, (found = make()));
    return found;
  };

  return ({ hash }, route) => {
    if (hash === undefined) return undefined;
    if (route !== undefined && route.destinations.length > 1 && configured !== undefined) {
      return once(ofRoutes, route, () => ofSplit(route, configured));
    }
    return hash.key === undefined ? undefined : once(ofClusters, hash, () => compileRequestHash(keysOf(hash), options));
  };
}

function keysOf(hash: ConsistentHash | undefined): readonly HashKey[] {
  return hash?.key === undefined ? [] : [hash.key, ...(hash.furtherKeys ?? [])];
}
