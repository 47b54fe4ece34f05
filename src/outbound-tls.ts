import { accessSync, constants } from 'node:fs';
import type { TLSSocket } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type { Dispatcher } from 'undici';
import { MeshError } from './errors.ts';
import { clientContextOf } from './identity/client-context.ts';
import { rootNames } from './identity/root-names.ts';
import type { ActiveIdentity } from './identity/store.ts';
import { type PeerIdentity, peerOfSocket } from './identity/verify-peer.ts';
import type { Clock } from './lib/clock.ts';
import type { Cluster, Endpoint, OriginatedTls, ServiceProtocol } from './model/cluster.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { TlsParameters } from './model/tls-parameters.ts';
import type { Workload } from './model/workload.ts';
import type { ConnectionSecurity, ConnectTarget } from './transport/connector.ts';
import { createOriginalDispatcher, type OriginalHttp2 } from './transport/original.ts';
import { createTlsOrigin, filesOf, type TlsOrigin } from './transport/originate.ts';
import type { TrustWatch } from './transport/trust-watch.ts';

export interface OutboundTlsDependencies {
  readonly workload: Workload;
  readonly clock: Clock;
  /** `none`: this process has no identity and makes plaintext connections only. */
  readonly identity: (() => ActiveIdentity | undefined) | 'none';
  /** Cuts connections to servers that are no longer trusted. */
  readonly trustWatch?: TrustWatch | undefined;
  /** A file that TLS of a cluster needs cannot be read. */
  fileUnreadable?(cluster: string, file: string, error: Error): void;
}

/** How outbound connections speak. */
export interface OutboundTls {
  /**
   * How to speak to an endpoint on a new connection.
   *
   * @param tlsHost the application itself speaks TLS to this name
   * @param host Host header of the requests; '' for something else than HTTP
   * @throws MeshError `ERR_MESH_NO_IDENTITY`, `ERR_MESH_TLS_FAILED`: there is no connection then.
   */
  security(cluster: Cluster, endpoint: Endpoint, tlsHost: string | undefined, host: string): ConnectionSecurity;
  /** Connections to the addresses that requests name, with the port and the TLS that the mesh knows. */
  original(cluster: Cluster): Dispatcher;
  originalTarget(cluster: Cluster, hostname: string, port: number, tlsHost: string | undefined): ConnectTarget;
  /** A new certificate: connections to original addresses that were made with the old one end after their requests. */
  recycle(): void;
  /** Forgets what the snapshot has no more. */
  reconcile(snapshot: Snapshot): void;
  close(): Promise<void>;
}

/** Must connections to original addresses be made by the mesh, since they are not what was called? */
export function changesOriginal(cluster: Cluster): boolean {
  const { discovery, proxyProtocol, tls } = cluster;
  if (typeof tls === 'object' || tls === 'mutual' || proxyProtocol !== undefined) return true;
  return discovery.kind === 'original' && (discovery.port !== undefined || isMutual(cluster, speaksMtlsThere(cluster)));
}

function speaksMtlsThere({ discovery }: Cluster): boolean {
  return discovery.kind === 'original' && discovery.speaksMtls === true;
}

/** Istio's auto-mTLS: to who speaks it. Explicit settings win. */
function isMutual({ tls }: Cluster, speaksMtls: boolean): boolean {
  return tls === 'mutual' || (tls === 'auto' && speaksMtls);
}

/** How to speak HTTP/2 to original addresses. */
function originalHttp2({ http2, limits }: Cluster): OriginalHttp2 {
  const {
    http2Keepalive: pings,
    idleTimeoutMs,
    maxConcurrentStreams,
    maxConnectionMs,
    maxRequestsPerConnection,
  } = limits;
  const use = http2 ?? 'forGrpc';
  return { use, idleTimeoutMs, maxConcurrentStreams, maxConnectionMs, maxRequestsPerConnection, pings };
}

/** TLS to servers outside of the mesh, as one cluster has it. */
interface Origination {
  readonly tls: OriginatedTls;
  readonly parameters: TlsParameters | undefined;
  readonly origin: TlsOrigin;
}

function isFor({ tls, parameters }: Origination, cluster: Cluster | undefined): boolean {
  return isDeepStrictEqual(cluster?.tls, tls) && isDeepStrictEqual(cluster?.tlsParameters, parameters);
}

/** Connections of one cluster to original addresses. */
interface Original {
  readonly cluster: Cluster;
  readonly dispatcher: Dispatcher;
}

