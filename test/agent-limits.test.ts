import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { ConfigSink } from '../src/config/source.ts';
import type { Clock } from '../src/lib/clock.ts';
import { type ConnectionLimits, defaultConnectionLimits, type OutlierPolicy } from '../src/model/cluster.ts';
import type { Route } from '../src/model/route.ts';
import { runInScope } from '../src/pipeline/scope.ts';
import { fakeClock } from './support/fake-clock.ts';
import { modelMesh } from './support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { turns, until, upstream } from './support/upstream.ts';

async function meshTo(t: Test, port: number, limits: Partial<ConnectionLimits>, changes: Partial<Route> = {}) {
  const clock = fakeClock();
  const a = cluster('a', [endpoint(port)], { limits: { ...defaultConnectionLimits, ...limits } });
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name, changes)] }, [a]), { clock });
  return { mesh, clock, ask: (path = '/') => get(`http://a${path}`, { agent: mesh.agent }) };
}

/** Body of the response, or the code of the error. */
async function outcome(request: ClientRequest): Promise<string> {
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return await text(response);
  } catch (error) {
    return (error as { code: string }).code;
  }
}

t.test('no more requests than the limit are under way, their responses included', async (t) => {
  const held: (() => void)[] = [];
  const server = await upstream(t, (_incoming, outgoing) => {
    outgoing.write('half ');
    held.push(() => outgoing.end('whole'));
  });
  const { ask } = await meshTo(t, server.port, { maxRequests: 2 });
  const running = [ask(), ask()].map(outcome);
  await until(() => held.length === 2);
  t.equal(await outcome(ask()), 'ERR_MESH_OVERFLOW');
  for (const end of held.splice(0)) end();
  t.same(await Promise.all(running), ['half whole', 'half whole']);
  const next = outcome(ask());
  await until(() => held.length === 1);
  held[0]?.();
  t.equal(await next, 'half whole');
});

t.test('requests wait for a connection, and one too many is told so at once', async (t) => {
  const held: (() => void)[] = [];
  const server = await upstream(t, (_incoming, outgoing) => void held.push(() => outgoing.end('ok')));
  const { ask } = await meshTo(t, server.port, { maxConnections: 1, maxPendingRequests: 2 });
  const first = outcome(ask());
  await until(() => held.length === 1);
  const waiting = [ask(), ask()].map(outcome);
  t.equal(await outcome(ask()), 'ERR_MESH_OVERFLOW');
  for (let i = 0; i < 3; i++) {
    await until(() => held.length > 0);
    held.shift()?.();
  }
  t.same(await Promise.all([first, ...waiting]), ['ok', 'ok', 'ok']);
  t.equal(server.accepted(), 1);
});

t.test('the time of the route bounds a request to its last byte, that of a try to its head', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/slow') return;
    outgoing.write('half');
  });
  const retry = { attempts: 2, perTryTimeoutMs: 300, retryOn: [], retriableStatusCodes: [], backoffBaseMs: 1 } as const;
  const { ask, clock } = await meshTo(t, server.port, {}, { timeoutMs: 1_000, retry });
  const slow = outcome(ask('/slow'));
  await server.arrived(1);
  t.equal(server.requests[0]?.headers['x-envoy-expected-rq-timeout-ms'], '300');
  clock.advance(299);
  await turns(5);
  clock.advance(1);
  t.equal(await slow, 'ERR_MESH_TRY_TIMEOUT');

  const half = ask('/half');
  const failed = new Promise((resolve) => half.on('error', resolve));
  const [response] = (await once(half, 'response')) as [IncomingMessage];
  let got = '';
  response.on('data', (chunk) => void (got += String(chunk)));
  await until(() => got === 'half');
  const broken = once(response, 'error');
  clock.advance(999);
  await turns(5);
  t.equal(response.destroyed, false, 'the time of a try is over with its head');
  clock.advance(1);
  t.match(await failed, { code: 'ERR_MESH_TIMEOUT' });
  t.match(await broken, [{ message: 'aborted' }], 'and the response does not end as if it were whole');
  t.equal(clock.pending(), 0);
});

t.test('what the caller has left bounds a request, and nothing left sends nothing', async (t) => {
  const server = await upstream(t, () => {});
  const { ask, clock } = await meshTo(t, server.port, {});
  const scope = { requestId: 'x', traceHeaders: [] };
  const late = runInScope({ ...scope, deadline: clock.now() + 105 }, () => ask());
  const over = outcome(late);
  await server.arrived(1);
  clock.advance(100);
  t.equal(await over, 'ERR_MESH_DEADLINE_EXPIRED');
  const never = runInScope({ ...scope, deadline: clock.now() }, () => ask());
  t.equal(await outcome(never), 'ERR_MESH_DEADLINE_EXPIRED');
  t.equal(server.seen.length, 1);
});

