import fc from 'fast-check';
import t from 'tap';
import { nothingDerived } from '../../src/authz/facts.ts';
import { asksForRequests, ruleForConnections } from '../../src/authz/for-connections.ts';
import { compileIpBlocks } from '../../src/authz/ip-match.ts';
import { compileTemplates } from '../../src/authz/path-template.ts';
import { pathViews } from '../../src/authz/path-views.ts';
import { type AuthorizationFacts, compileRule } from '../../src/authz/rule.ts';
import { remoteAddressOf } from '../../src/lib/forwarded-for.ts';
import { parseIpAddress, plainAddress } from '../../src/lib/ip-address.ts';
import type {
  AuthorizationCondition,
  AuthorizationRule,
  AuthorizationSource,
  IpBlock,
} from '../../src/model/authorization.ts';
import type { StringMatch } from '../../src/model/string-match.ts';

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });
const suffix = (value: string): StringMatch => ({ kind: 'suffix', value });
const present: StringMatch = { kind: 'present' };

const nobody: AuthorizationFacts = {
  peer: undefined,
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'web',
  localPort: 8080,
  claims: undefined,
  sourceAddress: undefined,
  remoteAddress: undefined,
  destinationAddress: undefined,
  sni: '',
  rawHeaders: [],
};

/** Whether a rule matches, read so that it allows and so that it denies. */
function read(rule: Partial<AuthorizationRule>, facts: Partial<AuthorizationFacts>): string {
  const whole = { from: [], to: [], ...rule };
  return (['ALLOW', 'DENY'] as const)
    .filter((action) => compileRule(whole, { action, literalPaths: false })({ ...nobody, ...facts }, nothingDerived()))
    .join(' ');
}
const source = (from: AuthorizationSource, facts: Partial<AuthorizationFacts>): string => read({ from: [from] }, facts);
const when = (condition: AuthorizationCondition, facts: Partial<AuthorizationFacts>): string =>
  read({ when: [condition] }, facts);

const both = 'ALLOW DENY';
const neither = '';

