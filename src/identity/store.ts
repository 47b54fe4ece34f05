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

/** How an identity is doing, for readiness, metrics and people. */
export interface IdentityHealth {
  /**
   * `none`: there was no certificate yet. `valid`. `due`: half of the life that it had when it was
   * accepted is over, and there is no newer one. `expired`: there is no identity.
   */
  readonly state: 'none' | 'valid' | 'due' | 'expired';
  /** Of the newest certificate. */
  readonly spiffeId?: string;
  /** Until the newest certificate expires; negative afterwards. */
  readonly expirySeconds?: number;
  /** When it was accepted, milliseconds since the epoch. */
  readonly rotatedAt?: number;
  /** Certificates that were accepted: the generation of the newest. */
  readonly updates: number;
  /** What arrived and was refused. */
  readonly rejected: number;
  /** How often the source was out of reach. */
  readonly lost: number;
  /** What the source said last, when that was trouble. */
  readonly problem?: string;
}

/** Holds the newest good credentials and tells whoever serves or calls with them. */
export interface IdentityStore {
  /** Nothing before the first update, and nothing once the certificate has expired. */
  current(): ActiveIdentity | undefined;
  /** Called after each accepted update. Returns a function that ends the subscription. */
  subscribe(listener: (identity: ActiveIdentity) => void): () => void;
  /** Resolves at the first good credentials. */
  readonly ready: Promise<void>;
  /** A summary, as of now. */
  health(): IdentityHealth;
  /** What the last source said went wrong, until it succeeds again. */
  lastProblem(): Error | undefined;
  readonly sink: IdentitySink;
  /** Stops the timers that warn of expiry; later updates are ignored. What is in force stays readable. */
  close(): void;
}