export function createOutboundTls(dependencies: OutboundTlsDependencies): OutboundTls {
  const { clock } = dependencies;
  const originations = new Map<string, Origination>();
  const originals = new Map<string, Original>();

  const originOf = (cluster: Cluster, tls: OriginatedTls): TlsOrigin => {
    const { name, host, protocol, tlsParameters: parameters } = cluster;
    const known = originations.get(name);
    if (known !== undefined && isFor(known, cluster)) return known.origin;
    const alpn = isHttp(protocol) ? ['http/1.1'] : [];
    const origin = createTlsOrigin(tls, { cluster: name, host, alpn, parameters });
    originations.set(name, { tls, parameters, origin });
    return origin;
  };
  const originalTarget: OutboundTls['originalTarget'] = (cluster, hostname, port, tlsHost) => {
    const { discovery, limits, name, proxyProtocol, tls } = cluster;
    return {
      cluster: name,
      proxyProtocol,
      address: hostname,
      port: (discovery.kind === 'original' ? discovery.port : undefined) ?? port,
      timeoutMs: limits.connectTimeoutMs,
      keepalive: limits.tcpKeepalive,
      clock,
      security: () => {
        if (tlsHost !== undefined) return { kind: 'tls', serverName: tlsHost };
        if (typeof tls === 'object') return originOf(cluster, tls).security(bracketed(hostname));
        const speaksMtls = speaksMtlsThere(cluster);
        return meshSecurity(dependencies, cluster, { address: hostname, port, speaksMtls });
      },
    };
  };

  let looked: ReadonlySet<string> = new Set();
  /**
   * Says which files are missing before the first call does. Only says it: they may come later, as
   * a sidecar would wait for them too.
   */
  const look = (clusters: Iterable<Cluster>): void => {
    const files = new Set<string>();
    for (const { name, tls } of clusters) {
      if (typeof tls !== 'object') continue;
      for (const file of filesOf(tls)) {
        if (files.has(file)) continue;
        files.add(file);
        if (looked.has(file)) continue;
        try {
          accessSync(file, constants.R_OK);
        } catch (error) {
          dependencies.fileUnreadable?.(name, file, error as Error);
        }
      }
    }
    looked = files;
  };

  return {
    security(cluster, endpoint, tlsHost, host) {
      if (tlsHost !== undefined) return { kind: 'tls', serverName: tlsHost };
      return typeof cluster.tls === 'object'
        ? originOf(cluster, cluster.tls).security(host)
        : meshSecurity(dependencies, cluster, endpoint);
    },
    original(cluster) {
      const known = originals.get(cluster.name);
      if (known?.cluster === cluster) return known.dispatcher;
      void known?.dispatcher.close();
      const dispatcher = createOriginalDispatcher(
        (hostname, port, secure) => originalTarget(cluster, hostname, port, secure ? hostname : undefined),
        originalHttp2(cluster),
      );
      originals.set(cluster.name, { cluster, dispatcher });
      return dispatcher;
    },
    originalTarget,
    recycle() {
      for (const [name, { cluster, dispatcher }] of originals) {
        if (!isMutual(cluster, speaksMtlsThere(cluster))) continue;
        originals.delete(name);
        void dispatcher.close();
      }
    },
    reconcile({ clusters }) {
      look(clusters.values());
      for (const [name, origination] of originations) {
        if (!isFor(origination, clusters.get(name))) originations.delete(name);
      }
      for (const [name, { cluster, dispatcher }] of originals) {
        if (clusters.get(name) === cluster) continue;
        originals.delete(name);
        void dispatcher.close();
      }
    },
    async close() {
      const closing = [...originals.values()].map(({ dispatcher }) => dispatcher.close());
      originals.clear();
      originations.clear();
      await Promise.all(closing);
    },
  };
}

const http: ReadonlySet<ServiceProtocol> = new Set(['http', 'http2', 'grpc']);

function isHttp(protocol: ServiceProtocol): boolean {
  return http.has(protocol);
}

function bracketed(hostname: string): string {
  return hostname.includes(':') ? `[${hostname}]` : hostname;
}

/**
 * How to speak to an endpoint: Istio's auto-mTLS. Where mTLS is called for and there is no valid
 * certificate, there is no connection; plaintext is never the way out.
 */
function meshSecurity(
  { clock, identity, trustWatch }: OutboundTlsDependencies,
  cluster: Cluster,
  endpoint: Pick<Endpoint, 'address' | 'port' | 'speaksMtls' | 'spiffeId'>,
): ConnectionSecurity {
  if (!isMutual(cluster, endpoint.speaksMtls)) return { kind: 'plaintext' };
  // Without any identity of its own a process is like one outside the mesh: auto-mTLS does not
  // apply, and a STRICT server will refuse it.
  if (identity === 'none' && cluster.tls === 'auto') return { kind: 'plaintext' };
  const own = identity === 'none' ? undefined : identity();
  if (own === undefined) {
    const message = `mTLS to ${cluster.host} needs a certificate, and there is no valid one`;
    throw new MeshError('ERR_MESH_NO_IDENTITY', message, { cluster: cluster.name });
  }
  // Trust may have changed since the connection was begun, or may while it is open.
  const peerOf = (socket: TLSSocket): PeerIdentity | undefined => {
    const { credentials } = (identity === 'none' ? undefined : identity()) ?? own;
    return peerOfSocket(socket, credentials.trustBundles, clock, own.credentials.trustBundles);
  };
  const verify = (socket: TLSSocket): void => {
    const peer = peerOf(socket);
    const { serverIdentities } = cluster;
    // Stricter than Istio, which lets every account of a service stand for every endpoint: where it
    // is known whose endpoint this is, it must be that one.
    const { spiffeId } = endpoint;
    const allowed = spiffeId !== undefined && serverIdentities.includes(spiffeId) ? [spiffeId] : serverIdentities;
    const domains = cluster.trustDomains ?? [own.id.trustDomain];
    const expected =
      allowed.length === 0 ? domains.includes(peer?.trustDomain ?? '') : allowed.includes(peer?.spiffeId ?? '');
    if (expected) {
      trustWatch?.add(socket, () => peerOf(socket));
      return;
    }
    const wanted = allowed.length === 0 ? `an identity of ${domains.join(' or ')}` : allowed.join(' or ');
    const message = `${cluster.host} must be ${wanted}, but ${endpoint.address}:${endpoint.port} is ${peer?.spiffeId ?? 'nobody'}`;
    throw new MeshError('ERR_MESH_PEER_IDENTITY', message, { cluster: cluster.name });
  };
  return {
    kind: 'mutual',
    context: clientContextOf(own, cluster.tlsParameters),
    notAfter: own.credentials.notAfter,
    trusted: () => rootNames(own.credentials.trustBundles).join('; '),
    serverName: cluster.serverName ?? `outbound_.${cluster.port}_.${cluster.subset}_.${cluster.host}`,
    verify,
  };
}
