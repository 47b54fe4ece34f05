// What Istio's task "Mirroring" shows.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';
import { until } from '../../support/upstream.ts';

const mirror = (more: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - route: [{destination: {host: catalog, subset: v1}, weight: 100}]
    mirror: {host: catalog, subset: v2}
${more}
`;

t.test('each call has a copy, which nobody waits for', async (t) => {
  const { tally, version } = await taskMesh(t, mirror('    mirrorPercentage: {value: 100.0}'));
  t.same(await tally('http://catalog:8000/headers', 20), { 'catalog v1': 20 });
  const copies = version('catalog v2');
  await until(() => copies.seen.length === 20);
  t.equal(copies.requests[0]?.headers.host, 'catalog-shadow:8000');
  t.same(new Set(copies.seen), new Set(['GET /headers']));
});

t.test('a tenth of the calls', async (t) => {
  const { tally, version } = await taskMesh(t, mirror('    mirrorPercentage: {value: 10}'));
  await tally('http://catalog:8000/', 500);
  await until(() => version('catalog v2').seen.length >= 25);
  t.ok(version('catalog v2').seen.length <= 80, `${version('catalog v2').seen.length} of 500`);
});

t.test('a copy that hangs or fails changes nothing', async (t) => {
  const { tally, version } = await taskMesh(t, mirror(''), {
    behaviour: (request, _response, name) => {
      if (name !== 'catalog v2') return false;
      if (request.url === '/reset') request.socket.destroy();
      return true;
    },
  });
  t.same(await tally('http://catalog:8000/hang', 10), { 'catalog v1': 10 });
  t.same(await tally('http://catalog:8000/reset', 10), { 'catalog v1': 10 });
  await until(() => version('catalog v2').seen.length === 20);
});
