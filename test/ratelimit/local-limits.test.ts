import { request } from 'node:http';
import t, { type Test } from 'tap';
import type { InboundPolicy } from '../../src/model/inbound.ts';
import { makeAuthority } from '../support/certificates.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import {
  inboundSnapshot,
  rawExchange,
  type TestInbound,
  type TestInboundOptions,
  testInbound,
} from '../support/inbound.ts';
import { hello, localLimit } from './support.ts';

async function limited(
  t: Test,
  policy: Partial<InboundPolicy>,
  options: TestInboundOptions = {},
): Promise<TestInbound & { readonly clock: FakeClock }> {
  const clock = fakeClock();
  const inbound = await testInbound(hello, { clock, policy, ...options });
  t.teardown(() => inbound.acceptor.drain(0));
  return { ...inbound, clock };
}

const get = (path = '/', headers = '', host = 'web'): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
const statusOf = async (port: number, text = get()): Promise<number> => (await rawExchange(port, text))[0]?.status ?? 0;

t.test('a request takes a token, and without one it is refused as Envoy refuses it', async (t) => {
  const { clock, metrics, pipeline, port } = await limited(t, { localRateLimits: [localLimit()] });
  t.equal(await statusOf(port), 200);
  t.equal(await statusOf(port), 200);
  const [refused] = await rawExchange(port, get());
  t.match(refused, {
    status: 429,
    body: 'rate limited',
    headers: {
      'x-envoy-ratelimited': 'true',
      'x-inmesh-error': 'ERR_MESH_RATE_LIMITED',
      'retry-after': '1',
      'ratelimit-limit': '2',
      'ratelimit-remaining': '0',
      'ratelimit-reset': '2',
    },
  });
  t.same(pipeline.rateLimits(), [{ name: 'shop/r all', limited: 1 }]);
  t.match(metrics.snapshot(), [{ statuses: { 200: 2, 429: 1 }, flags: { RL: 1 } }]);
  clock.advance(999);
  t.equal(await statusOf(port), 429);
  clock.advance(1);
  t.equal(await statusOf(port), 200);
});

t.test('answers tell what is left where they shall, and nobody is told where they shall not', async (t) => {
  const always = await limited(t, { localRateLimits: [localLimit({ headers: 'ALWAYS' })] });
  const [first] = await rawExchange(always.port, get());
  t.match(first, {
    status: 200,
    headers: { 'ratelimit-limit': '2', 'ratelimit-remaining': '1', 'ratelimit-reset': '1' },
  });
  const never = await limited(t, { localRateLimits: [localLimit({ headers: 'NEVER' })] });
  await statusOf(never.port);
  await statusOf(never.port);
  const [refused] = await rawExchange(never.port, get());
  t.equal(refused?.status, 429);
  t.equal(refused?.headers['ratelimit-limit'], undefined);
  t.equal(refused?.headers['retry-after'], '1', 'when to come back is for everybody');
});

t.test('of several limits a request takes all or none', async (t) => {
  const narrow = localLimit({
    name: 'shop/r narrow',
    bucket: { maxTokens: 1, tokensPerFill: 1, fillIntervalMs: 1_000 },
  });
  const wide = localLimit({
    name: 'shop/r wide',
    headers: 'ALWAYS',
    bucket: { maxTokens: 3, tokensPerFill: 1, fillIntervalMs: 60_000 },
  });
  const { clock, pipeline, port } = await limited(t, { localRateLimits: [wide, narrow] });
  t.equal(await statusOf(port), 200);
  for (let i = 0; i < 5; i++) t.equal(await statusOf(port), 429);
  clock.advance(1_000);
  const [second] = await rawExchange(port, get());
  t.match(second, { status: 200, headers: { 'ratelimit-limit': '3', 'ratelimit-remaining': '1' } });
  t.same(pipeline.rateLimits(), [
    { name: 'shop/r wide', limited: 0 },
    { name: 'shop/r narrow', limited: 5 },
  ]);
});

