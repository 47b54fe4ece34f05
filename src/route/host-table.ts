import { MeshError } from '../errors.ts';
import type { VirtualHost } from '../model/route.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { compileVirtualHost, type RouteMatcher } from './matcher.ts';

/** Where an origin leads. */
export type HostTarget =
  | {
      readonly kind: 'host';
      /** `reviews.bookinfo.svc.cluster.local:9080`. */
      readonly name: string;
      /** Host header for requests without one: as the caller wrote it, default port left out. */
      readonly hostHeader: string;
      /** Set when the application itself speaks TLS (`https:`): the name to verify. */
      readonly tlsHost?: string;
      /** The port that the caller uses. */
      readonly port: number;
      readonly matcher: RouteMatcher;
    }
  /** Outside of the mesh, called directly (ALLOW_ANY). */
  | { readonly kind: 'passthrough' }
  /** Outside of the mesh, refused (REGISTRY_ONLY). */
  | { readonly kind: 'refused' };

/** Finds the virtual host of an origin; one lookup in a map for an origin that was seen before. */
export interface HostTable {
  /** @throws MeshError `ERR_MESH_OPTION_INVALID` when the origin is not an http or https URL. */
  find(origin: string): HostTarget;
}

/** Origins kept; far more than one process calls, small enough to be no leak. */
const maxOrigins = 10_000;

const passthrough: HostTarget = { kind: 'passthrough' };
const refused: HostTarget = { kind: 'refused' };
const matchers = new WeakMap<VirtualHost, RouteMatcher>();

export function createHostTable(snapshot: Snapshot): HostTable {
  const seen = new Map<string, HostTarget>();
  return {
    find(origin) {
      let target = seen.get(origin);
      if (target === undefined) {
        target = resolve(snapshot, origin);
        if (seen.size >= maxOrigins) seen.clear();
        seen.set(origin, target);
      }
      return target;
    },
  };
}

function resolve(snapshot: Snapshot, origin: string): HostTarget {
  const url = URL.parse(origin);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `not an http or https origin: ${JSON.stringify(origin)}`);
  }
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  // A trailing dot is the same name (RFC 1034), and sidecars match it as such.
  const host = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  const virtualHost = snapshot.hosts.get(`${host}:${port}`) ?? wildcard(snapshot, host, port);
  if (virtualHost === undefined) return snapshot.outboundPolicy === 'ALLOW_ANY' ? passthrough : refused;
  let matcher = matchers.get(virtualHost);
  if (matcher === undefined) {
    matcher = compileVirtualHost(virtualHost);
    matchers.set(virtualHost, matcher);
  }
  const target = { kind: 'host', name: virtualHost.name, hostHeader: url.host, port, matcher } as const;
  // A certificate names an IPv6 address without the brackets of the URL.
  return tls ? { ...target, tlsHost: host.replace(/^\[(.*)\]$/, '$1') } : target;
}

function wildcard(snapshot: Snapshot, host: string, port: number): VirtualHost | undefined {
  for (const entry of snapshot.wildcardHosts) {
    if (entry.port === port && host.length > entry.suffix.length && host.endsWith(entry.suffix))
      return entry.virtualHost;
  }
  return undefined;
}
