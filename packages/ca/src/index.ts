export type {
  Attestation,
  Authority,
  CertifyOptions,
  IssuedCertificate,
  ServerCertificate,
  TokenRequest,
} from './authority.ts';
export { createAuthority, initAuthority, openAuthority } from './open-authority.ts';
export type { AuthorityOptions } from './options.ts';
export { type Refusal, type RefusalReason, reasonOf, refusals } from './refusal.ts';
export { type RunningAuthority, type RunOptions, runAuthority } from './run.ts';
export { type AuthorityServer, type ServeOptions, serveAuthority } from './server.ts';
export type { JoinToken } from './tokens.ts';
