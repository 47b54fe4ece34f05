import { once } from 'node:events';
import { request } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { meshTlsOptions } from '../src/identity/tls-options.ts';
import type { Mesh } from '../src/index.ts';
import { seededRandom } from '../src/lib/random.ts';
import { testMesh } from './support/mesh-pair.ts';
import { refusingPort, until } from './support/upstream.ts';

/** A TCP server that greets with its name; with the number of its open connections. */
async function greeter(t: Test, name: string, server: Server = createServer()) {
  const sockets = new Set<Socket>();
  server.on('tlsClientError', () => {});
  const greet = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.write(name);
  };
  server.on('setSecureContext' in server ? 'secureConnection' : 'connection', greet);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, open: () => sockets.size };
}

async function greeting(connection: Promise<Duplex>): Promise<string> {
  const socket = await connection;
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString();
}

const serviceEntry = (name: string, endpoints: readonly string[], protocol = 'TCP'): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 27017, name: db, protocol: ${protocol}}]
  endpoints:
${endpoints.map((endpoint) => `  - ${endpoint}`).join('\n')}
`;

async function rewritten(mesh: Mesh, write: () => void): Promise<void> {
  const changed = new Promise<void>((resolve) => void mesh.on('config', () => resolve()));
  write();
  await changed;
}

t.test('a service for bytes: found by its short name, the connection counted until it ends', async (t) => {
  const { join, write } = testMesh(t);
  const server = await greeter(t, 'mongo');
  write('mongo.yaml', serviceEntry('mongo', [`{address: 127.0.0.1, ports: {db: ${server.port}}}`]));
  const mesh = await join('web');
  const socket = await mesh.connect({ host: 'mongo', port: 27017 });
  t.match(mesh.stats().endpoints, [{ cluster: 'outbound|27017||mongo.shop.svc.cluster.local', inFlight: 1 }]);
  socket.destroy();
  await until(() => mesh.stats().endpoints[0]?.inFlight === 0);
});

t.test('tcp rules: destinations by weight', async (t) => {
  const { join, write } = testMesh(t);
  const old = await greeter(t, 'old');
  const fresh = await greeter(t, 'new');
  write(
    'mongo.yaml',
    `${serviceEntry('mongo', [
      `{address: 127.0.0.1, ports: {db: ${old.port}}, labels: {version: v1}}`,
      `{address: 127.0.0.1, ports: {db: ${fresh.port}}, labels: {version: v2}}`,
    ])}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mongo, namespace: shop}
spec:
  host: mongo
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mongo, namespace: shop}
spec:
  hosts: [mongo]
  tcp:
  - route:
    - {destination: {host: mongo, subset: v1}, weight: 25}
    - {destination: {host: mongo, subset: v2}, weight: 75}
`,
  );
  const mesh = await join('web', { random: seededRandom(7) });
  const seen = { old: 0, new: 0 };
  for (let i = 0; i < 100; i++) seen[(await greeting(mesh.connect({ host: 'mongo', port: 27017 }))) as 'old' | 'new']++;
  t.ok(seen.old > 12 && seen.old < 38, `${seen.old} of 100, 25 expected`);
});

t.test('mutual TLS to endpoints that speak it; no other account will do', async (t) => {
  const { authority, join, write } = testMesh(t);
  const own = authority.issue('spiffe://cluster.local/ns/shop/sa/mongo');
  const offered: string[] = [];
  const ALPNCallback = ({ protocols }: { readonly protocols: string[] }): string | undefined => {
    offered.push(protocols.join(' '));
    return protocols[0];
  };
  const options = { ...meshTlsOptions(own), requestCert: true, ALPNCallback };
  const server = await greeter(t, 'mongo over mTLS', createTlsServer(options));
  const endpoint = (account: string): string =>
    `{address: 127.0.0.1, ports: {db: ${server.port}}, serviceAccount: ${account}}`;
  write('mongo.yaml', serviceEntry('mongo', [endpoint('mongo')]));
  const mesh = await join('web');
  t.equal(await greeting(mesh.connect({ host: 'mongo.shop.svc.cluster.local', port: 27017 })), 'mongo over mTLS');
  t.same(offered, ['istio'], 'as what it is: bytes, and not HTTP');
  await rewritten(mesh, () => write('mongo.yaml', serviceEntry('mongo', [endpoint('other')])));
  await t.rejects(mesh.connect({ host: 'mongo', port: 27017 }), { code: 'ERR_MESH_PEER_IDENTITY' });
});

t.test('tls rules match the name of the TLS of the application, in connections and in https requests', async (t) => {
  const { join, write } = testMesh(t);
  const gone = await refusingPort();
  const here = await greeter(t, 'not TLS');
  const rules = (sni: string): string => `${serviceEntry(
    'web',
    [
      `{address: 127.0.0.1, ports: {db: ${gone}}, labels: {version: v1}}`,
      `{address: 127.0.0.1, ports: {db: ${here.port}}, labels: {version: v2}}`,
    ],
    'TLS',
  )}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: ["*.shop.svc.cluster.local"]
  tls:
  - match: [{port: 27017, sniHosts: [${sni}]}]
    route: [{destination: {host: web, subset: v1}}]
  - match: [{port: 27017, sniHosts: ["web.shop.svc.cluster.local"]}]
    route: [{destination: {host: web, subset: v2}}]
