// The examples that guides to Istio have in common, with our services.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';
import { upstream } from '../../support/upstream.ts';

const virtualService = (http: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: catalog, namespace: shop}
spec:
  hosts: [catalog]
  http:
${http}
`;
const url = 'http://catalog:8000/items';

t.test('a canary by header', async (t) => {
  const { tally } = await taskMesh(
    t,
    virtualService(`
  - match: [{headers: {x-canary: {exact: "true"}}}]
    route: [{destination: {host: catalog, subset: v2}}]
  - route: [{destination: {host: catalog, subset: v1}}]`),
  );
  t.same(await tally(url, 10, { headers: { 'x-canary': 'true' } }), { 'catalog v2': 10 });
  t.same(await tally(url, 10, { headers: { 'x-canary': 'false' } }), { 'catalog v1': 10 });
  t.same(await tally(url, 10), { 'catalog v1': 10 });
});

t.test('a canary with a tenth of the calls', async (t) => {
  const { tally } = await taskMesh(
    t,
    virtualService(`
  - route:
    - {destination: {host: catalog, subset: v1}, weight: 90}
    - {destination: {host: catalog, subset: v2}, weight: 10}`),
  );
  const seen = await tally(url, 1_000);
  t.ok(Math.abs((seen['catalog v2'] ?? 0) - 100) < 40, JSON.stringify(seen));
  t.equal((seen['catalog v1'] ?? 0) + (seen['catalog v2'] ?? 0), 1_000);
});

t.test('three retries on 5xx, reset, connect-failure and refused-stream', async (t) => {
  let calls = 0;
  const { ask, takes, version } = await taskMesh(
    t,
    virtualService(`
  - route: [{destination: {host: catalog, subset: v1}}]
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: "5xx,reset,connect-failure,refused-stream"}`),
    {
      behaviour: (request, response) => {
        if (request.url === '/hang') return true;
        // A failure, a reset, then an answer.
        const turn = calls++ % 3;
        if (turn === 0) response.writeHead(500).end();
        if (turn === 1) request.socket.destroy();
        return turn < 2;
      },
    },
  );
  for (let i = 1; i <= 5; i++) {
    t.equal((await takes(ask(url), 10_000)).value, 'catalog v1');
    t.equal(version('catalog v1').seen.length, 3 * i);
  }
  const before = version('catalog v1').seen.length;
  const hung = await takes(ask('http://catalog:8000/hang'), 20_000);
  t.equal(hung.value, '504');
  t.equal(version('catalog v1').seen.length - before, 4, 'the first try and three more');
  t.ok(hung.ms >= 8_000, 'two seconds for each');
});

t.test('LEAST_CONN is LEAST_REQUEST', async (t) => {
  const held: (() => void)[] = [];
  const { ask } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: catalog, namespace: shop}
spec:
  host: catalog
  trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}
`,
    {
      subsets: false,
      behaviour: (_request, response, name) => {
        if (name !== 'catalog v1') return false;
        held.push(() => response.setHeader('x-version', name).end(name));
        return true;
      },
    },
  );
  // Version 1 answers nothing: each call that it holds makes it a worse choice.
  const first: Promise<string>[] = [];
  while (held.length === 0) {
    first.push(ask(url));
    await new Promise((resolve) => setImmediate(resolve));
  }
  const waiting = held.length;
  for (let i = 0; i < 30; i++) first.push(ask(url));
  const answered = await Promise.race([Promise.all(first.slice(-30)).then(() => 30), turnsUntilQuiet()]);
  t.ok(held.length - waiting < 10, `${held.length - waiting} of 30 went where calls wait, ${answered}`);
  for (const answer of held) answer();
  await Promise.all(first);
});
async function turnsUntilQuiet(): Promise<number> {
  for (let i = 0; i < 500; i++) await new Promise((resolve) => setImmediate(resolve));
  return 0;
}

t.test('PASSTHROUGH goes to the address that was called', async (t) => {
  const server = await upstream(t, (_, response) => void response.end('itself'));
  const { mesh } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: itself, namespace: shop}
spec:
  hosts: [itself.test]
  addresses: [127.0.0.1]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: ${server.port}, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.9}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: itself, namespace: shop}
spec:
  host: itself.test
  trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}
`,
  );
  t.equal(await (await mesh.fetch(`http://127.0.0.1:${server.port}/`)).text(), 'itself');
});
