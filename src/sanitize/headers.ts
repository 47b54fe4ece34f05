import type { IncomingMessage } from 'node:http';
import { forwardedClientCertHeader } from '../lib/forwarded-client-cert.ts';
import { headerHints } from '../pipeline/server-call.ts';

/** More headers than this are refused (Envoy's `max_headers_count`): Node would drop some in silence. */
export const maxHeaderCount = 100;

/** What one look at the raw headers tells. */
export interface HeaderScan {
  /** How many Host headers there are; `headers.host` shows only the first. */
  readonly hosts: number;
  /** Bits of {@link headerHints}. */
  readonly hints: number;
}

/**
 * Looks at each raw header once. Most names are passed over after their first letter, so that this
 * costs less than one look-up in a header object per feature.
 */
export function scanHeaders(rawHeaders: readonly string[]): HeaderScan {
  let hosts = 0;
  let hints = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    switch (name.charCodeAt(0) | 0x20) {
      case 0x68: // h
        if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
        break;
      case 0x74: // t
        if (name.length === 11 || name.length === 10) hints |= headerHints.trace;
        else if (name.length === 17) hints |= headerHints.coding;
        break;
      case 0x62: // b
        if (name.length === 2 || name.length === 7) hints |= headerHints.trace;
        break;
      case 0x67: // g
        if (name.length === 12) hints |= headerHints.timeout;
        else if (name.length > 13 && isReserved(name.toLowerCase())) hints |= headerHints.reserved;
        break;
      case 0x65: // e
        if (name.length === 28) hints |= headerHints.load;
        break;
      case 0x78: // x
        hints |= hintsOfExtension(name);
        break;
    }
  }
  return { hosts, hints };
}

function hintsOfExtension(name: string): number {
  switch (name.charCodeAt(2) | 0x20) {
    case 0x62: // x-b3-…
      return headerHints.trace;
    case 0x65: // x-envoy-…
    case 0x66: // x-forwarded-…
    case 0x69: // x-inmesh-…
    case 0x6d: {
      // x-mesh-…
      const lower = name.toLowerCase();
      if (lower === 'x-envoy-expected-rq-timeout-ms') return headerHints.timeout;
      if (lower === forwardedClientCertHeader) return headerHints.reserved | headerHints.clientCert;
      return isReserved(lower) ? headerHints.reserved : 0;
    }
    default:
      return 0;
  }
}

/** Sent by Envoys to the application as well, and harmless: it decides nothing. */
const kept: ReadonlySet<string> = new Set(['x-envoy-expected-rq-timeout-ms', 'x-envoy-attempt-count']);

/**
 * A name that only the mesh may assert, lower case: the identity of the caller, what one Envoy
 * tells another about itself, and what would steer retries, timeouts or faults. A caller's word
 * for these is never taken, and never shown to the application as if it were ours.
 */
export function isReserved(name: string): boolean {
  if (name === forwardedClientCertHeader) return true;
  if (name.startsWith('x-inmesh-') || name.startsWith('x-mesh-') || name.startsWith('grpc-internal-')) return true;
  return name.startsWith('x-envoy-') && !kept.has(name);
}

/**
 * Removes the reserved headers of a request from every view of its headers that Node offers.
 *
 * @param keepsClientCert `x-forwarded-client-cert` stays: who may send it is decided when the caller is known
 */
export function removeReserved(request: IncomingMessage, keepsClientCert = false): void {
  const { headers, rawHeaders } = request;
  // Requests of HTTP/2 servers have no such view.
  const headersDistinct: Partial<IncomingMessage['headersDistinct']> = request.headersDistinct ?? {};
  // The three views are made from one another on first use; all exist now, so that the raw list
  // may shrink without the others being rebuilt from it.
  let to = 0;
  for (let from = 0; from < rawHeaders.length; from += 2) {
    const name = rawHeaders[from] as string;
    const lower = name.toLowerCase();
    if (isReserved(lower) && !(keepsClientCert && lower === forwardedClientCertHeader)) {
      delete headers[lower];
      delete headersDistinct[lower];
      continue;
    }
    rawHeaders[to] = name;
    rawHeaders[to + 1] = rawHeaders[from + 1] as string;
    to += 2;
  }
  rawHeaders.length = to;
}
