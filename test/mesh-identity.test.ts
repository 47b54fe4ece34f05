import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { staticSource } from '../src/config/static-source.ts';
import type { IdentitySink } from '../src/identity/source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../src/index.ts';
import { holdProcess } from '../src/lib/clock.ts';
import { makeAuthority } from './support/certificates.ts';
import { type FakeClock, fakeClock } from './support/fake-clock.ts';
import { recordingLogger } from './support/recording-logger.ts';

const hour = 3_600_000;
const authority = makeAuthority();
const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;

/** A mesh of one workload with a clock of its own, and a hand on its certificates. */
interface Process {
  readonly mesh: Mesh;
  readonly clock: FakeClock;
  readonly log: ReturnType<typeof recordingLogger>;
  /** A certificate that ends so long after now, by its own clock. */
  renew(lifeMs: number): void;
  sink(): IdentitySink;
}

function start(t: Test, name: string, lifeMs: number, resources: readonly object[] = []): Process {
  const clock = fakeClock();
  const log = recordingLogger();
  let sink: IdentitySink | undefined;
  const renew = (life: number): void => sink?.update(authority.issue(idOf(name), { notAfter: clock.wallNow() + life }));
  const workload = {
    name,
    namespace: 'shop',
    serviceAccount: name,
    labels: { app: name },
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  const options: MeshOptions = {
    workload,
    clock,
    logger: log,
    config: staticSource([strict, ...resources], { workload }),
    identity: {
      name: 'test',
      run: async (given) => {
        sink = given;
        if (lifeMs > 0) renew(lifeMs);
      },
    },
  };
  const mesh = createMesh(options);
  const release = holdProcess();
  t.teardown(async () => {
    const closing = mesh.close();
    // Nobody else moves its clock.
    for (let i = 0; i < 50; i++) await clock.advanceAsync(1_000);
    await closing;
    release();
  });
  return { mesh, clock, log, renew, sink: () => sink as IdentitySink };
}

const strict = {
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'default', namespace: 'shop' },
  spec: { mtls: { mode: 'STRICT' } },
};

const entry = (port: number, protocol: 'HTTP' | 'HTTP2'): object => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: {
    hosts: ['orders.shop.svc.cluster.local'],
    location: 'MESH_INTERNAL',
    resolution: 'STATIC',
    ports: [{ number: 80, name: protocol.toLowerCase(), protocol }],
    endpoints: [
      { address: '127.0.0.1', ports: { [protocol.toLowerCase()]: port }, serviceAccount: 'orders', labels: tlsMode },
    ],
  },
});
/** Pauses between tries would be of the clock that stands still. */
const noRetries = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: {
    hosts: ['orders.shop.svc.cluster.local'],
    http: [{ retries: { attempts: 0 }, route: [{ destination: { host: 'orders.shop.svc.cluster.local' } }] }],
  },
};
/** Otherwise they would be closed for want of use. */
const patient = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'DestinationRule',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: {
    host: 'orders.shop.svc.cluster.local',
    trafficPolicy: { connectionPool: { http: { idleTimeout: '24h' } } },
  },
};
const tlsMode = { 'security.istio.io/tlsMode': 'istio' };

/** A server of `orders` and how many connections it got. */
async function serve(t: Test, lifeMs: number) {
  const orders = start(t, 'orders', lifeMs);
  const sockets = new Set<unknown>();
  const { port } = await orders.mesh.listen(
    (request, response) => {
      sockets.add(request.socket.remotePort);
      response.end('ok');
    },
    { host: '127.0.0.1' },
  );
  return { orders, port, connections: () => sockets.size };
}

/** Lets a connection that was used become free. */
const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

/** Ways to call, by name: each is status and the error of the mesh, if any. */
const ways = {
  fetch: async (mesh: Mesh): Promise<string> => {
    const answer = await mesh.fetch('http://orders/');
    await answer.text();
    await turns();
    return `${answer.status} ${answer.headers.get('x-inmesh-error') ?? ''}`.trim();
  },
  agent: async (mesh: Mesh): Promise<string> => {
    const request = get('http://orders/', { agent: mesh.agent });
    try {
      const [answer] = (await once(request, 'response')) as [IncomingMessage];
      await text(answer);
      await turns();
      return String(answer.statusCode);
    } catch (error) {
      return (error as { code: string }).code;
    }
  },
} as const;

const protocols = [
  ['HTTP', 'fetch'],
  ['HTTP2', 'fetch'],
  ['HTTP', 'agent'],
] as const;

