/** How much of an answer is looked at. A real agent stays far below each of these. */
export const bounds = {
  /** Largest message, bytes; what gRPC itself allows when nobody says otherwise. */
  messageBytes: 4_194_304,
  /** SVIDs in one answer. */
  svids: 64,
  /** Trust domains in one answer. */
  bundles: 1_024,
  /** Certificates in the chain of an SVID. */
  chainCertificates: 10,
  /** Roots of one trust domain. */
  bundleCertificates: 64,
  /** Certificate revocation lists in one answer. */
  crls: 64,
  /** Keys in the JWT bundle of one trust domain. */
  jwtKeys: 64,
  /** Characters of a hint (SPIFFE Workload API, section 8). */
  hintBytes: 1_024,
  /** Characters of a JWT-SVID. */
  tokenBytes: 16_384,
  /** Members of all objects and lists in the claims of an answer. */
  claimValues: 1_000,
  /** How deep the claims of an answer may be nested. */
  claimDepth: 16,
} as const;
