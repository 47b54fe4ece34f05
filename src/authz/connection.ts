import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { RbacFilter } from '../model/rbac.ts';
import type { Peer } from '../pipeline/scope.ts';
import { type AuthorizationObserver, compileAuthorizer } from './authorizer.ts';
import { ruleForConnections } from './for-connections.ts';
import { compileRbac, rbacAbout } from './rbac.ts';
import type { AuthorizationFacts } from './rule.ts';
import { createTallies, type Tallies } from './tallies.ts';
import type { Verdict } from './verdicts.ts';

/** What is known of a connection that carries no requests that the mesh could read. */
export interface ConnectionFacts {
  /** Absent when the caller proved no identity. */
  readonly peer: Peer | undefined;
  /** The port that the workload listens on. */
  readonly localPort: number;
  /** IP address of the other end; nothing when it is not known. */
  readonly sourceAddress: string | undefined;
  /** IP address that the connection came in on; nothing when it is not known. */
  readonly destinationAddress: string | undefined;
  /** Server name that the TLS client asked for; '' without one. */
  readonly sni: string;
}

/** Decides about a connection before its first byte is handed on. */
export type AuthorizeConnection = (facts: ConnectionFacts, observer?: AuthorizationObserver) => Verdict;

/**
 * Compiles the policies of a workload for connections, as istiod does it for TCP ports: what asks for
 * requests (hosts, methods, paths, headers, tokens) makes an ALLOW rule vanish and is left out of all
 * others, which then hit more. No provider is asked about connections: what a CUSTOM rule hits is refused.
 *
 * Of Envoy's RBAC filters those are asked that are about connections.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function compileConnectionAuthorizer(
  policies: readonly AuthorizationPolicy[],
  tallies: Tallies = createTallies(),
  rbac: readonly RbacFilter[] = [],
): AuthorizeConnection {
  const options = { paths: 'literal' } as const;
  const { decide } = compileAuthorizer(policies.map(forConnections), options, tallies);
  const about = rbacAbout(rbac, 'connections');
  const { decide: decideRbac } = compileRbac(about, options, tallies);
  return (connection, observer) => {
    const facts = factsOf(connection);
    // Both languages count, and a refusal of either is one.
    const verdict = policies.length > 0 || about.length === 0 ? decide(facts, observer) : undefined;
    return verdict?.allowed === false || about.length === 0 ? (verdict as Verdict) : decideRbac(facts, observer);
  };
}

function factsOf({ destinationAddress, localPort, peer, sni, sourceAddress }: ConnectionFacts): AuthorizationFacts {
  return {
    peer,
    localPort,
    sourceAddress,
    // There are no proxies that could speak for others.
    remoteAddress: sourceAddress,
    destinationAddress,
    sni,
    method: '',
    path: '',
    rawPath: '',
    host: '',
    claims: undefined,
    rawHeaders: [],
  };
}

function forConnections(policy: AuthorizationPolicy): AuthorizationPolicy {
  const { action, rules } = policy;
  return {
    ...policy,
    action: action === 'CUSTOM' ? 'DENY' : action,
    rules: rules.flatMap((rule) => ruleForConnections(rule, action) ?? []),
  };
}
