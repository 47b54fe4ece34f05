import type { Clock, Logger, TrustBundles } from 'inmesh/identity';
import type { CheckedRelation, FederationRelation } from './federation-relation.ts';
import type { FederationStore } from './federation-store.ts';

/** Options of {@link createFederation}. */
export interface FederationOptions {
  readonly store: FederationStore;
  /** That of the authority. */
  readonly trustDomain: string;
  /** The roots of the authority itself, for endpoints with SPIFFE IDs of its trust domain. */
  readonly ownRoots?: () => readonly string[];
  readonly clock?: Clock;
  readonly logger?: Logger;
  /** 0 to 1, for the moment of the next fetch. */
  readonly random?: () => number;
}

/** How it stands with one relation. */
export interface FederationStatus {
  readonly relation: CheckedRelation;
  /** How many roots the bundle in force has; nothing without one. */
  readonly roots?: number;
  readonly sequence?: bigint;
  /** Milliseconds since the epoch. */
  readonly fetchedAt?: number;
  /** Time until a bundle is fetched again, milliseconds. */
  readonly refreshMs: number;
  /** Why the last fetch brought nothing. */
  readonly problem?: string;
}

/** The bundles of other trust domains, kept up to date. */
export interface Federation {
  /** Roots (PEM) by trust domain. The same object until they change. */
  bundles(): TrustBundles;
  status(): readonly FederationStatus[];
  /**
   * Adds a relation, or changes the one of its name.
   *
   * @param bundle a bundle document for the beginning; `https_spiffe` needs one
   * @throws MeshError `ERR_MESH_OPTION_INVALID`
   */
  add(relation: FederationRelation, bundle?: string): void;
  /** Ends a relation: what came by it is trusted no longer. False when there is none. */
  remove(name: string): boolean;
  /** Fetches now, without waiting for the time. @throws Refusal when there is no such relation, or nothing came. */
  fetch(name: string): Promise<void>;
  /** Follows the store: relations that others added, changed or removed; and fetches all on their time from then on. */
  sync(): void;
  /** Called when {@link bundles} has changed. Returns a function that ends the subscription. */
  subscribe(listener: () => void): () => void;
  close(): void;
}
