import { once } from 'node:events';
import { mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { MeshError } from '../../src/errors.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { TcpKeepalive } from '../../src/model/cluster.ts';
import { openConnection } from '../../src/transport/connector.ts';
import { modelMesh, ways } from '../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

/** A server at a Unix socket in a folder of its own. */
async function socketServer(t: Test, path = join(mkdtempSync(join(tmpdir(), 'inmesh-')), 's.sock')): Promise<string> {
  const server = createServer((incoming, outgoing) => void outgoing.end(`${incoming.headers.host} ${incoming.url}`));
  server.listen(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    if (!path.startsWith('@')) rmSync(join(path, '..'), { recursive: true, force: true });
  });
  return path;
}

const reach = (address: string, keepalive?: TcpKeepalive, port = 0) =>
  new Promise<Socket>((resolve, reject) =>
    openConnection(
      {
        cluster: 'a',
        address,
        port,
        timeoutMs: 10_000,
        clock: systemClock,
        keepalive,
        security: () => ({ kind: 'plaintext' }),
      },
      (error, socket) => (socket === null ? reject(error) : resolve(socket)),
    ),
  );

t.test('an endpoint may be a Unix socket, for every way of calling', async (t) => {
  const path = await socketServer(t);
  const a = cluster('a', [endpoint(80, { address: `unix://${path}` })]);
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name)] }, [a]));
  for (const [name, way] of Object.entries(ways)) {
    t.match(await way(mesh, 'http://a/1'), { status: 200, text: 'a /1' }, name);
  }
  t.same(
    mesh.stats().endpoints.map(({ address }) => address),
    [`unix://${path}`],
  );
});

t.test(
  'an abstract socket is written with @',
  { skip: process.platform === 'linux' ? false : 'only Linux has abstract sockets' },
  async (t) => {
    const name = `@inmesh-${process.pid}`;
    await socketServer(t, name);
    const socket = await reach(`unix://${name}`);
    t.ok(socket.remoteAddress === undefined);
    socket.destroy();
  },
);

t.test('a Unix socket that has disappeared is as good as a port where nobody listens (EP-27)', async (t) => {
  const path = await socketServer(t);
  unlinkSync(path);
  const gone = await reach(`unix://${path}`).catch((error: unknown) => error);
  t.ok(gone instanceof MeshError);
  t.match(gone, { code: 'ERR_MESH_CONNECT_FAILED', endpoint: `unix://${path}` });
  const spare = await upstream(t);
  const a = cluster('a', [endpoint(80, { address: `unix://${path}` }), endpoint(spare.port)]);
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name)] }, [a]));
  for (let i = 0; i < 20; i++) {
    const { statusCode, body } = await request('http://a/', { dispatcher: mesh.dispatcher, method: 'POST', body: 'x' });
    t.equal(statusCode, 200);
    await body.dump();
  }
});

t.test('idle connections are probed as configured, in whole seconds', async (t) => {
  const { port } = await upstream(t);
  const calls = t.capture(Socket.prototype, 'setKeepAlive', Socket.prototype.setKeepAlive);
  for (const [keepalive, expected] of [
    [undefined, [true, 60_000, undefined, undefined]],
    [{}, [true, 60_000, undefined, undefined]],
    [{ timeMs: 7_200_000, intervalMs: 75_000, probes: 3 }, [true, 7_200_000, 75_000, 3]],
    [{ timeMs: 1, intervalMs: 1 }, [true, 1_000, 1_000, undefined]],
  ] as const) {
    const socket = await reach('127.0.0.1', keepalive, port);
    t.same(calls().at(-1)?.args, expected);
    socket.destroy();
  }
});
