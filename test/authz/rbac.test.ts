import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { AuthorizerCalls } from '../../src/authorizer-calls.ts';
import { compileConnectionAuthorizer } from '../../src/authz/connection.ts';
import { compileRbac, rbacAbout, rbacNames } from '../../src/authz/rbac.ts';
import type { AuthorizationFacts } from '../../src/authz/rule.ts';
import { createTallies } from '../../src/authz/tallies.ts';
import { createExplainer } from '../../src/explain/explainer.ts';
import type { ExternalAuthorizer } from '../../src/model/external-authorizer.ts';
import type { InboundPolicy } from '../../src/model/inbound.ts';
import type { ExternalCheck, RbacFilter, RbacMatch, RbacPolicy, RbacRules } from '../../src/model/rbac.ts';
import { inboundSnapshot, rawExchange, shopWeb, testPipeline } from '../support/inbound.ts';

const listener = { kind: 'Listener', namespace: 'xds', name: 'virtualInbound' };
const any: RbacMatch = { kind: 'any' };

function policy(name: string, ...permissions: readonly RbacMatch[]): RbacPolicy {
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name };
  return { name: `ns[shop]-policy[${name}]-rule[0]`, provenance, rule: 0, permissions, principals: [any] };
}

const path = (value: string): RbacMatch => ({ kind: 'path', match: { kind: 'exact', value } });

function filter(
  action: RbacRules['action'],
  policies: readonly RbacPolicy[],
  more: Partial<RbacFilter> = {},
): RbacFilter {
  return { rules: { action, policies }, provenance: listener, ...more };
}

const facts: AuthorizationFacts = {
  peer: undefined,
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'web',
  localPort: 8_080,
  claims: undefined,
  sourceAddress: undefined,
  remoteAddress: undefined,
  destinationAddress: undefined,
  sni: '',
  rawHeaders: [],
};

t.test('filters are asked in turn, and the first that refuses decides', async (t) => {
  const filters = [
    filter('LOG', [policy('seen', path('/a'))]),
    filter('DENY', [policy('no-b', path('/b'))]),
    filter('ALLOW', [policy('a', path('/a')), policy('b', path('/b'))]),
  ];
  const tallies = createTallies();
  const { decide } = compileRbac(filters, {}, tallies);
  const audits: string[] = [];
  const ask = (asked: string) =>
    decide(
      { ...facts, path: asked, rawPath: asked },
      { audited: (_, { id }) => void audits.push(id), shadowed: () => {} },
    );
  t.match(ask('/a'), { allowed: true, reason: 'allowed', policy: { name: 'a' }, rule: 0, detail: '' });
  t.match(ask('/b'), {
    allowed: false,
    reason: 'denied',
    policy: { name: 'no-b' },
    detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[no-b]-rule[0]]',
  });
  t.match(ask('/c'), {
    allowed: false,
    reason: 'not-allowed',
    policy: undefined,
    detail: 'rbac_access_denied_matched_policy[none]',
  });
  t.same(audits, ['ns[shop]-policy[seen]-rule[0]']);
  t.same(rbacNames(filters), ['shop/seen', 'shop/no-b', 'shop/a', 'shop/b']);
  t.same(
    tallies
      .counts()
      .map(({ policy: name, result, requests }) => `${name} ${result} ${requests}`)
      .sort(),
    ['none denied 1', 'shop/a allowed 1', 'shop/no-b denied 1', 'shop/seen matched 1'],
  );
});

t.test('without rules a filter refuses nothing; with an ALLOW and no policies everything', async (t) => {
  t.match(compileRbac([{ provenance: listener }]).decide(facts), { allowed: true, reason: 'not-denied' });
  t.match(compileRbac([]).decide(facts), { allowed: true });
  t.match(compileRbac([filter('ALLOW', [])]).decide(facts), { allowed: false, reason: 'not-allowed' });
  t.match(compileRbac([filter('DENY', [])]).decide(facts), { allowed: true });
});

