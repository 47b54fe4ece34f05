// What Istio's tasks "Accessing External Services" and "Egress using Wildcard Hosts" show; TLS
// origination has a file of its own, tls-origination.test.ts.
import t from 'tap';
import { taskMesh } from '../../support/task-mesh.ts';
import { refusingPort, upstream } from '../../support/upstream.ts';

const outside = (hosts: string, port: number, resolution: string, more = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: shop}
spec:
  hosts: [${hosts}]
  location: MESH_EXTERNAL
  resolution: ${resolution}
  ports: [{number: ${port}, name: http, protocol: HTTP}]
${more}
`;
const registryOnly = { mesh: { outboundPolicy: 'REGISTRY_ONLY' } } as const;

t.test('ALLOW_ANY: an unknown service outside is called as it is', async (t) => {
  const { mesh } = await taskMesh(t, '');
  const server = await upstream(t, (_, response) => void response.end('outside'));
  const response = await mesh.fetch(`http://localhost:${server.port}/`);
  t.equal(await response.text(), 'outside');
  t.equal(server.requests[0]?.headers['x-request-id'], undefined, 'nothing is added');
});

t.test('REGISTRY_ONLY: 502 until a ServiceEntry names the host', async (t) => {
  const server = await upstream(t, (_, response) => void response.end('outside'));
  const url = `http://localhost:${server.port}/`;
  const closed = await taskMesh(t, '', registryOnly);
  t.equal((await closed.mesh.fetch(url)).status, 502);
  for (const resolution of ['DNS', 'NONE']) {
    const known = await taskMesh(t, outside('localhost', server.port, resolution), registryOnly);
    t.equal(await (await known.mesh.fetch(url)).text(), 'outside', resolution);
  }
});

t.test('a rule for a service outside: it is given up after three seconds', async (t) => {
  const server = await upstream(t, () => {});
  const { ask, takes } = await taskMesh(
    t,
    `${outside('partner.test', 80, 'STATIC', `  endpoints: [{address: 127.0.0.1, ports: {http: ${server.port}}}]`)}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: partner, namespace: shop}
spec:
  hosts: [partner.test]
  http:
  - timeout: 3s
    retries: {attempts: 0}
    route: [{destination: {host: partner.test}, weight: 100}]
`,
    registryOnly,
  );
  const { ms, value } = await takes(ask('http://partner.test/delay/5'), 6_000);
  t.equal(value, '504');
  t.equal(ms, 3_000);
});

t.test('wildcard hosts: all of them through one address that is known, others not at all', async (t) => {
  const server = await upstream(t, (request, response) => void response.end(request.headers.host));
  const endpoints = `  endpoints: [{address: 127.0.0.1, ports: {http: ${server.port}}}]`;
  const { mesh } = await taskMesh(t, outside('"*.partner.test"', 80, 'STATIC', endpoints), registryOnly);
  for (const host of ['www.partner.test', 'a.b.partner.test']) {
    t.equal(await (await mesh.fetch(`http://${host}/`)).text(), host);
  }
  t.equal((await mesh.fetch('http://partner.test/')).status, 502);
  t.equal((await mesh.fetch('http://www.other.test/')).status, 502);
});

t.test('a service outside that is down is a 503 with its reason', async (t) => {
  const port = await refusingPort();
  const entry = outside('partner.test', 80, 'STATIC', `  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]`);
  const { ask, mesh, takes } = await taskMesh(t, entry, registryOnly);
  t.equal((await takes(ask('http://partner.test/'), 5_000)).value, '503');
  const { value } = await takes(mesh.fetch('http://partner.test/'), 5_000);
  t.equal(value.headers.get('x-inmesh-error'), 'ERR_MESH_CONNECT_FAILED');
});

t.test('an egress proxy gets the calls and connections to unknown hosts, as they are', async (t) => {
  const proxy = await upstream(t, (request, response) => {
    response.end(`${request.headers.host} ${request.url}`);
  });
  const { mesh } = await taskMesh(
    t,
    `${outside('proxy.test', 80, 'STATIC', `  endpoints: [{address: 127.0.0.1, ports: {http: ${proxy.port}}}]`)}---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: proxy.test, port: {number: 80}}}
`,
  );
  t.equal(await (await mesh.fetch('http://www.unknown.test:8080/a?b=c')).text(), 'www.unknown.test:8080 /a?b=c');
  const socket = await mesh.connect({ host: 'db.unknown.test', port: 5432 });
  socket.end('GET /raw HTTP/1.1\r\nhost: raw\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  t.match(answer, /raw \/raw$/);
  const said = mesh.explain({ url: 'http://www.unknown.test/' });
  t.match(said, { decision: 'route', cluster: 'outbound|80||proxy.test', authority: 'www.unknown.test' });
  t.match(said.text, /through the proxy of the Sidecar/);
});
