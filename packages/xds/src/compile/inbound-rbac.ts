import type { Provenance, RbacMatch, RbacPolicy, RbacRules, StringMatch } from 'inmesh/model';
import { type Any, sameAny } from '../proto/any.ts';
import type { StringMatcher } from '../proto/envoy/matchers.ts';
import type { Permission, RbacPolicy as Policy, Principal, Rbac } from '../proto/envoy/rbac.ts';
import { httpRbacSchema, networkRbacSchema } from '../proto/envoy/rbac-filters.ts';
import { uriTemplateMatchConfigSchema } from '../proto/envoy/route-match.ts';
import type { FilterStateMatcher, MetadataMatcher, PathMatcher } from '../proto/envoy/value-matchers.ts';
import type { Steps } from '../turns.ts';
import { contentOf, keepContent } from './content.ts';
import { filledTextMatch, headerMatch, ipBlock, valueMatcher } from './inbound-matchers.ts';
import { requestPrincipal } from './inbound-request-principal.ts';
import { below, cannot, type Place, unpackFilter, wrong } from './inbound-unpack.ts';
import { stringMatchOf } from './string-matchers.ts';

/** What a filter says, and what is there to be matched. */
export interface RbacContext {
  /** Of the filter; that of policies of Istio is read from their names. */
  readonly provenance: Provenance;
  /** Name of the metadata in which the claims of tokens are (`payload_in_metadata`); nothing where no token is read. */
  readonly payload: string | undefined;
  /** A network filter: there are no requests yet. */
  readonly connections?: boolean;
}

const actions: readonly unknown[] = ['ALLOW', 'DENY', 'LOG'];

/** What a filter with policies says. */
export interface ReadRbac {
  readonly rules: RbacRules | undefined;
  readonly shadow: RbacRules | undefined;
  readonly shadowStatPrefix: string;
}

/** Reads filters with policies, of requests or of connections. @throws ResourceError for what cannot be decided as Envoy does */
export type RbacReader = (packed: Any | undefined, context: RbacContext, place: Place) => Steps<ReadRbac>;

const harmlessHttp = ['track_per_rule_stats', 'rules_stat_prefix', 'audit_logging_options'];
const harmlessNetwork = ['stat_prefix', 'enforcement_type', 'delay_deny', 'audit_logging_options'];

/** The chains of a listener have the same filters again and again: of each that is the same, byte by byte, one is read. */
export function createRbacReader(): RbacReader {
  const known: { readonly packed: Any; readonly context: RbacContext; readonly read: ReadRbac }[] = [];
  const isKnown =
    (packed: Any, { connections, payload }: RbacContext) =>
    (each: (typeof known)[number]) =>
      each.context.payload === payload && each.context.connections === connections && sameAny(each.packed, packed);
  return function* (packed, context, place) {
    const before = packed && known.find(isKnown(packed, context));
    if (before !== undefined) return before.read;
    const filter =
      context.connections === true
        ? unpackFilter(networkRbacSchema, packed, place, { harmless: harmlessNetwork })
        : unpackFilter(httpRbacSchema, packed, place, { harmless: harmlessHttp });
    yield;
    const shadow =
      filter.shadow_rules && (yield* rbacRules(filter.shadow_rules, context, below(place, 'shadow_rules')));
    const rules = filter.rules && (yield* rbacRules(filter.rules, context, below(place, 'rules')));
    const read = { rules, shadow, shadowStatPrefix: filter.shadow_rules_stat_prefix };
    if (packed !== undefined) known.push({ packed, context, read });
    return read;
  };
}

/** Envoy's `config.rbac.v3.RBAC`. @throws ResourceError for what cannot be decided as Envoy does */
export function* rbacRules({ action, policies }: Rbac, context: RbacContext, place: Place): Steps<RbacRules> {
  if (!actions.includes(action)) throw wrong(place, 'action', 'expected ALLOW, DENY or LOG', action);
  const read: { readonly key: Buffer; readonly policy: RbacPolicy; readonly content: string }[] = [];
  for (const [name, given] of policies) {
    const policy = policyOf(name, given, context, below(place, `policies[${JSON.stringify(name)}]`));
    read.push({ key: Buffer.from(name), policy, content: contentOf(policy) });
    if ((read.length & 31) === 0) yield;
  }
  read.sort((a, b) => Buffer.compare(a.key, b.key));
  const sorted = read.map(({ policy }) => policy);
  keepContent(sorted, () => read.map(({ content }) => content));
  return { action: action as RbacRules['action'], policies: sorted };
}

