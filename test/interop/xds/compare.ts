import type { Cluster, Route, Snapshot } from 'inmesh/model';

const isPart = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

const conditions: readonly string[] = ['headers', 'queryParams', 'withoutHeaders'];

/** Without what only says where something was written; conditions of one match have no order. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isPart(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      // What is not said of endpoints that were tried means that they are passed over.
      .filter(([key, inner]) => key !== 'provenance' && !(key === 'ignorePreviousHosts' && inner === true))
      .map(([key, inner]) => {
        const list = conditions.includes(key) && Array.isArray(inner) ? inner : undefined;
        return [key, list?.map((each: unknown) => JSON.stringify(each)).sort() ?? plain(inner)];
      }),
  );
}

/** What an endpoint assignment does not say: labels, accounts. */
export function comparable(cluster: Cluster | undefined): unknown {
  if (cluster === undefined) return undefined;
  const { discovery, protocol, external: _external, serverIdentities, trustDomains: _trust, ...others } = cluster;
  // Of endpoints that are not called with mTLS istiod does not say whether they would accept it, and by whom.
  const isMesh = cluster.tls === 'auto' || cluster.tls === 'mutual';
  const rest = { ...others, serverIdentities: isMesh ? serverIdentities : [] };
  const isHttp2 = protocol === 'grpc' || (protocol === 'http' && cluster.http2 === 'always');
  const spoken = isHttp2 ? 'http2' : protocol === 'tls' || protocol === 'https' ? 'tcp' : protocol;
  if (discovery.kind === 'original') {
    // Automatic mTLS to whoever speaks it: istiod says outright whether these do.
    const { speaksMtls, ...where } = discovery;
    const inferred = speaksMtls === true ? 'mutual' : 'disable';
    const tls = cluster.tls === 'auto' ? inferred : cluster.tls;
    return { ...rest, tls, discovery: where, protocol: spoken };
  }
  const endpoints = discovery.endpoints.map(({ labels: _, spiffeId: _id, speaksMtls, workload: _name, ...each }) => ({
    ...each,
    // A Unix socket has none.
    ...(each.address.startsWith('unix://') ? { port: 0 } : {}),
    speaksMtls: isMesh && speaksMtls,
  }));
  return { ...rest, protocol: spoken, discovery: { ...discovery, endpoints } };
}

export const routesOf = (snapshot: Snapshot, host: string): readonly Route[] => snapshot.hosts.get(host)?.routes ?? [];
