import type { AuthorizationFacts, RuleReading } from '../authz/facts.ts';
import { nothingDerived } from '../authz/facts.ts';
import { compileOperation } from '../authz/operation.ts';
import { compileRule } from '../authz/rule.ts';
import { compileSource } from '../authz/source.ts';
import { compileWhen } from '../authz/when.ts';
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
} from '../model/authorization.ts';
import { consulServiceOf } from '../model/consul-service-id.ts';
import { fromBytes } from './header-view.ts';
import type { PassedOver } from './result.ts';

/** More rules are not gone into. */
const maxRules = 20;

/** Rules that do not match a request, with the conditions that do not hold. */
export function whyNot(
  policies: readonly AuthorizationPolicy[],
  reading: RuleReading,
  facts: AuthorizationFacts,
): readonly PassedOver[] {
  const passedOver: PassedOver[] = [];
  for (const { action, provenance, rules } of policies) {
    const name = `${provenance.kind} ${provenance.namespace}/${provenance.name}`;
    if (rules.length === 0 && action === 'ALLOW') {
      const reasons = ['has no rules, so it matches nothing'];
      passedOver.push({ rule: name, at: provenance, reasons });
    }
    for (const [index, rule] of rules.entries()) {
      if (passedOver.length >= maxRules) return passedOver;
      if (compileRule(rule, reading)(facts, nothingDerived())) continue;
      const reasons = reasonsOf(rule, reading, facts);
      passedOver.push({ rule: `${name} rules[${index}]`, at: provenance, reasons });
    }
  }
  return passedOver;
}

function reasonsOf(rule: AuthorizationRule, reading: RuleReading, facts: AuthorizationFacts): readonly string[] {
  const sources = rule.from.map((source) => failing('source', source, compileSource, reading, facts));
  const operations = rule.to.map((operation) => failing('operation', operation, compileOperation, reading, facts));
  return [
    ...alternatives('from', sources),
    ...alternatives('to', operations),
    ...(rule.when ?? []).flatMap((condition, index) => {
      if (compileWhen(condition, reading)(facts, nothingDerived())) return [];
      return [`when[${index}] ${describeCondition(condition, facts)}`];
    }),
    ...exceptions(rule, reading, facts),
  ];
}

/** What is excepted, and matches. */
function exceptions(
  { unless = [] }: AuthorizationRule,
  reading: RuleReading,
  facts: AuthorizationFacts,
): readonly string[] {
  const turned: RuleReading = { ...reading, action: reading.action === 'DENY' ? 'ALLOW' : 'DENY' };
  return unless.flatMap((exception, index) =>
    compileRule(exception, turned)(facts, nothingDerived())
      ? [`unless[${index}]: a source or a permission that goes before it matches`]
      : [],
  );
}

/** Of several one must hold: when none does, each says why. */
function alternatives(name: string, found: readonly (readonly string[])[]): readonly string[] {
  if (found.length === 0 || found.some((reasons) => reasons.length === 0)) return [];
  return found.flatMap((reasons, index) => reasons.map((reason) => `${name}[${index}].${reason}`));
}

type Fields = AuthorizationSource & AuthorizationOperation;

/** The fields of a source or an operation that do not hold. */
function failing<T extends Fields>(
  name: string,
  given: T,
  compile: (
    one: T,
    reading: RuleReading,
  ) => (facts: AuthorizationFacts, derived: ReturnType<typeof nothingDerived>) => boolean,
  reading: RuleReading,
  facts: AuthorizationFacts,
): readonly string[] {
  const reasons: string[] = [];
  for (const [field, list] of Object.entries(given) as readonly (readonly [string, readonly unknown[] | undefined])[]) {
    if (list === undefined) continue;
    if (compile({ [field]: list } as unknown as T, reading)(facts, nothingDerived())) continue;
    reasons.push(`${name}.${field}: ${relation(field, factOf(positive(field), facts), list)}`);
  }
  return reasons;
}

/** `notPaths` is about paths. */
function positive(field: string): string {
  return field.startsWith('not') ? field.charAt(3).toLowerCase() + field.slice(4) : field;
}

function relation(field: string, fact: string, list: readonly unknown[]): string {
  const values = list.slice(0, 5).map(describeValue).join(', ');
  const more = list.length > 5 ? ` and ${list.length - 5} more` : '';
  return `${fact} is ${field.startsWith('not') ? '' : 'not '}among ${values}${more}`;
}

