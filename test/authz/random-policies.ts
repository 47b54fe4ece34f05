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

/** Makes the same choices for the same seed. */
export interface Chooser {
  /** From 0 to below `below`. */
  number(below: number): number;
  of<T>(list: readonly T[]): T;
  /** Once in so many times. */
  once(inTimes: number): boolean;
}

export function chooser(seed: number): Chooser {
  let state = seed >>> 0;
  const number = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
  return { number, of: (list) => list[number(list.length)] as never, once: (inTimes) => number(inTimes) === 0 };
}

// Few words, so that policies and requests meet often, and such that they nearly do.
const domains = ['cluster.local', 'td-1', 'clusterXlocal'];
const namespaces = ['shop', 'shops', 'ops'];
const accounts = ['web', 'web-2', 'api'];
const methods = ['GET', 'POST', 'PO', 'DELETE'];
const hosts = ['web', 'WEB.shop', 'web.', 'web:80', 'web.shop:8080', 'shop', '[::1]:80'];
const ports = [80, 8080, 443];
const plainPaths = ['/', '/a', '/a/', '/a/b', '/ab', '/a/b/c', '/admin', '/admin/x', '/b.json', '/a//b'];
/** What routers read in several ways. */
const oddPaths = [
  '/A',
  '/Admin/',
  '//a',
  '/a;x/b',
  '/%61',
  '/a%2Fb',
  '/a/%2e%2e/b',
  '/admin%3bx',
  '//x/a',
  '/a/./b',
  '/a%',
];
const addresses = ['10.0.0.1', '10.0.1.9', '192.168.0.1', '::1', 'fd00::5', '::ffff:10.0.0.1'];
const blocks: readonly IpBlock[] = [
  { address: '10.0.0.0', prefix: 24 },
  { address: '10.0.0.1', prefix: 32 },
  { address: '0.0.0.0', prefix: 0 },
  { address: 'fd00::', prefix: 8 },
  { address: '::1', prefix: 128 },
];
const headers = ['x-role', 'X-Role', 'x-team', 'te', 'host'];
const headerTexts = ['admin', 'user', 'adm', 'a,b', ''];
const issuers = ['https://idp', 'https://idp/a', 'me'];
const subjects = ['sub', 'a/sub', 'bob'];
const templates = [
  '/a/{*}/c',
  '/admin/{*}',
  '/Admin/{**}',
  '/%61/{*}',
  '/{*}',
  '/a/{*}',
  '/{*}/b',
  '/a/{**}',
  '/{**}/c',
  '/{*}/{**}',
];

function cut(text: string, { number, of }: Chooser): StringMatch {
  const at = 1 + number(Math.max(1, text.length));
  return of<() => StringMatch>([
    () => ({ kind: 'exact', value: text }),
    () => ({ kind: 'exact', value: text }),
    () => ({ kind: 'exact', value: text }),
    () => ({ kind: 'prefix', value: text.slice(0, at) }),
    () => ({ kind: 'suffix', value: text.slice(-at) || text }),
    () => ({ kind: 'present' }),
    () => ({ kind: 'regex', value: `${text.slice(0, at).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}.*` }),
  ])();
}

function some<T>(choose: Chooser, make: () => T): readonly T[] {
  return Array.from({ length: 1 + choose.number(3) }, make);
}

type Maker = () => Record<string, readonly unknown[]>;

function sourceFields(choose: Chooser): readonly Maker[] {
  const { number, of } = choose;
  const texts = (words: readonly string[]): readonly StringMatch[] => some(choose, () => cut(of(words), choose));
  const not = (): string => (number(4) === 0 ? 'not' : '');
  const field = (name: string, values: readonly unknown[]): Record<string, readonly unknown[]> => {
    const prefix = not();
    return { [prefix === '' ? name : `not${name[0]?.toUpperCase()}${name.slice(1)}`]: values };
  };
  const principal = (): string => `${of(domains)}/ns/${of(namespaces)}/sa/${of(accounts)}`;
  const token = (): string => `${of(issuers)}/${of(subjects)}`;
  const block = (): readonly IpBlock[] => some(choose, () => of(blocks));
  return [
    () =>
      field(
        'principals',
        some(choose, () => cut(principal(), choose)),
      ),
    () =>
      field(
        'principals',
        some(choose, () => ({ kind: 'exact', value: principal() })),
      ),
    () => field('namespaces', texts(namespaces)),
    () =>
      field(
        'serviceAccounts',
        some(choose, () => `${of(namespaces)}/${of(accounts)}`),
      ),
    () => field('trustDomains', texts(domains)),
    () =>
      field(
        'requestPrincipals',
        some(choose, () => cut(token(), choose)),
      ),
    () => ({ services: some(choose, () => randomService(choose)) }),
    () => field('ipBlocks', block()),
    () => field('remoteIpBlocks', block()),
  ];
}

