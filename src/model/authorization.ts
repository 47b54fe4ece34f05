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
  /**
   * Of Consul's intentions: ALLOW policies of theirs are for themselves, and what passes needs one of them
   * as well as one of the others, where there are both.
   */
  readonly intentions?: true;
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
  /** What one of these matches, this one does not. */
  readonly unless?: readonly AuthorizationRule[];
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
  /** `*` matches any authenticated peer. */
  readonly trustDomains?: readonly StringMatch[];
  readonly notTrustDomains?: readonly StringMatch[];
  /** `<iss>/<sub>` of the verified token; `*` matches any verified token that has both. */
  readonly requestPrincipals?: readonly StringMatch[];
  readonly notRequestPrincipals?: readonly StringMatch[];
  /** Services by the identity that Consul gives them. */
  readonly services?: readonly ServiceMatch[];
  /** Of the peer of the connection. */
  readonly ipBlocks?: readonly IpBlock[];
  readonly notIpBlocks?: readonly IpBlock[];
  /** Of the caller as trusted proxies tell it; see `InboundPolicy.numTrustedProxies`. */
  readonly remoteIpBlocks?: readonly IpBlock[];
  readonly notRemoteIpBlocks?: readonly IpBlock[];
}

/** Services of Consul: `spiffe://<trust domain>[/ap/<partition>]/ns/<namespace>/dc/<datacenter>/svc/<name>`. */
export interface ServiceMatch {
  /** One of these. */
  readonly trustDomains: readonly string[];
  /** `default` where the identity names none. */
  readonly partition: string;
  /** `*`: any. */
  readonly namespace: string;
  /** `*`: any; must be where the namespace is. */
  readonly name: string;
}

/** A range of addresses in CIDR notation; a single address has the full prefix. */
export interface IpBlock {
  /** Text of the address, without brackets or zone. An IPv4-mapped address of IPv6 is one of IPv4. */
  readonly address: string;
  /** At most 32, or 128 for IPv6. */
  readonly prefix: number;
}

export interface AuthorizationOperation {
  readonly methods?: readonly StringMatch[];
  readonly notMethods?: readonly StringMatch[];
  readonly paths?: readonly PathPattern[];
  readonly notPaths?: readonly PathPattern[];
  /** Case-insensitive; an entry without a port matches any port. */
  readonly hosts?: readonly StringMatch[];
  readonly notHosts?: readonly StringMatch[];
  /** Ports that the workload listens on. */
  readonly ports?: readonly number[];
  readonly notPorts?: readonly number[];
}

/**
 * A pattern for paths. A template is Istio's: `{*}` stands for one segment that is not empty,
 * `{**}`, the last operator, for any number of them.
 */
export type PathPattern = StringMatch | { readonly kind: 'template'; readonly value: string };

/**
 * One `when`: the attribute has one of `values` (if given) and none of `notValues`. What could be
 * said of a source or an operation is said in their words.
 */
export type AuthorizationCondition =
  /** Istio's `source.*`, `remote.ip` and `request.auth.principal`. */
  | { readonly attribute: 'source'; readonly source: AuthorizationSource }
  /** Istio's `destination.port`. */
  | { readonly attribute: 'operation'; readonly operation: AuthorizationOperation }
  | HeaderCondition
  | ClaimCondition
  /** Istio's `connection.sni`: the server name of the TLS handshake, with which a caller asks for a host. */
  | ({ readonly attribute: 'sni' } & TextCondition)
  /** Istio's `destination.ip`: the address that the connection came in on. */
  | {
      readonly attribute: 'destinationIp';
      readonly values?: readonly IpBlock[];
      readonly notValues?: readonly IpBlock[];
    };

interface TextCondition {
  readonly values?: readonly StringMatch[];
  readonly notValues?: readonly StringMatch[];
}

/** Istio's `request.headers[name]`. */
export interface HeaderCondition extends TextCondition {
  readonly attribute: 'header';
  /** Lower case; `:method` and `:authority` as in HTTP/2. */
  readonly name: string;
}

/**
 * Istio's `request.auth.claims[a][b]`, `request.auth.audiences` (the claim `aud`) and
 * `request.auth.presenter` (`azp`): a text, or a list in which one text does. Other values match nothing.
 */
export interface ClaimCondition extends TextCondition {
  readonly attribute: 'claim';
  /** Names from the outside in, at least one. */
  readonly path: readonly string[];
}
