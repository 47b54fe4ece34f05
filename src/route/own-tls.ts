import type { Cluster } from '../model/cluster.ts';

/**
 * Why the TLS of a cluster cannot be had for a connection, for people; nothing when it can.
 * `ownTls`: the application itself speaks TLS on it.
 */
export function whyNoConnection({ discovery, tls, tunnel }: Cluster, ownTls: boolean): string | undefined {
  if (tunnel !== undefined) {
    // What is encrypted then is the way to the proxy, and the application speaks TLS inside of the tunnel.
    if (discovery.kind !== 'original') return undefined;
    // Never past the proxy.
    return 'its tunnel goes through a proxy, and no endpoint is known that would be one (resolution NONE)';
  }
  if (ownTls && typeof tls === 'object') {
    return 'the mesh itself speaks TLS here, and TLS of the application cannot run inside of it; call it with http:, or connect without tls';
  }
  if (tls !== 'mutual') return undefined;
  return ownTls ? 'mutual TLS is demanded, and TLS of the application cannot run inside of it' : undefined;
}

/** Does the mesh read the requests to this cluster? What is no HTTP for it passes as bytes. */
export function readsRequests({ protocol }: Cluster): boolean {
  return protocol === 'http' || protocol === 'http2' || protocol === 'grpc';
}

const speaksTls: ReadonlySet<string> = new Set(['https', 'tls', 'tcp']);

/** The same for a request: TLS of the application's own cannot be carried as HTTP. */
export function whyNoRequest(cluster: Cluster, ownTls: boolean): string | undefined {
  const { discovery, protocol, tls, tunnel } = cluster;
  if (!ownTls && readsRequests(cluster)) return undefined;
  if (
    ownTls &&
    tunnel === undefined &&
    typeof tls !== 'object' &&
    discovery.kind !== 'original' &&
    !speaksTls.has(protocol)
  ) {
    return `the mesh knows this port as ${protocol}, and the application would send TLS: call it with http: and let the mesh encrypt`;
  }
  return whyNoConnection(cluster, ownTls);
}
