import { isGrpc } from '../lib/grpc-answer.ts';
import { grpcStatusNames } from '../lib/grpc-status.ts';
import type { SpanAttributes } from '../pipeline/tracing.ts';

/** Methods that are recorded as they are; OpenTelemetry: what is not known is `_OTHER`. */
const methods: ReadonlySet<string> = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

/** `http.request.method`, one of a few words. */
export function methodOf(method: string): string {
  return methods.has(method) ? method : '_OTHER';
}

/** A path without query and fragment, which may hold tokens, cut to `max` characters. */
export function pathOnly(path: string, max: number): string {
  const query = path.indexOf('?');
  const fragment = path.indexOf('#');
  const end = Math.min(query === -1 ? path.length : query, fragment === -1 ? path.length : fragment, max);
  return end === path.length ? path : path.slice(0, end);
}

/** Host and port of an authority: `reviews:9080`, `[::1]:80`, `reviews`. */
export function addServer(attributes: SpanAttributes, authority: string, defaultPort?: number): void {
  const colon = authority.lastIndexOf(':');
  const hasPort = colon > authority.lastIndexOf(']');
  const host = hasPort ? authority.slice(0, colon) : authority;
  if (host === '') return;
  attributes['server.address'] = host.startsWith('[') ? host.slice(1, -1) : host;
  const port = hasPort ? Number(authority.slice(colon + 1)) : defaultPort;
  if (port !== undefined && Number.isInteger(port) && port > 0) attributes['server.port'] = port;
}

/** Address and port of a connection, as `10.0.0.7:9080` says it. */
export function addPeerAddress(attributes: SpanAttributes, address: string): void {
  const colon = address.lastIndexOf(':');
  if (colon <= address.lastIndexOf(']')) return;
  const port = Number(address.slice(colon + 1));
  if (!Number.isInteger(port)) return;
  const host = address.slice(0, colon);
  attributes['network.peer.address'] = host.startsWith('[') ? host.slice(1, -1) : host;
  attributes['network.peer.port'] = port;
}

/** Those that are the fault of a server (OpenTelemetry, RPC spans of gRPC). */
const serverFaults: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** `rpc.…` where content type and path say that it is a gRPC call: `/package.Service/Method`. */
export function addGrpcCall(attributes: SpanAttributes, contentType: string | undefined, path: string): boolean {
  if (!isGrpc(contentType)) return false;
  attributes['rpc.system.name'] = 'grpc';
  const method = pathOnly(path, 256).slice(1);
  if (/^[\w.-]+\/[\w.-]+$/.test(method)) attributes['rpc.method'] = method;
  return true;
}

/** The status of a gRPC call (-1: none); what is wrong with it for the side whose span this is, if anything is. */
export function addGrpcStatus(
  attributes: SpanAttributes,
  status: number,
  side: 'server' | 'client',
): string | undefined {
  if (status < 0) return undefined;
  const name = grpcStatusNames[status] ?? String(status);
  attributes['rpc.status_code'] = name;
  const failed = side === 'server' ? serverFaults.has(name) : name !== 'OK';
  return failed ? name : undefined;
}
