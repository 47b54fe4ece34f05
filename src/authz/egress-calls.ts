import { MeshError } from '../errors.ts';
import { type HeaderList, headerValue } from '../lib/header-list.ts';
import { parseIpAddress } from '../lib/ip-address.ts';
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

  const checkHost = (to: Destination, method: string, path: string, rawPath: string): void => {
    if (method === 'CONNECT') {
      check(connection, to, '', path, rawPath);
      return;
    }
    check(request, to, method, path, rawPath);
    // Some servers read methods in any letter case.
    const upper = method.toUpperCase();
    if (upper !== method) check(request, to, upper, path, rawPath);
  };

  return {
    request(origin, method, target, headers) {
      const to = destinationOf(origin);
      const tunnel = method === 'CONNECT';
      const authority = tunnel ? 0 : originLength(target);
      const rawPath = pathOf(target, authority);
      const path = tunnel ? '' : normalizePath(rawPath);
      if (path === undefined)
        throw new MeshError('ERR_MESH_EGRESS_DENIED', `${method} ${to.host}: the path has an encoded NUL`);
      checkHost(to, method, path, rawPath);
      // A server that has several hosts goes by these names: they must be ones that may be called, too.
      const named = headerValue(headers, 'host');
      if (named !== undefined && named !== '') {
        const other = destinationOf(`${origin.slice(0, origin.indexOf(':'))}://${named}`);
        if (other.host !== to.host) checkHost(other, method, path, rawPath);
      }
      if (authority > 0) {
        const other = destinationOf(target.slice(0, authority));
        if (other.host !== to.host) checkHost(other, method, path, rawPath);
      }
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

function destination(hosts: KnownHosts, given: string): Destination {
  const origin = withPlainAddress(given);
  const url = URL.parse(origin);
  if (url === null) throw new MeshError('ERR_MESH_EGRESS_DENIED', `${JSON.stringify(origin)} names no host`);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  // Of `http://a@b/c` the host is b; who takes no such origin for one refuses the call later.
  const target = hosts.find(url.origin === 'null' ? origin : url.origin);
  // A wildcard host of the registry says less than the name itself.
  if (target.kind === 'host' && !target.name.startsWith('*')) return { host: target.name, port };
  const name = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  return { host: `${name}:${port}`, port };
}

/** An IPv4 address in the form of IPv6 is the same address: `[::ffff:10.0.0.1]` becomes `10.0.0.1`. */
function withPlainAddress(origin: string): string {
  const url = URL.parse(origin);
  if (url === null || !url.hostname.startsWith('[::ffff:')) return origin;
  const { bits, words = [] } = parseIpAddress(url.hostname.slice(1, -1)) ?? {};
  if (bits !== 32) return origin;
  const word = words[0] as number;
  url.hostname = [24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff).join('.');
  return url.origin;
}

/** How long `http://host` is in front of a target in absolute form (RFC 9112 section 3.2.2); 0: it is a path. */
function originLength(target: string): number {
  const mark = target.indexOf('://');
  if (mark === -1 || target.charCodeAt(0) === 0x2f) return 0;
  for (let i = mark + 3; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === 0x2f || code === 0x5c || code === 0x3f || code === 0x23) return i;
  }
  return target.length;
}

/** Without query, from `start` on. */
function pathOf(target: string, start: number): string {
  let end = start;
  while (end < target.length && target.charCodeAt(end) !== 0x3f && target.charCodeAt(end) !== 0x23) end++;
  if (start > 0 && target.charCodeAt(start) !== 0x2f) return `/${target.slice(start, end)}`;
  return start === 0 && end === target.length ? target : target.slice(start, end);
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