t.test('a header: each line is a value; all of them must match to allow, one of them to deny', async (t) => {
  const header = (
    given: readonly string[],
    values: readonly StringMatch[] | undefined,
    notValues?: readonly StringMatch[],
    name = 'x-role',
    method = 'GET',
  ): string =>
    when(
      { attribute: 'header', name, ...(values && { values }), ...(notValues && { notValues }) },
      { method, rawHeaders: ['Host', 'web', ...given] },
    );
  const admin = [exact('admin')];
  const rows: readonly (readonly [what: string, found: string, expected: string])[] = [
    ['one value', header(['x-role', 'admin'], admin), both],
    ['another value', header(['x-role', 'guest'], admin), neither],
    ['absent', header([], admin), neither],
    ['absent, asked for any', header([], [present]), neither],
    ['empty, asked for any', header(['x-role', ''], [present]), both],
    ['another name of that length', header(['x-rule', 'admin'], admin), neither],
    ['upper case name', header(['X-ROLE', 'admin'], admin), both],
    ['the value has a case', header(['x-role', 'Admin'], admin), neither],
    ['added to another', header(['x-role', 'guest', 'x-role', 'admin'], admin), 'DENY'],
    ['another added', header(['x-role', 'admin', 'X-Role', 'guest'], admin), 'DENY'],
    ['both among the values', header(['x-role', 'admin', 'x-role', 'ops'], [...admin, exact('ops')]), both],
    ['a list in one line is one value', header(['x-role', 'guest,admin'], admin), neither],
    ['beginning and end', header(['x-role', 'a-1', 'x-role', '2-b'], [prefix('a-'), suffix('-b')]), both],
    ['not: another value', header(['x-role', 'guest'], undefined, admin), both],
    ['not: that value', header(['x-role', 'admin'], undefined, admin), neither],
    ['not: absent', header([], undefined, admin), both],
    ['not: one of two', header(['x-role', 'guest', 'x-role', 'admin'], undefined, admin), 'DENY'],
    ['values and not', header(['x-role', 'a-1'], [prefix('a-')], [exact('a-2')]), both],
    ['two lines, read as one', header(['x-role', 'a', 'x-role', 'b'], [exact('a, b')]), 'DENY'],
    ['two lines, read as one without spaces', header(['x-role', 'a', 'x-role', 'b'], [exact('a,b')]), 'DENY'],
    ['not: two lines, read as one', header(['x-role', 'a', 'x-role', 'b'], undefined, [exact('a, b')]), 'DENY'],
    ['crumbs of cookies', header(['cookie', 'a=1', 'cookie', 'b=2'], [suffix('1; b=2')], undefined, 'cookie'), 'DENY'],
    ['UTF-8 is compared as bytes', header(['x-role', 'caf\u00c3\u00a9'], [exact('caf\u00e9')]), both],
    ['what looks alike is not alike', header(['x-role', '\u00d0\u00b0dmin'], admin), neither],
    ['no-break space is no white space', header(['x-role', 'admin\u00a0'], admin), neither],
    ['of the connection', header(['connection', 'close'], [present], undefined, 'connection'), neither],
    ['not: of the connection', header(['Keep-Alive', '1'], undefined, [present], 'keep-alive'), both],
    ['TE is in doubt', header(['TE', 'trailers'], [present], undefined, 'te'), 'DENY'],
    ['not: TE is in doubt', header(['TE', 'trailers'], undefined, [present], 'te'), 'DENY'],
    ['names of JavaScript', header(['__proto__', 'x'], [present], undefined, '__proto__'), both],
    ['the method', header([], [exact('GET')], undefined, ':method'), both],
    ['HEAD runs the handler of GET', header([], [exact('GET')], undefined, ':method', 'HEAD'), 'DENY'],
    ['the host as written', header([], [exact('web')], undefined, 'host'), both],
    ['another host', header([], [exact('web2')], undefined, ':authority'), neither],
  ];
  for (const [what, found, expected] of rows) t.equal(found, expected, what);
  const host = (written: string): string =>
    when({ attribute: 'header', name: 'host', values: [exact('web')] }, { host: written });
  t.equal(host('WEB'), 'DENY', 'to deny, a host counts in every spelling');
  t.equal(host('web.:80'), 'DENY');
  t.equal(host(''), neither);
});

t.test('claims: texts and lists of texts, inside of objects; nothing else matches', async (t) => {
  const claims = {
    iss: 'https://idp',
    aud: ['a', 'b'],
    azp: 'cli',
    realm: { roles: ['user', 'admin', 7, ['nested']], name: 'r', deep: { er: 'x' } },
    level: 7,
    active: true,
    none: null,
    empty: '',
    many: [],
    'https://a.example/b': 'c',
  };
  const claim = (path: readonly string[], values: readonly StringMatch[], given: object | null = claims): string =>
    when(
      { attribute: 'claim', path, values },
      { claims: (given ?? undefined) as Readonly<Record<string, unknown>> | undefined },
    );
  const rows: readonly (readonly [found: string, expected: string])[] = [
    [claim(['azp'], [exact('cli')]), both],
    [claim(['aud'], [exact('b')]), both],
    [claim(['aud'], [exact('c')]), neither],
    [claim(['realm', 'roles'], [exact('admin')]), both],
    [claim(['realm', 'roles'], [prefix('adm')]), both],
    [claim(['realm', 'roles'], [suffix('ser')]), both],
    [claim(['realm', 'roles'], [exact('7')]), neither],
    [claim(['realm', 'roles'], [exact('nested')]), neither],
    [claim(['realm', 'deep', 'er'], [exact('x')]), both],
    [claim(['realm'], [present]), neither],
    [claim(['realm', 'roles', '0'], [present]), neither],
    [claim(['realm', 'roles', 'length'], [present]), neither],
    [claim(['level'], [exact('7')]), neither],
    [claim(['active'], [exact('true')]), neither],
    [claim(['none'], [present]), neither],
    [claim(['empty'], [present]), neither],
    [claim(['many'], [present]), neither],
    [claim(['azp'], [present]), both],
    [claim(['https://a.example/b'], [exact('c')]), both],
    [claim(['absent'], [present]), neither],
    [claim(['constructor', 'name'], [present]), neither],
    [claim(['__proto__'], [present]), neither],
    [claim(['azp', 'length'], [present]), neither],
    [claim(['azp'], [present], null), neither],
  ];
  for (const [index, [found, expected]] of rows.entries()) t.equal(found, expected, `row ${index}`);
  const not = (given: Readonly<Record<string, unknown>> | undefined): string =>
    when({ attribute: 'claim', path: ['azp'], notValues: [exact('cli')] }, { claims: given });
  t.equal(not(claims), neither);
  t.equal(not({ azp: 'other' }), both);
  t.equal(not(undefined), both, 'without a token every negative condition holds');
});

