// What Istio's tasks "Accessing External Services", "Egress Gateways", "Egress using Wildcard Hosts", "Kubernetes
// Services for Egress Traffic" and "Using an External HTTPS Proxy" show; TLS origination has a file of its own,
// tls-origination.test.ts.
import t, { type Test } from 'tap';
import type { Mesh } from '../../../src/index.ts';
import { taskMesh } from '../../support/task-mesh.ts';
import { rawUpstream, refusingPort, upstream } from '../../support/upstream.ts';

const external = (name: string, hosts: string, ports: string, resolution = 'NONE', more = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${hosts}]
  location: MESH_EXTERNAL
  resolution: ${resolution}
  ports: [${ports}]
${more}
`;
const outside = (hosts: string, port: number, resolution: string, more = ''): string =>
  external('partner', hosts, `{number: ${port}, name: http, protocol: HTTP}`, resolution, more);
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
  const signed = '/bucket//%61%2Fb%252F?signature=%2F%61';
  t.equal(await (await mesh.fetch(`http://www.unknown.test${signed}`)).text(), `www.unknown.test ${signed}`);
  const socket = await mesh.connect({ host: 'db.unknown.test', port: 5432 });
  socket.end('GET /raw HTTP/1.1\r\nhost: raw\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  t.match(answer, /raw \/raw$/);
  const said = mesh.explain({ url: 'http://www.unknown.test/' });
  t.match(said, { decision: 'route', cluster: 'outbound|80||proxy.test', authority: 'www.unknown.test' });
  t.match(said.text, /through the proxy of the Sidecar/);
});

const gateway = (ports: string, endpoints: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: edge, namespace: shop}
spec:
  hosts: [edge.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [${ports}]
  endpoints: [{address: 127.0.0.1, ports: {${endpoints}}, labels: {istio: edge}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: edge, namespace: shop}
spec: {host: edge, subsets: [{name: partner, labels: {istio: edge}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---`;

/** Connects with TLS to a host, and says for which name the server on this port was asked. */
async function namesAsked(t: Test, mesh: Mesh, asked: readonly string[], host: string): Promise<readonly string[]> {
  const before = asked.length;
  // It closes after the greeting of the client, which is all that a gateway looks at.
  await t.rejects(mesh.connect({ host, port: 443, tls: true }));
  return asked.slice(before);
}

t.test(
  'an egress gateway: HTTP and TLS of the application go through it, and come from it by other rules',
  async (t) => {
    const asked: string[] = [];
    const opaque = await rawUpstream(t, (socket) =>
      socket.once('data', (hello) => {
        // The name is readable in the greeting.
        asked.push(['partner.test', 'en.wild.test', 'other.test'].find((name) => hello.includes(name)) ?? 'another');
        socket.destroy();
      }),
    );
    const plain = await upstream(t, (request, response) => void response.end(`${request.headers.host} by the gateway`));
    const { mesh } = await taskMesh(
      t,
      `${gateway('{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}', `http: ${plain.port}, tls: ${opaque.port}`)}${external('partner', 'partner.test, "*.wild.test"', '{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}')}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: partner, namespace: shop}
spec:
  hosts: [partner.test, "*.wild.test"]
  gateways: [edge, mesh]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: edge.shop.svc.cluster.local, subset: partner, port: {number: 80}}, weight: 100}]
  - match: [{gateways: [edge], port: 80}]
    route: [{destination: {host: partner.test, port: {number: 80}}, weight: 100}]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [partner.test]}]
    route: [{destination: {host: edge.shop.svc.cluster.local, subset: partner, port: {number: 443}}}]
  - match: [{gateways: [edge], port: 443, sniHosts: [partner.test]}]
    route: [{destination: {host: partner.test, port: {number: 443}}, weight: 100}]
  - match: [{gateways: [mesh], port: 443, sniHosts: ["*.wild.test"]}]
    route: [{destination: {host: edge.shop.svc.cluster.local, subset: partner, port: {number: 443}}, weight: 100}]
`,
      registryOnly,
    );
    t.equal(await (await mesh.fetch('http://partner.test/politics')).text(), 'partner.test by the gateway');
    t.equal(await (await mesh.fetch('http://en.wild.test/')).text(), 'en.wild.test by the gateway');
    t.same(await namesAsked(t, mesh, asked, 'partner.test'), ['partner.test']);
    t.same(await namesAsked(t, mesh, asked, 'en.wild.test'), ['en.wild.test']);
    t.same(await namesAsked(t, mesh, asked, 'other.test'), [], 'nothing else goes through it');
  },
);

t.test('a Kubernetes Service of type ExternalName is a name for a host outside', async (t) => {
  const server = await upstream(t, (request, response) => void response.end(request.headers.host));
  const { mesh } = await taskMesh(
    t,
    `
apiVersion: v1
kind: Service
metadata: {name: my-partner, namespace: shop}
spec:
  type: ExternalName
  externalName: localhost
  ports: [{name: http, protocol: TCP, port: ${server.port}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: my-partner, namespace: shop}
spec: {host: my-partner.shop.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}
`,
    registryOnly,
  );
  for (const name of ['my-partner', 'my-partner.shop.svc.cluster.local']) {
    const response = await mesh.fetch(`http://${name}:${server.port}/headers`);
    t.equal(await response.text(), `${name}:${server.port}`);
  }
});

