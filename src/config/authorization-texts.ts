import { type IpAddress, parseIpAddress } from '../lib/ip-address.ts';
import type { AuthorizationPolicy, IpBlock, PathPattern } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

export type Texts = readonly string[];

/** What the texts of a rule are read with. */
export interface RuleContext {
  readonly resource: Resource;
  /** The own one and its aliases. */
  readonly trustDomains: readonly string[];
  readonly collector: Collector;
  readonly action: AuthorizationPolicy['action'];
}

/** Reads one text of a list. */
export type ReadText<T> = (text: string, context: RuleContext, path: Path) => T;

/** The field with each of its texts compiled, or nothing when it is absent; an empty list is. */
export function each<K extends string, T>(
  name: K,
  texts: Texts | undefined,
  read: ReadText<T>,
  context: RuleContext,
  path: Path,
): Partial<Readonly<Record<K, readonly T[]>>> {
  const result: Partial<Record<K, readonly T[]>> = {};
  if (texts !== undefined && texts.length > 0)
    result[name] = texts.map((text, index) => read(text, context, [...path, name, index]));
  return result;
}

/** Istio's notation: `*` for anything that is there, `abc*`, `*abc`, or the exact text. */
export function stringMatch(text: string, context: RuleContext, path: Path): StringMatch {
  if (text === '*') return { kind: 'present' };
  const star = text.indexOf('*');
  if (star === -1) return { kind: 'exact', value: text };
  if (star === text.length - 1) return { kind: 'prefix', value: text.slice(0, -1) };
  if (star === 0 && !text.includes('*', 1)) return { kind: 'suffix', value: text.slice(1) };
  // Istio would take such a star literally, and a DENY rule would never match.
  context.collector.refuse(context.resource, path, 'may have one *, at its beginning or its end', text);
  return { kind: 'exact', value: text };
}

/** Several where the trust domain has several names. */
export function principalMatches(text: string, context: RuleContext, path: Path): readonly StringMatch[] {
  const { resource, trustDomains, collector, action } = context;
  if (text.includes('://')) {
    collector.refuse(resource, path, 'must be written without spiffe://, as in Istio', text);
  }
  const match = stringMatch(text, context, path);
  if (match.kind === 'suffix' && action === 'ALLOW') {
    collector.warn(resource, path, 'enforced', 'allows this suffix in every namespace and trust domain');
  }
  if (match.kind === 'suffix') return [match, ...otherNames(match.value, trustDomains)];
  if (match.kind !== 'exact' && match.kind !== 'prefix') return [match];
  const slash = match.value.indexOf('/');
  const domain = match.value.slice(0, slash);
  // In policies cluster.local stands for the local trust domain, whatever its name; and what is
  // said of one of its names is said of all of them (Istio `trustDomainAliases`).
  if (slash === -1 || !(domain === 'cluster.local' || trustDomains.includes(domain))) return [match];
  return trustDomains.map((name) => ({ kind: match.kind, value: name + match.value.slice(slash) }));
}

/** One of the own trust domains is all of them where that gives less access: for what is denied, or not allowed. */
export function trustDomainMatches(not: boolean): ReadText<readonly StringMatch[]> {
  return (text, context, path) => {
    const { action, trustDomains } = context;
    if ((action === 'ALLOW') !== not || !trustDomains.includes(text)) return [stringMatch(text, context, path)];
    return trustDomains.map((value) => ({ kind: 'exact', value }));
  };
}

/** Where the end of a trust domain is said (`*.local/ns/a/sa/b`) and one of the own ones has it: all the others. */
function otherNames(value: string, trustDomains: readonly string[]): readonly StringMatch[] {
  const slash = value.indexOf('/');
  const end = value.slice(0, slash);
  const isOwn = (domain: string): boolean => domain.endsWith(end);
  if (slash <= 0 || value.split('/').length !== 5 || !trustDomains.some(isOwn)) return [];
  return trustDomains.flatMap((name) => (isOwn(name) ? [] : { kind: 'exact', value: name + value.slice(slash) }));
}

export function serviceAccount(text: string, context: RuleContext, path: Path): string {
  const parts = text.split('/');
  const valid = parts.length <= 2 && parts.every((part) => /^[A-Za-z0-9._-]+$/.test(part));
  if (!valid) {
    const message = 'must be <service account> or <namespace>/<service account>';
    context.collector.refuse(context.resource, path, message, text);
  }
  return parts.length === 1 ? `${context.resource.namespace}/${text}` : text;
}

export function methodMatch(text: string, context: RuleContext, path: Path): StringMatch {
  if (text !== text.toUpperCase()) {
    context.collector.refuse(context.resource, path, 'must be upper case: methods are compared as they are', text);
  }
  if (!/^[-!#$%&'*+.^_`|~0-9a-zA-Z]+$/.test(text)) {
    context.collector.refuse(context.resource, path, 'must be a word: it could never match', text);
  }
  return stringMatch(text, context, path);
}

export function hostMatch(text: string, context: RuleContext, path: Path): StringMatch {
  if (!/^[-._~*:[\]0-9a-zA-Z]+$/.test(text)) {
    const message =
      'must be a name, as requests have it (xn--…), or an address, with a port or without: it could never match';
    context.collector.refuse(context.resource, path, message, text);
  }
  return stringMatch(text.toLowerCase(), context, path);
}

export function pathPattern(text: string, context: RuleContext, path: Path): PathPattern {
  const { resource, collector } = context;
  const isTemplate = text.includes('{*}') || text.includes('{**}');
  if (!text.startsWith('/') && (isTemplate || !text.startsWith('*'))) {
    collector.refuse(resource, path, `must begin with /${isTemplate ? '' : ' or *'}: it could never match`, text);
  }
  if (/[?#]/.test(text)) collector.refuse(resource, path, 'must have no ? or #: a path ends before them', text);
  return isTemplate ? { kind: 'template', value: text } : stringMatch(text, context, path);
}

export function portNumber(text: string, context: RuleContext, path: Path): number {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) {
    context.collector.refuse(context.resource, path, 'must be a port from 1 to 65535', text);
  }
  return port;
}

/** `10.0.0.0/8`, or an address alone. What is no address at all is told of by the validation. */
export function ipBlock(text: string, context: RuleContext, path: Path): IpBlock {
  const { collector, resource } = context;
  if (text.includes('%')) {
    collector.refuse(resource, path, 'must have no zone: the zones of this machine are not those of its callers', text);
  }
  const slash = text.indexOf('/');
  const address = slash === -1 ? text : text.slice(0, slash);
  const full = address.includes(':') ? 128 : 32;
  const prefix = slash === -1 ? full : Number(text.slice(slash + 1));
  const read = parseIpAddress(address);
  if (full === 32 || read?.bits !== 32) return { address, prefix };
  // IPv4-mapped, as the addresses of callers are never left.
  if (prefix < 96) collector.refuse(resource, path, 'must have a prefix of at least 96, as an IPv4-mapped range', text);
  return { address: ipv4Text(read), prefix: prefix - 96 };
}

function ipv4Text({ words: [word = 0] }: IpAddress): string {
  return [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff].join('.');
}