t.test('a time that was over while this process was busy is not held against the endpoint', async (t) => {
  const server = await upstream(t, (_incoming, _outgoing) => {});
  const outlier: OutlierPolicy = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  for (const [lateMs, healthy] of [
    [500, true],
    [0, false],
  ] as const) {
    const clock = fakeClock();
    let busyMs = 0;
    // Timers fire when they are due, and the time by then is another.
    const late: Clock = { ...clock, now: () => clock.now() + busyMs };
    const a = cluster('a', [endpoint(server.port)], { outlier });
    const mesh = await modelMesh(t, snapshot({ a: [route(a.name, { timeoutMs: 1_000 })] }, [a]), { clock: late });
    const seen = server.seen.length;
    const asked = outcome(get('http://a/', { agent: mesh.agent }));
    await until(() => server.seen.length > seen);
    busyMs = lateMs;
    clock.advance(1_000);
    t.equal(await asked, 'ERR_MESH_TIMEOUT');
    t.equal(mesh.stats().endpoints[0]?.healthy, healthy, `${lateMs} ms late`);
  }
});

t.test('the address that was named is called within the time and the limits of its route, too', async (t) => {
  const server = await upstream(t, () => {});
  const clock = fakeClock();
  const limits = { ...defaultConnectionLimits, maxRequests: 1 };
  const a = cluster('a', [], { discovery: { kind: 'original' }, limits });
  const name = `127.0.0.1:${server.port}`;
  const hosts = new Map([[name, { name, routes: [route(a.name, { timeoutMs: 1_000 })] }]]);
  const mesh = await modelMesh(t, snapshot({}, [a], { hosts }), { clock });
  const ask = (): Promise<string> => outcome(get(`http://${name}/`, { agent: mesh.agent }));
  for (let round = 1; round <= 2; round++) {
    const slow = ask();
    await server.arrived(round);
    t.equal(server.requests.at(-1)?.headers['x-envoy-expected-rq-timeout-ms'], '1000');
    t.equal(await ask(), 'ERR_MESH_OVERFLOW');
    clock.advance(1_000);
    t.equal(await slow, 'ERR_MESH_TIMEOUT');
    // Its place is free when it is closed, which is a moment later.
    await turns(2);
  }
  t.match(mesh.stats().requests, [{ flags: { UO: 2, UT: 2 } }]);
});

t.test('what is gone from the configuration and comes back is called as it is then', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('ok'));
  const of = (tls: 'disable' | 'mutual') => {
    const a = cluster('a', [endpoint(server.port)], { tls });
    return snapshot({ a: [route(a.name)] }, [a]);
  };
  let sink: ConfigSink | undefined;
  const mesh = await modelMesh(t, of('disable'), {
    config: {
      name: 'changing',
      run: async (given) => {
        sink = given;
        given.update(of('disable'), { entries: [] });
      },
    },
  });
  const ask = (): Promise<string> => outcome(get('http://a/', { agent: mesh.agent }));
  t.equal(await ask(), 'ok');
  await until(() => Object.keys(mesh.agent.freeSockets).length === 1, 'its connection rests');
  sink?.update(snapshot({}, []), { entries: [] });
  sink?.update(of('mutual'), { entries: [] });
  t.equal(await ask(), 'ERR_MESH_NO_IDENTITY', 'not over the connection in plaintext that there was');
});

t.test('what this process lacks is not held against an endpoint', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('ok'));
  const outlier: OutlierPolicy = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 1,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  const a = cluster('a', [endpoint(server.port)], { tls: 'mutual', outlier });
  const name = 'a:80';
  const connections = [{ name: 'bytes', destinations: [{ cluster: a.name, weight: 1 }] }];
  const hosts = new Map([[name, { name, routes: [route(a.name)], connections }]]);
  const mesh = await modelMesh(t, snapshot({}, [a], { hosts }));
  for (let i = 0; i < 2; i++) {
    t.equal(await outcome(get('http://a/', { agent: mesh.agent })), 'ERR_MESH_NO_IDENTITY');
    await t.rejects(mesh.connect({ host: 'a', port: 80 }), { code: 'ERR_MESH_NO_IDENTITY' });
    t.match(await mesh.fetch('http://a/'), { status: 503 });
  }
  t.match(mesh.stats().endpoints, [{ healthy: true, ejections: 0, inFlight: 0 }]);
});

t.test('a host that is none is not taken for the service that it begins with', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('ok'));
  const { mesh } = await meshTo(t, server.port, {});
  const asked = (host: string): Promise<string> => outcome(get({ host, path: '/', agent: mesh.agent }));
  t.equal(await asked('a'), 'ok');
  for (const host of ['a/.example.com', 'a?.example.com', 'a#.example.com', 'example.com@a', '%61']) {
    t.equal(await asked(host), 'ERR_MESH_OPTION_INVALID', host);
  }
  t.equal(server.requests.length, 1);
});