t.test('request principals: issuer and subject by themselves to allow, the whole text too to deny', async (t) => {
  const token = (iss: unknown, sub: unknown) => ({ claims: { iss, sub } });
  const of = (match: StringMatch, facts: Partial<AuthorizationFacts>): string =>
    source({ requestPrincipals: [match] }, facts);
  const alice = token('https://idp.example', 'alice');
  const rows: readonly (readonly [found: string, expected: string])[] = [
    [of(exact('https://idp.example/alice'), alice), both],
    [of(exact('https://idp.example/bob'), alice), neither],
    [of(present, alice), both],
    [of(present, nobody), neither],
    [of(present, token('https://idp.example', '')), neither],
    [of(present, token('', 'alice')), neither],
    [of(present, token('https://idp.example', 7)), neither],
    [of(present, token(['a'], 'b')), neither],
    [of(prefix('https://idp.example/'), alice), both],
    [of(prefix('https://idp.example/al'), alice), both],
    [of(prefix('https://idp.example/bo'), alice), neither],
    [of(suffix('/alice'), alice), both],
    [of(suffix('.example/alice'), alice), both],
    [of(suffix('lice'), alice), both],
    [of(suffix('.example'), alice), neither],
    [of(prefix('idp'), token('idp-1', 'alice')), both],
    // With this pattern Istio looks for the issuer `https:/`: it denies nothing there.
    [of(prefix('https://idp'), alice), 'DENY'],
    // The same text, put together of other parts.
    [of(exact('https://idp.example/a/b'), token('https://idp.example', 'a/b')), 'DENY'],
    [of(exact('https://idp.example/a/b'), token('https://idp.example/a', 'b')), both],
    [of({ kind: 'regex', value: 'https://[a-z.]+/al.*' }, alice), both],
    [source({ notRequestPrincipals: [present] }, alice), neither],
    [source({ notRequestPrincipals: [present] }, nobody), both],
    [source({ notRequestPrincipals: [exact('https://idp.example/a/b')] }, token('https://idp.example', 'a/b')), 'DENY'],
  ];
  for (const [index, [found, expected]] of rows.entries()) t.equal(found, expected, `row ${index}`);
});

