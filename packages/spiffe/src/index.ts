export { type EndpointAddress, endpointVariable, parseEndpoint } from './address.ts';
export {
  createWorkloadApiClient,
  type JwtSvidRequest,
  type ValidatedJwtSvid,
  type WorkloadApiClient,
  type WorkloadApiOptions,
} from './client.ts';
export type { RevocationLists } from './crls.ts';
export { type JwtAuthority, type JwtBundles, parseJwtBundle } from './jwt-bundles.ts';
export { type JwtSvid, type VerifyJwtOptions, verifyJwtSvid } from './jwt-svid.ts';
export { type WorkloadApiSourceOptions, workloadApiSource } from './source.ts';
export type { Claims, ClaimValue } from './struct.ts';
export type { ProblemKind, WatchHandler } from './watch.ts';
export {
  credentialsOfSvid,
  type SvidChoice,
  selectSvid,
  type X509BundleSet,
  type X509Bundles,
  type X509Context,
  type X509Svid,
} from './x509.ts';
