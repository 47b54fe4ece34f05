// A second evaluator of AuthorizationPolicies, written from Istio's reference and the differences that
// docs/reference/configuration.md tells of: straight loops, no index, nothing compiled, no code of
// src/. Paths are read literally.
import type { AuthorizationFacts } from '../../src/authz/rule.ts';
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  IpBlock,
  PathPattern,
  ServiceMatch,
} from '../../src/model/authorization.ts';
import type { StringMatch } from '../../src/model/string-match.ts';

export interface NaiveAnswer {
  readonly allowed: boolean;
  /** Name of the policy whose rule decided, and the rule's position. */
  readonly by?: readonly [policy: string, rule: number];
}

/** DENY first, then ALLOW; without ALLOW policies all else passes. Dry runs, AUDIT and CUSTOM have no say. */
export function naiveAnswer(policies: readonly AuthorizationPolicy[], facts: AuthorizationFacts): NaiveAnswer {
  for (const action of ['DENY', 'ALLOW'] as const) {
    for (const policy of policies) {
      if (policy.action !== action || policy.dryRun === true) continue;
      for (let i = 0; i < policy.rules.length; i++) {
        const rule = policy.rules[i] as AuthorizationRule;
        if (ruleHolds(rule, facts, action === 'DENY')) {
          return { allowed: action === 'ALLOW', by: [policy.provenance.name, i] };
        }
      }
    }
  }
  return { allowed: !policies.some(({ action, dryRun }) => action === 'ALLOW' && dryRun !== true) };
}

function ruleHolds(rule: AuthorizationRule, facts: AuthorizationFacts, inDoubt: boolean): boolean {
  if (rule.from.length > 0 && !rule.from.some((source) => sourceHolds(source, facts, inDoubt))) return false;
  if (rule.to.length > 0 && !rule.to.some((operation) => operationHolds(operation, facts))) return false;
  if (!(rule.when ?? []).every((when) => conditionHolds(when, facts, inDoubt))) return false;
  return !(rule.unless ?? []).some((exception) => ruleHolds(exception, facts, !inDoubt));
}

/** One of the values, and none of the others; a list that is absent says nothing. */
function both<T>(
  yes: readonly T[] | undefined,
  no: readonly T[] | undefined,
  holds: (list: readonly T[], inDoubt: boolean) => boolean,
  inDoubt: boolean,
): boolean {
  return (yes === undefined || holds(yes, inDoubt)) && (no === undefined || !holds(no, !inDoubt));
}

function sourceHolds(source: AuthorizationSource, facts: AuthorizationFacts, inDoubt: boolean): boolean {
  const { peer } = facts;
  const principal = peer?.spiffeId.replace('spiffe://', '');
  // Of an identity of another form Istio's own patterns, but only to refuse.
  const odd = peer !== undefined && peer.namespace === undefined ? peer.spiffeId : undefined;
  const namespaces = (list: readonly StringMatch[], doubt: boolean): boolean => {
    const named = [...(odd ?? '').matchAll(/(?<=\/ns\/)[^/]+(?=\/)/g)].map(([name]) => name);
    const names = odd === undefined ? [peer?.namespace ?? []].flat() : doubt ? named : [];
    return names.some((name) => of(name)(list));
  };
  const accounts = (list: readonly string[], doubt: boolean): boolean =>
    list.some((each) => {
      if (odd === undefined) return each === `${peer?.namespace}/${peer?.serviceAccount}`;
      const [namespace, account] = each.split('/');
      return doubt && new RegExp(`^spiffe://.+/ns/${namespace}/(.+/|)sa/${account}(/.+)?$`).test(odd);
    });
  const of = (text: string | undefined) => (list: readonly StringMatch[]) =>
    text !== undefined && list.some((match) => textFits(match, text));
  const from = (address: string | undefined) => (blocks: readonly IpBlock[], doubt: boolean) =>
    address === undefined ? doubt : blocks.some((block) => isInBlock(block, address));
  return (
    both(source.principals, source.notPrincipals, of(principal), inDoubt) &&
    both(source.namespaces, source.notNamespaces, namespaces, inDoubt) &&
    both(source.trustDomains, source.notTrustDomains, of(peer?.trustDomain), inDoubt) &&
    both(source.serviceAccounts, source.notServiceAccounts, accounts, inDoubt) &&
    both(
      source.requestPrincipals,
      source.notRequestPrincipals,
      (list, doubt) => list.some((match) => tokenFits(match, facts.claims, doubt)),
      inDoubt,
    ) &&
    (source.services === undefined || source.services.some((match) => serviceFits(match, peer?.spiffeId))) &&
    both(source.ipBlocks, source.notIpBlocks, from(facts.sourceAddress), inDoubt) &&
    both(source.remoteIpBlocks, source.notRemoteIpBlocks, from(facts.remoteAddress), inDoubt)
  );
}

