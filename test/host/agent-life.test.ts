import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type Agent, get, type IncomingMessage } from 'node:http';
import { createServer as createSecureServer, get as getSecure } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import type { MeshError } from '../../src/errors.ts';
import { connected, fakeMesh, listening } from '../support/agent-router.ts';
import { makeAuthority } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** One request to its end; its socket is idle afterwards. */
async function roundTrip(agent: Agent, options: object = {}): Promise<string> {
  const outgoing = get({ agent, host: 'reviews', ...options });
  const closed = new Promise((resolve) => outgoing.once('close', resolve));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const body = await text(response);
  await closed;
  await nextTurn();
  return body;
}

const idleSockets = (agent: Agent): Socket[] => Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? []);

t.test('an idle socket closes after the idle time, a used one does not', async (t) => {
  const clock = fakeClock();
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end());
  const mesh = fakeMesh(t, port, () => ({}), { clock, idleTimeoutMs: 1_000 });
  await roundTrip(mesh.agent);
  clock.advance(999);
  await roundTrip(mesh.agent);
  t.equal(mesh.connections(), 1);
  clock.advance(999);
  const [socket] = idleSockets(mesh.agent) as [Socket];
  t.equal(socket.destroyed, false);
  clock.advance(1);
  t.equal(socket.destroyed, true);
  await once(socket, 'close');
  await roundTrip(mesh.agent);
  t.equal(mesh.connections(), 2);
});

t.test('a socket is kept for less than the server announces', async (t) => {
  const clock = fakeClock();
  let announced = 'timeout=3';
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.setHeader('keep-alive', announced).end());
  const mesh = fakeMesh(t, port, () => ({}), { clock });
  await roundTrip(mesh.agent);
  const [socket] = idleSockets(mesh.agent) as [Socket];
  clock.advance(1_999);
  t.equal(socket.destroyed, false);
  clock.advance(1);
  t.equal(socket.destroyed, true);
  announced = 'timeout=1';
  await roundTrip(mesh.agent);
  t.same(idleSockets(mesh.agent), [], 'no time left to use it safely');
});

t.test('a socket is kept no longer than it may take requests', async (t) => {
  const clock = fakeClock();
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end());
  const until = clock.now() + 700;
  const mesh = fakeMesh(t, port, () => ({}), { clock, lifeMs: () => until - clock.now() });
  await roundTrip(mesh.agent);
  clock.advance(500);
  await roundTrip(mesh.agent);
  t.equal(mesh.connections(), 1);
  const [socket] = idleSockets(mesh.agent) as [Socket];
  clock.advance(199);
  t.equal(socket.destroyed, false);
  clock.advance(1);
  t.equal(socket.destroyed, true);
  await roundTrip(mesh.agent);
  t.same(idleSockets(mesh.agent), [], 'one that is old already is not kept');
});

t.test('no more idle sockets are kept than allowed', async (t) => {
  const { port, server } = await listening(t, () => {});
  const held: { end(): void }[] = [];
  server.on('request', (_incoming, outgoing) => held.push(outgoing));
  const mesh = fakeMesh(t, port, () => ({}), { maxIdleSocketsPerKey: 2 });
  const trips = [1, 2, 3, 4].map(() => roundTrip(mesh.agent));
  while (held.length < 4) await once(server, 'request');
  for (const outgoing of held) outgoing.end();
  await Promise.all(trips);
  t.equal(idleSockets(mesh.agent).filter((socket) => !socket.destroyed).length, 2);
});

t.test('idle sockets and their clocks keep no process alive', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end('done'));
  const at = (path: string): string => JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));
  const program = `
    import { get } from 'node:http';
    import { connect } from 'node:net';
    import { once } from 'node:events';
    import { createAgent } from ${at('host/agent.ts')};
    import { systemClock } from ${at('lib/clock.ts')};
    const agent = createAgent(({ path }) => ({
      key: 'k', path, headers: [], done() {},
      async connect() { const socket = connect(${port}, '127.0.0.1'); await once(socket, 'connect'); return socket; },
    }), { clock: systemClock, idleTimeoutMs: 60_000 });
    get({ agent, host: 'reviews' }, (response) => response.on('data', (data) => process.stdout.write(data)));`;
  const ran = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '-e', program], {
    timeout: 30_000,
  });
  t.equal(ran.stdout, 'done');
});

t.test('drain lets requests end, keeps no socket, and then resolves', async (t) => {
  const { port, server } = await listening(t, () => {});
  const mesh = fakeMesh(t, port, ({ hostname }) => (hostname === '127.0.0.1' ? 'direct' : {}));
  server.on('request', (incoming, outgoing) => incoming.url === '/fast' && outgoing.end());
  await roundTrip(mesh.agent, { path: '/fast' });
  await roundTrip(mesh.agent, { host: '127.0.0.1', port, path: '/fast' });
  const [idle] = idleSockets(mesh.agent) as [Socket];
  const slow = [get({ agent: mesh.agent, host: 'reviews', path: '/slow' })];
  slow.push(get({ agent: mesh.agent, host: '127.0.0.1', port, path: '/slow' }));
  const held: { end(): void }[] = [];
  while (held.length < 2) held.push((await once(server, 'request'))[1]);
  await roundTrip(mesh.agent, { path: '/fast' });

  let drained = false;
  const draining = mesh.agent.drain().then(() => {
    drained = true;
  });
  t.ok(idle.destroyed || idleSockets(mesh.agent).every((socket) => socket.destroyed));
  for (const outgoing of slow) outgoing.on('response', (response) => response.resume());
  await nextTurn();
  t.equal(drained, false);
  for (const outgoing of held) outgoing.end();
  await draining;
  await nextTurn();
  t.same(idleSockets(mesh.agent), []);
  await mesh.agent.drain();
});

