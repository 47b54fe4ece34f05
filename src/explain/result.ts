import type { RetryBudget } from '../model/cluster.ts';
import type { Provenance } from '../model/provenance.ts';
import type { HedgePolicy } from '../model/route.ts';

/** What would happen to a call of this workload, and why. */
export interface OutboundExplanation {
  readonly direction: 'outbound';
  readonly decision: OutboundDecision;
  /** `VirtualService ns/name http[2]`; absent when no rule decided. */
  readonly rule?: string;
  /** Resource, file and line of the rule. */
  readonly at?: Provenance;
  /** Name that the rule has itself. */
  readonly name?: string;
  /** Istio's name of the cluster that was chosen. */
  readonly cluster?: string;
  /** All destinations of the rule, in order. */
  readonly destinations?: readonly ExplainedDestination[];
  /** Host header (`:authority`) that is sent. */
  readonly authority?: string;
  /** Path that is sent, with its query. */
  readonly path?: string;
  readonly requestHeaders?: ExplainedEdits;
  readonly responseHeaders?: ExplainedEdits;
  /** Headers that `corsPolicy` adds to the response. */
  readonly cors?: Readonly<Record<string, string>>;
  readonly redirect?: { readonly status: number; readonly location: string };
  readonly direct?: { readonly status: number; readonly body: string };
  /** For all tries together; 0: no limit. */
  readonly timeoutMs?: number;
  readonly retries?: ExplainedRetries;
  readonly resilience?: ExplainedResilience;
  readonly fault?: ExplainedFault;
  readonly mirrors?: readonly ExplainedMirror[];
  readonly hash?: ExplainedHash;
  readonly tls?: ExplainedTls;
  /** One sentence for people. */
  readonly reason: string;
  /** The rules that come before the one that decided, and why each was passed over. */
  readonly passedOver: readonly PassedOver[];
  /** What one should know beside: clusters that do not exist, fields that behave differently. */
  readonly notes: readonly string[];
}

export type OutboundDecision = 'route' | 'redirect' | 'direct' | 'no-route' | 'passthrough' | 'refused';

export interface ExplainedDestination {
  readonly cluster: string;
  readonly host: string;
  /** '' for all endpoints of the service. */
  readonly subset: string;
  readonly port: number;
  /** As configured; 100 for the only destination of a rule when it has none. */
  readonly weight: number;
}

/** Edits of all levels taken together. Names are lower case; a list where a header gets several values. */
export interface ExplainedEdits {
  readonly set: Readonly<Record<string, string>>;
  readonly add: Readonly<Record<string, string | readonly string[]>>;
  readonly remove: readonly string[];
}

export interface ExplainedRetries {
  /** Retries after the first try; 0: none. */
  readonly attempts: number;
  /** Absent: the timeout of the whole call bounds each try. */
  readonly perTryTimeoutMs?: number;
  readonly retryOn: readonly string[];
  readonly retriableStatusCodes: readonly number[];
  readonly backoffBaseMs: number;
}

/** What is configured for the way to the cluster beside retries; what is not is absent. What it has counted is in `mesh.stats()`. */
export interface ExplainedResilience {
  /** Absent: HTTP/1.1. */
  readonly http2?: 'always' | 'asCaller';
  /** Further tries beside one that takes long. */
  readonly hedge?: HedgePolicy;
  readonly breaker?: ExplainedBreaker;
  /** `retryBudget` of a DestinationRule. */
  readonly retryBudget?: RetryBudget;
  /** Of `connectionPool`, those that are limits. */
  readonly limits?: Readonly<Record<string, number>>;
  /** Errors eject endpoints. */
  readonly outlierDetection?: true;
  /** Endpoints are asked for their health. */
  readonly healthCheck?: 'http' | 'tcp' | 'grpc';
}

export interface ExplainedBreaker {
  readonly errorThresholdPercentage: number;
  readonly rollingWindowMs: number;
  readonly volumeThreshold: number;
  readonly resetTimeoutMs: number;
  /** Status of the answer that callers get while it is open; absent: 503, or what the application makes. */
  readonly fallbackStatus?: number;
}