t.test('a shadow counts and refuses nobody', async (t) => {
  const { pipeline, port } = await limited(t, { localRateLimits: [localLimit({ shadow: true })] });
  for (let i = 0; i < 5; i++) t.equal(await statusOf(port), 200);
  t.same(pipeline.rateLimits(), [{ name: 'shop/r all', limited: 3 }]);
});

t.test('a limit for a path is not escaped by spelling it another way (ABUSE-007)', async (t) => {
  const rules = [{ from: [], to: [{ paths: [{ kind: 'exact', value: '/api' }] as const }] }];
  const { port } = await limited(t, { localRateLimits: [localLimit({ rules, by: [{ kind: 'remoteAddress' }] })] });
  t.equal(await statusOf(port, get('/api')), 200);
  t.equal(await statusOf(port, get('/api?x=1')), 200);
  const spellings = ['/api', '/API', '//api', '/api/', '/./api', '/%61pi', '/api?y', '/api;v=1'];
  for (const path of spellings) t.equal(await statusOf(port, get(path)), 429, path);
  t.equal(await statusOf(port, get('/api', 'X-Forwarded-For: 1.2.3.4\r\n')), 429, 'nor by a made-up address');
  t.equal(await statusOf(port, get('/api', '', 'WEB')), 429, 'nor by another case of the host');
  t.equal(await statusOf(port, get('/other')), 200);
});

t.test('callers are told apart by the identity that they proved', async (t) => {
  const authority = makeAuthority();
  const { port } = await limited(t, { localRateLimits: [localLimit({ by: [{ kind: 'principal' }] })] }, { authority });
  const as = async (account: string): Promise<number> => {
    const credentials = authority.issue(`spiffe://cluster.local/ns/shop/sa/${account}`);
    const [answer] = await rawExchange(port, get(), { tls: { credentials, ca: authority.rootPem } });
    return answer?.status ?? 0;
  };
  t.same([await as('ann'), await as('ann'), await as('ann')], [200, 200, 429]);
  t.same([await as('bob'), await as('bob'), await as('bob')], [200, 200, 429]);
});

t.test('whom policy refuses takes no tokens', async (t) => {
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  const authorization = [
    {
      action: 'DENY',
      rules: [{ from: [], to: [{ methods: [{ kind: 'exact', value: 'PUT' }] as const }] }],
      provenance,
    } as const,
  ];
  const { port } = await limited(t, { localRateLimits: [localLimit()], authorization });
  const put = 'PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n';
  for (let i = 0; i < 5; i++) t.equal(await statusOf(port, put), 403);
  t.equal(await statusOf(port), 200);
});

t.test('what was used up stays used up when the configuration changes', async (t) => {
  const inbound = await limited(t, { localRateLimits: [localLimit()] });
  const { clock, pipeline, port } = inbound;
  await statusOf(port);
  await statusOf(port);
  inbound.use(inboundSnapshot({ localRateLimits: [localLimit(), localLimit({ name: 'shop/r more' })] }));
  t.equal(await statusOf(port), 429);
  inbound.use(
    inboundSnapshot({
      localRateLimits: [localLimit({ bucket: { maxTokens: 3, tokensPerFill: 1, fillIntervalMs: 1_000 } })],
    }),
  );
  t.equal(await statusOf(port), 200);
  t.equal(await statusOf(port), 429);
  t.same(pipeline.rateLimits(), [{ name: 'shop/r all', limited: 2 }]);
  inbound.use(inboundSnapshot());
  t.equal(await statusOf(port), 200);
  t.same(pipeline.rateLimits(), []);
  clock.advance(1);
});

t.test('a refusal does not cost the connection', async (t) => {
  const { port } = await limited(t, {
    localRateLimits: [localLimit({ bucket: { maxTokens: 1, tokensPerFill: 1, fillIntervalMs: 1_000 } })],
  });
  const answers = await rawExchange(port, get() + get(), { answers: 2 });
  t.same(
    answers.map(({ status }) => status),
    [200, 429],
  );
  const status = await new Promise<number | undefined>((resolve, reject) => {
    request({ port, host: '127.0.0.1', method: 'POST' }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end('x'.repeat(1_000));
  });
  t.equal(status, 429);
});
