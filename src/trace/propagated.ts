import type { IncomingHttpHeaders } from 'node:http';
import { fixedRequestHeaders } from '../lib/header-edit.ts';

/** Longest value that is handed on, in characters; what is longer stays behind. */
const maxLength = 8_192;

/** Headers that say something about one connection, or that the mesh hands on by rules of its own. */
const others: ReadonlySet<string> = new Set([
  'host',
  'te',
  'proxy-authenticate',
  'proxy-authorization',
  'x-request-id',
  'traceparent',
  'tracestate',
  'baggage',
  'b3',
  'x-forwarded-client-cert',
  'grpc-timeout',
]);
const otherGroups: readonly string[] = ['content-', 'x-b3-', 'x-envoy-', 'x-inmesh-', 'x-mesh-'];

/** May this header (lower case) of an inbound request be handed on to the calls that it causes? */
export function mayPropagate(name: string): boolean {
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return false;
  return !fixedRequestHeaders.has(name) && !others.has(name) && !otherGroups.some((group) => name.startsWith(group));
}

/** Those of `names` (lower case) that a request has, as a flat list; nothing when it has none. */
export function propagatedHeaders(
  headers: IncomingHttpHeaders,
  names: readonly string[],
): readonly string[] | undefined {
  let list: string[] | undefined;
  for (const name of names) {
    const value = headers[name];
    if (typeof value !== 'string' || value.length > maxLength) continue;
    list ??= [];
    list.push(name, value);
  }
  return list;
}
