import '../lib/require-node.ts';

export { MeshError } from '../errors.ts';
export { readBoundedFile } from '../identity/bounded-file.ts';
export { type CaSourceOptions, caSource } from '../identity/ca-source.ts';
export {
  type CertificateFacts,
  type Extension,
  factsOf,
  type KeyUsage,
  readCertificate,
  readExtensions,
} from '../identity/certificate.ts';
export { withoutRoots } from '../identity/chain.ts';
export {
  type CredentialParts,
  type CredentialRules,
  checkCredentials,
  credentialsOf,
} from '../identity/credentials.ts';
export { type RevocationList, readCrl, readPemCrls } from '../identity/crl.ts';
export { createCsr, generateIdentityKey } from '../identity/csr.ts';
export {
  type DerNode,
  derChildren,
  derTag,
  expectTag,
  readBitString,
  readDer,
  readDerList,
  readOid,
  readSmallInteger,
} from '../identity/der.ts';
export { type FileLayout, fileLayouts } from '../identity/file-layouts.ts';
export { type FileIdentityOptions, fileIdentitySource } from '../identity/file-source.ts';
export { type FileWatcherFiles, fileWatcherOptions } from '../identity/file-watcher.ts';
export { readPemCertificates } from '../identity/pem.ts';
export { type Crls, withRevocations } from '../identity/revocation.ts';
export { createIdentityStore, type IdentityStoreOptions } from '../identity/rotation.ts';
export type { Credentials, IdentitySink, IdentitySource } from '../identity/source.ts';
export {
  formatSpiffeBundle,
  type JwtAuthority,
  type ParsedSpiffeBundle,
  parseSpiffeBundle,
  parseSpiffeBundleMap,
  type SpiffeBundle,
} from '../identity/spiffe-bundle.ts';
export type { ActiveIdentity, IdentityHealth, IdentityStore } from '../identity/store.ts';
export { meshCiphers, meshTlsOptions } from '../identity/tls-options.ts';
export type { TrustBundles } from '../identity/trust.ts';
export {
  checkServerSpiffe,
  expiryGraceMs,
  type PeerIdentity,
  peerOfSocket,
  verifyPeer,
} from '../identity/verify-peer.ts';
export { waitFor } from '../identity/wait.ts';
export { type Clock, systemClock } from '../lib/clock.ts';
export { type OptionNames, refuseUnknownOptions } from '../lib/known-options.ts';
export { type Logger, silentLogger } from '../lib/logger.ts';
export { printable } from '../lib/printable.ts';
export { type Random, systemRandom } from '../lib/random.ts';
export { parseStrictJson, type StrictJsonLimits } from '../lib/strict-json.ts';
export { isTrustDomain, parseSpiffeId, type SpiffeId } from '../model/spiffe-id.ts';
