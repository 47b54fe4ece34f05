import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  IpBlock,
  PathPattern,
  StringMatch,
} from 'inmesh/model';
import { pack } from '../../src/proto/any.ts';
import type { Permission, Principal, Rbac, RbacPolicy } from '../../src/proto/envoy/rbac.ts';
import type { HttpRbac } from '../../src/proto/envoy/rbac-filters.ts';
import { uriTemplateMatchConfigSchema } from '../../src/proto/envoy/route-match.ts';
import type { Input } from '../../src/proto/schema.ts';

/**
 * AuthorizationPolicies as istiod hands them to a sidecar (pilot/pkg/security/authz): one RBAC filter for each action,
 * dry runs as its shadow rules. Only what Istio's YAML can say.
 */
export function istioFilters(policies: readonly AuthorizationPolicy[]): readonly Input<HttpRbac>[] {
  return (['AUDIT', 'DENY', 'ALLOW'] as const).flatMap((action) => {
    const own = policies.filter((policy) => policy.action === action);
    if (own.length === 0) return [];
    const rulesOf = (dryRun: boolean): Input<Rbac> | undefined => {
      const some = own.filter((policy) => (policy.dryRun === true) === dryRun);
      return some.length === 0
        ? undefined
        : { action: action === 'AUDIT' ? 'LOG' : action, policies: istioRules(some) };
    };
    return [{ rules: rulesOf(false), shadow_rules: rulesOf(true) }];
  });
}

/** The policies of one filter; `prefix` is that of CUSTOM ones. */
export function istioRules(policies: readonly AuthorizationPolicy[], prefix = ''): ReadonlyMap<string, RbacPolicy> {
  const all = new Map<string, Input<RbacPolicy>>();
  for (const { provenance, rules } of policies) {
    const name = (rule: number): string =>
      `${prefix}ns[${provenance.namespace}]-policy[${provenance.name}]-rule[${rule}]`;
    for (const [i, rule] of rules.entries()) all.set(name(i), istioPolicy(rule));
    if (rules.length === 0) {
      all.set(name(0), { permissions: [{ not_rule: { any: true } }], principals: [{ not_id: { any: true } }] });
    }
  }
  return all as ReadonlyMap<string, RbacPolicy>;
}

type P = Input<Permission>;
type I = Input<Principal>;

function istioPolicy({ from, to, when = [] }: AuthorizationRule): Input<RbacPolicy> {
  const permissions = (operation: AuthorizationOperation): P => {
    const rules = [...operationRules(operation), ...when.flatMap(whenPermissions)];
    return { and_rules: { rules: rules.length === 0 ? [{ any: true }] : rules } };
  };
  const principals = (source: AuthorizationSource): I => {
    const ids = [...sourceIds(source), ...when.flatMap(whenPrincipals)];
    return { and_ids: { ids: ids.length === 0 ? [{ any: true }] : ids } };
  };
  return {
    permissions: (to.length === 0 ? [{}] : to).map(permissions),
    principals: (from.length === 0 ? [{}] : from).map(principals),
  };
}

function anyRule<T>(list: readonly T[] | undefined, make: (value: T) => P, not = false): readonly P[] {
  if (list === undefined) return [];
  const or: P = { or_rules: { rules: list.map(make) } };
  return [not ? { not_rule: or } : or];
}

function anyId<T>(list: readonly T[] | undefined, make: (value: T) => I, not = false): readonly I[] {
  if (list === undefined) return [];
  const or: I = { or_ids: { ids: list.map(make) } };
  return [not ? { not_id: or } : or];
}

function operationRules(given: AuthorizationOperation): readonly P[] {
  const host = (match: StringMatch): P => ({
    header:
      match.kind === 'present'
        ? headerOf(':authority', match)
        : { name: ':authority', string_match: { ...text(match), ignore_case: true } },
  });
  const method = (match: StringMatch): P => ({ header: headerOf(':method', match) });
  const port = (number: number): P => ({ destination_port: number });
  return [
    ...anyRule(given.hosts, host),
    ...anyRule(given.notHosts, host, true),
    ...anyRule(given.methods, method),
    ...anyRule(given.notMethods, method, true),
    ...anyRule(given.paths, pathRule),
    ...anyRule(given.notPaths, pathRule, true),
    ...anyRule(given.ports, port),
    ...anyRule(given.notPorts, port, true),
  ];
}

function pathRule(pattern: PathPattern): P {
  if (pattern.kind !== 'template') return { url_path: { path: text(pattern) } };
  const config = pack(uriTemplateMatchConfigSchema, {
    path_template: pattern.value.replaceAll('{*}', '*').replaceAll('{**}', '**'),
  });
  return { uri_template: { name: 'uri-template', typed_config: config } };
}

