import t from 'tap';
import { type Authorize, compileAuthorization } from '../../src/authz/decide.ts';
import type { AuthorizationFacts } from '../../src/authz/rule.ts';
import type {
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
} from '../../src/model/authorization.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import type { Peer } from '../../src/pipeline/scope.ts';

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });
const suffix = (value: string): StringMatch => ({ kind: 'suffix', value });
const regex = (value: string): StringMatch => ({ kind: 'regex', value });
const present: StringMatch = { kind: 'present' };

const policy = (
  action: 'ALLOW' | 'DENY',
  rules: readonly Partial<AuthorizationRule>[],
  name: string = action.toLowerCase(),
): AuthorizationPolicy => ({
  action,
  rules: rules.map(({ from = [], to = [] }) => ({ from, to })),
  provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name },
});
const from = (source: AuthorizationSource): Partial<AuthorizationRule> => ({ from: [source] });
const to = (operation: AuthorizationOperation): Partial<AuthorizationRule> => ({ to: [operation] });

const peer = (account: string, namespace = 'shop', trustDomain = 'cluster.local'): Peer => ({
  spiffeId: `spiffe://${trustDomain}/ns/${namespace}/sa/${account}`,
  trustDomain,
  namespace,
  serviceAccount: account,
});
/** A SPIFFE ID that is not of Istio's form. */
const foreign: Peer = { spiffeId: 'spiffe://cluster.local/payments/web', trustDomain: 'cluster.local' };

const call = (changes: Partial<AuthorizationFacts> = {}): AuthorizationFacts => {
  const path = changes.path ?? '/';
  return {
    peer: undefined,
    method: 'GET',
    path,
    rawPath: path,
    host: 'web',
    localPort: 8080,
    claims: undefined,
    sourceAddress: undefined,
    remoteAddress: undefined,
    destinationAddress: undefined,
    sni: '',
    rawHeaders: [],
    ...changes,
  };
};
const allowed = (authorize: Authorize, changes: Partial<AuthorizationFacts> = {}): boolean =>
  authorize(call(changes)) === undefined;

t.test('the order of Istio: DENY, then ALLOW, and without ALLOW policies everything else passes', async (t) => {
  t.ok(allowed(compileAuthorization([])));
  const nothing = compileAuthorization([policy('ALLOW', [])]);
  t.match(nothing(call()), { reason: 'not-allowed' });
  const everything = compileAuthorization([policy('ALLOW', [{}])]);
  t.ok(allowed(everything));
  t.notOk(allowed(compileAuthorization([policy('DENY', [{}])])));
  t.ok(allowed(compileAuthorization([policy('DENY', [])])), 'a DENY policy without rules matches nothing');
  const both = compileAuthorization([
    policy('ALLOW', [{}]),
    policy('DENY', [to({ methods: [exact('DELETE')] })], 'no-delete'),
  ]);
  t.ok(allowed(both));
  t.match(both(call({ method: 'DELETE' })), { reason: 'denied', policy: { name: 'no-delete' } });
  const oneOfTwo = compileAuthorization([
    policy('ALLOW', [to({ methods: [exact('GET')] })]),
    policy('ALLOW', [to({ methods: [exact('PUT')] })]),
  ]);
  t.ok(allowed(oneOfTwo) && allowed(oneOfTwo, { method: 'PUT' }));
  t.notOk(allowed(oneOfTwo, { method: 'POST' }));
});

t.test('a rule needs one source and one operation; within them all fields, within a field any value', async (t) => {
  const authorize = compileAuthorization([
    policy('ALLOW', [
      {
        from: [{ namespaces: [exact('shop')], notPrincipals: [suffix('/sa/guest')] }, { namespaces: [exact('ops')] }],
        to: [{ methods: [exact('GET'), exact('HEAD')], paths: [prefix('/api/')] }, { ports: [9090] }],
      },
    ]),
  ]);
  t.ok(allowed(authorize, { peer: peer('web'), path: '/api/x' }));
  t.ok(allowed(authorize, { peer: peer('guest', 'ops'), path: '/api/x', method: 'HEAD' }));
  t.ok(allowed(authorize, { peer: peer('web'), path: '/other', localPort: 9090 }));
  t.notOk(allowed(authorize, { peer: peer('guest'), path: '/api/x' }));
  t.notOk(allowed(authorize, { peer: peer('web'), path: '/other' }));
  t.notOk(allowed(authorize, { peer: peer('web'), path: '/api/x', method: 'POST' }));
});

