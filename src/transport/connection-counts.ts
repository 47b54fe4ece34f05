/** What happened to inbound connections, since the start. Counters only grow. */
export interface InboundConnections {
  readonly accepted: number;
  /** Plaintext on a STRICT port. */
  readonly plaintextRefused: number;
  /** TLS on a DISABLE port, or without an identity of our own to show. */
  readonly tlsRefused: number;
  /** TLS handshakes that failed, SPIFFE checks included. */
  readonly handshakesFailed: number;
  /**
   * The same by reason: `UNABLE_TO_GET_ISSUER_CERT_LOCALLY` and the like for certificates of callers
   * that chain to none of our roots, `ERR_SSL_…` for what callers told or spoke, `ERR_MESH_…` for our checks.
   */
  readonly handshakeFailures: Readonly<Record<string, number>>;
}

/** {@link InboundConnections} in the making. */
export interface ConnectionCounts {
  accepted: number;
  plaintextRefused: number;
  tlsRefused: number;
  handshakeFailed(reason: string): void;
  snapshot(): InboundConnections;
}

/** Reasons come from a library and not from strangers, but nothing here may grow without a bound. */
const maxReasons = 32;

export function createConnectionCounts(): ConnectionCounts {
  const reasons = new Map<string, number>();
  let handshakesFailed = 0;
  return {
    accepted: 0,
    plaintextRefused: 0,
    tlsRefused: 0,
    handshakeFailed(given) {
      handshakesFailed++;
      const reason = reasons.has(given) || reasons.size < maxReasons ? given : 'other';
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    },
    snapshot() {
      const { accepted, plaintextRefused, tlsRefused } = this;
      const handshakeFailures = Object.fromEntries(reasons);
      return { accepted, plaintextRefused, tlsRefused, handshakesFailed, handshakeFailures };
    },
  };
}