function sourceIds(given: AuthorizationSource): readonly I[] {
  const named = (match: StringMatch): I => ({ authenticated: { principal_name: principalName(match) } });
  const inNamespace = (match: StringMatch): I => regexName(`.*/ns/${wild(match)}/.*`);
  const account = (name: string): I => {
    const [namespace, serviceAccount] = name.split('/');
    return regexName(`spiffe://.+/ns/${namespace}/(.+/|)sa/${serviceAccount}(/.+)?`);
  };
  const direct = (block: IpBlock): I => ({ direct_remote_ip: cidr(block) });
  const remote = (block: IpBlock): I => ({ remote_ip: cidr(block) });
  return [
    ...anyId(given.principals, named),
    ...anyId(given.notPrincipals, named, true),
    ...requestPrincipals(given.requestPrincipals, false),
    ...requestPrincipals(given.notRequestPrincipals, true),
    ...anyId(given.namespaces, inNamespace),
    ...anyId(given.notNamespaces, inNamespace, true),
    ...anyId(given.serviceAccounts, account),
    ...anyId(given.notServiceAccounts, account, true),
    ...anyId(given.remoteIpBlocks, remote),
    ...anyId(given.notRemoteIpBlocks, remote, true),
    ...anyId(given.ipBlocks, direct),
    ...anyId(given.notIpBlocks, direct, true),
  ];
}

const regexName = (regex: string): I => ({ authenticated: { principal_name: { safe_regex: { regex } } } });

function principalName(match: StringMatch): object {
  if (match.kind === 'present') return { safe_regex: { regex: '.+' } };
  if (match.kind === 'suffix') return { safe_regex: { regex: `spiffe://.*${match.value}` } };
  return match.kind === 'prefix' ? { prefix: `spiffe://${match.value}` } : { exact: `spiffe://${match.value}` };
}

function requestPrincipals(list: readonly StringMatch[] | undefined, not: boolean): readonly I[] {
  if (list === undefined) return [];
  const ids = list.map((match): I => {
    const { issuer, subject } = tokenParts(match);
    return { and_ids: { ids: [claim(['iss'], { string_match: issuer }), claim(['sub'], { string_match: subject })] } };
  });
  const either = ids.length === 1 ? (ids[0] as I) : { or_ids: { ids } };
  return [not ? { not_id: either } : either];
}

const anyText = { safe_regex: { regex: '.+' } };

function tokenParts(match: StringMatch): { readonly issuer: object; readonly subject: object } {
  if (match.kind === 'present') return { issuer: anyText, subject: anyText };
  const { kind, value } = match as { readonly kind: string; readonly value: string };
  const at = value.lastIndexOf('/');
  const [iss, sub] = at === -1 ? [value, ''] : [value.slice(0, at), value.slice(at + 1)];
  if (kind === 'suffix') {
    if (at === -1) return { issuer: anyText, subject: { suffix: value } };
    return { issuer: iss === '' ? anyText : { suffix: iss }, subject: { exact: sub } };
  }
  if (kind === 'prefix') {
    if (at === -1) return { issuer: { prefix: value }, subject: anyText };
    return { issuer: { exact: iss }, subject: sub === '' ? anyText : { prefix: sub } };
  }
  return { issuer: { exact: iss }, subject: { exact: sub } };
}

function claim(path: readonly string[], value: object): I {
  const segments = ['payload', ...path].map((key) => ({ key }));
  return { metadata: { filter: 'envoy.filters.http.jwt_authn', path: segments, value } };
}

function whenPermissions(when: AuthorizationCondition): readonly P[] {
  if (when.attribute === 'operation') return operationRules(when.operation);
  if (when.attribute === 'sni') {
    const named = (match: StringMatch): P => ({ requested_server_name: text(match) });
    return [...anyRule(when.values, named), ...anyRule(when.notValues, named, true)];
  }
  if (when.attribute !== 'destinationIp') return [];
  const range = (block: IpBlock): P => ({ destination_ip: cidr(block) });
  return [...anyRule(when.values, range), ...anyRule(when.notValues, range, true)];
}

function whenPrincipals(when: AuthorizationCondition): readonly I[] {
  if (when.attribute === 'source') return sourceIds(when.source);
  if (when.attribute === 'header') {
    const header = (match: StringMatch): I => ({ header: headerOf(when.name, match) });
    return [...anyId(when.values, header), ...anyId(when.notValues, header, true)];
  }
  if (when.attribute !== 'claim') return [];
  const claims = (values: readonly StringMatch[] | undefined, not: boolean): readonly I[] => {
    if (values === undefined) return [];
    const texts = values.map((match) => ({ string_match: text(match) }));
    const value = texts.length === 1 ? (texts[0] as object) : { or_match: { value_matchers: texts } };
    const found = claim(when.path, { or_match: { value_matchers: [{ list_match: { one_of: value } }, value] } });
    return [not ? { not_id: found } : found];
  };
  return [...claims(when.values, false), ...claims(when.notValues, true)];
}

function headerOf(name: string, match: StringMatch): object {
  return match.kind === 'present' ? { name, present_match: true } : { name, string_match: text(match) };
}

function text(match: StringMatch): object {
  if (match.kind === 'present') return anyText;
  return match.kind === 'regex' ? { safe_regex: { regex: match.value } } : { [match.kind]: match.value };
}

function wild(match: StringMatch): string {
  if (match.kind === 'present') return '.*';
  return match.kind === 'prefix' ? `${match.value}.*` : match.kind === 'suffix' ? `.*${match.value}` : match.value;
}

function cidr({ address, prefix }: IpBlock): object {
  return { address_prefix: address, prefix_len: prefix };
}
