// What Istio's task "Request Routing" shows.
import { get as httpGet } from 'node:http';
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';

t.test('without a rule all versions answer', async (t) => {
  const { tally } = await taskMesh(t, '');
  t.same(Object.keys(await tally('http://catalog:8000/', 60)).sort(), ['catalog v1', 'catalog v2', 'catalog v3']);
});

t.test('everything to one version', async (t) => {
  const { tally } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - route: [{destination: {host: catalog, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stock, namespace: shop}
spec:
  hosts: [stock]
  http:
  - route: [{destination: {host: stock, subset: v3}}]
`,
  );
  t.same(await tally('http://catalog:8000/items', 20), { 'catalog v1': 20 });
  t.same(await tally('http://stock.shop:8000/items', 20), { 'stock v3': 20 });
});

t.test('one user to another version, by header; everybody else stays', async (t) => {
  const { ask, tally } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - match: [{headers: {end-user: {exact: maria}}}]
    route: [{destination: {host: catalog, subset: v2}}]
  - route: [{destination: {host: catalog, subset: v1}}]
`,
  );
  const url = 'http://catalog:8000/items';
  t.same(await tally(url, 10, { headers: { 'end-user': 'maria' } }), { 'catalog v2': 10 });
  t.same(await tally(url, 10), { 'catalog v1': 10 });
  for (const user of ['Maria', 'maria2', '']) {
    t.equal(await ask(url, { headers: { 'end-user': user } }), 'catalog v1', JSON.stringify(user));
  }
});

t.test('a rule for a path is for every way in which that path can be written', async (t) => {
  const { mesh, version } = await taskMesh(
    t,
    `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - match: [{uri: {prefix: /admin}}]
    directResponse: {status: 451}
  - headers: {request: {set: {x-path: "%REQ(:path)%"}}}
    route: [{destination: {host: catalog, subset: v1}}]
`,
  );
  const { dispatcher } = mesh;
  const get = async (path: string): Promise<number> => {
    const { body, statusCode } = await dispatcher.request({ origin: 'http://catalog:8000', path, method: 'GET' });
    await body.dump();
    return statusCode;
  };
  const byAgent = (path: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const call = httpGet({ host: 'catalog', port: 8000, path, agent: mesh.agent }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      call.on('error', reject);
    });
  for (const path of ['/admin', '/x/../admin', '/./admin', '/%61dmin', '/x\\..\\admin']) {
    t.equal(await get(path), 451, path);
    t.equal(await byAgent(path), 451, `${path} by node:http`);
  }
  for (const call of [get, byAgent]) {
    t.equal(await call('/a/../b?c=/../d'), 200);
    t.match(version('catalog v1').requests.at(-1), { url: '/b?c=/../d', headers: { 'x-path': '/b?c=/../d' } });
    t.equal(version('catalog v1').requests.at(-1)?.headers['x-envoy-original-path'], undefined, 'it was not rewritten');
  }
  t.equal(await get('/%00'), 400);
  await t.rejects(byAgent('/%00'), { code: 'ERR_MESH_BAD_REQUEST' });
});

t.test('statPrefix: calls are counted by the match that they met', async (t) => {
  let failing = true;
  const { ask, clock, mesh, takes } = await taskMesh(
    t,
    `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - match: [{uri: {prefix: /hang}, statPrefix: slow}]
    timeout: 1s
    route: [{destination: {host: catalog, subset: v1}}]
  - match: [{uri: {prefix: /refused}, statPrefix: refused}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: catalog, subset: v1}}]
  - match: [{statPrefix: others}]
    retries: {attempts: 1, retryOn: 5xx}
    route: [{destination: {host: catalog, subset: v1}}]
`,
    {
      behaviour: (request, response) => {
        if (request.url === '/hang') return true;
        if (request.url !== '/fails-once' || !failing) return false;
        failing = false;
        response.writeHead(500).end();
        return true;
      },
    },
  );
  t.same(mesh.stats().routes, []);
  t.equal(await ask('http://catalog:8000/'), 'catalog v1');
  const retried = await takes(ask('http://catalog:8000/fails-once'), 1_000);
  t.equal(retried.value, 'catalog v1');
  await new Promise<void>((resolve, reject) => {
    const call = httpGet({ host: 'catalog', port: 8000, path: '/', agent: mesh.agent }, (response) => {
      response.resume().once('end', () => setImmediate(resolve));
    });
    call.on('error', reject);
  });
  t.equal((await takes(ask('http://catalog:8000/hang'), 2_000)).value, '504');
  t.equal(await ask('http://catalog:8000/refused'), '503');
  clock.advance(1);
  const virtualHost = 'catalog.shop.svc.cluster.local:8000';
  const counted = new Map(mesh.stats().routes.map((route) => [route.statPrefix, route]));
  t.same(counted.get('others'), {
    ...{ virtualHost, statPrefix: 'others' },
    ...{ requests: 4, retries: 1, timeouts: 0, classes: { 2: 3 } },
  });
  t.same(counted.get('slow'), {
    ...{ virtualHost, statPrefix: 'slow' },
    ...{ requests: 1, retries: 0, timeouts: 1, classes: { 5: 1 } },
  });
  t.equal(counted.get('refused')?.requests, 0, 'as in Envoy: what was never sent is none of them');
});
