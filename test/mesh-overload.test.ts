import type { ServerResponse } from 'node:http';
import t from 'tap';
import { strict, testMesh } from './support/mesh-pair.ts';
import { until } from './support/upstream.ts';

const policy = `${strict}
---
apiVersion: inmesh.dev/v1
kind: OverloadPolicy
metadata: {name: server, namespace: shop}
spec:
  selector: {matchLabels: {app: server}}
  concurrency: {maxRequests: 4, maxSharePercent: 50}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: server, namespace: shop}
spec:
  hosts: [server]
  http: [{retries: {attempts: 0}, route: [{destination: {host: server}}]}]
`;

t.test('one caller with slow requests leaves places for the others', async (t) => {
  const shop = testMesh(t, policy);
  const server = await shop.join('server', {
    workload: { name: 'server', namespace: 'shop', serviceAccount: 'server', labels: { app: 'server' } },
  });
  const [greedy, modest] = [await shop.join('greedy'), await shop.join('modest')];
  const held: ServerResponse[] = [];
  await shop.serve(server, (request, response) => {
    if (request.url === '/slow') held.push(response);
    else response.end('quick');
  });
  const slow = Array.from({ length: 10 }, () => greedy.fetch('http://server/slow'));
  const refused = Promise.all(slow.map(async (each) => (await each).status));
  await until(() => (server.stats().overload?.refusals.share ?? 0) === 8);
  t.match(server.stats().overload, { limit: 4, active: 2, waiting: 0 });
  const quick = await Promise.all([modest.fetch('http://server/'), modest.fetch('http://server/')]);
  t.same(
    quick.map(({ status }) => status),
    [200, 200],
  );
  for (const response of held) response.end('at last');
  const statuses = await refused;
  t.equal(statuses.filter((status) => status === 503).length, 8);
  await until(() => server.stats().overload?.active === 0);
  const { overload } = modest.stats();
  t.equal(overload, undefined, 'the policy is for the server alone');
});