t.test('destroy fails what is under way and what waits for a connection', async (t) => {
  const { port, server } = await listening(t, () => {});
  const mesh = fakeMesh(t, port, ({ path }) =>
    path === '/connecting' ? { key: 'other', connect: () => new Promise<Socket>(() => {}) } : {},
  );
  const running = get({ agent: mesh.agent, host: 'reviews', path: '/running' });
  await once(server, 'request');
  const connecting = get({ agent: mesh.agent, host: 'reviews', path: '/connecting' });
  await nextTurn();
  const fresh = get({ agent: mesh.agent, host: 'reviews' });
  const errors = [running, connecting, fresh].map(
    async (outgoing) => ((await once(outgoing, 'error')) as [MeshError])[0].code,
  );
  mesh.agent.destroy();
  t.same(await Promise.all(errors), ['ERR_MESH_UPSTREAM_RESET', 'ERR_MESH_CLOSED', 'ERR_MESH_CLOSED']);
});

t.test('direct requests behave as with an Agent of node:http, also over a Unix socket', async (t) => {
  const { port, server } = await listening(t, (incoming, outgoing) => outgoing.end(incoming.headers.host));
  const mesh = fakeMesh(t, 1, () => 'direct');
  t.equal(await roundTrip(mesh.agent, { host: '127.0.0.1', port }), `127.0.0.1:${port}`);
  t.match(mesh.seen, [{ hostname: '127.0.0.1', port }]);
  const refused = get({ agent: mesh.agent, host: '127.0.0.1', port: 1 });
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ECONNREFUSED', 'errors are the native ones');

  const socketPath = join(tmpdir(), `inmesh-agent-${process.pid}.sock`);
  const local = (await import('node:http')).createServer(server.listeners('request')[0] as never).listen(socketPath);
  t.teardown(() => local.close());
  await once(local, 'listening');
  t.equal(await roundTrip(mesh.agent, { socketPath, host: 'local' }), 'local');
  t.equal(mesh.seen.length, 2, 'nobody routes a Unix socket');
});

t.test('https: requests go past the mesh over TLS, on port 443 when none is named', async (t) => {
  const authority = makeAuthority();
  const issued = authority.issue('spiffe://cluster.local/ns/a/sa/b', {
    sans: [{ dns: 'localhost' }],
  });
  const server = createSecureServer(
    { cert: issued.certificateChainPem, key: issued.privateKeyPem },
    (incoming, outgoing) => outgoing.end(incoming.headers.host),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;

  const mesh = fakeMesh(t, port, ({ port: wanted }) =>
    wanted === port ? 'direct' : { connect: () => Promise.reject(new Error('not today')) },
  );
  const options = { agent: mesh.agent, ca: authority.rootPem, lookup: undefined };
  const outgoing = getSecure(`https://localhost:${port}/`, { ...options, family: 4 });
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.equal(await text(response), `localhost:${port}`);

  const forms: [string | object, number][] = [
    ['https://shop/', 443],
    ['https://shop:80/', 80],
    [{ host: 'shop' }, 443],
    [{ host: 'shop', port: '80' }, 80],
    [{ host: 'shop', port: 8443 }, 8443],
  ];
  for (const [form, expected] of forms) {
    const failing =
      typeof form === 'string' ? getSecure(form, { agent: mesh.agent }) : getSecure({ ...form, agent: mesh.agent });
    await once(failing, 'error');
    t.equal(mesh.seen.at(-1)?.port, expected, JSON.stringify(form));
    t.equal(mesh.seen.at(-1)?.secure, true);
  }
  const plain = get('http://shop/', { agent: mesh.agent });
  await once(plain, 'error');
  t.match(mesh.seen.at(-1), { port: 80, secure: false });
});

t.test('TLS sockets of the mesh are pooled like others', async (t) => {
  const authority = makeAuthority();
  const issued = authority.issue('spiffe://cluster.local/ns/a/sa/b');
  const server = createSecureServer(
    { cert: issued.certificateChainPem, key: issued.privateKeyPem },
    (_incoming, outgoing) => outgoing.end('secret'),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const tls = await import('node:tls');
  let made = 0;
  const mesh = fakeMesh(t, port, () => ({
    async connect() {
      made++;
      const socket = tls.connect({
        socket: await connected(port),
        ca: authority.rootPem,
        checkServerIdentity: () => undefined,
      });
      await once(socket, 'secureConnect');
      return socket;
    },
  }));
  for (let i = 0; i < 3; i++) t.equal(await roundTrip(mesh.agent), 'secret');
  t.equal(made, 1);
});
