// What Istio's task "Request Routing" shows.
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