t.test('identity: what each field matches, and that no identity matches nothing', async (t) => {
  const web = peer('web');
  const table: readonly (readonly [AuthorizationSource, readonly Peer[], readonly (Peer | undefined)[]])[] = [
    [
      { principals: [exact('cluster.local/ns/shop/sa/web')] },
      [web],
      [peer('web-evil'), peer('web', 'shop', 'evil.example'), foreign, undefined],
    ],
    [{ principals: [prefix('cluster.local/ns/shop/')] }, [web, peer('x')], [peer('web', 'shops'), foreign, undefined]],
    [
      { principals: [suffix('/sa/web')] },
      [web, peer('web', 'other', 'evil.example')],
      [peer('webx'), foreign, undefined],
    ],
    [{ principals: [regex('cluster\\.local/ns/[a-z]+/sa/web')] }, [web], [peer('web', 'a1'), undefined]],
    [{ principals: [present] }, [web, foreign], [undefined]],
    [{ namespaces: [exact('shop')] }, [web], [peer('web', 'shop2'), foreign, undefined]],
    [{ namespaces: [prefix('sho')] }, [web, peer('x', 'shoes')], [peer('x', 'ops'), undefined]],
    [{ namespaces: [present] }, [web], [foreign, undefined]],
    [{ serviceAccounts: ['shop/web.api'] }, [peer('web.api')], [peer('webXapi'), web, foreign, undefined]],
  ];
  for (const [source, matching, others] of table) {
    const name = JSON.stringify(source);
    const positive = compileAuthorization([policy('ALLOW', [from(source)])]);
    const [[field, values] = ['', []]] = Object.entries(source) as [string, never][];
    const negated = { [`not${field[0]?.toUpperCase()}${field.slice(1)}`]: values };
    const negative = compileAuthorization([policy('DENY', [from(negated)])]);
    for (const each of matching) {
      t.ok(allowed(positive, { peer: each }), `${name} matches ${each.spiffeId}`);
      t.ok(allowed(negative, { peer: each }), `not ${name} spares ${each.spiffeId}`);
    }
    for (const each of others) {
      t.notOk(allowed(positive, { peer: each }), `${name} does not match ${each?.spiffeId}`);
      t.notOk(allowed(negative, { peer: each }), `not ${name} hits ${each?.spiffeId}`);
    }
  }
});

t.test('HEAD is what routers make of GET: a refusal of GET is one of HEAD, and nothing else', async (t) => {
  const crowd = Array.from({ length: 12 }, (_, i) => to({ methods: [exact(`M${i}`)] }));
  const head = { method: 'HEAD' };
  for (const others of [[], crowd]) {
    const deny = (...operations: AuthorizationOperation[]) =>
      policy('DENY', [...operations.map((each) => to(each)), ...others]);
    t.notOk(allowed(compileAuthorization([deny({ methods: [exact('GET')] })]), head));
    t.notOk(allowed(compileAuthorization([deny({ methods: [prefix('G')] })]), head));
    t.ok(allowed(compileAuthorization([deny({ methods: [exact('POST')] })]), head));
    t.ok(allowed(compileAuthorization([deny({ methods: [exact('GET')] })], { paths: 'literal' }), head), 'as in Istio');
    t.ok(allowed(compileAuthorization([deny({ notMethods: [exact('HEAD')] })]), head));
    t.notOk(allowed(compileAuthorization([deny({ notMethods: [exact('GET')] })]), head), 'AUTHZ-037 turned round');
    const allow = policy('ALLOW', [to({ methods: [exact('GET')] }), ...others]);
    t.notOk(allowed(compileAuthorization([allow]), head), 'AUTHZ-037');
    t.notOk(allowed(compileAuthorization([policy('ALLOW', [to({ notMethods: [exact('GET')] })])]), head));
  }
});

