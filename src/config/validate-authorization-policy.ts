import { isIP } from 'node:net';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import { type Targets, validateTargets } from './validate-targets.ts';
import { isCidr } from './values.ts';

type Texts = readonly string[];
type Fields = Readonly<Record<string, Texts | undefined>>;

interface Condition {
  readonly key: string;
  readonly values?: Texts;
  readonly notValues?: Texts;
}

interface Rule {
  readonly from?: readonly { readonly source: Fields }[];
  readonly to?: readonly { readonly operation: Fields }[];
  readonly when?: readonly Condition[];
}

export interface AuthorizationPolicySpec extends Targets {
  readonly action?: string;
  readonly provider?: { readonly name?: string };
  readonly rules?: readonly Rule[];
}

/** The rules of Istio's webhook for an AuthorizationPolicy. */
export function validateAuthorizationPolicy(
  resource: Resource<{ readonly spec?: AuthorizationPolicySpec }>,
  collector: Collector,
): void {
  const { spec = {} } = resource.body;
  const { action = 'ALLOW', provider, rules = [] } = spec;
  validateTargets(resource, spec, collector);
  if ((action === 'DENY' || action === 'CUSTOM') && rules.length === 0) {
    collector.problem(resource, ['spec'], `needs rules for the action ${action}: without any it never applies`);
  } else if (action === 'CUSTOM' && !provider?.name) {
    collector.problem(resource, ['spec'], 'needs provider.name for the action CUSTOM');
  }
  if (provider !== undefined && action !== 'CUSTOM') {
    collector.problem(resource, ['spec', 'provider'], `is only for the action CUSTOM, not for ${action}`);
  }
  validateRules(rules, action, resource, ['spec', 'rules'], collector);
}

/** The rules of Istio's webhook for `rules`, wherever they stand. */
export function validateRules(
  rules: readonly Rule[],
  action: string,
  resource: Resource,
  base: Path,
  collector: Collector,
): void {
  for (const [index, rule] of rules.entries()) {
    const path = [...base, index];
    for (const name of ['from', 'to'] as const) {
      // Istio reads it as absent, which means anybody and anything: hardly what its author thought.
      if (rule[name]?.length === 0) {
        collector.refuse(resource, [...path, name], 'must be a list with at least one entry, or absent', []);
      }
    }
    for (const [at, { source }] of (rule.from ?? []).entries()) {
      validateSource(source, action, resource, [...path, 'from', at, 'source'], collector);
    }
    for (const [at, { operation }] of (rule.to ?? []).entries()) {
      validateOperation(operation, resource, [...path, 'to', at, 'operation'], collector);
    }
    for (const [at, condition] of (rule.when ?? []).entries()) {
      validateCondition(condition, action, resource, [...path, 'when', at], collector);
    }
  }
}

const identities = ['principals', 'notPrincipals', 'namespaces', 'notNamespaces'];
/** What an external authorizer cannot be asked about. */
const notForCustom = [
  ...identities,
  'serviceAccounts',
  'notServiceAccounts',
  'trustDomains',
  'notTrustDomains',
  'requestPrincipals',
  'notRequestPrincipals',
];
const addresses = ['ipBlocks', 'notIpBlocks', 'remoteIpBlocks', 'notRemoteIpBlocks'];

function validateSource(source: Fields, action: string, resource: Resource, path: Path, collector: Collector): void {
  const set = setIn(source);
  if (set.length === 0) collector.problem(resource, path, 'must say something: an empty source is an error');
  const others = identities.filter((name) => set.includes(name));
  if ((set.includes('serviceAccounts') || set.includes('notServiceAccounts')) && others.length > 0) {
    collector.problem(resource, path, `service accounts cannot be combined with ${others.join(', ')}, as in Istio`);
  }
  for (const name of ['serviceAccounts', 'notServiceAccounts']) {
    each(source, name, path, (text, at) => void checkServiceAccount(text, resource, at, collector));
  }
  for (const name of ['trustDomains', 'notTrustDomains']) {
    each(source, name, path, (text, at) => {
      checkWildcard(text, resource, at, collector);
      if (text.includes('/')) collector.problem(resource, at, 'must be a trust domain, without /', text);
    });
  }
  for (const name of addresses)
    each(source, name, path, (text, at) => void checkAddress(text, resource, at, collector));
  if (action !== 'CUSTOM') return;
  for (const name of notForCustom.filter((field) => set.includes(field))) {
    collector.problem(resource, [...path, name], 'cannot be used with the action CUSTOM');
  }
}

function validateOperation(operation: Fields, resource: Resource, path: Path, collector: Collector): void {
  if (setIn(operation).length === 0) {
    collector.problem(resource, path, 'must say something: an empty operation is an error');
  }
  for (const name of ['ports', 'notPorts']) {
    each(operation, name, path, (text, at) => void checkPort(text, resource, at, collector));
  }
  for (const name of ['paths', 'notPaths']) {
    each(operation, name, path, (text, at) => {
      const wrong = wrongPath(text);
      if (wrong !== undefined) collector.problem(resource, at, wrong, text);
    });
  }
}