t.test('addresses: blocks of both kinds, and what is not known', async (t) => {
  const blocks: readonly IpBlock[] = [
    { address: '10.1.0.0', prefix: 16 },
    { address: '192.0.2.7', prefix: 32 },
    { address: '2001:db8::', prefix: 32 },
    { address: '::1', prefix: 128 },
  ];
  const rows: readonly (readonly [address: string | undefined, isIn: boolean | undefined])[] = [
    ['10.1.255.255', true],
    ['10.2.0.0', false],
    ['192.0.2.7', true],
    ['192.0.2.6', false],
    ['::ffff:10.1.0.1', true],
    ['::ffff:a01:1', true],
    ['2001:db8:ffff::1', true],
    ['2001:DB8::', true],
    ['2001:db9::', false],
    ['::1', true],
    ['::2', false],
    ['010.1.0.1', undefined],
    ['10.1', undefined],
    ['', undefined],
    [undefined, undefined],
  ];
  for (const [address, isIn] of rows) {
    const expected = isIn === undefined ? ['DENY', 'DENY'] : isIn ? [both, neither] : [neither, both];
    const direct = { sourceAddress: address };
    const told = { remoteAddress: address };
    t.equal(source({ ipBlocks: blocks }, direct), expected[0], `ipBlocks ${address}`);
    t.equal(source({ notIpBlocks: blocks }, direct), expected[1], `notIpBlocks ${address}`);
    t.equal(source({ remoteIpBlocks: blocks }, told), expected[0], `remoteIpBlocks ${address}`);
    t.equal(source({ notRemoteIpBlocks: blocks }, told), expected[1], `notRemoteIpBlocks ${address}`);
    const destination = { destinationAddress: address };
    t.equal(when({ attribute: 'destinationIp', values: blocks }, destination), expected[0], `destination ${address}`);
    t.equal(when({ attribute: 'destinationIp', notValues: blocks }, destination), expected[1], `not ${address}`);
  }
  const any = source({ ipBlocks: [{ address: '::', prefix: 0 }] }, { sourceAddress: '10.0.0.1' });
  t.equal(any, neither, 'all of IPv6 has nothing of IPv4, as in Envoy');
  t.throws(() => compileIpBlocks([{ address: '10.0.0.0', prefix: 33 }]), /not a block of addresses: 10\.0\.0\.0\/33/);
  t.throws(() => compileIpBlocks([{ address: 'ten', prefix: 8 }]), /not a block/);
});

t.test('any block holds an address exactly if the bits say so', async () => {
  const words = fc.oneof(
    fc.tuple(fc.nat(0xffff_ffff)),
    fc.tuple(fc.constant(0x2001_0db8), fc.nat(0xffff_ffff), fc.nat(3), fc.nat(0xffff_ffff)),
  );
  const text = (list: readonly number[]): string =>
    list.length === 1
      ? [24, 16, 8, 0].map((shift) => ((list[0] as number) >>> shift) & 0xff).join('.')
      : list.flatMap((word) => [(word >>> 16).toString(16), (word & 0xffff).toString(16)]).join(':');
  const bits = (list: readonly number[]): string => list.map((word) => word.toString(2).padStart(32, '0')).join('');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(words, fc.nat(128)), { minLength: 1, maxLength: 6 }),
      words,
      fc.option(fc.nat(5)),
      fc.nat(128),
      (given, other, near, flip) => {
        const blocks = given.map(([list, prefix]) => ({ list, prefix: prefix % (list.length * 32 + 1) }));
        // Often an address that is one bit away from a block.
        const start = near === null ? undefined : blocks[near % blocks.length];
        const address = start === undefined ? [...other] : [...start.list];
        const at = flip % (address.length * 32);
        if (start !== undefined) address[at >>> 5] = ((address[at >>> 5] as number) ^ (1 << (31 - (at & 31)))) >>> 0;
        const isIn = compileIpBlocks(blocks.map(({ list, prefix }) => ({ address: text(list), prefix })));
        const expected = blocks.some(
          ({ list, prefix }) =>
            list.length === address.length && bits(list).slice(0, prefix) === bits(address).slice(0, prefix),
        );
        return isIn(parseIpAddress(text(address)) as never) === expected;
      },
    ),
    { numRuns: 2_000 },
  );
});