t.test('what is tried out is told of and decides nothing', async (t) => {
  const shadow = { action: 'DENY', policies: [policy('try', any)] } as const;
  const told: string[] = [];
  const { decide } = compileRbac([
    { shadow, provenance: listener },
    { shadow: { action: 'LOG', policies: [] }, provenance: listener },
  ]);
  const { allowed } = decide(facts, {
    audited: () => {},
    shadowed: (_, { action, id, result }) => void told.push(`${action} ${result} ${id}`),
  });
  t.equal(allowed, true);
  t.same(told, ['DENY denied ns[shop]-policy[try]-rule[0]']);
});

t.test('filters are for some ports, or for all but some, and for requests or connections', async (t) => {
  const deny = [policy('no', any)];
  const allows = (more: Partial<RbacFilter>, localPort: number): boolean =>
    compileRbac([filter('DENY', deny, more)]).decide({ ...facts, localPort }).allowed;
  t.equal(allows({ scope: { ports: [8_080] } }, 8_080), false);
  t.equal(allows({ scope: { ports: [8_080] } }, 80), true);
  t.equal(allows({ scope: { ports: [8_080], except: true } }, 8_080), true);
  t.equal(allows({ scope: { ports: [8_080], except: true } }, 80), false);
  const both = [
    filter('DENY', deny),
    filter('DENY', deny, { about: 'requests' }),
    filter('DENY', deny, { about: 'connections' }),
  ];
  t.equal(rbacAbout(both, 'requests').length, 2);
  t.equal(rbacAbout(both, 'connections').length, 2);
});

t.test('connections need both: policies of YAML and those of Envoy', async (t) => {
  const connection = {
    peer: undefined,
    localPort: 5_432,
    sourceAddress: undefined,
    destinationAddress: undefined,
    sni: '',
  };
  const allowed = (
    policies: Parameters<typeof compileConnectionAuthorizer>[0],
    ...rbac: readonly RbacFilter[]
  ): boolean => compileConnectionAuthorizer(policies, undefined, rbac)(connection).allowed;
  const denyAll = { action: 'DENY', rules: [{ from: [], to: [] }], provenance: listener } as const;
  const allowAll = { action: 'ALLOW', rules: [{ from: [], to: [] }], provenance: listener } as const;
  t.equal(allowed([]), true);
  t.equal(allowed([denyAll], filter('ALLOW', [policy('yes', any)])), false);
  t.equal(allowed([allowAll], filter('ALLOW', [policy('yes', any)])), true);
  t.equal(allowed([allowAll], filter('DENY', [policy('no', any)])), false);
  t.equal(allowed([], filter('DENY', [policy('no', any)])), false);
  t.equal(allowed([], filter('DENY', [policy('no', any)], { about: 'requests' })), true);
});

t.test('what cannot be matched is refused when it is compiled', async (t) => {
  const empty =
    (match: RbacMatch): (() => unknown) =>
    () =>
      compileRbac([filter('ALLOW', [policy('p', match)])]);
  t.throws(empty({ kind: 'or', of: [] }), { code: 'ERR_MESH_CONFIG_INVALID' });
  t.throws(empty({ kind: 'and', of: [] }), { code: 'ERR_MESH_CONFIG_INVALID' });
  t.throws(() => compileRbac([filter('DENY', [policy('p')])]), { code: 'ERR_MESH_CONFIG_INVALID' });
  t.throws(empty({ kind: 'moon' } as unknown as RbacMatch), /unknown kind of match: moon/);
});

