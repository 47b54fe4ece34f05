import type { AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import { hostKeys } from './host-keys.ts';
import { type HostView, hostView } from './host-match.ts';
import { type PathKeys, pathKeys } from './path-keys.ts';
import type { AuthorizationFacts, DerivedFacts, RuleReading } from './rule.ts';
import { serviceKey, serviceKeys } from './service-match.ts';
import { accountsIn, namespacesIn } from './spiffe-segments.ts';

function hostOf({ host }: AuthorizationFacts, derived: DerivedFacts): HostView | undefined {
  return host === '' ? undefined : (derived.host ??= hostView(host));
}

/** Sides of a request, each with one text (or number), by which an index can look it up. */
export type LookUp =
  | 'principal'
  | 'account'
  | 'service'
  | 'token'
  | 'namespace'
  | 'namespaceSegment'
  | 'accountSegments'
  | 'host'
  | 'hostWithPort'
  | 'sni'
  | 'method'
  | 'port';

/** What a request has there, in rare cases several; nothing when it has none. */
type Read = (facts: AuthorizationFacts, derived: DerivedFacts) => string | number | readonly string[] | undefined;

export const lookUps: Readonly<Record<LookUp, Read>> = {
  principal: ({ peer }) => peer?.spiffeId,
  account: ({ peer }) => (peer?.namespace === undefined ? undefined : `${peer.namespace}/${peer.serviceAccount}`),
  service: ({ peer }) => serviceKey(peer),
  token: ({ claims }) => (claims === undefined ? undefined : tokenOf(claims)),
  namespace: ({ peer }) => peer?.namespace,
  namespaceSegment: ({ peer }) => (peer === undefined ? undefined : namespacesIn(peer)),
  accountSegments: ({ peer }) => (peer === undefined ? undefined : accountsIn(peer)),
  host(facts, derived) {
    const view = hostOf(facts, derived);
    return view?.other === undefined ? view?.name : [view.name, view.other.name];
  },
  hostWithPort(facts, derived) {
    const view = hostOf(facts, derived);
    return view?.other === undefined ? view?.withPort : [view.withPort, view.other.withPort];
  },
  sni: ({ sni }) => sni.toLowerCase(),
  method: ({ method }) => method,
  port: ({ localPort }) => localPort,
};

/** `<iss>/<sub>`, which a request principal that is named outright always equals. */
function tokenOf({ iss, sub }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof iss === 'string' && typeof sub === 'string' ? `${iss}/${sub}` : undefined;
}

/** Keys of which a request must have one. */
export interface Keys {
  readonly texts: readonly { readonly by: LookUp; readonly key: string | number }[];
  readonly paths: PathKeys;
}

/** Sides from which a rule can be looked up, each sufficient by itself. */
export const dimensions = ['caller', 'path', 'host', 'method', 'port'] as const;
export type Dimension = (typeof dimensions)[number];

/** For each side that is simple enough, the keys without which the rule cannot match. */
export type RuleKeys = Partial<Readonly<Record<Dimension, Keys>>>;

const noPaths: PathKeys = { exact: [], prefixes: [] };

/** What a rule can be found by. Never narrower than the rule itself: doubt leaves a side out. */
export function ruleKeys(rule: AuthorizationRule, reading: RuleReading): RuleKeys {
  const keys: Partial<Record<Dimension, Keys>> = {};
  const set = (dimension: Dimension, found: Keys | undefined): void => {
    if (found !== undefined) keys[dimension] = found;
  };
  set('caller', all(rule.from, (source) => sourceKeys(source, reading)) ?? keysOfConditions(rule, reading));
  set(
    'path',
    all(rule.to, (operation) => pathsOf(operation, reading)),
  );
  set('host', all(rule.to, hostsOf));
  set(
    'method',
    all(rule.to, (operation) => methodsOf(operation, reading)),
  );
  set(
    'port',
    all(rule.to, ({ ports }) => textKeys('port', ports)),
  );
  return keys;
}

/** One of several must match: its keys, or those of the next. One without keys may match anything. */
function all<T>(parts: readonly T[], keysOf: (part: T) => Keys | undefined): Keys | undefined {
  if (parts.length === 0) return undefined;
  const texts: Keys['texts'][number][] = [];
  const exact: string[] = [];
  const prefixes: string[] = [];
  for (const part of parts) {
    const keys = keysOf(part);
    if (keys === undefined) return undefined;
    texts.push(...keys.texts);
    exact.push(...keys.paths.exact);
    prefixes.push(...keys.paths.prefixes);
  }
  return { texts, paths: { exact, prefixes } };
}

const scheme = 'spiffe://';

/** All fields of a source must hold, so any one of them will do: the one that says most. */
function sourceKeys(
  { principals, requestPrincipals, serviceAccounts, namespaces, services }: AuthorizationSource,
  { action }: RuleReading,
): Keys | undefined {
  // To refuse, an identity of another form counts as whatever it names.
  const doubting = action === 'DENY';
  const names = exactTexts(principals)?.map((name) => scheme + name);
  return (
    textKeys('principal', names) ??
    textKeys(doubting ? 'accountSegments' : 'account', serviceAccounts) ??
    textKeys('service', services && serviceKeys(services)) ??
    textKeys('token', exactTexts(requestPrincipals)) ??
    textKeys(doubting ? 'namespaceSegment' : 'namespace', exactTexts(namespaces))
  );
}

/** Every condition must hold, so the first that names callers will do. */
function keysOfConditions({ when = [] }: AuthorizationRule, reading: RuleReading): Keys | undefined {
  for (const condition of when) {
    const keys = condition.attribute === 'source' ? sourceKeys(condition.source, reading) : undefined;
    if (keys !== undefined) return keys;
  }
  return undefined;
}

function pathsOf({ paths }: AuthorizationOperation, { action, literalPaths }: RuleReading): Keys | undefined {
  const keys = paths && pathKeys(paths, action === 'DENY' && !literalPaths);
  return keys && { texts: [], paths: keys };
}

function methodsOf({ methods }: AuthorizationOperation, { action, literalPaths }: RuleReading): Keys | undefined {
  const names = exactTexts(methods);
  // HEAD may be what a rule about GET is about.
  const read = action === 'DENY' && !literalPaths && names?.includes('GET') === true ? [...names, 'HEAD'] : names;
  return textKeys('method', read);
}

function hostsOf({ hosts }: AuthorizationOperation): Keys | undefined {
  const keys = hosts && hostKeys(hosts);
  return (
    keys && {
      texts: [
        ...keys.names.map((key) => ({ by: 'host', key }) as const),
        ...keys.withPort.map((key) => ({ by: 'hostWithPort', key }) as const),
      ],
      paths: noPaths,
    }
  );
}

function textKeys(by: LookUp, keys: readonly (string | number)[] | undefined): Keys | undefined {
  return keys && { texts: keys.map((key) => ({ by, key })), paths: noPaths };
}

function exactTexts(matches: readonly StringMatch[] | undefined): readonly string[] | undefined {
  if (matches === undefined) return undefined;
  const texts: string[] = [];
  for (const match of matches) {
    if (match.kind !== 'exact') return undefined;
    texts.push(match.value);
  }
  return texts;
}
