export type { Attestor, Evidence } from './attest.ts';
export type {
  Attestation,
  Authority,
  AuthorityBundle,
  CertifyOptions,
  ForceOptions,
  IssuedCertificate,
  PrepareOptions,
  RevokeRequest,
  RootRotation,
  ServerCertificate,
  TokenRequest,
} from './authority-types.ts';
export { type BundleDocument, type BundleDocumentOptions, bundleDocument } from './bundle-document.ts';
export { type BundleEndpoint, type BundleEndpointOptions, serveBundleEndpoint } from './bundle-endpoint.ts';
export { createFederation } from './federation.ts';
export type { CheckedRelation, FederationRelation } from './federation-relation.ts';
export {
  type FederationStore,
  folderFederationStore,
  memoryFederationStore,
  type StoredBundle,
} from './federation-store.ts';
export type { Federation, FederationOptions, FederationStatus } from './federation-types.ts';
export { type KeyType, keyTypes } from './key-type.ts';
export { type KubernetesCluster, kubernetesAttestor, type SignatureAlgorithm } from './kubernetes.ts';
export { readKubernetesClusters } from './kubernetes-file.ts';
export { createAuthority, type InitOptions, initAuthority, openAuthority } from './open-authority.ts';
export { openFederation } from './open-federation.ts';
export type { AuthorityOptions } from './options.ts';
export { type Refusal, type RefusalReason, reasonOf, refusals } from './refusal.ts';
export { type RevocationReason, revocationReasons } from './revocation.ts';
export { type RunningAuthority, type RunOptions, runAuthority } from './run.ts';
export { type AuthorityServer, type ServeOptions, serveAuthority } from './server.ts';
export type { AuthorityCertificate, AuthorityStatus } from './status.ts';
export type { JoinToken } from './tokens.ts';
