import type { TLSSocket } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { type AccessRecord, counted } from './access-record.ts';

/** What is gone once a request has ended: frameworks change its URL, and its socket may be closed. */
export interface Arrival {
  readonly target: string;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly serverName: string;
}

export function arrivalOf({ localPort, request }: ServerCall): Arrival {
  const {
    localAddress = '',
    remoteAddress = '',
    remotePort,
    servername,
  } = (request.socket ?? {}) as Partial<TLSSocket> & {
    servername?: string | false;
  };
  return {
    target: request.url ?? '',
    localAddress: addressText(localAddress, localPort),
    remoteAddress: addressText(remoteAddress, remotePort),
    serverName: typeof servername === 'string' ? servername : '',
  };
}

/** `10.0.0.7:9080`; '' without an address. */
export function addressText(address: string | undefined, port: number | undefined): string {
  if (address === undefined || address === '') return '';
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** Envoy's word for callers that went away. */
const gone = 'downstream_remote_disconnect';

/** How a request ended; bytes are -1 or absent where nobody has counted them. */
export interface ServedEnd {
  readonly status: number;
  readonly flags: string;
  readonly received?: number;
  readonly sent?: number;
  readonly grpcStatus?: number;
}

/** What is known of a request that was served or refused. */
export function serverRecord(clock: Clock, call: ServerCall, arrival: Arrival, end: ServedEnd): AccessRecord {
  const durationMs = clock.now() - call.startedAt;
  const { authorization, connection, handed, localPort, method, peer, request, response } = call;
  const detail = authorization?.detail ?? '';
  return {
    direction: 'inbound',
    startTimeMs: clock.wallNow() - durationMs,
    durationMs,
    method,
    target: arrival.target,
    authority: call.host || withoutUser(request.headers.host ?? ''),
    protocol:
      connection?.overHttp2 === true || request.httpVersion === '2.0' ? 'HTTP/2' : `HTTP/${request.httpVersion}`,
    status: end.status,
    flags: end.flags,
    details: end.flags.includes('DC') ? gone : handed ? 'via_upstream' : detail || 'refused_by_mesh',
    bytesReceived: counted(end.received),
    bytesSent: counted(end.sent),
    upstreamHost: handed ? arrival.localAddress : '',
    upstreamCluster: `inbound|${localPort}||`,
    transportFailure: '',
    localPort,
    localAddress: arrival.localAddress,
    remoteAddress: arrival.remoteAddress,
    peer: peer?.spiffeId ?? '',
    serverName: arrival.serverName,
    routeName: 'default',
    tries: 1,
    grpcStatus: end.grpcStatus ?? -1,
    requestHeader(name) {
      const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined;
      return Array.isArray(value) ? value.join(',') : value;
    },
    responseHeader(name) {
      const value = response.getHeader(name);
      return value === undefined ? writtenHeader(response, name) : String(value);
    },
  };
}

/** Of a host that was refused for it, and is logged as it came. */
const withoutUser = (host: string): string => host.slice(host.lastIndexOf('@') + 1);

/** Headers that a handler gives to `writeHead` are nowhere but in the head that was written; Node.js keeps it. */
function writtenHeader(response: ServerCall['response'], name: string): string | undefined {
  const { _header: head } = response as { readonly _header?: unknown };
  if (typeof head !== 'string') return undefined;
  const values = head.split('\r\n').flatMap((line) => {
    const colon = line.indexOf(':');
    return colon === name.length && line.slice(0, colon).toLowerCase() === name ? [line.slice(colon + 1).trim()] : [];
  });
  return values.length === 0 ? undefined : values.join(',');
}
