import t from 'tap';
import { request } from 'undici';
import type { HeaderList } from '../../src/lib/header-list.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { applyOverrides, type TryPolicies, takeOverrides } from '../../src/retry/overrides.ts';
import { modelMesh } from '../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

const none: TryPolicies = { timeoutMs: undefined, retry: undefined, hedgeOnTimeout: undefined };
const some: TryPolicies = {
  timeoutMs: 1_000,
  retry: { ...defaultRetryPolicy, attempts: 3, retryOn: ['5xx'], perTryTimeoutMs: 200 },
  hedgeOnTimeout: false,
};
const applied = (base: TryPolicies, headers: Readonly<Record<string, string>>): TryPolicies =>
  applyOverrides(base, takeOverrides(Object.entries(headers).flat() as HeaderList) ?? []);

t.test('the headers are taken off, in any case of letters, and only these', async (t) => {
  const list: HeaderList = [
    'X-Envoy-Max-Retries',
    '5',
    'x-envoy-attempt-count',
    '1',
    'x-envoy-retry-on',
    ' 5xx ',
    'a',
    'b',
  ];
  t.same(takeOverrides(list), ['', '', '5xx', '', '5', '', '', '']);
  t.same(list, ['x-envoy-attempt-count', '1', 'a', 'b']);
  t.equal(takeOverrides(list), undefined);
  t.equal(takeOverrides([]), undefined);
});

t.test('as in Envoy: words and codes add, numbers and times replace', async (t) => {
  const table: readonly (readonly [base: TryPolicies, headers: Record<string, string>, wanted: object])[] = [
    [none, { 'x-envoy-retry-on': '5xx,reset' }, { retry: { attempts: 1, retryOn: ['5xx', 'reset'] } }],
    [none, { 'x-envoy-retry-grpc-on': 'internal' }, { retry: { attempts: 1, retryOn: ['internal'] } }],
    [none, { 'x-envoy-max-retries': '5' }, { retry: { attempts: 0 } }],
    [none, { 'x-envoy-retry-on': 'nonsense', 'x-envoy-max-retries': '5' }, { retry: { attempts: 0, retryOn: [] } }],
    [some, { 'x-envoy-retry-on': 'reset, 5xx' }, { retry: { attempts: 3, retryOn: ['5xx', 'reset'] } }],
    [some, { 'x-envoy-max-retries': '7' }, { retry: { attempts: 7 } }],
    [some, { 'x-envoy-max-retries': '0' }, { retry: { attempts: 0 } }],
    [some, { 'x-envoy-max-retries': '-1' }, { retry: { attempts: 3 } }],
    [some, { 'x-envoy-retriable-status-codes': '429,x,503' }, { retry: { retriableStatusCodes: [429, 503] } }],
    [
      some,
      { 'x-envoy-retriable-header-names': 'X-Again, x-b' },
      {
        retry: {
          retriableHeaders: [
            { name: 'x-again', match: { kind: 'present' } },
            { name: 'x-b', match: { kind: 'present' } },
          ],
        },
      },
    ],
    [some, { 'x-envoy-upstream-rq-timeout-ms': '5000' }, { timeoutMs: 5_000, retry: { perTryTimeoutMs: 200 } }],
    [some, { 'x-envoy-upstream-rq-timeout-ms': '0' }, { timeoutMs: undefined }],
    [some, { 'x-envoy-upstream-rq-timeout-ms': 'soon' }, { timeoutMs: 1_000 }],
    [some, { 'x-envoy-upstream-rq-per-try-timeout-ms': '300' }, { retry: { perTryTimeoutMs: 300 } }],
    [some, { 'x-envoy-hedge-on-per-try-timeout': 'true' }, { hedgeOnTimeout: true }],
    [some, { 'x-envoy-hedge-on-per-try-timeout': 'no' }, { hedgeOnTimeout: false }],
  ];
  for (const [base, headers, wanted] of table) t.match(applied(base, headers), wanted, JSON.stringify(headers));
  for (const perTry of ['1000', '5000', '0']) {
    const { retry } = applied(some, { 'x-envoy-upstream-rq-per-try-timeout-ms': perTry });
    t.equal((retry as RetryPolicy).perTryTimeoutMs, undefined, 'no time of its own within that of the call');
  }
});

async function setup(t: import('tap').Test, overrideHeaders: 'obey' | 'ignore') {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const a = cluster('a', [endpoint(server.port)]);
  const mesh = await modelMesh(
    t,
    snapshot({ a: [route(a.name, { retry: { ...defaultRetryPolicy, backoffBaseMs: 0 } })] }, [a]),
    {
      overrideHeaders,
    },
  );
  const ask = async (headers: Record<string, string>): Promise<number> => {
    const before = server.seen.length;
    await (await request('http://a/', { dispatcher: mesh.dispatcher, headers })).body.dump();
    return server.seen.length - before;
  };
  return { ask, server };
}

t.test('obeyed: each call as it says, and the next hop does not see it', async (t) => {
  const { ask, server } = await setup(t, 'obey');
  t.equal(await ask({}), 1);
  for (let i = 0; i < 2; i++) t.equal(await ask({ 'x-envoy-retry-on': '5xx', 'x-envoy-max-retries': '4' }), 5);
  t.equal(await ask({ 'x-envoy-retriable-status-codes': '503', 'x-envoy-retry-on': 'retriable-status-codes' }), 3);
  t.equal(await ask({}), 1);
  for (const { headers } of server.requests) t.notOk(Object.keys(headers).some((name) => /retr(y|ie)/.test(name)));
});

t.test('any number of combinations works, and only some are kept', async (t) => {
  const { ask } = await setup(t, 'obey');
  for (let i = 0; i < 70; i++) {
    t.equal(
      await ask({
        'x-envoy-retry-on': '5xx',
        'x-envoy-max-retries': '1',
        'x-envoy-upstream-rq-timeout-ms': `${5_000 + i}`,
      }),
      2,
    );
  }
});

t.test('a timeout of a call', async (t) => {
  const server = await upstream(t, () => {});
  const a = cluster('a', [endpoint(server.port)]);
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name)] }, [a]), { overrideHeaders: 'obey' });
  const headers = { 'x-envoy-upstream-rq-timeout-ms': '20' };
  const answer = await request('http://a/', { dispatcher: mesh.dispatcher, headers });
  await answer.body.dump();
  t.equal(answer.headers['x-inmesh-error'], 'ERR_MESH_TIMEOUT');
});

t.test('by default they are headers like any other', async (t) => {
  const { ask, server } = await setup(t, 'ignore');
  t.equal(await ask({ 'x-envoy-retry-on': '5xx' }), 1);
  t.equal(server.requests[0]?.headers['x-envoy-retry-on'], '5xx');
});
