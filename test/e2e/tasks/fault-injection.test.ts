// What Istio's task "Fault Injection" shows.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';

const fault = (yaml: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stock, namespace: shop}
spec:
  hosts: [stock]
  http:
  - match: [{headers: {end-user: {exact: maria}}}]
    fault: ${yaml}
    route: [{destination: {host: stock, subset: v1}}]
  - route: [{destination: {host: stock, subset: v1}}]
`;
const maria = { headers: { 'end-user': 'maria' } };
const url = 'http://stock:8000/';

t.test('a delay for one user, and nobody else waits', async (t) => {
  const { ask, takes, version } = await taskMesh(t, fault('{delay: {percentage: {value: 100}, fixedDelay: 7s}}'));
  t.equal(await ask(url), 'stock v1');
  const late = await takes(ask(url, maria), 10_000);
  t.equal(late.value, 'stock v1');
  t.equal(late.ms, 7_000);
  t.equal(version('stock v1').seen.length, 2);
});

t.test('an abort for one user; the service is not called', async (t) => {
  const { ask, mesh, version } = await taskMesh(t, fault('{abort: {percentage: {value: 100}, httpStatus: 500}}'));
  t.equal(await ask(url), 'stock v1');
  const response = await mesh.fetch(url, maria);
  t.equal(response.status, 500);
  t.equal(await response.text(), 'fault filter abort');
  t.equal(version('stock v1').seen.length, 1);
});

t.test('half of the calls late, a tenth of them refused', async (t) => {
  const both = '{delay: {percentage: {value: 50}, fixedDelay: 5s}, abort: {percentage: {value: 10}, httpStatus: 500}}';
  const { ask, takes } = await taskMesh(t, fault(both));
  const seen = { late: 0, refused: 0 };
  for (let i = 0; i < 400; i++) {
    const { value, ms } = await takes(ask(url, maria), 5_000);
    if (ms > 0) seen.late++;
    if (value === '500') seen.refused++;
  }
  t.ok(Math.abs(seen.late - 200) <= 40, `${seen.late} late`);
  t.ok(Math.abs(seen.refused - 40) <= 24, `${seen.refused} refused`);
});
