import type { TLSSocket } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { AccessLog } from './access-log.ts';
import { loggedHeader, loggedPath } from './access-record.ts';

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
    localAddress: localAddress === '' ? '' : `${bracketed(localAddress)}:${localPort}`,
    remoteAddress: remoteAddress === '' ? '' : `${bracketed(remoteAddress)}:${remotePort}`,
    serverName: typeof servername === 'string' ? servername : '',
  };
}

const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address);

/** Logs one request that was served or refused. */
export function logServed(
  log: AccessLog,
  clock: Clock,
  call: ServerCall,
  arrival: Arrival,
  end: { readonly status: number; readonly flags: string; readonly received?: number; readonly sent?: number },
): void {
  const durationMs = clock.now() - call.startedAt;
  const { authorization, connection, handed, localPort, method, peer, request, response } = call;
  const detail = authorization?.detail ?? '';
  log.write({
    direction: 'inbound',
    startTimeMs: clock.wallNow() - durationMs,
    durationMs,
    method,
    path: loggedPath(arrival.target, log.query),
    authority: call.host || (request.headers.host ?? ''),
    protocol:
      connection?.overHttp2 === true || request.httpVersion === '2.0' ? 'HTTP/2' : `HTTP/${request.httpVersion}`,
    status: end.status,
    flags: end.flags,
    details: handed ? 'via_upstream' : detail || 'refused_by_mesh',
    bytesReceived: end.received === -1 ? undefined : end.received,
    bytesSent: end.sent === -1 ? undefined : end.sent,
    upstreamHost: handed ? arrival.localAddress : '',
    upstreamCluster: `inbound|${localPort}||`,
    transportFailure: '',
    localAddress: arrival.localAddress,
    remoteAddress: arrival.remoteAddress,
    peer: peer?.spiffeId ?? '',
    serverName: arrival.serverName,
    routeName: 'default',
    tries: 1,
    requestHeader(name) {
      const value = Object.hasOwn(request.headers, name) ? request.headers[name] : undefined;
      return loggedHeader(name, Array.isArray(value) ? value.join(',') : value, log.query);
    },
    responseHeader(name) {
      const value = response.getHeader(name);
      return value === undefined ? undefined : String(value);
    },
  });
}
