import type { IpBlock } from './authorization.ts';
import type { ExternalAuthorizer } from './external-authorizer.ts';
import type { Provenance } from './provenance.ts';
import type { StringMatch } from './string-match.ts';

/** Ports that this workload listens on: these, or all others. */
export interface PortScope {
  readonly ports: readonly number[];
  /** All ports but these. */
  readonly except?: true;
}

/**
 * Envoy's RBAC filter. Several are asked in turn, and one that refuses is enough; what AuthorizationPolicies
 * say is one of each action.
 */
export interface RbacFilter {
  /** Absent: for all ports. */
  readonly scope?: PortScope;
  /** What it is asked about. Connections are those that carry no requests which the mesh could read. Absent: both. */
  readonly about?: 'requests' | 'connections';
  /** Absent: nothing is refused. */
  readonly rules?: RbacRules;
  /** Decided and told of, never enforced (`shadow_rules`). */
  readonly shadow?: RbacRules;
  readonly provenance: Provenance;
}

/**
 * `ALLOW`: one of the policies has to match, so that none at all refuses everything. `DENY`: none may. `LOG`: what
 * matches is told of, and passes.
 */
export interface RbacRules {
  readonly action: 'ALLOW' | 'DENY' | 'LOG';
  /** The first that matches is the one that decided: in the order of their names, as Envoy has it. */
  readonly policies: readonly RbacPolicy[];
}

/** Matches when one of its permissions does, and one of its principals. */
export interface RbacPolicy {
  /** As the control plane wrote it; istiod's are `ns[shop]-policy[no-admin]-rule[0]`. */
  readonly name: string;
  /** The policy that it was made of, or the filter that it is in. */
  readonly provenance: Provenance;
  /** Position in the rules of that policy; 0 for what is no AuthorizationPolicy. */
  readonly rule: number;
  readonly permissions: readonly RbacMatch[];
  readonly principals: readonly RbacMatch[];
}

/** A permission or a principal. What is in doubt is read as the action says: DENY rather matches, ALLOW rather not. */
export type RbacMatch =
  | { readonly kind: 'any' }
  | { readonly kind: 'never' }
  /** At least one. */
  | { readonly kind: 'and' | 'or'; readonly of: readonly RbacMatch[] }
  | { readonly kind: 'not'; readonly of: RbacMatch }
  | RbacHeaderMatch
  /** The host that was asked for, whatever its case; without a port in the text any port will do. */
  | { readonly kind: 'host'; readonly match: StringMatch }
  /** Canonical path without query. */
  | { readonly kind: 'path'; readonly match: StringMatch }
  /** Envoy's `uri_template`, see `PathPattern`. */
  | { readonly kind: 'template'; readonly template: string }
  | { readonly kind: 'destinationIp'; readonly block: IpBlock }
  /** From `from` up to and including `to`. */
  | { readonly kind: 'destinationPort'; readonly from: number; readonly to: number }
  | { readonly kind: 'sni'; readonly match: StringMatch }
  /** The SPIFFE ID of the caller; without `match` any that was proven. */
  | { readonly kind: 'authenticated'; readonly match?: StringMatch }
  /** Of the peer of the connection. */
  | { readonly kind: 'sourceIp'; readonly block: IpBlock }
  /** Of the caller as trusted proxies tell it. */
  | { readonly kind: 'remoteIp'; readonly block: IpBlock }
  /** `<iss>/<sub>` of the verified token, as istiod takes such patterns apart. */
  | { readonly kind: 'requestPrincipal'; readonly match: StringMatch }
  /** A claim of the verified token; `path` has the names from the outside in. */
  | { readonly kind: 'claim'; readonly path: readonly string[]; readonly value: RbacValueMatch };

/**
 * Envoy's `HeaderMatcher`. A header that is absent matches nothing, not even with `invert`; only `present` can be
 * inverted so that absence matches (gRFC A41).
 */
export interface RbacHeaderMatch {
  readonly kind: 'header';
  /** Lower case; `:method` and `:authority` as in HTTP/2. */
  readonly name: string;
  readonly match: StringMatch | { readonly kind: 'range'; readonly from: number; readonly below: number };
  readonly invert?: true;
  /** An absent header is one with an empty value (`treat_missing_header_as_empty`). */
  readonly absentIsEmpty?: true;
}

/** Envoy's `ValueMatcher`. */
export type RbacValueMatch =
  | { readonly kind: 'text'; readonly match: StringMatch }
  | { readonly kind: 'number'; readonly from: number; readonly to: number; readonly open?: true }
  | { readonly kind: 'is'; readonly value: boolean | null }
  | { readonly kind: 'present' }
  /** A list with a member that matches. */
  | { readonly kind: 'member'; readonly of: RbacValueMatch }
  | { readonly kind: 'or'; readonly of: readonly RbacValueMatch[] };

/** Envoy's ext_authz filter: an external authorizer is asked. */
export interface ExternalCheck {
  readonly authorizer: ExternalAuthorizer;
  /** About requests that one of these matches, read as DENY is. Absent: about all. */
  readonly when?: readonly RbacPolicy[];
  /** Absent: on all ports. */
  readonly scope?: PortScope;
  /** Asked about what tokens and policies let pass, and not before them. */
  readonly last?: true;
  readonly provenance: Provenance;
}