/** What happens to this very request, and what is configured. */
export interface ExplainedFault {
  readonly delayMs?: number;
  readonly abort?: ExplainedAbort;
  /** Once for the call, as in Istio, or for each try (`inmesh.dev`). */
  readonly level: 'call' | 'try';
  readonly configured: {
    readonly delay?: { readonly delayMs: number; readonly percentage: number };
    readonly abort?: ExplainedAbort & { readonly percentage: number };
  };
}

export type ExplainedAbort = { readonly httpStatus: number } | { readonly grpcStatus: number };

export interface ExplainedMirror {
  readonly cluster: string;
  readonly host: string;
  readonly subset: string;
  readonly port: number;
  readonly percentage: number;
  /** Would this request be copied? */
  readonly applies: boolean;
}

/** What the balancer hashes to choose an endpoint. */
export type ExplainedHash =
  | { readonly header: string }
  | { readonly cookie: string; readonly path?: string; readonly ttlMs?: number }
  | { readonly sourceIp: true }
  | { readonly queryParameter: string };

export interface ExplainedTls {
  readonly mode: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL';
  /** Server name that is asked for. */
  readonly sni?: string;
  /** Identities that the server may prove; absent or empty: see the documentation of the mode. */
  readonly sans?: readonly string[];
}

export interface PassedOver {
  /** `VirtualService ns/name http[0]`. */
  readonly rule: string;
  readonly at?: Provenance;
  /** One for each `match` entry; a single one for a rule that never applies here. */
  readonly reasons: readonly string[];
}

/** What would happen to a request to this workload, and why. */
export interface InboundExplanation {
  readonly direction: 'inbound';
  /** `direct`: allowed, and answered by the mesh in place of the application. */
  readonly decision: 'allow' | 'direct' | 'deny' | 'unauthenticated' | 'reject';
  /** HTTP status; absent when the connection is refused before there could be one. */
  readonly status?: number;
  /** `namespace/name` of the policy that decided; absent when none did. */
  readonly policy?: string;
  /** Position in its `rules`. */
  readonly rule?: number;
  readonly at?: Provenance;
  /** Envoy's response code detail of a refusal: `rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]-rule[0]]`. */
  readonly detail?: string;
  /** `<iss>/<sub>` of the verified token. */
  readonly requestPrincipal?: string;
  /** A CUSTOM policy is for this request. */
  readonly custom?: ExplainedCustom;
  /** What policies that are only tried out would have decided; absent without. */
  readonly shadow?: readonly ExplainedShadow[];
  /** The AUDIT policy that matches; absent when none does. */
  readonly audit?: { readonly policy: string; readonly rule: number };
  /** Path and query that the application gets: canonical, without tokens that it is not to see. Only when allowed. */
  readonly url?: string;
  /**
   * Headers that the application gets, lower case; lines of one name are joined. Without what only the
   * mesh may say, without tokens that it is not to see, with those that tell of callers and claims. Only
   * when allowed. There is no certificate here: `x-forwarded-client-cert` has a word in place of its hash.
   */
  readonly requestHeaders?: Readonly<Record<string, string>>;
  /** Rules that were asked and do not match, with the conditions that do not hold; the first twenty. Absent before policies are asked. */
  readonly passedOver?: readonly PassedOver[];
  /** Rate limits that count this request, once it is allowed; absent without. */
  readonly rateLimits?: readonly string[];
  /** Headers that `corsPolicy` of the own services sets on the response; absent where it says nothing of the request. */
  readonly cors?: Readonly<Record<string, string>>;
  /** The answer to a CORS preflight: the application does not see it. */
  readonly direct?: { readonly status: number; readonly body: string };
  /** Canonical path without query: what policies see. Absent when the request is malformed. */
  readonly path?: string;
  /** One sentence for people. */
  readonly reason: string;
  readonly notes: readonly string[];
}

/** Whom a CUSTOM policy asks, and what came of it. */
export interface ExplainedCustom {
  readonly provider: string;
  readonly policy: string;
  readonly rule: number;
  /** `unknown`: nobody said what it would answer, and the request was taken as allowed. */
  readonly outcome: 'allowed' | 'denied' | 'unknown';
}

export interface ExplainedShadow {
  readonly action: 'ALLOW' | 'DENY';
  readonly result: 'allowed' | 'denied';
  /** `ns[shop]-policy[deny-admin]-rule[0]`, or `none`. */
  readonly matched: string;
}

export type Explanation = OutboundExplanation | InboundExplanation;
