/** Versions of TLS that are spoken; there are no older ones. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** What TLS may be spoken; of what is absent all that the mesh speaks. */
export interface TlsParameters {
  /** Absent: TLS 1.2. */
  readonly minVersion?: TlsVersion;
  /** Absent: TLS 1.3. */
  readonly maxVersion?: TlsVersion;
  /** Of TLS 1.2, the preferred ones first, by OpenSSL's names. Those of TLS 1.3 are always spoken, as by Envoy. */
  readonly cipherSuites?: readonly string[];
  /** For the exchange of keys, the preferred ones first, by their names in TLS: `X25519`, `P-256`. */
  readonly curves?: readonly string[];
}

/** What clients of the mesh may speak. */
export interface InboundTls {
  /** By the port that the workload listens on. */
  readonly ports: ReadonlyMap<number, TlsParameters>;
  /** On all other ports. Absent: all that the mesh speaks. */
  readonly others?: TlsParameters;
}