function policyOf(name: string, policy: Policy | undefined, context: RbacContext, at: Place): RbacPolicy {
  const permissions = policy?.permissions ?? [];
  const principals = policy?.principals ?? [];
  if (permissions.length === 0) throw wrong(at, 'permissions', 'expected at least one');
  if (principals.length === 0) throw wrong(at, 'principals', 'expected at least one');
  return {
    name,
    ...originOf(name, context.provenance),
    permissions: permissions.map((each, i) => permission(each, context, below(at, `permissions[${i}]`))),
    principals: principals.map((each, i) => principal(each, context, below(at, `principals[${i}]`))),
  };
}

const istioName = /(?:^|-)ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d{1,6})\]/;

function originOf(name: string, filter: Provenance): Pick<RbacPolicy, 'provenance' | 'rule'> {
  const [, namespace, policy, rule] = istioName.exec(name) ?? [];
  if (namespace === undefined || policy === undefined) return { provenance: { ...filter, field: name }, rule: 0 };
  return { provenance: { kind: 'AuthorizationPolicy', namespace, name: policy }, rule: Number(rule) };
}

function permission(given: Permission, context: RbacContext, place: Place): RbacMatch {
  const all = (rules: readonly Permission[], field: string): readonly RbacMatch[] =>
    several(rules, below(place, field), (each, at) => permission(each, context, at));
  if (given.and_rules !== undefined) return { kind: 'and', of: all(given.and_rules.rules, 'and_rules.rules') };
  if (given.or_rules !== undefined) return { kind: 'or', of: all(given.or_rules.rules, 'or_rules.rules') };
  if (given.not_rule !== undefined)
    return { kind: 'not', of: permission(given.not_rule, context, below(place, 'not_rule')) };
  if (given.any === true) return { kind: 'any' };
  if (given.header !== undefined) return header(given, context, place);
  if (given.url_path !== undefined) return urlPath(given.url_path, context, below(place, 'url_path'));
  if (given.destination_ip !== undefined) {
    return { kind: 'destinationIp', block: ipBlock(given.destination_ip, below(place, 'destination_ip')) };
  }
  if (given.destination_port !== undefined) {
    return { kind: 'destinationPort', from: given.destination_port, to: given.destination_port };
  }
  if (given.destination_port_range !== undefined) {
    const { end, start } = given.destination_port_range;
    if (!(start >= 0 && end > start && end <= 65_536)) {
      throw wrong(
        place,
        'destination_port_range',
        'expected ports from start up to and without end',
        `${start}-${end}`,
      );
    }
    return { kind: 'destinationPort', from: start, to: end - 1 };
  }
  if (given.requested_server_name !== undefined) {
    return { kind: 'sni', match: filledTextMatch(given.requested_server_name, below(place, 'requested_server_name')) };
  }
  if (given.metadata !== undefined) return metadata(given.metadata, context, below(place, 'metadata'));
  if (given.uri_template !== undefined) {
    const at = below(place, 'uri_template.typed_config');
    requests(context, at);
    return {
      kind: 'template',
      template: template(
        unpackFilter(uriTemplateMatchConfigSchema, given.uri_template.typed_config, at, { harmless: [] }).path_template,
        at,
      ),
    };
  }
  throw cannot(place, '', 'expected a permission that can be decided here', given.matcher?.name ?? given.any);
}

function principal(given: Principal, context: RbacContext, place: Place): RbacMatch {
  const all = (ids: readonly Principal[], field: string): readonly RbacMatch[] =>
    several(ids, below(place, field), (each, at) => principal(each, context, at));
  if (given.and_ids !== undefined) {
    const of = all(given.and_ids.ids, 'and_ids.ids');
    return requestPrincipal(of) ?? { kind: 'and', of };
  }
  if (given.or_ids !== undefined) return { kind: 'or', of: all(given.or_ids.ids, 'or_ids.ids') };
  if (given.not_id !== undefined) return { kind: 'not', of: principal(given.not_id, context, below(place, 'not_id')) };
  if (given.any === true) return { kind: 'any' };
  if (given.authenticated !== undefined) {
    const { principal_name: name } = given.authenticated;
    if (name === undefined) return { kind: 'authenticated' };
    return { kind: 'authenticated', match: principalMatch(name, below(place, 'authenticated.principal_name')) };
  }
  if (given.header !== undefined) return header(given, context, place);
  if (given.url_path !== undefined) return urlPath(given.url_path, context, below(place, 'url_path'));
  if (given.metadata !== undefined) return metadata(given.metadata, context, below(place, 'metadata'));
  if (given.filter_state !== undefined) return filterState(given.filter_state, below(place, 'filter_state'));
  for (const field of ['direct_remote_ip', 'source_ip'] as const) {
    const range = given[field];
    if (range !== undefined) return { kind: 'sourceIp', block: ipBlock(range, below(place, field)) };
  }
  if (given.remote_ip !== undefined) {
    return { kind: 'remoteIp', block: ipBlock(given.remote_ip, below(place, 'remote_ip')) };
  }
  throw cannot(place, '', 'expected a principal that can be decided here', given.any);
}

