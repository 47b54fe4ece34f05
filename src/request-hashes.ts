import { compileRequestHash, type RequestHash, type RequestHashOptions } from './balance/request-hash.ts';
import type { Cluster, ConsistentHash } from './model/cluster.ts';

/** How requests are hashed; nothing for clusters that do not choose endpoints by it. */
export type RequestHashes = (cluster: Cluster) => RequestHash | undefined;

/** Each hash is compiled once for the configuration that says it. */
export function createRequestHashes(options: RequestHashOptions): RequestHashes {
  const compiled = new WeakMap<ConsistentHash, RequestHash>();
  return ({ hash }) => {
    if (hash?.key === undefined) return undefined;
    let found = compiled.get(hash);
    if (found === undefined) {
      found = compileRequestHash([hash.key, ...(hash.furtherKeys ?? [])], options);
      compiled.set(hash, found);
    }
    return found;
  };
}
