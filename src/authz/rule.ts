import { MeshError } from '../errors.ts';
import type { AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '../model/authorization.ts';
import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import type { Peer } from '../pipeline/scope.ts';
import { compileHosts, type HostView, hostView } from './host-match.ts';
import { compilePaths } from './path-match.ts';
import { type PathReading, pathViews } from './path-views.ts';

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
}

/** What is derived from the facts once, when the first rule asks for it. */
export interface DerivedFacts {
  views: PathReading | undefined;
  host: HostView | undefined;
}

/** One condition, or a whole rule. */
export type Condition = (facts: AuthorizationFacts, derived: DerivedFacts) => boolean;

/** How rules are read. */
export interface RuleReading {
  /** ALLOW reads paths so that doubt does not match, DENY so that doubt does. */
  readonly action: 'ALLOW' | 'DENY';
  /** Only the canonical path counts, as in Istio. */
  readonly literalPaths: boolean;
}

/** A rule matches when one source (or none is given) and one operation (or none is given) match. */
export function compileRule(rule: AuthorizationRule, reading: RuleReading): Condition {
  const from = anyOf(rule.from.map(compileSource));
  const to = anyOf(rule.to.map((operation) => compileOperation(operation, reading)));
  if (from === always) return to;
  return (facts, derived) => from(facts, derived) && to(facts, derived);
}

const always: Condition = () => true;

function anyOf(conditions: readonly Condition[]): Condition {
  const [only] = conditions;
  if (only === undefined) return always;
  if (conditions.length === 1) return only;
  return (facts, derived) => conditions.some((condition) => condition(facts, derived));
}

function allOf(conditions: readonly Condition[]): Condition {
  const [only] = conditions;
  if (only === undefined) return always;
  if (conditions.length === 1) return only;
  return (facts, derived) => conditions.every((condition) => condition(facts, derived));
}

const not =
  (condition: Condition): Condition =>
  (facts, derived) =>
    !condition(facts, derived);

/** Without an identity no positive condition holds, and every negative one does. */
function compileSource(source: AuthorizationSource): Condition {
  const conditions: Condition[] = [];
  const add = <T>(field: string, list: readonly T[] | undefined, compile: (list: readonly T[]) => Condition): void => {
    if (list === undefined) return;
    const condition = compile(filled(field, list));
    conditions.push(field.startsWith('not') ? not(condition) : condition);
  };
  add('principals', source.principals, principals);
  add('notPrincipals', source.notPrincipals, principals);
  add('namespaces', source.namespaces, namespaces);
  add('notNamespaces', source.notNamespaces, namespaces);
  add('serviceAccounts', source.serviceAccounts, serviceAccounts);
  add('notServiceAccounts', source.notServiceAccounts, serviceAccounts);
  return allOf(conditions);
}

const scheme = 'spiffe://';

function principals(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches);
  return ({ peer }) => peer !== undefined && matcher(peer.spiffeId.slice(scheme.length));
}

function namespaces(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches);
  return ({ peer }) => peer?.namespace !== undefined && matcher(peer.namespace);
}

function serviceAccounts(accounts: readonly string[]): Condition {
  const all = new Set(accounts);
  return ({ peer }) => peer?.namespace !== undefined && all.has(`${peer.namespace}/${peer.serviceAccount}`);
}

function compileOperation(operation: AuthorizationOperation, reading: RuleReading): Condition {
  const conditions: Condition[] = [];
  const add = <T>(field: string, list: readonly T[] | undefined, compile: (list: readonly T[]) => Condition): void => {
    if (list !== undefined) conditions.push(compile(filled(field, list)));
  };
  add('ports', operation.ports, ports);
  add('notPorts', operation.notPorts, (list) => not(ports(list)));
  add('methods', operation.methods, methods);
  add('notMethods', operation.notMethods, (list) => not(methods(list)));
  add('hosts', operation.hosts, hosts);
  add('notHosts', operation.notHosts, (list) => not(hosts(list)));
  const doubtMatches = reading.action === 'DENY';
  add('paths', operation.paths, (list) => paths(list, doubtMatches, reading.literalPaths));
  add('notPaths', operation.notPaths, (list) => not(paths(list, !doubtMatches, reading.literalPaths)));
  return allOf(conditions);
}

function ports(list: readonly number[]): Condition {
  return ({ localPort }) => list.includes(localPort);
}

function methods(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches);
  return ({ method }) => matcher(method);
}

function hosts(matches: readonly StringMatch[]): Condition {
  const matcher = compileHosts(matches);
  return ({ host }, derived) => host !== '' && matcher((derived.host ??= hostView(host)));
}

function paths(matches: readonly StringMatch[], doubtMatches: boolean, literal: boolean): Condition {
  const matcher = compilePaths(matches, literal);
  return ({ path, rawPath }, derived) => {
    const views = (derived.views ??= pathViews(path, rawPath));
    return doubtMatches ? matcher.possibly(path, views) : matcher.surely(path, views);
  };
}

/** Any of these; exact texts, which most are, with one look-up. */
function anyText(matches: readonly StringMatch[]): StringPredicate {
  const texts = new Set(matches.flatMap((match) => (match.kind === 'exact' ? [match.value] : [])));
  const predicates = matches.filter(({ kind }) => kind !== 'exact').map((match) => compileStringMatch(match));
  if (predicates.length === 0) return (text) => texts.has(text);
  return (text) => texts.has(text) || predicates.some((matches) => matches(text));
}

/** An empty list must never mean "any". */
function filled<T>(field: string, list: readonly T[]): readonly T[] {
  if (list.length > 0) return list;
  throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: ${field} is an empty list`);
}