function several<T>(list: readonly T[], place: Place, read: (item: T, at: Place) => RbacMatch): readonly RbacMatch[] {
  if (list.length === 0) throw wrong(place, '', 'expected at least one');
  return list.map((item, i) => read(item, { ...place, path: `${place.path}[${i}]` }));
}

function header(given: Pick<Permission, 'header'>, context: RbacContext, place: Place): RbacMatch {
  const at = below(place, 'header');
  requests(context, at);
  const read = headerMatch(given.header as NonNullable<Permission['header']>, at);
  const matcher = given.header?.string_match;
  // How istiod writes `hosts`: names of hosts have no case, and no port unless one is said.
  if (read.name === ':authority' && read.invert !== true && read.absentIsEmpty !== true) {
    if (read.match.kind === 'present') return { kind: 'host', match: read.match };
    if (matcher?.ignore_case === true && matcher.safe_regex === undefined && matcher.contains === undefined) {
      return { kind: 'host', match: stringMatchOf({ ...matcher, ignore_case: false }, below(at, 'string_match').path) };
    }
  }
  return read;
}

function urlPath({ path }: PathMatcher, context: RbacContext, place: Place): RbacMatch {
  requests(context, place);
  return { kind: 'path', match: filledTextMatch(path, below(place, 'path')) };
}

/**
 * Envoy's template in Istio's words: `*` and `{name}` stand for one segment, `**` and `{name=**}` for the rest. Patterns
 * within braces are refused.
 */
function template(text: string, place: Place): string {
  const segments = text
    .split('/')
    .slice(1)
    .map((segment) => segmentWords.get(segment.replace(/^\{\w{1,16}(?:=(\*\*?))?\}$/, bare)) ?? segment);
  const rest = segments.indexOf('{**}');
  const after = rest === -1 ? [] : segments.slice(rest + 1);
  const plain = segments.every((segment) => segment === '{*}' || segment === '{**}' || !/[{}*]/.test(segment));
  if (!text.startsWith('/') || !plain || after.some((segment) => segment.startsWith('{'))) {
    throw cannot(place, 'path_template', 'expected a template of texts, * and one **', text);
  }
  return `/${segments.join('/')}`;
}

const bare = (_: string, inner = '*'): string => inner;
const segmentWords: ReadonlyMap<string, string> = new Map([
  ['*', '{*}'],
  ['**', '{**}'],
]);

/** Where the claims of a verified token are; what nobody sets is not there, and matches nothing (gRFC A41). */
function metadata({ filter, invert, path, value }: MetadataMatcher, context: RbacContext, place: Place): RbacMatch {
  const keys = path.map(({ key = '' }) => key);
  if (keys.length === 0) throw wrong(place, 'path', 'expected at least one segment');
  const of = valueMatcher(value, below(place, 'value'));
  const known =
    (filter === 'envoy.filters.http.jwt_authn' && context.payload !== undefined && keys[0] === context.payload) ||
    (filter === 'istio_authn' && context.payload !== undefined && keys[0] === 'request.auth.claims');
  if (known && keys.length === 1) throw cannot(place, 'path', 'expected the name of a claim', keys);
  if (filter === 'istio_authn' && context.payload !== undefined && !known) {
    throw cannot(place, 'path', 'expected request.auth.claims', keys);
  }
  const match: RbacMatch = known ? { kind: 'claim', path: keys.slice(1), value: of } : { kind: 'never' };
  return invert ? { kind: 'not', of: match } : match;
}

/** As Istio hands the identity of the peer on where it is not of the connection. */
function filterState({ key, string_match: match }: FilterStateMatcher, place: Place): RbacMatch {
  if (key !== 'io.istio.peer_principal') throw cannot(place, 'key', 'expected io.istio.peer_principal', key);
  return { kind: 'authenticated', match: principalMatch(match, below(place, 'string_match')) };
}

/** istiod writes the principal `*.local/ns/shop` as a regular expression and leaves its dots as they are; they are meant as dots. */
const endsWith = /^spiffe:\/\/\.\*([\w./~-]+)$/;

function principalMatch(matcher: StringMatcher | undefined, place: Place): StringMatch {
  const match = filledTextMatch(matcher, place);
  const end = match.kind === 'regex' ? endsWith.exec(match.value)?.[1] : undefined;
  return end === undefined ? match : { kind: 'suffix', value: end };
}

function requests({ connections }: RbacContext, place: Place): void {
  if (connections === true) throw cannot(place, '', 'a connection has no requests to look at');
}
