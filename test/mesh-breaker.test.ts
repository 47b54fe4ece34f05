import t, { type Test } from 'tap';
import type { BreakerStatus, MeshOptions } from '../src/index.ts';
import { type BreakerPolicy, defaultBreakerPolicy } from '../src/model/breaker.ts';
import { defaultRetryPolicy } from '../src/model/route.ts';
import { modelMesh, ways } from './support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { upstream } from './support/upstream.ts';

async function broken(t: Test, policy: Partial<BreakerPolicy>, options: MeshOptions = {}) {
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(500).end());
  const host = 'a.shop.svc.cluster.local';
  const breaker = { ...defaultBreakerPolicy, volumeThreshold: 3, ...policy };
  const a = cluster(host, [endpoint(server.port)], { breaker });
  const routes = [route(a.name, { retry: { ...defaultRetryPolicy, attempts: 0 } })];
  return { server, mesh: await modelMesh(t, snapshot({ a: routes }, [a]), options) };
}

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('the breaker opens, tells so, and refuses', async (t) => {
      const { mesh, server } = await broken(t, {});
      const told: BreakerStatus[] = [];
      mesh.on('breaker', (status) => void told.push(status));
      for (let i = 0; i < 3; i++) t.equal((await call(mesh, 'http://a/')).status, 500);
      if (way.startsWith('mesh.agent')) await t.rejects(call(mesh, 'http://a/'), { code: 'ERR_MESH_CIRCUIT_OPEN' });
      else {
        const { headers, status } = await call(mesh, 'http://a/');
        t.match({ headers, status }, { status: 503, headers: { 'x-inmesh-error': 'ERR_MESH_CIRCUIT_OPEN' } });
      }
      t.equal(server.seen.length, 3);
      const status = { cluster: 'outbound|80||a.shop.svc.cluster.local', state: 'open', calls: 3, failures: 3 };
      t.same(told, [{ ...status, openings: 1, refusals: 0 }]);
      t.same(mesh.stats().breakers, [{ ...status, openings: 1, refusals: 1 }]);
    });

    t.test('the fallback of the policy answers', async (t) => {
      const fallback = { status: 200, headers: { 'content-type': 'application/json' }, body: '[]' };
      const { mesh } = await broken(t, { fallback });
      for (let i = 0; i < 3; i++) await call(mesh, 'http://a/');
      const { headers, status, text } = await call(mesh, 'http://a/');
      t.match({ headers, status, text }, { status: 200, text: '[]', headers: fallback.headers });
    });

    t.test('a function of the application goes before it, and sees what was asked', async (t) => {
      const { mesh } = await broken(
        t,
        { fallback: { status: 200, headers: {}, body: 'of the policy' } },
        {
          fallbacks: {
            a: async ({ header, method, path, service }) => ({
              status: 203,
              headers: { 'X-Asked': `${method} ${service}${path} ${header('X-User')}` },
              body: Buffer.from('of the application'),
            }),
          },
        },
      );
      for (let i = 0; i < 3; i++) await call(mesh, 'http://a/');
      const { headers, status, text } = await call(mesh, 'http://a/books?n=1', { headers: { 'x-user': 'jason' } });
      t.match(
        { headers, status, text },
        {
          status: 203,
          text: 'of the application',
          headers: { 'x-asked': 'GET a.shop.svc.cluster.local/books?n=1 jason', 'content-type': 'text/plain' },
        },
      );
    });

    t.test('a function that fails fails the call', async (t) => {
      const fallbacks = {
        a: () => {
          throw new Error('no idea');
        },
      };
      const { mesh } = await broken(t, {}, { fallbacks });
      for (let i = 0; i < 3; i++) await call(mesh, 'http://a/');
      if (way.startsWith('mesh.agent')) await t.rejects(call(mesh, 'http://a/'), { code: 'ERR_MESH_CIRCUIT_OPEN' });
      else t.equal((await call(mesh, 'http://a/')).headers['x-inmesh-error'], 'ERR_MESH_CIRCUIT_OPEN');
    });
  });
}

t.test('fallbacks that are no functions are refused at once', async (t) => {
  const fallbacks = { a: 'text' } as never;
  await t.rejects(modelMesh(t, snapshot({}, []), { fallbacks }), { code: 'ERR_MESH_OPTION_INVALID' });
});
