import { openFilesLimit } from '../lib/open-files.ts';

/** Bounds of the acceptor. Nothing that a stranger sends may take more than these. */
export interface AcceptorLimits {
  /** From the first byte to a complete TLS handshake, and from accept to the first byte. Default 10,000. */
  readonly handshakeTimeoutMs: number;
  /** From the first byte of a request to the end of its headers. Default 10,000. */
  readonly headersTimeoutMs: number;
  /** From the first byte of a request to the end of its body. Default 300,000. */
  readonly requestTimeoutMs: number;
  /** Longest pause in a request body that the application is waiting for. Default 30,000. */
  readonly bodyIdleMs: number;
  /** Longest pause of a client that does not take a response which is there. Default 300,000, as Envoy's `stream_idle_timeout`. */
  readonly responseIdleMs: number;
  /** Idle connections are closed after this. Default 65,000, longer than what clients usually keep. */
  readonly keepAliveMs: number;
  /**
   * Connections at once; further ones are closed. Default 20,000, but no more than half of the files
   * that the process may have open: the other half is for its calls.
   */
  readonly maxConnections: number;
  /** Size of the header block of a request. Default 16,384. */
  readonly maxHeaderBytes: number;
  /** Header fields of a request. Default 100, as Envoy's `max_headers_count`; at most 1,000, where Node begins to drop some. */
  readonly maxHeaders: number;
  /** Streams at once on one HTTP/2 connection. Default 100. */
  readonly maxStreams: number;
  /** Memory of one HTTP/2 session in megabytes. Default 10. */
  readonly maxSessionMegabytes: number;
}

/** The limits with their defaults. */
export function resolveLimits(limits: Partial<AcceptorLimits> = {}): AcceptorLimits {
  return {
    handshakeTimeoutMs: limits.handshakeTimeoutMs ?? 10_000,
    headersTimeoutMs: limits.headersTimeoutMs ?? 10_000,
    requestTimeoutMs: limits.requestTimeoutMs ?? 300_000,
    bodyIdleMs: limits.bodyIdleMs ?? 30_000,
    responseIdleMs: limits.responseIdleMs ?? 300_000,
    keepAliveMs: limits.keepAliveMs ?? 65_000,
    maxConnections: limits.maxConnections ?? Math.min(20_000, Math.floor(openFilesLimit() / 2)),
    maxHeaderBytes: limits.maxHeaderBytes ?? 16_384,
    maxHeaders: limits.maxHeaders ?? 100,
    maxStreams: limits.maxStreams ?? 100,
    maxSessionMegabytes: limits.maxSessionMegabytes ?? 10,
  };
}

/** What each limit may be, from and to; whole numbers. A limit that can be switched off is none. */
export const limitRanges: { readonly [K in keyof AcceptorLimits]: readonly [number, number] } = {
  handshakeTimeoutMs: [1, 600_000],
  headersTimeoutMs: [1, 600_000],
  requestTimeoutMs: [1, 86_400_000],
  bodyIdleMs: [1, 86_400_000],
  responseIdleMs: [1, 86_400_000],
  keepAliveMs: [1, 86_400_000],
  maxConnections: [1, 10_000_000],
  maxHeaderBytes: [1_024, 1_048_576],
  maxHeaders: [1, 1_000],
  maxStreams: [1, 10_000],
  maxSessionMegabytes: [1, 1_000],
};