function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const { address, kind, name, namespace, prefix, value: text } = value as Readonly<Record<string, unknown>>;
  if (address !== undefined) return `${String(address)}/${String(prefix)}`;
  if (namespace !== undefined) return JSON.stringify(`${String(namespace)}/${String(name)}`);
  switch (kind) {
    case 'present':
      return '"*"';
    case 'prefix':
      return JSON.stringify(`${String(text)}*`);
    case 'suffix':
      return JSON.stringify(`*${String(text)}`);
    default:
      return JSON.stringify(text);
  }
}

/** What the request has for a field. */
function factOf(field: string, facts: AuthorizationFacts): string {
  const { claims, host, localPort, method, path, peer, remoteAddress, sourceAddress } = facts;
  switch (field) {
    case 'principals':
      return peer === undefined ? noIdentity : shown(peer.spiffeId.slice('spiffe://'.length));
    case 'namespaces':
      return peer === undefined ? noIdentity : shown(peer.namespace);
    case 'serviceAccounts':
      if (peer === undefined) return noIdentity;
      return shown(peer.namespace === undefined ? undefined : `${peer.namespace}/${peer.serviceAccount}`);
    case 'services':
      return peer === undefined ? noIdentity : describeService(peer.spiffeId);
    case 'trustDomains':
      return peer === undefined ? noIdentity : shown(peer.trustDomain);
    case 'requestPrincipals':
      return claims === undefined ? noToken : shown(`${String(claims['iss'])}/${String(claims['sub'])}`);
    case 'ipBlocks':
      return sourceAddress ?? 'an address that is not known (from.ip)';
    case 'remoteIpBlocks':
      return remoteAddress ?? 'an address that is not known (from.ip)';
    case 'methods':
      return shown(method);
    case 'paths':
      return shown(path);
    case 'hosts':
      return host === '' ? 'no host' : shown(host);
    case 'ports':
      return String(localPort);
    default:
      return 'the value';
  }
}

/** In words of Consul, whose identity it may not be. */
function describeService(spiffeId: string): string {
  const id = consulServiceOf(spiffeId);
  return id === undefined ? 'a caller without an identity of Consul' : shown(`${id.namespace}/${id.service}`);
}

const noIdentity = 'a caller without an identity';
const noToken = 'a request without a verified token';
/** What an explanation must not repeat. */
const secret = /authorization|cookie|token|secret|passw|api-?key|credential/i;

function describeCondition(condition: AuthorizationCondition, facts: AuthorizationFacts): string {
  switch (condition.attribute) {
    case 'source':
    case 'operation': {
      const fields = condition.attribute === 'source' ? condition.source : condition.operation;
      const parts = Object.entries(fields as Fields).map(([field, list]) =>
        relation(field, factOf(positive(field), facts), list as readonly unknown[]),
      );
      return `${Object.keys(fields).map(positive)[0] ?? ''}: ${parts.join('; ')}`;
    }
    case 'header':
      return `request.headers[${condition.name}]: ${valuesOf(condition, headerFact(condition.name, facts))}`;
    case 'claim': {
      const fact = facts.claims === undefined ? noToken : claimFact(condition.path, facts.claims);
      return `request.auth.claims${condition.path.map((name) => `[${name}]`).join('')}: ${valuesOf(condition, fact)}`;
    }
    case 'sni':
      return `connection.sni: ${valuesOf(condition, facts.sni === '' ? 'no server name' : shown(facts.sni))}`;
    case 'destinationIp':
      return `destination.ip: ${valuesOf(condition, facts.destinationAddress ?? 'an address that is not known (to.ip)')}`;
  }
}

function valuesOf(
  { notValues, values }: { readonly values?: readonly unknown[]; readonly notValues?: readonly unknown[] },
  fact: string,
): string {
  const parts: string[] = [];
  if (values !== undefined) parts.push(relation('values', fact, values));
  if (notValues !== undefined)
    parts.push(`${relation('notValues', fact, notValues)}${values === undefined ? '' : ' (notValues)'}`);
  return parts.join(', or ');
}

function headerFact(name: string, { host, method, rawHeaders }: AuthorizationFacts): string {
  if (name === ':method') return shown(method);
  if (name === ':authority' || name === 'host') return shown(host);
  const values: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if ((rawHeaders[i] as string).toLowerCase() === name) values.push(fromBytes(rawHeaders[i + 1] as string));
  }
  if (values.length === 0) return 'a header that is absent';
  return secret.test(name) ? 'its value' : values.map(shown).join(' and ');
}

function claimFact(path: readonly string[], claims: Readonly<Record<string, unknown>>): string {
  let at: unknown = claims;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name))
      return 'a claim that is absent';
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return shown(at);
}

/** At most so much of a value of the request is repeated, in characters. */
const maxShown = 120;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= maxShown ? text : `${text.slice(0, maxShown)}…`;
}
