import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { InboundPolicy } from '../../src/model/inbound.ts';
import type { RateLimitQuestion, RateLimitService, RateLimitVerdict } from '../../src/ratelimit/service.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { inboundSnapshot, rawExchange, testPipeline } from '../support/inbound.ts';
import { globalLimit, hello } from './support.ts';

type Answer = (question: RateLimitQuestion) => RateLimitVerdict | Promise<RateLimitVerdict>;

async function limited(
  t: Test,
  policy: Partial<InboundPolicy>,
  answer: Answer | undefined,
  app: RequestListener = hello,
) {
  const questions: RateLimitQuestion[] = [];
  const clock = fakeClock();
  const rateLimitService: RateLimitService | undefined = answer && {
    async shouldRateLimit(question) {
      questions.push(question);
      return answer(question);
    },
  };
  const parts = testPipeline(inboundSnapshot(policy), { clock, rateLimitService });
  const server = createServer((request, response) =>
    parts.pipeline.handle(request, response, () => app(request, response)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { ...parts, clock, questions, port: (server.address() as AddressInfo).port };
}

const get = (path = '/', headers = ''): string => `GET ${path} HTTP/1.1\r\nHost: web\r\n${headers}\r\n`;
const only = async (port: number, text = get()) => (await rawExchange(port, text))[0];
const pass: Answer = () => ({ limited: false });

t.test('the service is asked with the values of the request, and its word is done', async (t) => {
  const descriptors = [
    {
      rules: [],
      entries: [
        { key: 'kind', value: 'api' },
        { key: 'path', value: { kind: 'path' } as const },
      ],
    },
    { rules: [], entries: [{ key: 'user', value: { kind: 'header', name: 'x-user' } as const, otherwise: 'nobody' }] },
    { rules: [], entries: [{ key: 'token', value: { kind: 'header', name: 'x-token' } as const }] },
    {
      rules: [{ from: [], to: [{ methods: [{ kind: 'exact', value: 'PUT' }] as const }] }],
      entries: [{ key: 'put', value: 'yes' }],
    },
  ];
  let verdict: RateLimitVerdict = { limited: false };
  const { pipeline, port, questions } = await limited(
    t,
    { globalRateLimits: [globalLimit({ descriptors })] },
    () => verdict,
  );
  t.equal((await only(port, get('/Books/?a')))?.status, 200);
  t.same(questions, [
    {
      service: 'limits:8081',
      domain: 'shop',
      timeoutMs: 20,
      descriptors: [
        [
          { key: 'kind', value: 'api' },
          { key: 'path', value: '/books' },
        ],
        [{ key: 'user', value: 'nobody' }],
      ],
    },
  ]);
  verdict = {
    limited: true,
    state: { limit: 10, remaining: 0, resetMs: 2_500 },
    responseHeaders: [['x-why', 'too much']],
  };
  t.match(await only(port, get('/', 'x-user: ann\r\nx-token: t\r\n')), {
    status: 429,
    headers: {
      'x-envoy-ratelimited': 'true',
      'retry-after': '3',
      'ratelimit-limit': '10',
      'ratelimit-reset': '3',
      'x-why': 'too much',
    },
  });
  t.match(questions[1]?.descriptors.slice(1), [[{ key: 'user', value: 'ann' }], [{ key: 'token', value: 't' }]]);
  t.same(pipeline.rateLimits(), [{ name: 'shop/r global', limited: 1 }]);
});

t.test('nothing is asked for a request that no descriptor is for', async (t) => {
  const descriptors = [{ rules: [], entries: [{ key: 'token', value: { kind: 'header', name: 'x-token' } as const }] }];
  const { port, questions } = await limited(t, { globalRateLimits: [globalLimit({ descriptors })] }, pass);
  t.equal((await only(port))?.status, 200);
  t.equal(questions.length, 0);
});

t.test('headers that the service adds reach the application and the caller', async (t) => {
  const verdict: RateLimitVerdict = {
    limited: false,
    state: { limit: 10, remaining: 7, resetMs: 1_000 },
    requestHeaders: [['X-Plan', 'free']],
    responseHeaders: [['x-quota', '7']],
  };
  const app: RequestListener = (request, response) => void response.end(request.headers['x-plan']);
  const { port } = await limited(t, { globalRateLimits: [globalLimit({ headers: 'ALWAYS' })] }, () => verdict, app);
  t.match(await only(port), { status: 200, body: 'free', headers: { 'x-quota': '7', 'ratelimit-remaining': '7' } });
});

t.test(
  'a service that fails lets everything pass, or nothing where that is said; it is said once (ABUSE-010)',
  async (t) => {
    let fails = true;
    const answer: Answer = () => {
      if (fails) throw new Error('the store is down');
      return { limited: false };
    };
    const open = await limited(t, { globalRateLimits: [globalLimit()] }, answer);
    for (let i = 0; i < 3; i++) t.equal((await only(open.port))?.status, 200);
    t.equal(open.logger.lines.filter(({ message }) => /does not answer: requests pass/.test(message)).length, 1);
    fails = false;
    t.equal((await only(open.port))?.status, 200);
    t.equal(open.logger.lines.filter(({ message }) => /answers again/.test(message)).length, 1);
    fails = true;
    const closed = await limited(t, { globalRateLimits: [globalLimit({ failOpen: false })] }, answer);
    t.match(await only(closed.port), { status: 500, headers: { 'x-inmesh-error': 'ERR_MESH_RATE_LIMIT_SERVICE' } });
    t.match(closed.metrics.snapshot(), [{ flags: { RLSE: 1 } }]);
  },
);

t.test('a service that does not answer is waited for no longer than its time', async (t) => {
  const { clock, port } = await limited(t, { globalRateLimits: [globalLimit()] }, () => new Promise(() => {}));
  const answer = only(port);
  while (clock.pending() === 0) await nextTurn();
  clock.advance(19);
  t.equal(clock.pending(), 1);
  clock.advance(1);
  t.equal((await answer)?.status, 200);
});

t.test('without anybody to ask, it is as if the service did not answer', async (t) => {
  const { logger, port } = await limited(t, { globalRateLimits: [globalLimit()] }, undefined);
  t.equal((await only(port))?.status, 200);
  t.equal(
    logger.lines.filter(({ fields }) => /no rateLimitService/.test(String((fields as { error?: unknown }).error)))
      .length,
    1,
  );
});

t.test('a shadow asks and counts, and refuses nobody', async (t) => {
  const { pipeline, port } = await limited(t, { globalRateLimits: [globalLimit({ shadow: true })] }, () => ({
    limited: true,
  }));
  t.equal((await only(port))?.status, 200);
  t.same(pipeline.rateLimits(), [{ name: 'shop/r global', limited: 1 }]);
});
