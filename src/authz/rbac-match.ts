import { MeshError } from '../errors.ts';
import type { RbacMatch, RbacPolicy } from '../model/rbac.ts';
import { compileStringMatch, type StringMatch } from '../model/string-match.ts';
import type { Peer } from '../pipeline/scope.ts';
import { claimValue } from './claim-value.ts';
import { allOf, always, anyOf, type Condition, not, type RuleReading } from './facts.ts';
import { anyText } from './fields.ts';
import { compileOperation } from './operation.ts';
import { rbacHeaders } from './rbac-header.ts';
import { requestPrincipals } from './request-principal.ts';
import { compileSource, destinationAddresses } from './source.ts';
import { serverNames } from './when.ts';

/**
 * Compiles a policy of Envoy's RBAC: one permission and one principal have to match.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what cannot be matched
 */
export function compileRbacPolicy({ name, permissions, principals }: RbacPolicy, reading: RuleReading): Condition {
  const either = (matches: readonly RbacMatch[]): Condition => compileAny(matches, reading, name);
  return allOf([either(permissions), either(principals)].filter((condition) => condition !== always));
}

const never: Condition = () => false;

/**
 * Headers of one name are asked about together: each line of such a header must be one of the texts. What has one
 * look-up for many is asked with that: addresses, names, paths.
 */
function compileAny(matches: readonly RbacMatch[], reading: RuleReading, policy: string): Condition {
  if (matches.length === 0) throw invalid(policy, 'an empty list');
  const headers = new Map<string, Extract<RbacMatch, { readonly kind: 'header' }>[]>();
  const alike = new Map<string, RbacMatch[]>();
  const conditions: Condition[] = [];
  for (const match of matches) {
    if (
      match.kind === 'header' &&
      match.invert !== true &&
      match.absentIsEmpty !== true &&
      match.match.kind !== 'range'
    ) {
      listOf(headers, match.name).push(match);
    } else if (together.has(match.kind)) listOf(alike, match.kind).push(match);
    else conditions.push(compileMatch(match, reading, policy));
  }
  for (const same of headers.values()) conditions.push(rbacHeaders(same, reading));
  for (const same of alike.values()) conditions.push(compileAlike(same, reading, policy));
  return conditions.includes(always) ? always : anyOf(conditions);
}

function listOf<T>(lists: Map<string, T[]>, name: string): T[] {
  let list = lists.get(name);
  if (list === undefined) lists.set(name, (list = []));
  return list;
}

function compileMatch(match: RbacMatch, reading: RuleReading, policy: string): Condition {
  switch (match.kind) {
    case 'any':
      return always;
    case 'never':
      return never;
    case 'and':
      if (match.of.length === 0) throw invalid(policy, 'an empty list');
      return allOf(match.of.map((each) => compileMatch(each, reading, policy)).filter((each) => each !== always));
    case 'or':
      return compileAny(match.of, reading, policy);
    case 'not':
      return not(compileMatch(match.of, turned(reading), policy));
    case 'header':
      return rbacHeaders([match], reading);
    case 'destinationPort': {
      const { from, to } = match;
      return ({ localPort }) => localPort >= from && localPort <= to;
    }
    case 'sni':
      return serverName(match.match);
    case 'claim':
      return claimValue(match.path, match.value);
    default:
      return compileAlike([match], reading, policy);
  }
}

/** Of these, several of a kind are one look-up. */
const together: ReadonlySet<RbacMatch['kind']> = new Set<Together['kind']>([
  'authenticated',
  'destinationIp',
  'host',
  'path',
  'remoteIp',
  'requestPrincipal',
  'sourceIp',
  'template',
]);
type Together = Exclude<
  RbacMatch,
  { readonly kind: 'any' | 'never' | 'and' | 'or' | 'not' | 'header' | 'destinationPort' | 'sni' | 'claim' }
>;

/** One of several of the same kind has to match. */
function compileAlike(matches: readonly RbacMatch[], reading: RuleReading, policy: string): Condition {
  const [{ kind }] = matches as readonly [RbacMatch];
  const doubtMatches = reading.action === 'DENY';
  const all = <K extends Together['kind']>(_: K) => matches as readonly Extract<Together, { readonly kind: K }>[];
  switch (kind) {
    case 'host':
      return compileOperation({ hosts: all(kind).map(({ match }) => match) }, reading);
    case 'path':
      return compileOperation({ paths: all(kind).map(({ match }) => match) }, reading);
    case 'template':
      return compileOperation({ paths: all(kind).map(({ template }) => ({ kind, value: template })) }, reading);
    case 'destinationIp':
      return destinationAddresses(
        all(kind).map(({ block }) => block),
        doubtMatches,
      );
    case 'sourceIp':
      return compileSource({ ipBlocks: all(kind).map(({ block }) => block) }, reading);
    case 'remoteIp':
      return compileSource({ remoteIpBlocks: all(kind).map(({ block }) => block) }, reading);
    case 'requestPrincipal':
      return requestPrincipals(
        all(kind).map(({ match }) => match),
        doubtMatches,
      );
    case 'authenticated': {
      const names = all(kind).flatMap(({ match }) => match ?? []);
      if (names.length < matches.length) return ({ peer }) => peer !== undefined;
      if (doubtMatches) return named(names);
      const [simple, parts] = [names.filter((name) => !isOfParts(name)), names.filter(isOfParts)];
      if (parts.length === 0) return named(simple);
      const [bySimple, byParts] = [named(simple), named(parts)];
      return (facts, derived) => bySimple(facts, derived) || (hasParts(facts.peer) && byParts(facts, derived));
    }
    default:
      throw invalid(policy, `an unknown kind of match: ${String(kind)}`);
  }
}

function named(names: readonly StringMatch[]): Condition {
  const matcher = anyText(names);
  return ({ peer }) => peer !== undefined && matcher(peer.spiffeId);
}

/**
 * As istiod writes `namespaces` and `serviceAccounts`, whose parts Envoy then finds anywhere in an identity. To allow, only
 * an identity of Istio's form has such parts, as where policies come as YAML.
 */
function isOfParts(match: StringMatch): boolean {
  if (match.kind !== 'regex') return false;
  const { value } = match;
  return (
    (value.startsWith('.*/ns/') && value.endsWith('/.*')) ||
    (value.startsWith('spiffe://.+/ns/') && value.includes('/(.+/|)sa/') && value.endsWith('(/.+)?'))
  );
}

function hasParts(peer: Peer | undefined): boolean {
  return peer?.namespace !== undefined;
}

/** Without a server name the text is empty; a pattern may be for that. */
function serverName(match: StringMatch): Condition {
  const named = serverNames([match]);
  const nameless = match.kind !== 'present' && compileStringMatch(match)('');
  return nameless ? (facts, derived) => facts.sni === '' || named(facts, derived) : named;
}

/** What is excepted is read the other way round. */
export function turned(reading: RuleReading): RuleReading {
  return { ...reading, action: reading.action === 'DENY' ? 'ALLOW' : 'DENY' };
}

function invalid(policy: string, what: string): MeshError {
  return new MeshError('ERR_MESH_CONFIG_INVALID', `RBAC policy ${policy}: ${what}`);
}
