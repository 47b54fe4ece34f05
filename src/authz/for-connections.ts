import type {
  AuthorizationAction,
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationRule,
  AuthorizationSource,
} from '../model/authorization.ts';

/** Whether a rule asks for something that only requests have: host, method, path, header, token. Its exceptions aside. */
export function asksForRequests({ from, to, when = [] }: AuthorizationRule): boolean {
  return from.some(sourceAsks) || to.some(operationAsks) || when.some(conditionAsks);
}

/**
 * What a rule says where there are connections and no requests, on the side of less access, as Istio
 * compiles it for TCP: an ALLOW rule that asks for what requests alone have allows nothing, which is
 * no rule at all; in others that part is left out, and they hit more.
 */
export function ruleForConnections(
  rule: AuthorizationRule,
  action: AuthorizationAction,
): AuthorizationRule | undefined {
  if (asksForRequests(rule) && action === 'ALLOW') return undefined;
  const { from, to, unless, when = [] } = rule;
  if (!asksForRequests(rule)) return unless === undefined ? rule : { ...rule, unless: exceptions(unless, action) };
  const left = when.flatMap((condition) => conditionWithout(condition) ?? []);
  return {
    from: from.map(sourceWithout),
    to: to.map(operationWithout),
    ...(left.length === 0 ? {} : { when: left }),
    ...(unless === undefined ? {} : { unless: exceptions(unless, action) }),
  };
}

/** What is excepted is turned round: from what is allowed rather more, from what is refused rather less. */
function exceptions(unless: readonly AuthorizationRule[], action: AuthorizationAction): readonly AuthorizationRule[] {
  return unless.flatMap((rule) => ruleForConnections(rule, action === 'ALLOW' ? 'DENY' : 'ALLOW') ?? []);
}

const hasAny = (fields: Readonly<Record<string, unknown>>): boolean =>
  Object.values(fields).some((value) => value !== undefined);

function sourceAsks({ requestPrincipals, notRequestPrincipals }: AuthorizationSource): boolean {
  return requestPrincipals !== undefined || notRequestPrincipals !== undefined;
}

function sourceWithout(source: AuthorizationSource): AuthorizationSource {
  const { requestPrincipals: _, notRequestPrincipals: __, ...left } = source;
  return left;
}

function operationAsks({ ports: _, notPorts: __, ...others }: AuthorizationOperation): boolean {
  return hasAny(others);
}

function operationWithout({ ports, notPorts }: AuthorizationOperation): AuthorizationOperation {
  return { ...(ports === undefined ? {} : { ports }), ...(notPorts === undefined ? {} : { notPorts }) };
}

function conditionAsks(condition: AuthorizationCondition): boolean {
  switch (condition.attribute) {
    case 'source':
      return sourceAsks(condition.source);
    case 'operation':
      return operationAsks(condition.operation);
    case 'sni':
    case 'destinationIp':
      return false;
    default:
      return true;
  }
}

/** Nothing when all of it asks for requests. */
function conditionWithout(condition: AuthorizationCondition): AuthorizationCondition | undefined {
  if (!conditionAsks(condition)) return condition;
  if (condition.attribute === 'source') {
    const source = sourceWithout(condition.source);
    return hasAny({ ...source }) ? { attribute: 'source', source } : undefined;
  }
  if (condition.attribute !== 'operation') return undefined;
  const operation = operationWithout(condition.operation);
  return hasAny({ ...operation }) ? { attribute: 'operation', operation } : undefined;
}
