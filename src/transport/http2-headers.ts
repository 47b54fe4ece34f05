import type { OutgoingHttpHeaders } from 'node:http2';

/** Headers of one connection that never cross from one version of HTTP to another (RFC 9113 section 8.2.2). */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** An HTTP/2 request as HTTP/1.1 writes it. */
export interface Http1Head {
  readonly method: string;
  readonly target: string;
  /** Flat: name, value, name, value. */
  readonly headers: string[];
}

/** What the pseudo-headers of a request say. */
export interface PseudoHeaders {
  readonly ':method'?: string | undefined;
  readonly ':path'?: string | undefined;
  readonly ':authority'?: string | undefined;
}

/** Methods after which an absent body is worth a `content-length: 0` (RFC 9110 section 8.6). */
const expectBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/**
 * Writes an HTTP/2 request as HTTP/1.1. `:authority` becomes Host; if the caller sent another Host
 * beside it, the target becomes absolute, so that the pipeline sees both and refuses. Cookies that
 * HTTP/2 split are joined (RFC 9113 section 8.2.3).
 */
export function toHttp1(pseudo: PseudoHeaders, rawHeaders: readonly string[], hasBody: boolean): Http1Head {
  const method = pseudo[':method'] ?? '';
  const authority = pseudo[':authority'];
  let target = pseudo[':path'] ?? '';
  const headers: string[] = authority === undefined ? [] : ['host', authority];
  let cookies = '';
  let sized = false;
  let announcesTrailers = false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    const value = rawHeaders[i + 1] as string;
    if (name.charCodeAt(0) === 0x3a || hopByHop.has(name)) continue;
    if (name === 'cookie') {
      cookies = cookies === '' ? value : `${cookies}; ${value}`;
    } else if (name === 'host' && authority !== undefined) {
      if (value.toLowerCase() === authority.toLowerCase()) continue;
      headers[1] = value;
      target = `http://${authority}${target}`;
    } else {
      if (name === 'content-length') sized = true;
      else if (name === 'trailer') announcesTrailers = true;
      headers.push(name, value);
    }
  }
  if (cookies !== '') headers.push('cookie', cookies);
  if (hasBody && announcesTrailers && sized) removeHeader(headers, 'content-length');
  if (hasBody && (!sized || announcesTrailers)) headers.push('transfer-encoding', 'chunked');
  if (!hasBody && !sized && expectBody.has(method)) headers.push('content-length', '0');
  return { method, target, headers };
}

function removeHeader(headers: string[], name: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i] === name) headers.splice(i, 2);
  }
}

/** Response headers, trailers or the headers of an informational response, from a flat list. */
export function toHttp2(rawHeaders: readonly string[], status?: number): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = Object.create(null) as OutgoingHttpHeaders;
  if (status !== undefined) headers[':status'] = status;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    if (hopByHop.has(name) || name.charCodeAt(0) === 0x3a) continue;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else headers[name] = [String(before), value];
  }
  return headers;
}
