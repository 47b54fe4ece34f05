import type { RbacHeaderMatch, RbacMatch, RbacPolicy } from '../model/rbac.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { RuleReading } from './facts.ts';
import { hostKeys } from './host-keys.ts';
import { pathKeys } from './path-keys.ts';
import { type Dimension, dimensions, type Keys, type LookUp, type RuleKeys } from './rule-keys.ts';

/**
 * What a policy of Envoy's RBAC can be found by: for each side, keys of which a request must have one or the policy
 * cannot match. Both trees must match, of `and` all, of `or` one, and `not` turns both round; a leaf that is not that
 * simple may match anything. Never narrower than what `compileRbacPolicy` matches.
 */
export function rbacKeys({ permissions, principals }: RbacPolicy, reading: RuleReading): RuleKeys {
  const keys: Partial<Record<Dimension, Keys>> = {};
  for (const side of dimensions) {
    const of = (match: RbacMatch): Keys | undefined => keysOf(match, side, reading, false);
    const found = narrowest([either(permissions, of), either(principals, of)]);
    if (found !== undefined) keys[side] = found;
  }
  return keys;
}

/** No request has one of these. */
const none: Keys = { texts: [], paths: { exact: [], prefixes: [] } };

/** @param turned the opposite is meant. Two turns are none, also for what is in doubt. */
function keysOf(match: RbacMatch, side: Dimension, reading: RuleReading, turned: boolean): Keys | undefined {
  switch (match.kind) {
    case 'any':
      return turned ? none : undefined;
    case 'never':
      return turned ? undefined : none;
    case 'not':
      return keysOf(match.of, side, reading, !turned);
    case 'and':
    case 'or': {
      const of = (each: RbacMatch): Keys | undefined => keysOf(each, side, reading, turned);
      return (match.kind === 'or') === turned ? narrowest(match.of.map(of)) : either(match.of, of);
    }
    default:
      return turned ? undefined : leafKeys(match, side, reading);
  }
}

/** One must match: its keys, or those of the next. One without keys may match anything. */
function either(matches: readonly RbacMatch[], of: (match: RbacMatch) => Keys | undefined): Keys | undefined {
  const [only] = matches;
  if (matches.length === 1 && only !== undefined) return of(only);
  const texts: Keys['texts'][number][] = [];
  const exact: string[] = [];
  const prefixes: string[] = [];
  for (const match of matches) {
    const keys = of(match);
    if (keys === undefined) return undefined;
    for (const text of keys.texts) texts.push(text);
    for (const path of keys.paths.exact) exact.push(path);
    for (const path of keys.paths.prefixes) prefixes.push(path);
  }
  return { texts, paths: { exact, prefixes } };
}

/** All must match, so any one of them will do: the one that says most. */
function narrowest(all: readonly (Keys | undefined)[]): Keys | undefined {
  let best: Keys | undefined;
  for (const keys of all) if (keys !== undefined && (best === undefined || width(keys) < width(best))) best = keys;
  return best;
}

/** More or less how many requests have one of these: many share a namespace or the beginning of a path. */
function width({ paths, texts }: Keys): number {
  let width = paths.exact.length + 3 * paths.prefixes.length;
  for (const { by } of texts) width += by === 'namespaceSegment' ? 3 : 1;
  return width;
}

type Leaf = Exclude<RbacMatch, { readonly kind: 'any' | 'never' | 'and' | 'or' | 'not' }>;

function leafKeys(match: Leaf, side: Dimension, { action, literalPaths }: RuleReading): Keys | undefined {
  const views = action === 'DENY' && !literalPaths;
  switch (match.kind) {
    case 'authenticated':
      return side === 'caller' && match.match !== undefined ? callerKeys(match.match) : undefined;
    case 'requestPrincipal':
      return side === 'caller' ? exactly('token', match.match) : undefined;
    case 'path':
      return side === 'path' ? pathsOf(pathKeys([match.match], views)) : undefined;
    case 'template':
      return side === 'path' ? pathsOf(pathKeys([{ kind: 'template', value: match.template }], views)) : undefined;
    case 'host':
      return side === 'host' ? hostsOf(match.match) : undefined;
    case 'sni':
      return side === 'host' && match.match.kind === 'exact'
        ? textKeys('sni', [match.match.value.toLowerCase()])
        : undefined;
    case 'destinationPort':
      return side === 'port' ? portKeys(match.from, match.to) : undefined;
    case 'header':
      return headerKeys(match, side, views);
    default:
      return undefined;
  }
}

/** As istiod writes `namespaces` and `serviceAccounts`; without dots, which stand for any character there. */
const namespaceRegex = /^\.\*\/ns\/([\w-]+)\/\.\*$/;
const accountRegex = /^spiffe:\/\/\.\+\/ns\/([\w-]+)\/\(\.\+\/\|\)sa\/([\w.-]+)\(\/\.\+\)\?$/;
/** What ends with a namespace and an account: any trust domain. */
const accountSuffix = /\/ns\/([^/]+)\/sa\/([^/]+)$/;

function callerKeys(match: StringMatch): Keys | undefined {
  if (match.kind === 'exact') return textKeys('principal', [match.value]);
  if (match.kind === 'suffix') {
    const [, namespace, account] = accountSuffix.exec(match.value) ?? [];
    return namespace === undefined ? undefined : textKeys('accountSegments', [`${namespace}/${account}`]);
  }
  if (match.kind !== 'regex') return undefined;
  const [, only] = namespaceRegex.exec(match.value) ?? [];
  if (only !== undefined) return textKeys('namespaceSegment', [only]);
  const [, namespace, account = ''] = accountRegex.exec(match.value) ?? [];
  if (namespace === undefined) return undefined;
  if (account.includes('.')) return textKeys('namespaceSegment', [namespace]);
  return textKeys('accountSegments', [`${namespace}/${account}`]);
}

function headerKeys(
  { absentIsEmpty, invert, match, name }: RbacHeaderMatch,
  side: Dimension,
  views: boolean,
): Keys | undefined {
  if (invert === true || absentIsEmpty === true || match.kind !== 'exact') return undefined;
  if (name === ':method' && side === 'method') {
    // HEAD may be what a policy about GET is about.
    return textKeys('method', views && match.value === 'GET' ? ['GET', 'HEAD'] : [match.value]);
  }
  return (name === ':authority' || name === 'host') && side === 'host' ? hostsOf(match) : undefined;
}

function hostsOf(match: StringMatch): Keys | undefined {
  const keys = hostKeys([match]);
  if (keys === undefined) return undefined;
  return keys.names.length > 0 ? textKeys('host', keys.names) : textKeys('hostWithPort', keys.withPort);
}

/** More ports than these are no reason to look one up. */
const maxPorts = 32;

function portKeys(from: number, to: number): Keys | undefined {
  if (to - from >= maxPorts) return undefined;
  return textKeys(
    'port',
    Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i),
  );
}

function pathsOf(paths: Keys['paths'] | undefined): Keys | undefined {
  return paths && { texts: [], paths };
}

function textKeys(by: LookUp, keys: readonly (string | number)[]): Keys {
  return { texts: keys.map((key) => ({ by, key })), paths: none.paths };
}

function exactly(by: LookUp, match: StringMatch): Keys | undefined {
  return match.kind === 'exact' ? textKeys(by, [match.value]) : undefined;
}