function operationHolds(operation: AuthorizationOperation, facts: AuthorizationFacts): boolean {
  const { host, localPort, method, path } = facts;
  const { hosts, methods, notHosts, notMethods, notPaths, notPorts, paths, ports } = operation;
  const hostsFit = (list: readonly StringMatch[]): boolean => host !== '' && list.some((each) => hostFits(each, host));
  return (
    both(ports, notPorts, (list) => list.includes(localPort), false) &&
    both(methods, notMethods, (list) => list.some((match) => textFits(match, method)), false) &&
    both(hosts, notHosts, hostsFit, false) &&
    both(paths, notPaths, (list) => list.some((pattern) => pathFits(pattern, path)), false)
  );
}

function conditionHolds(when: AuthorizationCondition, facts: AuthorizationFacts, inDoubt: boolean): boolean {
  switch (when.attribute) {
    case 'source':
      return sourceHolds(when.source, facts, inDoubt);
    case 'operation':
      return operationHolds(when.operation, facts);
    case 'header':
      return both(when.values, when.notValues, (list, doubt) => headerFits(when.name, list, facts, doubt), inDoubt);
    case 'claim': {
      const texts = textsOfClaim(facts.claims, when.path);
      const fits = (list: readonly StringMatch[]): boolean =>
        list.some((match) => texts.some((text) => textFits(match, text)));
      return both(when.values, when.notValues, fits, inDoubt);
    }
    case 'sni': {
      const fits = (list: readonly StringMatch[]): boolean =>
        facts.sni !== '' && list.some((match) => textFits(match, facts.sni.toLowerCase()));
      return both(when.values, when.notValues, fits, inDoubt);
    }
    case 'destinationIp': {
      const address = facts.destinationAddress;
      const fits = (blocks: readonly IpBlock[], doubt: boolean): boolean =>
        address === undefined ? doubt : blocks.some((block) => isInBlock(block, address));
      return both(when.values, when.notValues, fits, inDoubt);
    }
  }
}

function textFits(match: StringMatch, text: string): boolean {
  if (match.kind === 'present') return true;
  if (match.kind === 'exact') return text === match.value;
  if (match.kind === 'prefix') return text.indexOf(match.value) === 0;
  if (match.kind === 'suffix')
    return text.length >= match.value.length && text.slice(-match.value.length) === match.value;
  return new RegExp(`^(?:${match.value})$`, 's').test(text);
}

/** Case and a final dot do not count; an entry without a port is for all ports. */
function hostFits(match: StringMatch, host: string): boolean {
  const [, rawName = '', port = ''] = /^(.*?)(:\d+)?$/.exec(host.toLowerCase()) ?? [];
  const name = rawName.replace(/(.)\.$/, '$1');
  if (match.kind === 'present') return name !== '';
  if (match.kind === 'regex') {
    const regex = new RegExp(`^(?:${match.value})$`, 'si');
    return regex.test(name) || regex.test(name + port);
  }
  const lower = { kind: match.kind, value: match.value.toLowerCase() };
  if (lower.kind !== 'prefix') lower.value = lower.value.replace(/(.)\.(:\d*)?$/, '$1$2');
  if (lower.kind === 'prefix') return textFits(lower, name) || textFits(lower, name + port);
  return textFits(lower, /:\d*$/.test(lower.value) ? name + port : name);
}

