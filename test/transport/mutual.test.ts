import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect, createServer as createTcp, type Socket } from 'node:net';
import { createSecureContext, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { createClientPipeline } from '../../src/client-pipeline.ts';
import { MeshError } from '../../src/errors.ts';
import { MeshDispatcher } from '../../src/host/dispatcher.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { peerOfSocket } from '../../src/identity/verify-peer.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { OutlierPolicy } from '../../src/model/cluster.ts';
import { defaultRetryPolicy } from '../../src/model/route.ts';
import { createHostTable } from '../../src/route/host-table.ts';
import { createClusters } from '../../src/runtime/clusters.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { createPool } from '../../src/transport/pool.ts';
import { makeAuthority } from '../support/certificates.ts';
import { noNames } from '../support/resolver.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns } from '../support/upstream.ts';

const authority = makeAuthority();
const spiffeId = (account: string): string => `spiffe://cluster.local/ns/default/sa/${account}`;
const good = authority.issue(spiffeId('server'));
const outlier: OutlierPolicy = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

/** An mTLS server that says who called it. */
async function secureServer(t: Test, credentials: Credentials) {
  const callers: string[] = [];
  const server: Server = createServer(
    { ...meshTlsOptions(credentials), requestCert: true, rejectUnauthorized: true, ALPNCallback: () => 'http/1.1' },
    (incoming: IncomingMessage, outgoing) => {
      const peer = peerOfSocket(incoming.socket as TLSSocket, credentials.trustBundles, systemClock);
      callers.push(peer?.spiffeId ?? 'nobody');
      outgoing.end('secure');
    },
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, callers, server };
}

/** A client that speaks mTLS to these ports and expects `server`. */
function meshOf(ports: readonly number[], own: () => Credentials) {
  const health: string[] = [];
  const metrics = createMetrics();
  const series = metrics.series({
    reporter: 'source',
    sourceWorkload: '',
    sourcePrincipal: '',
    destinationService: '',
    destinationWorkload: '',
    destinationVersion: '',
  });
  const random = seededRandom(1);
  const verify = (socket: TLSSocket): void => {
    const peer = peerOfSocket(socket, own().trustBundles, systemClock);
    if (peer?.spiffeId !== spiffeId('server')) throw new MeshError('ERR_MESH_PEER_IDENTITY', `is ${peer?.spiffeId}`);
  };
  const clusters = createClusters(() => ({
    clock: systemClock,
    random,
    names: noNames,
    hooks: ({ name }) => ({
      open: ({ address, port }, host) =>
        createPool({
          host,
          cluster: name,
          address,
          port,
          timeoutMs: 10_000,
          clock: systemClock,
          maxRequestsPerConnection: Number.POSITIVE_INFINITY,
          maxConnectionMs: Number.POSITIVE_INFINITY,
          idleTimeoutMs: 60_000,
          security: () => ({
            kind: 'mutual',
            context: createSecureContext(meshTlsOptions(own())),
            serverName: 'outbound_.80_._.a',
            verify,
          }),
        }),
      series: () => series,
    }),
    healthChanged: (_, { available, name }) => void health.push(`${name} ${available ? 'in' : 'out'}`),
  }));
  const a = cluster(
    'a',
    ports.map((port) => endpoint(port)),
    { balance: 'ROUND_ROBIN', outlier },
  );
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0 };
  const config = snapshot({ a: [route(a.name, { retry })] }, [a]);
  clusters.reconcile(config);
  const hosts = createHostTable(config);
  const pipeline = createClientPipeline({
    clock: systemClock,
    random,
    clusters,
    hosts: () => hosts,
    series: () => series,
  });
  const dispatcher = new MeshDispatcher({
    send: pipeline.send,
    clock: systemClock,
    onFailure: 'throw',
    close: () => clusters.close(),
  });
  const get = async (method: 'GET' | 'POST' = 'GET'): Promise<string> => {
    // undici uses a connection again in the next turn of the event loop
    await turns(3);
    return (await request('http://a/', { dispatcher, method })).body.text();
  };
  return { clusters, dispatcher, get, health };
}

t.test('a call goes out with the identity of this process, to the identity that it must reach', async (t) => {
  const server = await secureServer(t, good);
  const client = authority.issue(spiffeId('client'));
  const mesh = meshOf([server.port], () => client);
  for (let i = 0; i < 5; i++) t.equal(await mesh.get(), 'secure');
  t.same(new Set(server.callers), new Set([spiffeId('client')]));
  await mesh.dispatcher.close();
});

t.test(
  'a good address with a wrong identity gets nothing; another endpoint does, and it is ejected (EP-22)',
  async (t) => {
    const wrong = await secureServer(t, authority.issue(spiffeId('somebody-else')));
    const server = await secureServer(t, good);
    const client = authority.issue(spiffeId('client'));
    const mesh = meshOf([wrong.port, server.port], () => client);
    for (let i = 0; i < 10; i++) t.equal(await mesh.get(), 'secure');
    t.equal(wrong.callers.length, 0, 'not one request was delivered to the wrong identity');
    t.equal(server.callers.length, 10);
    t.same(mesh.health, [`127.0.0.1:${wrong.port} out`]);
    await mesh.dispatcher.close();
  },
);

t.test('only wrong identities: the error says whom it met', async (t) => {
  const wrong = await secureServer(t, authority.issue(spiffeId('somebody-else')));
  const client = authority.issue(spiffeId('client'));
  const mesh = meshOf([wrong.port], () => client);
  await t.rejects(mesh.get(), { code: 'ERR_MESH_PEER_IDENTITY', message: /somebody-else/, flag: 'UF' });
  t.equal(wrong.callers.length, 0);
  await mesh.dispatcher.close();
});

t.test('a renewed certificate serves the next connection, none is cut', async (t) => {
  const server = await secureServer(t, good);
  let account = 'before';
  const issued = new Map(['before', 'after'].map((name) => [name, authority.issue(spiffeId(name))]));
  const mesh = meshOf([server.port], () => issued.get(account) as Credentials);
  await mesh.get();
  account = 'after';
  await mesh.get();
  t.same(server.callers, [spiffeId('before'), spiffeId('before')], 'the connection is still good');
  for (const state of mesh.clusters.all()) for (const each of state.endpoints) void each.drain();
  await mesh.get();
  t.equal(server.callers[2], spiffeId('after'));
  await mesh.dispatcher.close();
});

t.test('a byte that is changed on the way breaks the connection, never the content (NET-10)', async (t) => {
  const server = await secureServer(t, good);
  let corrupt = 0;
  const sockets = new Set<Socket>();
  const proxy = createTcp((downstream) => {
    const upstream = connect(server.port, '127.0.0.1');
    for (const socket of [downstream, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    downstream.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      if (corrupt-- > 0) chunk.writeUInt8(chunk.readUInt8(chunk.length - 1) ^ 1, chunk.length - 1);
      downstream.write(chunk);
    });
    upstream.on('end', () => downstream.end());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const client = authority.issue(spiffeId('client'));
  const mesh = meshOf([(proxy.address() as AddressInfo).port], () => client);
  t.equal(await mesh.get(), 'secure');
  corrupt = 1;
  const broken = await mesh.get('POST').catch((error: Error) => error);
  t.match(broken, { code: 'ERR_MESH_UPSTREAM_RESET' });
  t.equal(server.callers.length, 2, 'it had arrived, and is not sent twice');
  corrupt = 0;
  t.equal(await mesh.get(), 'secure');
  corrupt = 1;
  t.equal(await mesh.get(), 'secure', 'a GET is sent once more');
  await mesh.dispatcher.close();
});
