// What Istio's task "Circuit Breaking" shows.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';
import { until } from '../../support/upstream.ts';

const rules = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: stock, namespace: shop}
spec:
  host: stock
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stock, namespace: shop}
spec:
  hosts: [stock]
  http:
  - route: [{destination: {host: stock, subset: v1}}]
    retries: {attempts: 0}
`;

t.test('one call at a time passes; of three at once one is too many', async (t) => {
  const held: (() => void)[] = [];
  let hold = false;
  const { ask, mesh, version } = await taskMesh(t, rules, {
    subsets: false,
    behaviour: (_request, response, name) => {
      if (hold) held.push(() => response.setHeader('x-version', name).end(name));
      return hold;
    },
  });
  for (let i = 0; i < 5; i++) t.equal(await ask('http://stock:8000/'), 'stock v1');
  t.equal(version('stock v1').accepted(), 5, 'a connection for each request');

  hold = true;
  const first = ask('http://stock:8000/');
  await until(() => held.length === 1);
  const second = ask('http://stock:8000/');
  const third = await mesh.fetch('http://stock:8000/');
  t.equal(third.status, 503);
  t.equal(third.headers.get('x-inmesh-error'), 'ERR_MESH_OVERFLOW');
  t.equal(third.headers.get('x-envoy-overloaded'), 'true');
  held.shift()?.();
  await until(() => held.length === 1);
  held.shift()?.();
  t.same(await Promise.all([first, second]), ['stock v1', 'stock v1']);
  const overflow = mesh.stats().requests.find(({ labels }) => labels.destinationService.startsWith('stock'));
  t.equal(overflow?.flags['UO'], 1);
});

t.test('an endpoint that fails is ejected, and comes back', async (t) => {
  let broken = true;
  const { ask, clock } = await taskMesh(t, rules, {
    subsets: false,
    behaviour: (_request, response) => {
      if (broken) response.writeHead(500, { 'x-version': 'broken' }).end('broken');
      return broken;
    },
  });
  t.equal(await ask('http://stock:8000/'), 'broken');
  t.equal(await ask('http://stock:8000/'), '503', 'nobody is left');
  broken = false;
  clock.advance(180_000 - 1_000);
  t.equal(await ask('http://stock:8000/'), '503');
  clock.advance(2_000);
  t.equal(await ask('http://stock:8000/'), 'stock v1');
});