for (const [protocol, way] of protocols) {
  const call = ways[way];
  const failure = (code: string): string => (way === 'agent' ? code : `503 ${code}`);

  t.test(
    `${way} over ${protocol}: an own certificate that has expired means no calls, on open connections neither`,
    async (t) => {
      // CERT-04
      const { connections, port } = await serve(t, 10 * hour);
      const web = start(t, 'web', hour, [entry(port, protocol), noRetries, patient]);
      const expired: unknown[] = [];
      web.mesh.on('identity-expired', (health) => expired.push(health));
      await web.mesh.ready();
      t.same(web.mesh.health(), {
        ready: true,
        reasons: [],
        warnings: [],
        identity: {
          state: 'valid',
          spiffeId: idOf('web'),
          expirySeconds: 3_599,
          rotatedAt: web.mesh.health().identity?.rotatedAt,
          updates: 1,
          rejected: 0,
          lost: 0,
        },
      });
      for (let i = 0; i < 3; i++) t.equal(await call(web.mesh), '200');
      t.equal(connections(), 1, 'one connection, used again');

      web.sink().lost(new Error('the authority is gone'));
      web.clock.advance(0.5 * hour);
      t.match(web.mesh.health(), {
        ready: true,
        warnings: [/^identity: not renewed, expires in 1\d\d\d s \(the authority is gone\)$/],
        identity: { state: 'due', lost: 1 },
      });
      web.clock.advance(0.5 * hour + 1_000);
      t.match(web.mesh.health(), {
        ready: false,
        reasons: ['no valid identity from test (the authority is gone)'],
        identity: { state: 'expired' },
      });
      t.match(expired, [{ state: 'expired', spiffeId: idOf('web') }]);
      for (let i = 0; i < 3; i++) t.equal(await call(web.mesh), failure('ERR_MESH_NO_IDENTITY'));
      t.equal(connections(), 1, 'nothing was sent, in plaintext neither');
      t.equal(web.mesh.stats().identity, undefined);
      t.match(web.mesh.stats().identityHealth, { state: 'expired', updates: 1 });

      const ready = web.mesh.ready();
      web.renew(hour);
      await ready;
      t.match(web.mesh.health(), { ready: true, reasons: [], warnings: [], identity: { state: 'valid', updates: 2 } });
      t.equal(await call(web.mesh), '200');
      t.equal(connections(), 2);
    },
  );

  t.test(`${way} over ${protocol}: a connection is not used beyond the certificate of its server`, async (t) => {
    // CERT-05
    const { connections, orders, port } = await serve(t, hour);
    const web = start(t, 'web', 10 * hour, [entry(port, protocol), noRetries, patient]);
    await web.mesh.ready();
    for (let i = 0; i < 3; i++) t.equal(await call(web.mesh), '200');
    t.equal(connections(), 1);
    web.clock.advance(hour + 1_000);
    t.match(await call(web.mesh), /ERR_MESH_PEER_IDENTITY/, 'it still shows the old one');
    t.equal(connections(), 1, 'and gets no request');
    orders.clock.advance(0.9 * hour);
    orders.renew(10 * hour);
    t.equal(await call(web.mesh), '200');
  });

  const jumped = `${way} over ${protocol}: a clock that jumps past the expiry ends connections before timers do`;
  // A call that waits for somebody to close the old connection waits a minute.
  t.test(jumped, { timeout: 20_000 }, async (t) => {
    // CERT-10
    const { connections, port } = await serve(t, 10 * hour);
    const web = start(t, 'web', hour, [entry(port, protocol), noRetries, patient]);
    await web.mesh.ready();
    t.equal(await call(web.mesh), '200');
    web.clock.jump(hour + 1_000);
    t.equal(web.mesh.health().ready, false);
    for (let i = 0; i < 2; i++) t.equal(await call(web.mesh), failure('ERR_MESH_NO_IDENTITY'));
    t.equal(connections(), 1);
    web.clock.jump(-hour);
    t.equal(web.mesh.health().ready, true, 'it was not the certificate');
    t.equal(await call(web.mesh), '200');
  });

  t.test(
    `${way} over ${protocol}: a server whose certificate has expired ends open connections and takes no new ones`,
    async (t) => {
      // CERT-04
      const { connections, orders, port } = await serve(t, hour);
      const web = start(t, 'web', 10 * hour, [entry(port, protocol), noRetries, patient]);
      await web.mesh.ready();
      t.equal(await call(web.mesh), '200');
      orders.clock.advance(hour + 1_000);
      t.equal(await call(web.mesh), '200', 'on its way when it happened, for all that anybody knows');
      t.match(await call(web.mesh), /ERR_MESH_(TLS|CONNECT)_FAILED/);
      t.equal(connections(), 1);
      t.match(orders.log.messages('warn').at(-1), /TLS refused: there is no valid certificate to show/);
      orders.renew(hour);
      t.equal(await call(web.mesh), '200');
      t.equal(connections(), 2);
    },
  );
}

t.test(
  'health says what is missing from the start, and turns false as soon as the mesh is told to close',
  async (t) => {
    const web = start(t, 'web', 0);
    t.match(web.mesh.health(), { ready: false, reasons: ['no identity from test'], identity: { state: 'none' } });
    web.sink().reject(new Error('a bad answer'));
    t.match(web.mesh.health(), {
      reasons: ['no identity from test (a bad answer)'],
      identity: { state: 'none', rejected: 1, problem: 'a bad answer' },
    });
    web.renew(hour);
    await web.mesh.ready();
    web.sink().reject(new Error('a bad answer'));
    t.match(web.mesh.health(), { ready: true, reasons: [], warnings: ['identity: a bad answer'] });
    const closing = web.mesh.close();
    t.match(web.mesh.health(), { ready: false, reasons: ['the mesh is closing'] });
    await closing;
  },
);

t.test('a process without identity is ready without one', async (t) => {
  const mesh = createMesh({ identity: false, logger: recordingLogger() });
  t.teardown(() => mesh.close());
  await mesh.ready();
  t.same(mesh.health(), { ready: true, reasons: [], warnings: [], identity: undefined });
  t.equal(mesh.stats().identityHealth, undefined);
});