t.test('x-forwarded-for: the address at the place of the trusted proxies, over all lines', async (t) => {
  const peer = '192.0.2.1';
  const rows: readonly (readonly [lines: readonly string[], trusted: number, expected: string | undefined])[] = [
    [['10.0.0.1'], 0, peer],
    [[], 1, peer],
    [['10.0.0.1'], 1, '10.0.0.1'],
    [['10.0.0.2, 10.0.0.1'], 1, '10.0.0.1'],
    [['10.0.0.2, 10.0.0.1'], 2, '10.0.0.2'],
    [['10.0.0.2,\t10.0.0.1  '], 2, '10.0.0.2'],
    [['10.0.0.2', '10.0.0.1'], 2, '10.0.0.2'],
    [['10.0.0.3, 10.0.0.2', '10.0.0.1'], 3, '10.0.0.3'],
    // Fewer than there are proxies: did not come through them all.
    [['10.0.0.2, 10.0.0.1'], 3, peer],
    [['::1'], 1, '::1'],
    [['::ffff:10.0.0.1'], 1, '::ffff:10.0.0.1'],
    [['unknown'], 1, undefined],
    [['"[::1]:80"'], 1, undefined],
    [['[::1]'], 1, undefined],
    [['10.0.0.1:80'], 1, undefined],
    [['0177.0.0.07'], 1, undefined],
    [['10.1'], 1, undefined],
    [['167772161'], 1, undefined],
    [['fe80::1%eth0'], 1, undefined],
    [['10.0.0.1,'], 1, undefined],
    [[''], 1, undefined],
    [[','], 2, undefined],
    [[`10.0.0.1${' '.repeat(100)}`], 1, undefined],
    [['unknown, 10.0.0.1'], 1, '10.0.0.1'],
    [[Array(1_000).fill('1.1.1.1').join(', ')], 1, '1.1.1.1'],
    [[`10.0.0.9, ${Array(999).fill('1.1.1.1').join(', ')}`], 1_000, '10.0.0.9'],
  ];
  for (const [lines, trusted, expected] of rows) {
    const rawHeaders = lines.flatMap((line) => ['X-Forwarded-For', line]);
    t.equal(remoteAddressOf(peer, ['a', 'b', ...rawHeaders], trusted), expected, `${trusted} of ${lines.join(' | ')}`);
  }
  t.equal(plainAddress('::ffff:10.0.0.1'), '10.0.0.1');
  t.equal(plainAddress('fe80::1%eth0'), 'fe80::1');
  t.equal(plainAddress('2001:db8::1'), '2001:db8::1');
});

t.test('trust domains, server names, and the words of sources and operations in conditions', async (t) => {
  const peer = {
    spiffeId: 'spiffe://td-1.example/ns/a/sa/b',
    trustDomain: 'td-1.example',
    namespace: 'a',
    serviceAccount: 'b',
  };
  const rows: readonly (readonly [found: string, expected: string])[] = [
    [source({ trustDomains: [exact('td-1.example')] }, { peer }), both],
    [source({ trustDomains: [exact('td-1.example.evil'), exact('td-1Xexample')] }, { peer }), neither],
    [source({ trustDomains: [prefix('td-')] }, { peer }), both],
    [source({ trustDomains: [suffix('.example')] }, { peer }), both],
    [source({ trustDomains: [present] }, { peer }), both],
    [source({ trustDomains: [present] }, {}), neither],
    [source({ notTrustDomains: [exact('td-1.example')] }, { peer }), neither],
    [source({ notTrustDomains: [exact('td-1.example')] }, {}), both],
    [when({ attribute: 'sni', values: [exact('web.example')] }, { sni: 'web.example' }), both],
    [when({ attribute: 'sni', values: [exact('Web.example')] }, { sni: 'WEB.example' }), both],
    [when({ attribute: 'sni', values: [present] }, { sni: '' }), neither],
    [when({ attribute: 'sni', values: [present] }, { sni: 'a' }), both],
    [when({ attribute: 'sni', notValues: [suffix('.example')] }, { sni: 'web.example' }), neither],
    [when({ attribute: 'sni', notValues: [suffix('.example')] }, { sni: '' }), both],
    [when({ attribute: 'source', source: { namespaces: [exact('a')], serviceAccounts: ['a/b'] } }, { peer }), both],
    [when({ attribute: 'source', source: { namespaces: [exact('b')] } }, { peer }), neither],
    [when({ attribute: 'operation', operation: { ports: [8080] } }, {}), both],
    [when({ attribute: 'operation', operation: { notPorts: [8080] } }, {}), neither],
  ];
  for (const [index, [found, expected]] of rows.entries()) t.equal(found, expected, `row ${index}`);
  const rule = {
    from: [{ namespaces: [exact('a')] }],
    to: [{ methods: [exact('GET')] }],
    when: [
      { attribute: 'sni', values: [exact('x')] },
      { attribute: 'header', name: 'a', values: [exact('1')] },
    ],
  } as const;
  const all = { peer, sni: 'x', rawHeaders: ['A', '1'] };
  t.equal(read(rule, all), both, 'one source, one operation, and every condition');
  for (const missing of [{ peer: undefined }, { method: 'PUT' }, { sni: 'y' }, { rawHeaders: [] }]) {
    t.equal(read(rule, { ...all, ...missing }), neither, Object.keys(missing).join());
  }
  const bad = { attribute: 'weather', values: [] } as unknown as AuthorizationCondition;
  t.throws(() => when(bad, {}), /unknown attribute weather/);
  t.throws(() => when({ attribute: 'sni' }, {}), /when has neither values nor notValues/);
  t.throws(() => when({ attribute: 'sni', values: [] }, {}), /values is an empty list/);
});