async function serve(t: Test, inbound: Partial<InboundPolicy>, more: Parameters<typeof testPipeline>[1] = {}) {
  const parts = testPipeline(inboundSnapshot(inbound), more);
  const server = createServer((request, response) =>
    parts.pipeline.handle(request, response, () => response.end('hello')),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ask = async (asked: string): Promise<number> => {
    const [answer] = await rawExchange(port, `GET ${asked} HTTP/1.1\r\nHost: web\r\n\r\n`);
    return answer?.status ?? 0;
  };
  return { ask, parts };
}

t.test("requests that Envoy's policies refuse are answered 403, and counted by policy", async (t) => {
  const { ask, parts } = await serve(t, { rbac: [filter('DENY', [policy('no-b', path('/b'))])] });
  t.equal(await ask('/a'), 200);
  t.equal(await ask('/b'), 403);
  t.equal(await ask('/B/'), 403, 'in every reading of the path');
  t.match(
    parts.pipeline.authorization().filter(({ policy: name }) => name === 'shop/no-b'),
    [{ result: 'denied', requests: 2 }],
  );
});

t.test('policies that cannot be compiled refuse everything', async (t) => {
  const { ask, parts } = await serve(t, { rbac: [filter('ALLOW', [policy('p', { kind: 'or', of: [] })])] });
  t.equal(await ask('/'), 403);
  t.ok(parts.logger.messages('error').some((message) => message.includes('authorization policies cannot be compiled')));
});

const authorizer: ExternalAuthorizer = {
  name: 'opa',
  service: 'opa.auth:9000',
  timeoutMs: 1_000,
  failOpen: false,
  statusOnError: 403,
  protocol: {
    kind: 'http',
    pathPrefix: '/check',
    requestHeaders: [],
    addedHeaders: [],
    toUpstreamOnAllow: [],
    toDownstreamOnAllow: [],
    toDownstreamOnDeny: [],
  },
  provenance: listener,
};

t.test('an authorizer is asked where policies match, on its ports, before the others or behind them', async (t) => {
  const asked: string[] = [];
  const authorizerCalls: AuthorizerCalls = {
    http: async (service, question) => {
      asked.push(`${service}${question.path}`);
      return { status: question.path.endsWith('/yes') ? 200 : 401, headers: [], body: new Uint8Array() };
    },
    unary: async () => new Uint8Array(),
  };
  const some: ExternalCheck = { authorizer, when: [policy('ask', path('/yes'), path('/no'))], provenance: listener };
  const { ask, parts } = await serve(t, { checks: [some] }, { authorizerCalls });
  t.equal(await ask('/other'), 200);
  t.equal(await ask('/yes'), 200);
  t.equal(await ask('/no'), 401);
  t.same(asked, ['opa.auth:9000/check/yes', 'opa.auth:9000/check/no']);
  t.match(parts.pipeline.authorizers(), [{ name: 'opa', asked: 2, allowed: 1, denied: 1 }]);
  const behind: ExternalCheck = { authorizer, last: true, provenance: listener };
  const later = await serve(
    t,
    { checks: [behind], rbac: [filter('DENY', [policy('no-b', path('/b'))])] },
    { authorizerCalls },
  );
  asked.length = 0;
  t.equal(await later.ask('/b'), 403);
  t.same(asked, [], 'strangers cost no question');
  t.equal(await later.ask('/x'), 401);
  const elsewhere = await serve(t, { checks: [{ ...behind, scope: { ports: [1] } }] }, { authorizerCalls });
  t.equal(await elsewhere.ask('/x'), 200);
});

t.test('where nobody can be asked it is refused', async (t) => {
  const unknownService = { ...authorizer, service: undefined };
  const { ask } = await serve(t, {
    checks: [{ authorizer: unknownService, when: [policy('ask', path('/no'))], provenance: listener }],
  });
  t.equal(await ask('/no'), 403);
  t.equal(await ask('/other'), 200);
});

t.test("explain says which of Envoy's policies decides, and who would be asked", async (t) => {
  const rbac = [filter('DENY', [policy('no-b', path('/b'))]), filter('LOG', [policy('seen', any)])];
  const check: ExternalCheck = { authorizer, when: [policy('ask', path('/a'))], provenance: listener };
  const explainer = createExplainer({ workload: shopWeb, snapshot: inboundSnapshot({ rbac, checks: [check] }) });
  t.match(await explainer.inbound({ url: 'http://web/b' }), {
    decision: 'deny',
    status: 403,
    policy: 'shop/no-b',
    rule: 0,
    detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[no-b]-rule[0]]',
  });
  t.match(await explainer.inbound({ url: 'http://web/a' }), {
    decision: 'allow',
    audit: { policy: 'shop/seen', rule: 0 },
    custom: { provider: 'opa', policy: 'shop/ask', outcome: 'unknown' },
  });
  t.equal((await explainer.inbound({ url: 'http://web/c' })).custom, undefined);
  const closed = [filter('DENY', [policy('no', any)], { about: 'connections' })];
  const connections = createExplainer({ workload: shopWeb, snapshot: inboundSnapshot({ rbac: closed }) });
  t.match(await connections.inbound({ protocol: 'tcp', port: 5_432 }), { decision: 'deny', policy: 'shop/no' });
});