t.test('methods are compared as they are, ports are those that the workload listens on', async (t) => {
  const get = compileAuthorization([policy('ALLOW', [to({ methods: [exact('GET'), prefix('PO')] })])]);
  t.ok(allowed(get) && allowed(get, { method: 'POST' }));
  for (const method of ['HEAD', 'get', 'GETX']) t.notOk(allowed(get, { method }), method);
  const notDelete = compileAuthorization([policy('ALLOW', [to({ notMethods: [exact('DELETE')] })])]);
  t.ok(allowed(notDelete));
  t.notOk(allowed(notDelete, { method: 'DELETE' }));
  const port = compileAuthorization([policy('DENY', [to({ ports: [8443] })])]);
  t.ok(allowed(port, { host: 'web:8443' }), 'the port of the Host header says nothing');
  t.notOk(allowed(port, { localPort: 8443 }));
  const notPort = compileAuthorization([policy('DENY', [to({ notPorts: [8080] })])]);
  t.ok(allowed(notPort));
  t.notOk(allowed(notPort, { localPort: 9090 }));
});

t.test('hosts: case, port, final dot and labels', async (t) => {
  const denies = (match: StringMatch, host: string): boolean =>
    !allowed(compileAuthorization([policy('DENY', [to({ hosts: [match] })])]), { host });
  const table: readonly (readonly [StringMatch, readonly string[], readonly string[]])[] = [
    [
      exact('secret.example'),
      ['secret.example', 'SECRET.example', 'secret.example:8080', 'secret.example.', 'secret.example.:80'],
      ['xsecret.example', 'secret.example.com', ''],
    ],
    [exact('Secret.Example.'), ['secret.example'], ['secret.examples']],
    [
      exact('secret.example:8080'),
      ['secret.example:8080', 'secret.example.:8080'],
      ['secret.example', 'secret.example:80'],
    ],
    [prefix('secret.example:'), ['secret.example:1'], ['secret.example', 'secret.example.com:1']],
    [prefix('secret.'), ['secret.example:80', 'SECRET.a'], ['a.secret.example']],
    [
      suffix('.shop.example'),
      ['a.shop.example', 'a.shop.example:80', 'A.B.Shop.Example.'],
      ['evilshop.example', 'shop.example'],
    ],
    [suffix('.shop.example.'), ['a.shop.example', 'a.shop.example.:80'], ['evilshop.example', 'a.shop.example.com']],
    [suffix('.shop.example.:80'), ['a.shop.example:80', 'a.shop.example.:80'], ['a.shop.example']],
    [exact('secret.example.:80'), ['secret.example:80', 'secret.example.:80'], ['secret.example', 'secret.example:8']],
    [suffix(':8080'), ['a:8080'], ['a', 'a:80']],
    [exact('[::1]'), ['[::1]', '[::1]:80'], ['[::2]']],
    [exact('[::1]:80'), ['[::1]:80'], ['[::1]', '[::1]:81']],
    [regex('[a-z]+\\.example'), ['a.example', 'A.Example:80'], ['a1.example']],
    [regex('[a-z]+:80'), ['a:80'], ['a', 'a:81']],
    [present, ['anything'], ['']],
  ];
  for (const [match, matching, others] of table) {
    for (const host of matching) t.ok(denies(match, host), `${JSON.stringify(match)} ${host}`);
    for (const host of others) t.notOk(denies(match, host), `${JSON.stringify(match)} not ${host}`);
  }
  const notHosts = compileAuthorization([policy('DENY', [to({ notHosts: [exact('web')] })])]);
  t.ok(allowed(notHosts, { host: 'WEB:80' }));
  t.notOk(allowed(notHosts, { host: '' }), 'no host is not the right host');
});