/** What a path template decides about a request target: to allow, to deny. */
function template(text: string, path: string, literal = false): string {
  const matcher = compileTemplates([text], literal);
  const views = pathViews(path, path);
  return [matcher.surely(path, views) ? 'ALLOW' : '', matcher.possibly(path, views) ? 'DENY' : ''].join(' ').trim();
}

t.test('path templates: Envoy for the canonical path, every view of it for what is allowed and denied', async (t) => {
  const rows: readonly (readonly [text: string, path: string, expected: string])[] = [
    ['/users/{*}', '/users/7', both],
    ['/users/{*}', '/users/a.b~c-d_e%20f', both],
    // A parameter of Fastify may be empty.
    ['/users/{*}', '/users/', 'DENY'],
    ['/users/{*}', '/users', neither],
    ['/users/{*}', '/users/7/x', neither],
    // Express takes the final slash for nothing, other routers do not.
    ['/users/{*}', '/users/7/', 'DENY'],
    ['/users/{*}/', '/users/7/', both],
    ['/users/{*}/', '/users/7', 'DENY'],
    ['/users/{*}', '/USERS/7', 'DENY'],
    ['/Users/{*}', '/users/7', 'DENY'],
    // Decoded it is two segments.
    ['/users/{*}', '/users/a%2Fb', 'DENY'],
    ['/users/{*}', '/users/a;b', both],
    ['/users/{*}', '/users/a"b', both],
    ['/users/{*}', '/users/a*b', both],
    ['/users/{*}', '/users/a[b', 'DENY'],
    ['/files/{**}', '/files/a/b]', 'DENY'],
    ['/users/{*}', '/users//7', 'DENY'],
    ['/users/{*}/profile', '/users/7/profile', both],
    ['/users/{*}/profile', '/users/7/profiles', neither],
    ['/{*}/{*}', '/a/b', both],
    ['/{*}', '/', 'DENY'],
    ['/{**}', '/', both],
    ['/{**}', '/a/b/c', both],
    ['/files/{**}', '/files/', both],
    ['/files/{**}', '/files', 'DENY'],
    ['/files/{**}', '/files/a/b', both],
    ['/files/{**}', '/filesx', neither],
    ['/files/{**}/edit', '/files/a/b/edit', both],
    ['/files/{**}/edit', '/files/a/edit', both],
    ['/files/{**}/edit', '/files/edit', neither],
    ['/files/{**}/edit', '/files/a/edits', neither],
    ['/files/{*}/x/{**}', '/files/a/x/b', both],
    ['/files/{*}/x/{**}', '/files/a/y/b', neither],
    ['/a/{**}/', '/a/b/', both],
  ];
  for (const [text, path, expected] of rows) {
    t.equal(template(text, path), expected, `${text} and ${path}`);
  }
  t.equal(template('/users/{*}', '/users/7/', true), neither, 'literally as in Istio');
  t.equal(template('/users/{*}', '/users/a%2Fb', true), both);
});

