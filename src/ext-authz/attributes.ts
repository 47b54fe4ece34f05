import type { TLSSocket } from 'node:tls';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { CheckAttributes, CheckBody, CheckPeer } from './service.ts';

/** Tells an authorizer whether it was shown the whole body; what a caller says of it never counts. */
export const partialBodyHeader = 'x-envoy-auth-partial-body';

/** What does not come from the request itself. */
export interface AttributeFacts {
  readonly id: string;
  readonly timeMs: number;
  /** SPIFFE ID of this workload. */
  readonly ownPrincipal: string;
  readonly body?: CheckBody;
}

/** What an authorizer is told of a request, as Envoy tells it. */
export function attributesOf(call: ServerCall, facts: AttributeFacts): CheckAttributes {
  const { connection, host, method, peer, request } = call;
  const { socket } = request;
  const encrypted = connection?.encrypted ?? (socket as TLSSocket).encrypted === true;
  const overHttp2 = connection?.overHttp2 ?? request.httpVersionMajor === 2;
  const path = request.url ?? '';
  const scheme = encrypted ? 'https' : 'http';
  const source: CheckPeer = {
    address: call.sourceAddress ?? '',
    port: socket?.remotePort ?? 0,
    principal: peer?.spiffeId ?? '',
  };
  const destination: CheckPeer = {
    address: call.destinationAddress ?? '',
    port: call.localPort,
    principal: encrypted ? facts.ownPrincipal : '',
  };
  const headers = new Map([
    [':authority', host],
    [':method', method],
    [':path', path],
    [':scheme', scheme],
  ]);
  addHeaders(headers, request.rawHeaders);
  if (facts.body !== undefined) headers.set(partialBodyHeader, String(facts.body.partial));
  return {
    source,
    destination,
    timeMs: facts.timeMs,
    id: facts.id,
    method,
    path,
    host,
    scheme,
    protocol: overHttp2 ? 'HTTP/2' : `HTTP/${request.httpVersion}`,
    headers,
    ...(facts.body === undefined ? {} : { body: facts.body }),
  };
}

/** About this connection alone, as Envoy sees it; or said by the mesh itself. */
const notTold: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  partialBodyHeader,
]);

/** All that were sent, where Node's own view drops some that are there twice. */
function addHeaders(headers: Map<string, string>, rawHeaders: readonly string[]): void {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    // What HTTP/2 calls `:authority` is above, in the form that the mesh goes by.
    if (name.startsWith(':') || notTold.has(name)) continue;
    const before = headers.get(name);
    const value = rawHeaders[i + 1] as string;
    // As Node joins them, which is how the application reads them; those of HTTP/2 come in any number of fields.
    const between = name === 'cookie' ? '; ' : ',';
    headers.set(name, before === undefined ? value : `${before}${between}${value}`);
  }
}
