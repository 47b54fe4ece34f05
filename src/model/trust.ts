/** Which trust domains are of one family, and whose roots count besides those of the identity source. */
export interface MeshTrust {
  /** Name of the own trust domain; absent where nobody chose one: then the certificate says. */
  readonly trustDomain?: string;
  /** Its other names (Istio `trustDomainAliases`). */
  readonly aliases: readonly string[];
  readonly anchors: readonly TrustAnchor[];
}

/** Roots that the configuration gives (Istio `caCertificates`). */
export interface TrustAnchor {
  /** One root or several. */
  readonly pem: string;
  /** The trust domains that they speak for. Empty: the own one and its aliases. */
  readonly trustDomains: readonly string[];
}
