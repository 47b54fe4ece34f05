import t, { type Test } from 'tap';
import type { EndpointStatus } from '../src/index.ts';
import type { HealthCheckPolicy } from '../src/model/health-check.ts';
import { defaultRetryPolicy } from '../src/model/route.ts';
import { type FakeClock, fakeClock } from './support/fake-clock.ts';
import { healthPolicy } from './support/health-policy.ts';
import { testMesh } from './support/mesh-pair.ts';
import { modelMesh, ways } from './support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { until, upstream } from './support/upstream.ts';

interface Server {
  readonly port: number;
  /** Of health checks. */
  status: number;
  /** Headers of other answers. */
  headers: Record<string, string>;
  readonly checks: () => number;
  readonly calls: () => number;
}

async function server(t: Test, status = 200): Promise<Server> {
  const { port, seen } = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/healthz') outgoing.writeHead(made.status).end();
    else outgoing.writeHead(200, made.headers).end('ok');
  });
  const count = (path: string) => () => seen.filter((each) => each === `GET ${path}`).length;
  const made: Server = { port, status, headers: {}, checks: count('/healthz'), calls: count('/') };
  return made;
}

async function meshOf(t: Test, servers: readonly Server[], changes: Partial<HealthCheckPolicy> = {}) {
  const clock: FakeClock = fakeClock();
  const host = 'a.shop.svc.cluster.local';
  const a = cluster(
    host,
    servers.map(({ port }) => endpoint(port)),
    { healthCheck: healthPolicy({ intervalMs: 1_000, timeoutMs: 60_000, ...changes }), balance: 'ROUND_ROBIN' },
  );
  const to = route(a.name, { retry: { ...defaultRetryPolicy, attempts: 0 } });
  const mesh = await modelMesh(t, snapshot({ a: [to] }, [a]), { clock });
  const told: EndpointStatus[] = [];
  mesh.on('endpoint', (status) => void told.push(status));
  /** Lets a round of checks pass. */
  const round = async (): Promise<void> => {
    const before = mesh.stats().clusters[0]?.healthCheck;
    clock.advance(1_000);
    const settled = (): boolean => {
      const now = mesh.stats().clusters[0]?.healthCheck;
      return (
        (now?.success ?? 0) + (now?.failure ?? 0) >= (before?.success ?? 0) + (before?.failure ?? 0) + servers.length
      );
    };
    await until(settled, 'the checks to end');
  };
  return { mesh, round, told };
}

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('calls go to endpoints that pass, from the first call on', async (t) => {
      const [good, bad] = [await server(t), await server(t, 503)];
      const { mesh, round, told } = await meshOf(t, [good, bad]);
      for (let i = 0; i < 4; i++) t.equal((await call(mesh, 'http://a/')).status, 200);
      t.same([good.calls(), bad.calls()], [4, 0]);
      t.match(told, [{ healthy: false, reason: 'failed_active_hc', problem: 'status 503' }]);
      bad.status = 200;
      await round();
      for (let i = 0; i < 4; i++) await call(mesh, 'http://a/');
      t.same([good.calls(), bad.calls()], [6, 2]);
      t.match(told[1], { healthy: true });
      t.match(mesh.stats().clusters, [
        {
          endpoints: 2,
          healthy: 2,
          healthCheck: { healthy: 2, attempt: 4, success: 3, failure: 1, networkFailure: 0 },
        },
      ]);
    });

    t.test('nobody passes: 503, or all of them in panic', async (t) => {
      const strict = await meshOf(t, [await server(t, 500)]);
      const failed = call(strict.mesh, 'http://a/');
      if (way.startsWith('mesh.agent')) await t.rejects(failed, { code: 'ERR_MESH_NO_HEALTHY_ENDPOINT' });
      else t.match((await failed).headers, { 'x-inmesh-error': 'ERR_MESH_NO_HEALTHY_ENDPOINT' });
      const panicking = await meshOf(t, [await server(t, 500)], { minHealthPercent: 50 });
      t.equal((await call(panicking.mesh, 'http://a/')).status, 200);
    });

    t.test('an endpoint that asks to be left alone is, until a check passes', async (t) => {
      const [staying, leaving] = [await server(t), await server(t)];
      const { mesh, round, told } = await meshOf(t, [staying, leaving]);
      leaving.headers = { 'X-Envoy-Immediate-Health-Check-Fail': 'true' };
      for (let i = 0; i < 6; i++) await call(mesh, 'http://a/');
      t.equal(leaving.calls(), 1);
      t.match(told, [{ healthy: false, problem: 'it asked to be left alone' }]);
      leaving.headers = {};
      await round();
      for (let i = 0; i < 4; i++) await call(mesh, 'http://a/');
      t.equal(leaving.calls(), 3);
    });
  });
}

t.test('health checks speak mutual TLS where calls do, from YAML to socket', async (t) => {
  const mesh = testMesh(t);
  const [web, cart] = [await mesh.join('web'), await mesh.join('cart')];
  const seen: string[] = [];
  await mesh.serve(cart, (request, response) => {
    const peer = cart.scopeOf(request)?.peer?.spiffeId;
    seen.push(`${request.headers['user-agent']} ${request.headers.host} ${request.url} ${peer}`);
    response.writeHead(request.url === '/ready' ? 204 : 200).end('ok');
  });
  const known = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  mesh.write(
    'health.yaml',
    `
apiVersion: inmesh.dev/v1
kind: HealthCheck
metadata: {name: cart, namespace: shop}
spec:
  host: cart
  http: {path: /ready, expectedStatuses: [{start: 204, end: 205}]}
`,
  );
  await known;
  t.equal((await web.fetch('http://cart/')).status, 200);
  t.equal(seen[0], 'Envoy/HC cart.shop.svc.cluster.local /ready spiffe://cluster.local/ns/shop/sa/web');
  t.match(web.stats().clusters, [{ healthCheck: { healthy: 1, success: 1 } }]);
});

t.test('gRPC health over mutual TLS', async (t) => {
  const mesh = testMesh(t);
  const [web, cart] = [await mesh.join('web'), await mesh.join('cart')];
  await mesh.serve(cart, (request, response) => {
    if (request.url !== '/grpc.health.v1.Health/Check') {
      response.end('ok');
      return;
    }
    request.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/grpc', trailer: 'grpc-status' });
      response.write(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
      response.addTrailers({ 'grpc-status': '0' });
      response.end();
    });
  });
  const known = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  mesh.write(
    'health.yaml',
    `
apiVersion: inmesh.dev/v1
kind: HealthCheck
metadata: {name: cart, namespace: shop}
spec: {host: cart, grpc: {service: shop.Cart}, minHealthPercent: 0}
`,
  );
  await known;
  t.equal((await web.fetch('http://cart/')).status, 200);
  t.match(web.stats().endpoints, [{ healthy: true }]);
});
