/** A certificate with its key, and the roots that peers are checked against. One generation. */
export interface Credentials {
  /** SPIFFE ID of the leaf certificate. */
  readonly spiffeId: string;
  /** Leaf first, then intermediates, PEM. */
  readonly certificateChainPem: string;
  /** PKCS#8, PEM. Never logged. */
  readonly privateKeyPem: string;
  /** Roots (PEM, one certificate each) by trust domain. */
  readonly trustBundles: ReadonlyMap<string, readonly string[]>;
  /**
   * Certificate revocation lists (PEM, any number in each text) by trust domain. Where a domain has
   * one, the issuer of every certificate of a chain below its root must have a list that is signed by
   * it and has not expired, or the chain is refused: Envoy's `crl`, which Istio gives its sidecars.
   * A domain without is not checked for revocations. In those of an `IdentityStore` the lists count
   * wherever `trustBundles` are given; elsewhere see `withRevocations`.
   */
  readonly crlsByTrustDomain?: ReadonlyMap<string, readonly string[]>;
  /** Validity of the leaf, milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Where certificates come from: files, the embedded CA, a SPIFFE Workload API. Runs until `signal`
 * aborts, renews well before expiry, and reports through the sink; it never throws for a bad
 * answer of its peer.
 */
export interface IdentitySource {
  /** For messages: `ca:https://127.0.0.1:8443`. */
  readonly name: string;
  run(sink: IdentitySink, signal: AbortSignal): Promise<void>;
}

/** The three things that can happen to an identity. */
export interface IdentitySink {
  /** New credentials; a matching pair of certificate and key, and a trust bundle. */
  update(credentials: Credentials): void;
  /** What arrived is unusable; the last good credentials stay in force until they expire. */
  reject(problem: Error): void;
  /** The source cannot be reached; the last good credentials stay in force until they expire. */
  lost(reason: Error): void;
  /** What arrived is used, and somebody should know this about it: a key that every user of the machine can read. */
  warn?(warning: Error): void;
}
