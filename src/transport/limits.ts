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
  /** Idle connections are closed after this. Default 65,000, longer than what clients usually keep. */
  readonly keepAliveMs: number;
  /** Connections at once; further ones are closed. Default 20,000. */
  readonly maxConnections: number;
  /** Size of the header block of a request. Default 16,384. */
  readonly maxHeaderBytes: number;
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
    keepAliveMs: limits.keepAliveMs ?? 65_000,
    maxConnections: limits.maxConnections ?? 20_000,
    maxHeaderBytes: limits.maxHeaderBytes ?? 16_384,
    maxStreams: limits.maxStreams ?? 100,
    maxSessionMegabytes: limits.maxSessionMegabytes ?? 10,
  };
}
