import t from 'tap';
import { request } from 'undici';
import { defaultConnectionLimits, type OutlierPolicy } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Fault, type Route } from '../../src/model/route.ts';
import { statusOfGrpc } from '../../src/outlier/grpc-status.ts';
import { type TestClient, testClient } from '../support/client.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, refusingPort, upstream } from '../support/upstream.ts';

const policy: OutlierPolicy = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};
const neverRetry = { ...defaultRetryPolicy, attempts: 0 };

function clientOf(
  port: number,
  outlier: Partial<OutlierPolicy>,
  to: Partial<Route> = {},
  maxRequests?: number,
): TestClient {
  const limits = maxRequests === undefined ? defaultConnectionLimits : { ...defaultConnectionLimits, maxRequests };
  const a = cluster('a', [endpoint(port)], { limits, outlier: { ...policy, ...outlier } });
  return testClient(snapshot({ a: [route(a.name, { retry: neverRetry, ...to })] }, [a]));
}

async function call({ dispatcher }: TestClient, times: number, headers: Record<string, string> = {}): Promise<void> {
  for (let i = 0; i < times; i++) {
    const { body } = await request('http://a/', { dispatcher, headers });
    await body.dump();
  }
}

t.test('split: an endpoint that cannot be reached is ejected for that, not for 5xx', async (t) => {
  const port = await refusingPort();
  const client = clientOf(port, { consecutive5xx: 1, consecutiveLocalOriginFailures: 3 });
  await call(client, 2);
  t.same(client.health, []);
  await call(client, 1);
  t.same(client.health, [`127.0.0.1:${port} out`]);
  await assertIdle(t, client);
});

t.test('split: each connection that comes about breaks the row, even if the request fails on it', async (t) => {
  const bad = await rawUpstream(t, (socket) => void socket.once('data', () => socket.destroy()));
  const client = clientOf(bad.port, { consecutive5xx: 1, consecutiveLocalOriginFailures: 2 });
  await call(client, 6);
  t.same(client.health, []);
  await assertIdle(t, client);
});

t.test('split: those that fail together are counted together', async (t) => {
  const waiting: (() => void)[] = [];
  const bad = await rawUpstream(t, (socket) => {
    socket.once('data', () => {
      waiting.push(() => socket.destroy());
      if (waiting.length === 2) for (const end of waiting) end();
    });
  });
  const client = clientOf(bad.port, { consecutiveLocalOriginFailures: 2 });
  const calls = [record(client.dispatcher, {}), record(client.dispatcher, {})];
  for (const { done } of calls) await done;
  t.same(client.health, [`127.0.0.1:${bad.port} out`]);
  await assertIdle(t, client);
});

t.test('a grpc-status among the headers of a gRPC answer counts as the HTTP status that it stands for', async (t) => {
  const rows: readonly (readonly [string, string, string, boolean])[] = [
    ['UNAVAILABLE', 'application/grpc', '14', true],
    ['INTERNAL, with a codec', 'application/grpc+proto', '13', true],
    ['NOT_FOUND', 'application/grpc', '5', false],
    ['no gRPC request', 'application/json', '14', false],
    ['grpc-web is not converted', 'application/grpc-web', '14', false],
  ];
  for (const [name, contentType, grpcStatus, out] of rows) {
    const server = await upstream(
      t,
      (_, outgoing) => void outgoing.writeHead(200, { 'grpc-status': grpcStatus }).end(),
    );
    const client = clientOf(server.port, {});
    await call(client, 2, { 'content-type': contentType });
    t.equal(client.health.length, out ? 1 : 0, name);
    await assertIdle(t, client);
  }
  t.same(['0', '4', '16', '17', '99', '-1', 'x', ''].map(statusOfGrpc), [200, 504, 401, 500, 500, 500, 500, 500]);
});

t.test('where status codes are listed, grpc-status means nothing', async (t) => {
  const server = await upstream(t, (_, outgoing) => void outgoing.writeHead(200, { 'grpc-status': '14' }).end());
  const client = clientOf(server.port, { errorCodes: [503] });
  await call(client, 4, { 'content-type': 'application/grpc' });
  t.same(client.health, []);
  await assertIdle(t, client);
});

t.test('a listed status counts, others do not', async (t) => {
  const limiting = await upstream(t, (_, outgoing) => void outgoing.writeHead(429).end());
  const client = clientOf(limiting.port, { errorCodes: [429] });
  await call(client, 2);
  t.same(client.health, [`127.0.0.1:${limiting.port} out`]);
  await assertIdle(t, client);
  const failing = await upstream(t, (_, outgoing) => void outgoing.writeHead(500).end());
  const tolerant = clientOf(failing.port, { errorCodes: [429] });
  await call(tolerant, 4);
  t.same(tolerant.health, []);
  await assertIdle(t, tolerant);
});

t.test('what the mesh makes or refuses itself is never counted (POL-14)', async (t) => {
  const abort: Fault['abort'] = { status: 503, percent: 100 };
  for (const level of ['call', 'try'] as const) {
    const server = await upstream(t);
    const client = clientOf(server.port, { consecutive5xx: 1 }, { fault: { abort, level } });
    await call(client, 5);
    t.same(client.health, [], `faults of a ${level}`);
    await assertIdle(t, client);
  }
  const silent = await upstream(t, () => {});
  const full = clientOf(silent.port, { consecutive5xx: 1 }, {}, 1);
  const first = record(full.dispatcher, {});
  await silent.arrived(1);
  await call(full, 3);
  t.same(full.health, [], 'limits');
  first.controller.abort(new Error('mine'));
  await first.done;
  t.same(full.health, [], 'aborts of the application');
  await assertIdle(t, full);
});
