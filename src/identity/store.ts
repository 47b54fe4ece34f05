import type { SecureContext } from 'node:tls';
import type { SpiffeId } from '../model/spiffe-id.ts';
import type { Credentials, IdentitySink } from './source.ts';

/** The identity in force, with what TLS needs made once per generation. */
export interface ActiveIdentity {
  readonly credentials: Credentials;
  readonly id: SpiffeId;
  /** Grows with every accepted update. */
  readonly generation: number;
  /** Certificate, key and all roots: for outgoing connections. Parsed once, not per connection. */
  readonly clientContext: SecureContext;
}

/** Holds the newest good credentials and tells whoever serves or calls with them. */
export interface IdentityStore {
  /** Nothing before the first update, and nothing once the certificate has expired. */
  current(): ActiveIdentity | undefined;
  /** Called after each accepted update. Returns a function that ends the subscription. */
  subscribe(listener: (identity: ActiveIdentity) => void): () => void;
  /** Resolves at the first good credentials. */
  readonly ready: Promise<void>;
  /** What the last source said went wrong, until it succeeds again. */
  lastProblem(): Error | undefined;
  readonly sink: IdentitySink;
  /** Stops the timers that warn of expiry; later updates are ignored. What is in force stays readable. */
  close(): void;
}