function pathFits(pattern: PathPattern, path: string): boolean {
  if (pattern.kind !== 'template') return textFits(pattern, path);
  const character = '[!-.0-Z\\\\^-~]';
  const parts = pattern.value.split(/(\{\*\*\}|\{\*\})/).map((part) => {
    if (part === '{*}') return `${character}+`;
    if (part === '{**}') return `(?:${character}|/)*`;
    return part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`).test(path);
}

/** To refuse one line is enough; to allow all of them have to fit. */
function headerFits(
  name: string,
  list: readonly StringMatch[],
  { host, method, rawHeaders }: AuthorizationFacts,
  inDoubt: boolean,
): boolean {
  const fits = (text: string): boolean => list.some((match) => textFits(match, text));
  if (name === ':method') return fits(method);
  if (name === 'host' || name === ':authority') {
    return host !== '' && (fits(host) || (inDoubt && list.some((match) => hostFits(match, host))));
  }
  if (['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding'].includes(name)) return false;
  if (name === 'te' && !inDoubt) return false;
  const lines = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
  if (lines.length === 0) return false;
  if (!inDoubt) return lines.every(fits);
  // Applications see one list, or one header of cookies.
  const joined = (name === 'cookie' ? ['; '] : [', ', ',']).map((joiner) => lines.join(joiner));
  return [...lines, ...joined].some(fits);
}

function textsOfClaim(claims: AuthorizationFacts['claims'], path: readonly string[]): readonly string[] {
  let at: unknown = claims;
  for (const name of path) {
    const isMap = typeof at === 'object' && at !== null && !Array.isArray(at);
    at = isMap && Object.keys(at as object).includes(name) ? (at as Record<string, unknown>)[name] : undefined;
  }
  return (Array.isArray(at) ? at : [at]).filter((each) => typeof each === 'string' && each !== '');
}

function serviceFits({ name, namespace, partition, trustDomains }: ServiceMatch, id = ''): boolean {
  const word = (text: string): string => (text === '*' ? '[^/]+' : text);
  const ap = partition === 'default' ? '' : `/ap/${partition}`;
  const rest = `${ap}/ns/${word(namespace)}/dc/[^/]+/svc/${word(name)}`;
  return trustDomains.some((domain) => new RegExp(`^spiffe://${domain.replaceAll('.', '[.]')}${rest}$`).test(id));
}

/** `<iss>/<sub>`: issuer and subject by themselves; to refuse, the text as a whole too. */
function tokenFits(match: StringMatch, claims: AuthorizationFacts['claims'], inDoubt: boolean): boolean {
  const { iss, sub } = claims ?? {};
  if (typeof iss !== 'string' || typeof sub !== 'string' || iss === '' || sub === '') return false;
  const whole = textFits(match, `${iss}/${sub}`);
  if (match.kind === 'present') return true;
  if (match.kind === 'regex' || (inDoubt && whole)) return whole;
  const { kind, value } = match;
  const cut = value.lastIndexOf('/');
  if (cut === -1) {
    if (kind === 'exact') return false;
    return kind === 'prefix' ? iss.startsWith(value) : sub.endsWith(value);
  }
  const [issuer, subject] = [value.slice(0, cut), value.slice(cut + 1)];
  if (kind === 'exact') return iss === issuer && sub === subject;
  return kind === 'prefix' ? iss === issuer && sub.startsWith(subject) : iss.endsWith(issuer) && sub === subject;
}

function isInBlock({ address, prefix }: IpBlock, text: string): boolean {
  const [block, given] = [numberOf(address), numberOf(text)];
  if (block.bits !== given.bits) return false;
  const shift = BigInt(block.bits - prefix);
  return block.value >> shift === given.value >> shift;
}

function numberOf(text: string): { readonly bits: number; readonly value: bigint } {
  const mapped = text.replace(/^::ffff:(?=\d+\.)/, '');
  if (!mapped.includes(':')) {
    const value = mapped.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
    return { bits: 32, value };
  }
  const [head = '', tail] = mapped.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = Array.from({ length: 8 - left.length - right.length }, () => '0');
  const value = [...left, ...middle, ...right].reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n);
  return { bits: 128, value };
}
