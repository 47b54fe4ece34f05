import type { FallbackAnswer } from '../model/breaker.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/** The answer in place of one that the destination cannot give. Envoy's flag for a call that a breaker refused. */
export function fallbackAnswer({ body, headers, status }: FallbackAnswer): LocalAnswer {
  // A response with one of these has no body (RFC 9110 section 6.4.1).
  const bytes = status === 204 || status === 304 || body === undefined ? Buffer.alloc(0) : Buffer.from(body as string);
  const all: Record<string, string> = { ...headers };
  if (bytes.byteLength > 0) all['content-type'] ??= 'text/plain';
  if (status !== 204) all['content-length'] = String(bytes.byteLength);
  return { status, headers: all, ...(bytes.byteLength === 0 ? {} : { body: bytes }), flag: 'UO' };
}
