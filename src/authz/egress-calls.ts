import { MeshError } from '../errors.ts';
import { type HeaderList, headerValue } from '../lib/header-list.ts';
import { describeProvenance } from '../model/provenance.ts';
import type { AuthorizationObserver, Authorizer } from './authorizer.ts';
import type { EgressAuthorizers } from './egress.ts';
import type { AuthorizationFacts } from './facts.ts';

/** What this process may call. Absent where no EgressPolicy is: everything that can be reached. */
export interface Egress {
  /** @throws MeshError `ERR_MESH_EGRESS_DENIED` */
  request(origin: string, method: string, path: string, headers: HeaderList): void;
  /** @throws MeshError `ERR_MESH_EGRESS_DENIED` */
  connection(host: string, port: number, tlsHost: string | undefined): void;
}

/** Which service an origin leads to, as a host table knows it. */
export interface KnownHosts {
  find(origin: string): { readonly kind: 'host'; readonly name: string } | { readonly kind: 'passthrough' | 'refused' };
}

/** Names kept; far more than one process calls, small enough to be no leak. */
const maxNames = 10_000;

/** What a call leads to: a service by its full name however the caller wrote it, or a host outside. */
interface Destination {
  readonly host: string;
  readonly port: number;
}

/** Decides about outbound calls by compiled policies. */
export function createEgress(
  { connection, request }: EgressAuthorizers,
  hosts: KnownHosts,
  normalizePath: (path: string) => string | undefined,
  observer?: AuthorizationObserver,
): Egress {
  const seen = new Map<string, Destination>();
  const destinationOf = (origin: string): Destination => {
    let found = seen.get(origin);
    if (found === undefined) {
      found = destination(hosts, origin);
      if (seen.size >= maxNames) seen.clear();
      seen.set(origin, found);
    }
    return found;
  };

  const check = (by: Authorizer, to: Destination, method: string, path: string, rawPath: string): void => {
    const verdict = by.decide(factsOf(to, method, path, rawPath), observer);
    if (verdict.allowed) return;
    const { policy } = verdict;
    const why = policy === undefined ? 'no EgressPolicy allows it' : `${describeProvenance(policy)} denies it`;
    const what = method === '' ? `a connection to ${to.host}` : `${method} ${to.host}${path}`;
    throw new MeshError('ERR_MESH_EGRESS_DENIED', `${what}: ${why}`);
  };

  return {
    request(origin, method, target, headers) {
      const to = destinationOf(origin);
      const tunnel = method === 'CONNECT';
      const rawPath = withoutQuery(target);
      const path = tunnel ? '' : normalizePath(rawPath);
      if (path === undefined)
        throw new MeshError('ERR_MESH_EGRESS_DENIED', `${method} ${to.host}: the path has an encoded NUL`);
      const by = tunnel ? connection : request;
      check(by, to, tunnel ? '' : method, path, rawPath);
      // A server that has several hosts goes by this name: it must be one that may be called, too.
      const named = headerValue(headers, 'host');
      if (named === undefined || named === '') return;
      const other = destinationOf(`${origin.slice(0, origin.indexOf(':'))}://${named}`);
      if (other.host !== to.host) check(by, other, tunnel ? '' : method, path, rawPath);
    },
    connection(host, port, tlsHost) {
      const bare = host.includes(':') ? `[${host}]` : host;
      const to = destinationOf(`http://${bare}:${port}`);
      check(connection, to, '', '', '');
      if (tlsHost === undefined || tlsHost === host) return;
      const other = destinationOf(`http://${tlsHost.includes(':') ? `[${tlsHost}]` : tlsHost}:${port}`);
      if (other.host !== to.host) check(connection, other, '', '', '');
    },
  };
}

function destination(hosts: KnownHosts, origin: string): Destination {
  const url = URL.parse(origin);
  if (url === null) throw new MeshError('ERR_MESH_EGRESS_DENIED', `${JSON.stringify(origin)} names no host`);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const target = hosts.find(origin);
  // A wildcard host of the registry says less than the name itself.
  if (target.kind === 'host' && !target.name.startsWith('*')) return { host: target.name, port };
  const name = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  return { host: `${name}:${port}`, port };
}

function withoutQuery(target: string): string {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === 0x3f || code === 0x23) return target.slice(0, i);
  }
  return target;
}

const noHeaders: readonly string[] = [];

function factsOf({ host, port }: Destination, method: string, path: string, rawPath: string): AuthorizationFacts {
  return {
    peer: undefined,
    method,
    path,
    rawPath,
    host,
    localPort: port,
    claims: undefined,
    sourceAddress: undefined,
    remoteAddress: undefined,
    destinationAddress: undefined,
    sni: '',
    rawHeaders: noHeaders,
  };
}
