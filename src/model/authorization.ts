import type { Provenance } from './provenance.ts';
import type { StringMatch } from './string-match.ts';

/** Istio `AuthorizationPolicy` after the selector was applied. */
export interface AuthorizationPolicy {
  readonly action: AuthorizationAction;
  /** No rules: never matches. ALLOW without rules therefore denies everything. */
  readonly rules: readonly AuthorizationRule[];
  readonly provenance: Provenance;
  /** Annotation `istio.io/dry-run`: decided and told of, never enforced. */
  readonly dryRun?: true;
  /** CUSTOM only: name of the MeshConfig `extensionProviders` entry that is asked. */
  readonly provider?: string;
}

/**
 * `AUDIT` records what matches and decides nothing; `CUSTOM` asks an external provider about what
 * matches, before DENY and ALLOW.
 */
export type AuthorizationAction = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';

/**
 * Matches when one `from` matches (or there is none), one `to` matches (or there is none), and
 * every `when` holds.
 */
export interface AuthorizationRule {
  readonly from: readonly AuthorizationSource[];
  readonly to: readonly AuthorizationOperation[];
  readonly when?: readonly AuthorizationCondition[];
}

/** All present fields must hold; within a field any value; a `not` field excludes. */
export interface AuthorizationSource {
  /** Without the `spiffe://`; `*` matches any authenticated peer. */
  readonly principals?: readonly StringMatch[];
  readonly notPrincipals?: readonly StringMatch[];
  readonly namespaces?: readonly StringMatch[];
  readonly notNamespaces?: readonly StringMatch[];
  /** `<namespace>/<service account>`. */
  readonly serviceAccounts?: readonly string[];
  readonly notServiceAccounts?: readonly string[];
  readonly trustDomains?: readonly StringMatch[];
  readonly notTrustDomains?: readonly StringMatch[];
  /** `<iss>/<sub>` of the verified token. */
  readonly requestPrincipals?: readonly StringMatch[];
  readonly notRequestPrincipals?: readonly StringMatch[];
  /** Of the peer of the connection. */
  readonly ipBlocks?: readonly IpBlock[];
  readonly notIpBlocks?: readonly IpBlock[];
  /** Of the caller as trusted proxies tell it; see `InboundPolicy.numTrustedProxies`. */
  readonly remoteIpBlocks?: readonly IpBlock[];
  readonly notRemoteIpBlocks?: readonly IpBlock[];
}

/** A range of addresses in CIDR notation; a single address has the full prefix. */
export interface IpBlock {
  /** Canonical text of the address, without brackets or zone. */
  readonly address: string;
  readonly prefix: number;
}

export interface AuthorizationOperation {
  readonly methods?: readonly StringMatch[];
  readonly notMethods?: readonly StringMatch[];
  readonly paths?: readonly StringMatch[];
  readonly notPaths?: readonly StringMatch[];
  /** Case-insensitive; an entry without a port matches any port. */
  readonly hosts?: readonly StringMatch[];
  readonly notHosts?: readonly StringMatch[];
  /** Ports that the workload listens on. */
  readonly ports?: readonly number[];
  readonly notPorts?: readonly number[];
}

/** One `when`: the attribute has one of `values` (if given) and none of `notValues`. */
export interface AuthorizationCondition {
  /** As in Istio: `request.headers[x-role]`, `request.auth.claims[realm][roles]`, `source.ip`, … */
  readonly key: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}