function randomService({ of, once }: Chooser): ServiceMatch {
  const namespace = once(3) ? '*' : of(namespaces);
  const name = namespace === '*' || once(4) ? '*' : of(accounts);
  return { trustDomains: [of(domains), of(domains)], partition: of(['default', 'default', 'p1']), namespace, name };
}

export function randomSource(choose: Chooser): AuthorizationSource {
  const fields = sourceFields(choose);
  return Object.assign({}, ...Array.from({ length: 1 + choose.number(2) }, () => choose.of(fields)()));
}

function pathPattern(choose: Chooser, words: readonly string[]): PathPattern {
  return choose.once(8) ? { kind: 'template', value: choose.of(templates) } : cut(choose.of(words), choose);
}

export function randomOperation(choose: Chooser, paths: readonly string[] = plainPaths): AuthorizationOperation {
  const { of, once } = choose;
  const texts = (words: readonly string[]): readonly StringMatch[] => some(choose, () => cut(of(words), choose));
  const fields: readonly Maker[] = [
    () => ({ [once(4) ? 'notPaths' : 'paths']: some(choose, () => pathPattern(choose, paths)) }),
    () => ({ [once(4) ? 'notPaths' : 'paths']: some(choose, () => pathPattern(choose, paths)) }),
    () => ({ [once(4) ? 'notMethods' : 'methods']: texts(methods) }),
    () => ({ [once(4) ? 'notHosts' : 'hosts']: texts(hosts) }),
    () => ({ [once(4) ? 'notPorts' : 'ports']: some(choose, () => of(ports)) }),
  ];
  return Object.assign({}, ...Array.from({ length: 1 + choose.number(2) }, () => of(fields)()));
}

function randomCondition(choose: Chooser): AuthorizationCondition {
  const { of, once } = choose;
  const texts = (words: readonly string[]): object => ({
    [once(3) ? 'notValues' : 'values']: some(choose, () => cut(of(words), choose)),
  });
  const made = of<() => object>([
    () => ({ attribute: 'source', source: randomSource(choose) }),
    () => ({ attribute: 'operation', operation: { [once(2) ? 'ports' : 'notPorts']: [of(ports)] } }),
    () => ({ attribute: 'header', name: of(['x-role', 'x-team', 'te', ':method']), ...texts(headerTexts.slice(0, 4)) }),
    () => ({ attribute: 'header', name: of(['host', ':authority']), ...texts(hosts) }),
    () => ({ attribute: 'claim', path: of([['role'], ['aud'], ['a', 'b']]), ...texts(headerTexts.slice(0, 3)) }),
    () => ({ attribute: 'sni', ...texts(['web', 'web.shop']) }),
    () => ({ attribute: 'destinationIp', [once(3) ? 'notValues' : 'values']: some(choose, () => of(blocks)) }),
  ])();
  return made as AuthorizationCondition;
}

export function randomRule(choose: Chooser, paths?: readonly string[]): AuthorizationRule {
  const { number } = choose;
  const from = Array.from({ length: number(3) }, () => randomSource(choose));
  const to = Array.from({ length: number(3) }, () => randomOperation(choose, paths));
  const unless = choose.once(5) ? { unless: [randomRule(choose, paths)] } : {};
  if (!choose.once(3)) return { from, to, ...unless };
  return { from, to, ...unless, when: Array.from({ length: 1 + number(2) }, () => randomCondition(choose)) };
}

