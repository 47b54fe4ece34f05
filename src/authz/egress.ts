import type { AuthorizationOperation, AuthorizationPolicy, AuthorizationRule } from '../model/authorization.ts';
import { type Authorizer, compileAuthorizer } from './authorizer.ts';
import type { Tallies } from './tallies.ts';

/** The egress policies of a workload, compiled. */
export interface EgressAuthorizers {
  /** For requests, of which method and path are known. */
  readonly request: Authorizer;
  /** For connections, of which host and port are all there is. */
  readonly connection: Authorizer;
}

/**
 * Compiles egress policies: DENY, then ALLOW, as for requests that arrive. Of connections nobody knows what
 * will be asked for, so a rule that speaks of methods or paths allows none, and refuses all to its hosts.
 */
export function compileEgress(policies: readonly AuthorizationPolicy[], tallies: Tallies): EgressAuthorizers {
  const forConnections = policies.map((policy) => ({
    ...policy,
    rules: policy.rules.flatMap((rule) => ruleWithoutRequests(rule, policy.action) ?? []),
  }));
  return {
    request: compileAuthorizer(policies, {}, tallies),
    connection: compileAuthorizer(forConnections, {}, tallies),
  };
}

const asksForRequests = ({ methods, notMethods, notPaths, paths }: AuthorizationOperation): boolean =>
  [methods, notMethods, paths, notPaths].some((list) => list !== undefined);

function ruleWithoutRequests(
  rule: AuthorizationRule,
  action: AuthorizationPolicy['action'],
): AuthorizationRule | undefined {
  if (action !== 'ALLOW') return { ...rule, to: rule.to.map(withoutRequests) };
  const to = rule.to.filter((operation) => !asksForRequests(operation));
  // What is left without any operation would allow everything.
  return to.length === 0 && rule.to.length > 0 ? undefined : { ...rule, to };
}

function withoutRequests(operation: AuthorizationOperation): AuthorizationOperation {
  const { methods: _, notMethods: __, paths: ___, notPaths: ____, ...left } = operation;
  return left;
}