`;
  write('web.yaml', rules('"other.shop.svc.cluster.local"'));
  const mesh = await join('client');
  const host = 'web.shop.svc.cluster.local';
  // v2 is there but speaks no TLS, v1 is not there.
  await t.rejects(mesh.connect({ host, port: 27017, tls: true }), { code: 'ERR_MESH_TLS_FAILED' });
  const overAgent = (): Promise<unknown> =>
    new Promise((_, reject) => void request(`https://${host}:27017/`, { agent: mesh.agent }).on('error', reject).end());
  await t.rejects(overAgent(), { code: 'ERR_MESH_TLS_FAILED' });
  await t.rejects(mesh.fetch(`https://${host}:27017/`).then(fail), { message: /TLS_FAILED/ });
  await rewritten(mesh, () => write('web.yaml', rules('"*.shop.svc.cluster.local"')));
  await t.rejects(mesh.connect({ host, port: 27017, tls: host }), { code: 'ERR_MESH_CONNECT_FAILED' });
  await t.rejects(overAgent(), { code: 'ERR_MESH_CONNECT_FAILED' });
});
async function fail(response: Response): Promise<never> {
  throw new Error(response.headers.get('x-inmesh-error') ?? `answer ${response.status}`);
}

t.test('failed connections count for outlier detection', async (t) => {
  const { join, write } = testMesh(t);
  const server = await greeter(t, 'here');
  const gone = await refusingPort();
  const yaml = serviceEntry('mongo', [
    `{address: 127.0.0.1, ports: {db: ${gone}}}`,
    `{address: 127.0.0.1, ports: {db: ${server.port}}}`,
  ]);
  write(
    'mongo.yaml',
    `${yaml}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mongo, namespace: shop}
spec:
  host: mongo
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100, baseEjectionTime: 1h}
`,
  );
  const mesh = await join('web');
  const connect = (): Promise<string> =>
    greeting(mesh.connect({ host: 'mongo', port: 27017 })).catch((error) => error.code);
  const answers: string[] = [];
  while (!answers.includes('ERR_MESH_CONNECT_FAILED')) answers.push(await connect());
  for (let i = 0; i < 5; i++) t.equal(await connect(), 'here');
});

t.test('hosts that the mesh does not know: directly, or not at all', async (t) => {
  const server = await greeter(t, 'outside');
  const open = testMesh(t);
  const mesh = await open.join('web');
  t.equal(await greeting(mesh.connect({ host: 'localhost', port: server.port })), 'outside');
  const closed = await open.join('strict', { outboundPolicy: 'REGISTRY_ONLY' });
  await t.rejects(closed.connect({ host: 'localhost', port: server.port }), { code: 'ERR_MESH_HOST_UNKNOWN' });
});

t.test('given up, closed', async (t) => {
  const server = await greeter(t, 'here');
  const { join } = testMesh(t);
  const mesh = await join('web', { drainGraceMs: 1 });
  const target = { host: '127.0.0.1', port: server.port };
  const reason = new Error('no more');
  await t.rejects(mesh.connect({ ...target, signal: AbortSignal.abort(reason) }), reason);
  const abort = new AbortController();
  const late = mesh.connect({ ...target, signal: abort.signal });
  abort.abort(reason);
  await t.rejects(late, reason);
  await until(() => server.open() === 0);
  const socket = await mesh.connect({ ...target, signal: new AbortController().signal });
  const ended = once(socket, 'close');
  await mesh.close();
  await ended;
  await t.rejects(mesh.connect(target), { code: 'ERR_MESH_CLOSED' });
});

t.test('a connection that is made while the mesh closes is not left behind', async (t) => {
  const { join, write } = testMesh(t);
  const server = await greeter(t, 'mongo');
  write('mongo.yaml', serviceEntry('mongo', [`{address: 127.0.0.1, ports: {db: ${server.port}}}`]));
  const mesh = await join('web');
  const late = mesh.connect({ host: 'mongo', port: 27017 });
  const [refusal] = await Promise.all([t.rejects(late, { code: 'ERR_MESH_CLOSED' }), mesh.close()]);
  t.ok(refusal);
  await until(() => server.open() === 0);
  t.match(mesh.stats().endpoints, []);
});
