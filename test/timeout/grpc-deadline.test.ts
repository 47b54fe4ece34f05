import t from 'tap';
import { request } from 'undici';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import type { Scope } from '../../src/pipeline/scope.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { http2Upstream } from '../support/http2-upstream.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns, until } from '../support/upstream.ts';

const perTry = (ms: number): Partial<Route> => ({ retry: { ...defaultRetryPolicy, perTryTimeoutMs: ms } });
const cases: readonly [
  name: string,
  asked: { readonly type?: string; readonly timeout?: string; readonly leftMs?: number },
  changes: Partial<Route>,
  told: { readonly grpc: string | undefined; readonly envoy: string | undefined },
][] = [
  ['nothing limits it', {}, {}, { grpc: undefined, envoy: undefined }],
  ['the request says how long', { timeout: '2S' }, {}, { grpc: '2000m', envoy: '2000' }],
  ['the route has less', { timeout: '2S' }, { timeoutMs: 500 }, { grpc: '500m', envoy: '500' }],
  ['the route has more', { timeout: '2S' }, { timeoutMs: 5_000 }, { grpc: '2000m', envoy: '2000' }],
  ['the route alone', {}, { timeoutMs: 700 }, { grpc: '700m', envoy: '700' }],
  ['a try has less', { timeout: '2S' }, perTry(300), { grpc: '300m', envoy: '300' }],
  ['the caller has less', { timeout: '2S', leftMs: 1_005 }, {}, { grpc: '1000m', envoy: '1000' }],
  ['the caller alone', { leftMs: 1_005 }, {}, { grpc: '1000m', envoy: '1000' }],
  ['it is not gRPC', { type: 'text/plain', timeout: '2S' }, { timeoutMs: 700 }, { grpc: '2S', envoy: '700' }],
];
for (const [name, { leftMs, timeout, type = 'application/grpc+proto' }, changes, told] of cases) {
  t.test(`what the next hop is told of gRPC: ${name}`, async (t) => {
    const clock = fakeClock();
    const server = await http2Upstream(t);
    const a = cluster('a', [endpoint(server.port)], { http2: 'always', protocol: 'grpc' });
    const client = testClient(snapshot({ a: [route(a.name, changes)] }, [a]), { clock });
    const headers = { 'content-type': type, ...(timeout === undefined ? {} : { 'grpc-timeout': timeout }) };
    const scope: Scope = {
      requestId: 'x',
      traceHeaders: [],
      ...(leftMs === undefined ? {} : { deadline: clock.now() + leftMs }),
    };
    const send = () => request('http://a/', { dispatcher: client.dispatcher, method: 'POST', body: 'x', headers });
    await (await runInScope(scope, send)).body.dump();
    t.equal(server.seen[0]?.['grpc-timeout'], told.grpc);
    t.equal(server.seen[0]?.['x-envoy-expected-rq-timeout-ms'], told.envoy);
    await client.close();
  });
}

t.test('the time that a gRPC request says is enforced', async (t) => {
  const clock = fakeClock();
  const server = await http2Upstream(t, () => {});
  const a = cluster('a', [endpoint(server.port)], { http2: 'always', protocol: 'grpc' });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { clock });
  const headers = { 'content-type': 'application/grpc', 'grpc-timeout': '50m' };
  const sent = request('http://a/', { dispatcher: client.dispatcher, method: 'POST', headers });
  await until(() => server.seen.length === 1);
  clock.advance(50);
  await turns(5);
  const { body, headers: answered, statusCode } = await sent;
  t.equal(statusCode, 504);
  t.equal(answered['x-inmesh-error'], 'ERR_MESH_TIMEOUT');
  await body.dump();
});