t.test('an HTTPS proxy outside: the application speaks CONNECT to it, and the mesh carries bytes', async (t) => {
  const proxy = await rawUpstream(t, (socket) =>
    socket.once('data', (head) =>
      socket.end(/^CONNECT far\.test:443 /.test(String(head)) ? 'HTTP/1.1 200 OK\r\n\r\n' : ''),
    ),
  );
  const { mesh } = await taskMesh(
    t,
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy, namespace: shop}
spec:
  hosts: [proxy.test]
  addresses: [127.0.0.1/32]
  ports: [{number: ${proxy.port}, name: tcp, protocol: TCP}]
  location: MESH_EXTERNAL
  resolution: NONE
`,
    registryOnly,
  );
  const socket = await mesh.connect({ host: '127.0.0.1', port: proxy.port });
  socket.write('CONNECT far.test:443 HTTP/1.1\r\nhost: far.test:443\r\n\r\n');
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  t.equal(answer, 'HTTP/1.1 200 OK\r\n\r\n');
  await t.rejects(mesh.connect({ host: '127.0.0.1', port: proxy.port + 1 }), { code: 'ERR_MESH_HOST_UNKNOWN' });
});

t.test('tunnel: connections go through a forward proxy, HTTP that the mesh reads does not', async (t) => {
  const heads: string[] = [];
  let answer = ['HTTP/1.1 200 OK\r\nvia: proxy\r\n', '\r\nfirst '];
  const proxy = await rawUpstream(t, (socket) => {
    let head: string | undefined;
    socket.on('data', (chunk) => {
      if (head !== undefined) {
        if (String(chunk).startsWith('GET')) socket.end('HTTP/1.1 204 No Content\r\n\r\n');
        else socket.end(`then ${String(chunk).includes('far.test') ? 'TLS' : chunk}`);
        return;
      }
      head = String(chunk);
      heads.push(head.split('\r\n', 1)[0] ?? '');
      if (!head.startsWith('CONNECT')) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      else
        for (const [index, part] of answer.entries())
          setImmediate(() => (index === 0 ? socket.write(part) : setImmediate(() => socket.write(part))));
    });
  });
  const world = (protocol: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy, namespace: shop}
spec:
  hosts: [proxy.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 3128, name: tcp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {tcp: ${proxy.port}, http: ${proxy.port}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: proxy, namespace: shop}
spec:
  host: proxy.test
  trafficPolicy: {tunnel: {protocol: ${protocol}, targetHost: far.test, targetPort: 443}}
---${external('far', 'far.test', '{number: 443, name: tls, protocol: TLS}, {number: 9000, name: tcp, protocol: TCP}')}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far, namespace: shop}
spec:
  hosts: [far.test]
  tls: [{match: [{port: 443, sniHosts: [far.test]}], route: [{destination: {host: proxy.test, port: {number: 3128}}}]}]
  tcp: [{match: [{port: 9000}], route: [{destination: {host: proxy.test, port: {number: 3128}}}]}]
`;
  const { mesh } = await taskMesh(t, world('CONNECT'), registryOnly);
  const socket = await mesh.connect({ host: 'far.test', port: 9000 });
  socket.write('bytes');
  let got = '';
  for await (const chunk of socket) got += chunk;
  t.equal(got, 'first then bytes', 'what comes with the answer is not lost');
  answer = ['HTTP/1.1 200 OK\r\n\r\n'];
  await t.rejects(mesh.connect({ host: 'far.test', port: 443, tls: true }), { code: 'ERR_MESH_TLS_FAILED' });
  await t.rejects(
    mesh.fetch('https://far.test/').then(({ status }) => Promise.reject(new Error(`${status}`))),
    /503/,
  );
  t.equal((await mesh.fetch('http://far.test:9000/')).status, 204, 'HTTP that the mesh does not read');
  t.match(mesh.explain({ url: 'http://far.test:9000/' }).notes, [/proxy to far\.test:443/]);
  answer = ['HTTP/1.1 403 Forbidden\r\n\r\n'];
  await t.rejects(mesh.connect({ host: 'far.test', port: 9000 }), {
    code: 'ERR_MESH_CONNECT_FAILED',
    message: /opens no tunnel to far\.test:443: it answered 403/,
  });
  answer = ['SSH-2.0-proxy\r\n\r\n'];
  await t.rejects(mesh.connect({ host: 'far.test', port: 9000 }), { message: /something that is not HTTP/ });
  answer = ['x'.repeat(20_000)];
  await t.rejects(mesh.connect({ host: 'far.test', port: 9000 }), { message: /no end within 16384 bytes/ });
  t.ok(
    heads.every((head) => head === 'CONNECT far.test:443 HTTP/1.1'),
    heads.join(),
  );
  t.match(mesh.explain({ authority: 'far.test', port: 9000, protocol: 'tcp' }).notes, [/proxy to far\.test:443/]);
  heads.length = 0;
  t.equal((await mesh.fetch('http://proxy.test/plain')).status, 200);
  t.same(heads, ['GET /plain HTTP/1.1']);
  const posting = await taskMesh(t, world('POST'), registryOnly);
  await t.rejects(posting.mesh.connect({ host: 'far.test', port: 9000 }), { message: /only CONNECT/ });
  const nowhere = world('CONNECT')
    .replace('resolution: STATIC', 'resolution: NONE')
    .replace(/^ {2}endpoints: .*\n/m, '');
  const past = await taskMesh(t, nowhere, registryOnly);
  const refused = { code: 'ERR_MESH_UNSUPPORTED', message: /no endpoint is known/ };
  await t.rejects(past.mesh.connect({ host: 'far.test', port: 9000 }), refused, 'never past the proxy');
  t.match(past.mesh.explain({ authority: 'far.test', port: 9000, protocol: 'tcp' }), { decision: 'refused' });
});