/** What a segment beside `{*}` and `{**}` may be made of: `pchar` of RFC 3986. */
const literalSegment = /^[-a-zA-Z0-9._~%!$&'()+,;:@=]+$/;

/** What is wrong with a path or path template; nothing when it is right. */
function wrongPath(text: string): string | undefined {
  const template = text.includes('{*}') || text.includes('{**}');
  let rest = false;
  for (const segment of text.replaceAll(/^\/+|\/+$/g, '').split('/')) {
    if (segment === '{*}' || segment === '{**}') {
      if (rest) return 'may have {**} only as the last operator of a path template';
      rest = segment === '{**}';
    } else if (/[{}]/.test(segment)) return 'may have braces only as the whole segments {*} and {**}';
    else if (template && !literalSegment.test(segment)) {
      return 'must have plain segments beside {*} and {**} in a path template: not empty, no *';
    }
  }
  return undefined;
}

/** Attributes whose key ends with a name in brackets. */
const bracketed = ['request.headers', 'request.auth.claims', 'experimental.envoy.filters.'];
const plain = new Set([
  'source.namespace',
  'source.principal',
  'source.serviceAccount',
  'source.trustDomain',
  'request.auth.principal',
  'request.auth.audiences',
  'request.auth.presenter',
  'connection.sni',
]);
const notForCustomKeys = new Set([
  'source.namespace',
  'source.principal',
  'source.serviceAccount',
  'source.trustDomain',
]);
const ofAddresses = new Set(['source.ip', 'remote.ip', 'destination.ip']);

function validateCondition(
  condition: Condition,
  action: string,
  resource: Resource,
  path: Path,
  collector: Collector,
): void {
  const { key, values = [], notValues = [] } = condition;
  const at = [...path, 'key'];
  if (key === '') {
    collector.problem(resource, at, 'must not be empty');
    return;
  }
  if (values.length === 0 && notValues.length === 0) {
    collector.problem(resource, path, 'needs values or notValues');
    return;
  }
  if (bracketed.some((prefix) => key.startsWith(prefix))) {
    const open = key.indexOf('[');
    if (!(key.endsWith(']') && open > 0 && open < key.length - 2)) {
      collector.problem(resource, at, 'must name the part in brackets, as request.headers[x-user]', key);
    }
  } else if (!plain.has(key) && !ofAddresses.has(key) && key !== 'destination.port') {
    collector.problem(resource, at, 'is not an attribute that Istio knows', key);
    return;
  }
  for (const name of ['values', 'notValues'] as const) {
    if (key === 'source.serviceAccount' && (condition[name] ?? []).length > 16) {
      collector.problem(resource, [...path, name], 'must be a list with at most 16 service accounts');
    }
    each({ values, notValues }, name, path, (text, place) => {
      if (text === '') collector.problem(resource, place, 'must not be empty');
      else if (ofAddresses.has(key)) checkAddress(text, resource, place, collector);
      else if (key === 'destination.port') checkPort(text, resource, place, collector);
      else if (key === 'source.trustDomain') checkWildcard(text, resource, place, collector);
      else if (key === 'source.serviceAccount') checkServiceAccount(text, resource, place, collector);
    });
  }
  if (action === 'CUSTOM' && (notForCustomKeys.has(key) || key.startsWith('request.auth.'))) {
    collector.problem(resource, at, 'cannot be used with the action CUSTOM', key);
  }
}

/** Names of the fields that have entries. */
function setIn(fields: Fields): Texts {
  return Object.keys(fields).filter((name) => (fields[name]?.length ?? 0) > 0);
}

function each(fields: Fields, name: string, path: Path, check: (text: string, path: Path) => void): void {
  for (const [index, text] of (fields[name] ?? []).entries()) check(text, [...path, name, index]);
}

function checkServiceAccount(text: string, resource: Resource, path: Path, collector: Collector): void {
  if (/^[^/*]+(\/[^/*]+)?$/.test(text) && Buffer.byteLength(text) <= 320) return;
  const message = 'must be <service account> or <namespace>/<service account>, without *, of at most 320 bytes';
  collector.problem(resource, path, message, text);
}

function checkWildcard(text: string, resource: Resource, path: Path, collector: Collector): void {
  const star = text.indexOf('*');
  if (text !== '' && (star <= 0 || star === text.length - 1) && star === text.lastIndexOf('*')) return;
  collector.problem(resource, path, 'may have one * at its beginning or end', text);
}

function checkAddress(text: string, resource: Resource, path: Path, collector: Collector): void {
  // Go takes any text for the zone of an IPv6 address, Node.js only some.
  const zone = /^([^%/]*)%[^/]+$/.exec(text);
  if (zone !== null && isIP(zone[1] as string) === 6) return;
  if (text.includes('/') ? isCidr(text) && !text.includes('%') : isIP(text) !== 0) return;
  collector.problem(resource, path, 'must be an IP address or a range such as 10.0.0.0/8', text);
}

function checkPort(text: string, resource: Resource, path: Path, collector: Collector): void {
  if (/^[0-9]+$/.test(text) && Number(text) <= 65_535) return;
  collector.problem(resource, path, 'must be a port from 1 to 65535', text);
}