t.test('doubt goes one way: whatever would be allowed by a match would be denied by it', async (t) => {
  const texts = ['a', 'b', 'A', '/a', '/a/b', '/a%2fb', '//a', '/A/', 'web', 'web:80', 'x/y', '', '15', '5', 'é'];
  const text = fc.constantFrom(...texts);
  const stringMatch = fc.oneof(
    fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const), value: text }),
    fc.constant({ kind: 'present' as const }),
    fc.constantFrom('a.*', '/a(/.*)?', '[0-9]+', '').map((value) => ({ kind: 'regex' as const, value })),
  );
  const name = fc.constantFrom('x', 'te', 'connection', 'cookie', ':method', ':authority');
  const block = fc.constantFrom({ address: '10.0.0.0', prefix: 8 }, { address: '10.0.0.1', prefix: 32 });
  const flag = fc.constantFrom({}, { invert: true as const });
  const leaf: fc.Arbitrary<RbacMatch> = fc.oneof(
    fc.constantFrom<RbacMatch>({ kind: 'any' }, { kind: 'never' }, { kind: 'authenticated' }),
    fc.tuple(name, fc.oneof(stringMatch, fc.constant({ kind: 'range' as const, from: 10, below: 20 })), flag, flag).map(
      ([header, match, invert, absent]): RbacMatch => ({
        kind: 'header',
        name: header,
        match,
        ...invert,
        ...('invert' in absent && match.kind !== 'present' ? { absentIsEmpty: true } : {}),
      }),
    ),
    fc
      .tuple(fc.constantFrom('host', 'path', 'sni', 'authenticated', 'requestPrincipal'), stringMatch)
      .map(([kind, match]) => ({ kind, match }) as RbacMatch),
    fc.constantFrom('/{*}', '/a/{**}', '/{**}/b').map((template): RbacMatch => ({ kind: 'template', template })),
    fc
      .tuple(fc.constantFrom('destinationIp', 'sourceIp', 'remoteIp'), block)
      .map(([kind, each]) => ({ kind, block: each }) as RbacMatch),
    stringMatch.map((match): RbacMatch => ({ kind: 'claim', path: ['iss'], value: { kind: 'text', match } })),
  );
  const tree: fc.Arbitrary<RbacMatch> = fc.letrec<{ node: RbacMatch }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      fc
        .tuple(fc.constantFrom('and' as const, 'or' as const), fc.array(tie('node'), { minLength: 1, maxLength: 3 }))
        .map(([kind, of]): RbacMatch => ({ kind, of })),
      tie('node').map((of): RbacMatch => ({ kind: 'not', of })),
    ),
  })).node;
  const address = fc.constantFrom(undefined, '10.0.0.1', '192.168.0.1');
  const about: fc.Arbitrary<AuthorizationFacts> = fc.record({
    peer: fc.constantFrom(undefined, {
      spiffeId: 'spiffe://a/ns/b/sa/c',
      trustDomain: 'a',
      namespace: 'b',
      serviceAccount: 'c',
    }),
    method: fc.constantFrom('GET', 'a'),
    path: fc.constantFrom('/', '/a', '/a/b', '/A'),
    rawPath: fc.constantFrom('/', '/a', '/a%2fb', '//a', '/a;x/b', '/A/'),
    host: fc.constantFrom('', 'web', 'WEB:80', 'a'),
    localPort: fc.constant(80),
    claims: fc.constantFrom(undefined, { iss: 'x', sub: 'y' }, { iss: '' }),
    sourceAddress: address,
    remoteAddress: address,
    destinationAddress: address,
    sni: fc.constantFrom('', 'a'),
    rawHeaders: fc
      .array(fc.tuple(fc.constantFrom('x', 'X', 'te', 'connection', 'cookie'), text), { maxLength: 3 })
      .map((lines) => lines.flat()),
  });
  const allowed = (action: 'ALLOW' | 'DENY', match: RbacMatch, given: AuthorizationFacts): boolean =>
    compileRbac([filter(action, [policy('p', match)])]).decide(given).allowed;
  fc.assert(
    fc.property(tree, about, (match, given) => !allowed('ALLOW', match, given) || !allowed('DENY', match, given)),
    { numRuns: 3_000 },
  );
  t.pass('for all of them');
});