t.test('a template matches what the regular expression matches that Envoy makes of it', async () => {
  const segment = fc.constantFrom('a', 'bc', '{*}', 'x.y');
  const path = fc.array(fc.constantFrom('a', 'bc', 'x.y', 'xzy', '', '%41', '~', ']'), { maxLength: 5 });
  const characters = '[^/[\\]]';
  const regexOf = (segments: readonly string[]): RegExp =>
    new RegExp(
      `^/${segments
        .map((each) => {
          if (each === '{*}') return `${characters}+`;
          return each === '{**}' ? `(${characters}|/)*` : each.replaceAll('.', '\\.');
        })
        .join('/')}$`,
    );
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      fc.array(fc.constantFrom('a', 'bc'), { maxLength: 2 }),
      path,
      (head, rest, tail, given) => {
        const segments = rest ? [...head, '{**}', ...tail] : head;
        const text = `/${segments.join('/')}`;
        const target = `/${given.join('/')}`;
        const matcher = compileTemplates([text], true);
        const expected = regexOf(segments).test(target);
        return matcher.surely(target, 'plain') === expected && matcher.possibly(target, 'plain') === expected;
      },
    ),
    { numRuns: 3_000 },
  );
});

t.test('to allow is never more than to deny, whatever the path', async () => {
  const part = fc.constantFrom('a', 'A', 'b', '{*}', '%61', '%2f', ';x', '..', '', 'c.d');
  const target = fc.array(fc.constantFrom('a', 'A', 'b', 'x', '%61', '%2F', ';x', '', 'c.d'), { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean(), target, (parts, rest, given) => {
      const matcher = compileTemplates([`/${[...parts, rest ? '{**}' : '{*}'].join('/')}`], false);
      const path = `/${given.join('/')}`;
      const views = pathViews(path, path);
      return !matcher.surely(path, views) || matcher.possibly(path, views);
    }),
    { numRuns: 3_000 },
  );
});

t.test('for connections: ALLOW loses rules about requests, the others lose what is about requests', async (t) => {
  const ports = [{ ports: [8080] }];
  const http: readonly Partial<AuthorizationRule>[] = [
    { from: [{ requestPrincipals: [present] }] },
    { from: [{ notRequestPrincipals: [present] }] },
    { to: [{ hosts: [exact('a')] }] },
    { to: [{ notMethods: [exact('GET')] }] },
    { to: [{ paths: [exact('/a')] }] },
    { when: [{ attribute: 'header', name: 'a', values: [present] }] },
    { when: [{ attribute: 'claim', path: ['a'], notValues: [present] }] },
    { when: [{ attribute: 'source', source: { requestPrincipals: [present] } }] },
  ];
  for (const part of http) {
    const rule: AuthorizationRule = { from: [], to: [], ...part };
    t.ok(asksForRequests(rule));
    t.equal(ruleForConnections(rule, 'ALLOW'), undefined, JSON.stringify(part));
    for (const action of ['DENY', 'AUDIT', 'CUSTOM'] as const) {
      const left = ruleForConnections(rule, action) as AuthorizationRule;
      t.notOk(asksForRequests(left));
      t.equal(read(left, { method: '', path: '', host: '' }), both, `${action}: all connections`);
    }
  }
  const rule: AuthorizationRule = {
    from: [
      { principals: [exact('a')], remoteIpBlocks: [{ address: '10.0.0.0', prefix: 8 }], requestPrincipals: [present] },
    ],
    to: [{ ports: [80], paths: [exact('/')] }],
    when: [
      { attribute: 'sni', values: [exact('a')] },
      { attribute: 'header', name: 'a', values: [exact('a')] },
      { attribute: 'source', source: { namespaces: [exact('a')], notRequestPrincipals: [present] } },
      { attribute: 'operation', operation: { notPorts: [1], methods: [exact('GET')] } },
    ],
  };
  t.same(ruleForConnections(rule, 'DENY'), {
    from: [{ principals: [exact('a')], remoteIpBlocks: [{ address: '10.0.0.0', prefix: 8 }] }],
    to: [{ ports: [80] }],
    when: [
      { attribute: 'sni', values: [exact('a')] },
      { attribute: 'source', source: { namespaces: [exact('a')] } },
      { attribute: 'operation', operation: { notPorts: [1] } },
    ],
  });
  const plain: AuthorizationRule = { from: [{ namespaces: [exact('a')] }], to: ports };
  t.equal(ruleForConnections(plain, 'ALLOW'), plain);
});
