import type { IpAddress } from '../lib/ip-address.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { HostView } from './host-match.ts';
import type { PathReading } from './path-views.ts';

/** What a decision is about. A `ServerCall` has all of it. */
export interface AuthorizationFacts {
  /** Absent when the caller proved no identity. */
  readonly peer: Peer | undefined;
  readonly method: string;
  /** Canonical path without query. */
  readonly path: string;
  /** As it arrived; views that only a refusal looks at come from it. */
  readonly rawPath: string;
  /** As the caller wrote it; '' when it named none. */
  readonly host: string;
  /** The port that the workload listens on. */
  readonly localPort: number;
  /** Claims of the verified token; absent without one. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  /** IP address of the peer of the connection; nothing when it is not known. */
  readonly sourceAddress: string | undefined;
  /** IP address of the caller as trusted proxies tell it; nothing when it is not known. */
  readonly remoteAddress: string | undefined;
  /** IP address that the connection came in on; nothing when it is not known. */
  readonly destinationAddress: string | undefined;
  /** Server name that the TLS client asked for; '' without one. */
  readonly sni: string;
  /** Names and values of the request's headers in turn, each value by itself. */
  readonly rawHeaders: readonly string[];
}

/** What is derived from the facts once, when the first rule asks for it. */
export interface DerivedFacts {
  views: PathReading | undefined;
  host: HostView | undefined;
  /** `null`: the address is not known. */
  source: IpAddress | null | undefined;
  remote: IpAddress | null | undefined;
  destination: IpAddress | null | undefined;
}

/** Nothing derived yet: one for each decision. */
export function nothingDerived(): DerivedFacts {
  return { views: undefined, host: undefined, source: undefined, remote: undefined, destination: undefined };
}

/** One condition, or a whole rule. */
export type Condition = (facts: AuthorizationFacts, derived: DerivedFacts) => boolean;

/** How rules are read. */
export interface RuleReading {
  /**
   * ALLOW reads what is in doubt so that it does not match, DENY so that it does: paths that routers
   * read in several ways, headers with several values, addresses that are not known.
   */
  readonly action: 'ALLOW' | 'DENY';
  /** Only the canonical path counts, as in Istio. */
  readonly literalPaths: boolean;
}

export const always: Condition = () => true;

export function anyOf(conditions: readonly Condition[]): Condition {
  const [only] = conditions;
  if (only === undefined) return always;
  if (conditions.length === 1) return only;
  return (facts, derived) => conditions.some((condition) => condition(facts, derived));
}

export function allOf(conditions: readonly Condition[]): Condition {
  const [only] = conditions;
  if (only === undefined) return always;
  if (conditions.length === 1) return only;
  return (facts, derived) => conditions.every((condition) => condition(facts, derived));
}

export const not =
  (condition: Condition): Condition =>
  (facts, derived) =>
    !condition(facts, derived);
