import type { TrustBundles } from 'inmesh/identity';
import type { RevocationReason } from './revocation.ts';
import type { AuthorityStatus } from './status.ts';
import type { JoinToken } from './tokens.ts';

/** A certificate as the authority hands it out. */
export interface IssuedCertificate {
  readonly spiffeId: string;
  /** Leaf, then the intermediate, PEM; while the root is exchanged the cross certificate too. */
  readonly certificateChainPem: string;
  /** Hex. */
  readonly serial: string;
  /** The root that the chain ends in, PEM. */
  readonly rootPem: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Who somebody has proven to be. */
export interface Attestation {
  readonly spiffeId: string;
  /** For the issuance log: `token <id>`, `renewal`, `kubernetes <cluster>`. */
  readonly by: string;
  /** Serial number (hex) of the certificate that proved it: one that was revoked proves nothing. */
  readonly serial?: string;
  /**
   * Takes what serves once, when nothing else stands in the way of a certificate.
   *
   * @throws Refusal
   */
  claim?(): void;
}

/** How {@link Authority.certify} reads a request. */
export interface CertifyOptions {
  /**
   * Names in the request: `match` (default) refuses all but the proven identity, `ignore` passes
   * over them, as istiod does. Either way they are not what goes into the certificate.
   */
  readonly names?: 'match' | 'ignore';
  /** Life that is asked for, milliseconds; never more than `leafTtlMs`, which is the default. */
  readonly ttlMs?: number;
}

/** Whom a token is for, and how long and how often it may be used. */
export type TokenRequest = (
  | { readonly spiffeId: string }
  | { readonly namespace: string; readonly serviceAccount: string }
) & {
  /** Default ten minutes, at most 30 days. */
  readonly ttlMs?: number;
  /** Default 1, at most 1,000: for workloads that are started several times with one token. */
  readonly uses?: number;
};

/** A server certificate with its key. */
export interface ServerCertificate {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly notAfter: number;
}

/** What members of the mesh trust, and no longer trust. */
export interface AuthorityBundle {
  readonly trustBundles: TrustBundles;
  /** Revocation lists (PEM) of the own trust domain, while there is a certificate on them that has not expired. */
  readonly crls: readonly string[];
  /** Changes with the content. */
  readonly tag: string;
}

/** What is revoked: one certificate, or an identity with all its certificates. */
export type RevokeRequest = (
  | { /** Hex, as in the issuance log. */ readonly serial: string }
  | { readonly spiffeId: string }
) & {
  /** Default `unspecified`. */
  readonly reason?: RevocationReason;
};

/** Options of {@link RootRotation.prepare}. */
export interface PrepareOptions {
  /** Folder with an intermediate of the new root that was made elsewhere, as in Istio's `cacerts`. Default: a new root is made. */
  readonly from?: string;
}

/** Options of steps that wait for something unless they are forced. */
export interface ForceOptions {
  readonly force?: boolean;
}

/** Exchanges the root in three steps. Every step lasts when it returns, and is done wholly or not at all. */
export interface RootRotation {
  /** Makes a new root and hands it out beside the old one. */
  prepare(options?: PrepareOptions): void;
  /** Signs with the new root. Without a cross certificate it is refused until every member knows the new root. */
  activate(options?: ForceOptions): void;
  /** Takes the old root away. Refused while certificates of the old root are valid. */
  finish(options?: ForceOptions): void;
  /** One step back. Refused while certificates of the new root are valid and it would be taken away. */
  abort(options?: ForceOptions): void;
}

/** A certificate authority for one SPIFFE trust domain. */
export interface Authority {
  readonly trustDomain: string;
  readonly leafTtlMs: number;
  /** The root; while it is exchanged both, the old one first. */
  readonly rootPem: string;
  /** The roots that members of the mesh trust, by trust domain. The same object until they change. */
  readonly trustBundles: TrustBundles;
  /** The roots of the own trust domain alone: what callers are held against, and what others are told. The same object until they change. */
  readonly ownBundles: TrustBundles;
  /** Trust bundles and revocation lists together. The same object until they change. */
  bundle(): AuthorityBundle;
  /** SHA-256 of the certificate that signs. */
  readonly signer: string;
  /** Until when it can sign without a new intermediate, milliseconds since the epoch. */
  signsUntil(): number;
  /**
   * Signs a certificate request for an identity that the caller has authenticated. The request
   * gives its public key and nothing else: whatever it asks for is ignored.
   *
   * @throws Refusal
   */
  signCsr(csrPem: string, spiffeId: string): IssuedCertificate;
  /** Signs for the identity of a join token, and uses the token up. Refuses a request that asks for more. */
  enroll(csrPem: string, token: string): IssuedCertificate;
  /** Signs for a workload that has proven with its certificate who it is. Refuses a request that asks for more. */
  renew(csrPem: string, spiffeId: string): IssuedCertificate;
  /**
   * Signs for an identity that was proven in any way. Nothing is claimed when the request is refused.
   *
   * @throws Refusal
   */
  certify(csrPem: string, attestation: Attestation, options?: CertifyOptions): IssuedCertificate;
  /**
   * Whom a join token is for. Its use is taken by {@link Attestation.claim}.
   *
   * @throws Refusal `token_invalid`
   */
  checkToken(token: string): Attestation;
  /** Makes a join token. Its text is returned once and kept only as a hash. */
  createToken(request: TokenRequest): JoinToken;
  /** A certificate for a server of the authority itself: host names and IP addresses, no SPIFFE ID. */
  issueServer(names: readonly string[]): ServerCertificate;
  readonly rotation: RootRotation;
  /**
   * Puts an intermediate of the same root that was made elsewhere in the place of the present one.
   *
   * @returns what the operator should know about it
   */
  importIntermediate(folder: string): readonly string[];
  /**
   * Revokes a certificate, or an identity: all its certificates, and it gets no more of them.
   *
   * @returns serials of the certificates that are on the list now and were not before
   */
  revoke(request: RevokeRequest): readonly string[];
  /** Lets a revoked identity have certificates again. Its old ones stay revoked. */
  reinstate(spiffeId: string): void;
  /** Revocation lists of all authorities whose keys are here, PEM, also when nothing is on them. */
  crls(): readonly string[];
  status(): AuthorityStatus;
  /** Looks for what other processes changed, and does what is due: new revocation lists, a new intermediate. */
  refresh(): void;
  /** Called when the bundle or what signs has changed. Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
}
