// What Istio's tasks "Traffic Shifting" and "TCP Traffic Shifting" show.
import { once } from 'node:events';
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';

const shift = (v1: number, v3: number): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
  - route:
    - {destination: {host: catalog, subset: v1}, weight: ${v1}}
    - {destination: {host: catalog, subset: v3}, weight: ${v3}}
`;

t.test('from one version to another: all, half, none', async (t) => {
  for (const [v1, v3] of [
    [100, 0],
    [50, 50],
    [80, 20],
    [0, 100],
  ] as const) {
    const { tally } = await taskMesh(t, shift(v1, v3));
    const seen = await tally('http://catalog:8000/', 500);
    for (const [version, share] of [
      ['catalog v1', v1],
      ['catalog v3', v3],
    ] as const) {
      const percent = (seen[version] ?? 0) / 5;
      // Four standard deviations of 500 picks.
      const slack = 4 * Math.sqrt((share * (100 - share)) / 500);
      t.ok(Math.abs(percent - share) <= slack, `${version}: ${percent} % of ${share} %`);
    }
    t.equal(seen['catalog v2'], undefined);
  }
});

t.test('the same for connections', async (t) => {
  const { mesh } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ledger, namespace: shop}
spec:
  hosts: [ledger.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  endpoints:
  - {address: 127.0.0.1, ports: {tcp: 1}, labels: {version: v1}}
  - {address: 127.0.0.2, ports: {tcp: 1}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ledger, namespace: shop}
spec:
  host: ledger
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ledger, namespace: shop}
spec:
  hosts: [ledger]
  tcp:
  - match: [{port: 9000}]
    route:
    - {destination: {host: ledger, port: {number: 9000}, subset: v1}, weight: 80}
    - {destination: {host: ledger, port: {number: 9000}, subset: v2}, weight: 20}
`,
  );
  const seen: Record<string, number> = {};
  for (let i = 0; i < 200; i++) {
    // Nobody listens there: the error names the endpoint that was chosen.
    const error = await mesh.connect({ host: 'ledger', port: 9000 }).then(
      (socket) => once(socket.destroy(), 'close'),
      (reason) => reason,
    );
    seen[error.endpoint] = (seen[error.endpoint] ?? 0) + 1;
  }
  t.same(Object.keys(seen).sort(), ['127.0.0.1:1', '127.0.0.2:1']);
  t.ok(Math.abs((seen['127.0.0.2:1'] ?? 0) - 40) < 24, JSON.stringify(seen));
});