t.test('an address of IPv6 is refused however it is written, and allowed as it is written', async (t) => {
  const many = Array.from({ length: 50 }, (_, i) => exact(`h${i}.example`));
  const table: readonly (readonly [StringMatch, spellings: readonly string[], others: readonly string[]])[] = [
    [exact('[::1]'), ['[0:0:0:0:0:0:0:1]', '[0::0001]:80', '[::0.0.0.1]'], ['[::2]', '[0::11]', '[::1', 'x[::1]']],
    [exact('[0:0:0:0:0:0:0:1]'), ['[::1]', '[::1]:80', '[0::1]'], ['[::2]']],
    [exact('[FE80:0::A]:80'), ['[fe80::a]:80', '[fe80::000a]:80'], ['[fe80::a]', '[fe80::a]:81']],
    [
      exact('10.0.0.1'),
      ['[::ffff:10.0.0.1]', '[::FFFF:0a00:1]:80', '[0:0:0:0:0:ffff:a00:1]'],
      ['[::10.0.0.1]', '[::ffff:10.0.0.2]'],
    ],
    [exact('[::ffff:a00:1]'), ['10.0.0.1', '[::ffff:10.0.0.1]:80'], ['10.0.0.2']],
    [prefix('[2001:db8::'), ['[2001:DB8:0:0:0:0:0:7]:80'], ['[2001:db9::7]']],
    [regex('\\[fd[0-9a-f]+::1\\]'), ['[fd00:0::0001]'], ['[fd00::2]']],
  ];
  const list = (match: StringMatch) => [to({ hosts: [match] })];
  for (const [match, spellings, others] of table) {
    const what = JSON.stringify(match);
    const deny = compileAuthorization([policy('DENY', list(match))]);
    const among = compileAuthorization([policy('DENY', [...many.flatMap(list), ...list(match)])]);
    const literal = compileAuthorization([policy('DENY', list(match))], { paths: 'literal' });
    const allow = compileAuthorization([policy('ALLOW', list(match))]);
    const except = compileAuthorization([policy('ALLOW', [to({ notHosts: [match] })])]);
    for (const each of spellings) {
      t.notOk(allowed(deny, { host: each }), `${what} ${each}`);
      t.notOk(allowed(among, { host: each }), `${what} ${each}, among many`);
      t.notOk(allowed(except, { host: each }), `${what} ${each}, but for it`);
      t.ok(allowed(literal, { host: each }), `${what} ${each}, as in Istio`);
      t.notOk(allowed(allow, { host: each }), `${what} ${each}, to allow`);
    }
    for (const each of others)
      for (const one of [deny, among, except]) t.ok(allowed(one, { host: each }), `${what} not ${each}`);
  }
});

t.test('many rules about certain callers cost what those about this caller cost, and decide the same', async (t) => {
  const rules = Array.from({ length: 2_000 }, (_, i) => ({
    from: [{ principals: [exact(`cluster.local/ns/shop/sa/s${i}`), exact(`cluster.local/ns/ops/sa/s${i}`)] }],
    to: [{ methods: [exact(i % 2 === 0 ? 'GET' : 'PUT')] }],
  }));
  const authorize = compileAuthorization([
    policy('ALLOW', rules),
    policy('ALLOW', [from({ namespaces: [exact('all')] })]),
  ]);
  t.ok(allowed(authorize, { peer: peer('s2') }) && allowed(authorize, { peer: peer('s2', 'ops') }));
  t.ok(allowed(authorize, { peer: peer('s3'), method: 'PUT' }) && allowed(authorize, { peer: peer('x', 'all') }));
  t.notOk(allowed(authorize, { peer: peer('s3') }));
  t.notOk(allowed(authorize, { peer: peer('s2000') }));
  t.notOk(allowed(authorize));
});

t.test('what cannot be meant is not compiled', async (t) => {
  const bad = { code: 'ERR_MESH_CONFIG_INVALID' };
  t.throws(() => compileAuthorization([policy('DENY', [to({ paths: [] })])]), bad, 'an empty list is not "any"');
  t.throws(() => compileAuthorization([policy('ALLOW', [from({ notPrincipals: [] })])]), bad);
  t.throws(() => compileAuthorization([policy('ALLOW', [to({ paths: [regex('(')] })])]), bad);
  t.throws(() => compileAuthorization([policy('PERMIT' as 'ALLOW', [{}])]), bad);
});