/** One that an index can place: it names callers, paths, hosts, methods or ports outright, mostly two of these. */
export function randomPlacedRule(choose: Chooser): AuthorizationRule {
  const { number, of, once } = choose;
  const exact = (value: string): StringMatch => ({ kind: 'exact', value });
  const principal = (): StringMatch => exact(`${of(domains)}/ns/${of(namespaces)}/sa/${of(accounts)}`);
  const begins = (path: string): StringMatch => ({ kind: 'prefix', value: path.slice(0, 1 + number(path.length)) });
  const path = (): StringMatch => (once(2) ? exact(of(allPaths)) : begins(of(allPaths)));
  const sources: readonly (() => AuthorizationSource)[] = [
    () => ({ principals: some(choose, principal) }),
    () => ({ serviceAccounts: some(choose, () => `${of(namespaces)}/${of(accounts)}`) }),
    () => ({ services: some(choose, () => randomService(choose)) }),
    () => ({ requestPrincipals: some(choose, () => exact(`${of(issuers)}/${of(subjects)}`)) }),
    () => ({ namespaces: [exact(of(namespaces))], notPrincipals: [principal()] }),
  ];
  const operations: readonly (() => AuthorizationOperation)[] = [
    () => ({ paths: some(choose, path) }),
    () => ({ paths: [{ kind: 'template', value: of(templates) }] }),
    () => ({ paths: [path()], methods: [exact(of(methods))] }),
    () => ({ hosts: [exact(of(hosts))], ports: [of(ports)] }),
    () => ({ methods: [exact(of(methods))], ports: [of(ports)], notPaths: [path()] }),
  ];
  const from = once(3) ? [] : some(choose, () => of(sources)());
  const to = once(5) && from.length > 0 ? [] : some(choose, () => of(operations)());
  if (once(8)) return { from: [], to, when: [{ attribute: 'source', source: of(sources)() }] };
  return once(6) ? { from, to, when: [randomCondition(choose)] } : { from, to };
}

/** Up to four policies; some are only tried out. */
export function randomPolicies(choose: Chooser): readonly AuthorizationPolicy[] {
  return Array.from({ length: 1 + choose.number(4) }, (_, i) => ({
    action: choose.of(['ALLOW', 'ALLOW', 'DENY', 'DENY', 'AUDIT'] as const),
    rules: Array.from({ length: choose.number(5) }, () => randomRule(choose)),
    provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name: `p${i}` },
    ...(choose.once(8) ? { dryRun: true } : {}),
  }));
}

export function randomFacts(choose: Chooser, paths: readonly string[] = plainPaths): AuthorizationFacts {
  const { number, of, once } = choose;
  const path = of(paths);
  const [trustDomain, namespace, serviceAccount] = [of(domains), of(namespaces), of(accounts)];
  const form = number(8);
  const foreign = form < 3;
  const partition = once(3) ? '/ap/p1' : '';
  const others = [
    `/${namespace}/${serviceAccount}`,
    `${partition}/ns/${namespace}/dc/dc1/svc/${serviceAccount}`,
    `${of(['', '/env/x', '/ns/a'])}/ns/${namespace}${of(['', '/pod/p'])}/sa/${serviceAccount}${of(['', '/7', '/sa/b'])}/x`,
  ];
  const spiffeId = `spiffe://${trustDomain}${others[form] ?? `/ns/${namespace}/sa/${serviceAccount}`}`;
  const claims = {
    iss: of([...issuers, 7, '']),
    sub: of(subjects),
    role: of<unknown>(['admin', ['user', 'admin'], 1, '', ['']]),
    ...(once(2) ? { a: of<unknown>([{ b: 'adm' }, { b: ['user', 2] }, 'b', [{ b: 'adm' }]]) } : {}),
    aud: of<unknown>([['admin'], 'user']),
  };
  const rawHeaders = Array.from({ length: choose.number(3) }, () => [of(headers), of(headerTexts)]).flat();
  return {
    peer: once(4) ? undefined : { spiffeId, trustDomain, ...(foreign ? {} : { namespace, serviceAccount }) },
    method: of(methods),
    path,
    rawPath: of([path, path, `${path};p=1`, `/admin;x/..${path}`, `/a/b;p/../..${path}`]),
    host: once(8) ? '' : of(hosts),
    localPort: of(ports),
    claims: once(2) ? undefined : claims,
    sourceAddress: once(6) ? undefined : of(addresses),
    remoteAddress: once(6) ? undefined : of(addresses),
    destinationAddress: once(6) ? undefined : of(addresses),
    sni: of(['', 'web', 'web.shop', 'Web']),
    rawHeaders,
  } as AuthorizationFacts;
}

/** Those that routers agree on, and those that they do not. */
export const allPaths: readonly string[] = [...plainPaths, ...oddPaths];
