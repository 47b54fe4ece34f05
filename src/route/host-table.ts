import { MeshError } from '../errors.ts';
import type { PathNormalization } from '../model/inbound.ts';
import type { ConnectionRoute, VirtualHost } from '../model/route.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type ConnectionMatcher, compileConnectionRoutes } from './connection.ts';
import type { RouteChoice } from './entry.ts';
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
      /** How the path of a request is brought into one form before anything looks at it. */
      readonly normalization: PathNormalization;
      /** No configuration names it: it is called through an egress proxy. */
      readonly stranger?: true;
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
  /** Where a connection leads whose content the mesh does not read. */
  connection(host: string, port: number, sni: string | undefined): ConnectionTarget;
}

/** Where a connection leads. */
export type ConnectionTarget =
  | { readonly kind: 'host'; readonly name: string; readonly route: ConnectionRoute | undefined }
  | { readonly kind: 'passthrough' }
  | { readonly kind: 'refused' };

/** Origins kept; far more than one process calls, small enough to be no leak. */
const maxOrigins = 10_000;

const passthrough = { kind: 'passthrough' } as const;
const refused = { kind: 'refused' } as const;
const matchers = new WeakMap<VirtualHost, RouteMatcher>();

export function createHostTable(snapshot: Snapshot): HostTable {
  const seen = new Map<string, HostTarget>();
  const unknown = unknownHosts(snapshot);
  return {
    find(origin) {
      let target = seen.get(origin);
      if (target === undefined) {
        target = resolve(snapshot, origin, unknown);
        if (seen.size >= maxOrigins) seen.clear();
        seen.set(origin, target);
      }
      return target;
    },
    connection(host, port, sni) {
      const plain = (host.endsWith('.') ? host.slice(0, -1) : host).toLowerCase();
      const name = plain.includes(':') ? `[${plain}]` : plain;
      const virtualHost = findHost(snapshot, name, port) ?? unknown(name, port);
      if ('kind' in virtualHost) return virtualHost;
      const route = connectionMatcherOf(virtualHost)({ host: plain, ...(sni === undefined ? {} : { sni }) });
      return { kind: 'host', name: virtualHost.name, route };
    },
  };
}

const connectionMatchers = new WeakMap<VirtualHost, ConnectionMatcher>();

/** The rules for connections; a host that has none leads where its route for everything leads. */
function connectionMatcherOf(virtualHost: VirtualHost): ConnectionMatcher {
  let matcher = connectionMatchers.get(virtualHost);
  if (matcher === undefined) {
    const everything = virtualHost.routes.filter(({ matches }) => matches.length === 0);
    matcher = compileConnectionRoutes(virtualHost.connections ?? everything);
    connectionMatchers.set(virtualHost, matcher);
  }
  return matcher;
}

type Unknown = (host: string, port: number) => VirtualHost | typeof passthrough | typeof refused;

/** What becomes of hosts that nothing names. A proxy gets their calls as they are: no retries, no time limit. */
function unknownHosts({ egressProxy, outboundPolicy }: Snapshot): Unknown {
  if (outboundPolicy !== 'ALLOW_ANY') return () => refused;
  if (egressProxy === undefined) return () => passthrough;
  const destinations = [{ cluster: egressProxy, weight: 1 }];
  // Istio's name of this route. The hosts keep theirs: policies ask for them.
  const routes = [{ name: 'allow_any', matches: [], destinations }];
  const connections = [{ name: 'allow_any', destinations }];
  return (host, port) => ({ name: `${host}:${port}`, routes, connections });
}

/**
 * What no host is made of. A URL would read it all the same: whoever lets calls go to `*.example.com` lets one go to
 * `reviews/x.example.com`, which is no name for Node.js, and would be `reviews` here.
 */
const notOfHosts = /[\\/?#@%\s]/;

function resolve(snapshot: Snapshot, origin: string, unknown: Unknown): HostTarget {
  const url = URL.parse(origin);
  const named = origin.slice(origin.indexOf('//') + 2, origin.endsWith('/') ? -1 : undefined);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || notOfHosts.test(named)) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `not an http or https origin: ${JSON.stringify(origin)}`);
  }
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  // A trailing dot is the same name (RFC 1034), and sidecars match it as such.
  const host = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  const known = findHost(snapshot, host, port);
  const virtualHost = known ?? unknown(host, port);
  if ('kind' in virtualHost) return virtualHost;
  const stranger = known === undefined ? ({ stranger: true } as const) : {};
  // TLS of the application is routed by the name that it announces; what is inside is not read.
  if (tls && virtualHost.connections !== undefined) {
    return { ...opaqueTarget(virtualHost, url.host, host, port), ...stranger };
  }
  let matcher = matchers.get(virtualHost);
  if (matcher === undefined) {
    matcher = compileVirtualHost(virtualHost);
    matchers.set(virtualHost, matcher);
  }
  // What a stranger is asked for may be signed as it is written, and no route looks at it.
  const asWritten = tls || known === undefined;
  const normalization = asWritten ? 'NONE' : (snapshot.inbound.pathNormalization ?? 'BASE');
  const { name } = virtualHost;
  const target = { kind: 'host', name, hostHeader: url.host, port, matcher, normalization, ...stranger } as const;
  // A certificate names an IPv6 address without the brackets of the URL.
  return tls ? { ...target, tlsHost: host.replace(/^\[(.*)\]$/, '$1') } : target;
}

function opaqueTarget(
  virtualHost: VirtualHost,
  hostHeader: string,
  host: string,
  port: number,
): Extract<HostTarget, { kind: 'host' }> {
  // A certificate names an IPv6 address without the brackets of the URL.
  const tlsHost = host.replace(/^\[(.*)\]$/, '$1');
  const route = connectionMatcherOf(virtualHost)({ host: tlsHost, sni: tlsHost });
  const always = route && choiceOf(route);
  const matcher: RouteMatcher = { always, find: () => undefined };
  return { kind: 'host', name: virtualHost.name, hostHeader, tlsHost, port, matcher, normalization: 'NONE' };
}

const choices = new WeakMap<ConnectionRoute, RouteChoice>();

/** The same route for the same rule, so that what is remembered of it stays. */
function choiceOf(rule: ConnectionRoute): RouteChoice {
  let choice = choices.get(rule);
  if (choice === undefined) choices.set(rule, (choice = { route: { ...rule, matches: [] }, match: undefined }));
  return choice;
}

function findHost(snapshot: Snapshot, host: string, port: number): VirtualHost | undefined {
  return snapshot.hosts.get(`${host}:${port}`) ?? wildcard(snapshot, host, port);
}

function wildcard(snapshot: Snapshot, host: string, port: number): VirtualHost | undefined {
  for (const entry of snapshot.wildcardHosts) {
    if (entry.port === port && host.length > entry.suffix.length && host.endsWith(entry.suffix))
      return entry.virtualHost;
  }
  return undefined;
}
