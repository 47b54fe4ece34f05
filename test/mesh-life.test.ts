import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createMesh } from '../src/index.ts';
import { fixedIdentity, strict, testMesh } from './support/mesh-pair.ts';
import { plainEnvironment } from './support/plain-environment.ts';
import { recordingLogger } from './support/recording-logger.ts';

const options = { logger: recordingLogger(), workload: { name: 'web', namespace: 'shop', serviceAccount: 'web' } };

t.test('ready says what is missing and why', async (t) => {
  const net = testMesh(t, 'kind: [');
  const noIdentity = { name: 'silent', run: async () => {} };
  const mesh = createMesh({ ...options, config: net.folder, identity: noIdentity });
  t.teardown(() => mesh.close());
  await t.rejects(mesh.ready(300), {
    code: 'ERR_MESH_NOT_READY',
    message: /configuration from file:.*policy\.yaml:.* and identity from silent/,
  });
  const answer = await mesh.fetch('http://anything/');
  t.equal(answer.status, 503, 'nothing goes out before there is a configuration');
  t.equal(answer.headers.get('x-inmesh-error'), 'ERR_MESH_NOT_READY');
});

t.test('ready and listen end when the mesh is closed meanwhile', async (t) => {
  const mesh = createMesh({ ...options, identity: { name: 'silent', run: async () => {} } });
  const waiting = [mesh.ready(), mesh.listen(() => {}, 0)];
  const refused = Promise.all(
    waiting.map((each) => t.rejects(async () => void (await each), { code: 'ERR_MESH_CLOSED' })),
  );
  await mesh.close();
  await refused;
  await t.rejects(mesh.ready(), { code: 'ERR_MESH_CLOSED' });
  t.equal(mesh.close(), mesh.close(), 'closing twice is closing once');
});

t.test('close lets a request finish that still has calls to make, then turns calls away', async (t) => {
  const net = testMesh(t);
  const [web, orders, front] = await Promise.all([net.join('web'), net.join('orders'), net.join('front')]);
  await net.serve(orders, (_request, response) => void response.end('order 1'));
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { promise: closing, resolve: closed } = Promise.withResolvers<void>();
  await net.serve(web, async (_request, response) => {
    begin();
    await closing;
    response.end(await (await web.fetch('http://orders/')).text());
  });
  const answer = front.fetch('http://web/');
  await begun;
  const done = web.close();
  closed();
  t.equal(await (await answer).text(), 'order 1');
  await done;
  const late = await web.fetch('http://orders/');
  t.equal(late.headers.get('x-inmesh-error'), 'ERR_MESH_CLOSED');
  const refused = await front.fetch('http://web/');
  t.equal(refused.headers.get('x-inmesh-error'), 'ERR_MESH_CONNECT_FAILED');
});

t.test('close cuts calls that are not done within the grace', async (t) => {
  const net = testMesh(t);
  const [web, orders] = await Promise.all([net.join('web', { drainGraceMs: 100 }), net.join('orders')]);
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  await net.serve(orders, () => begin());
  const cut = t.rejects(web.fetch('http://orders/'), { cause: { code: 'ERR_MESH_CLOSED' } });
  await begun;
  await web.close();
  await cut;
  const [call] = web.stats().requests;
  t.equal(call?.requests, 1);
});

t.test('a new certificate is used for new connections, and nothing is lost', async (t) => {
  const net = testMesh(t);
  const orders = await net.join('orders');
  await net.serve(orders, (_request, response) => void response.end('ok'));
  const spiffeId = 'spiffe://cluster.local/ns/shop/sa/web';
  let renew = (): void => {};
  const web = await net.join('web', {
    identity: {
      name: 'test',
      async run(sink) {
        renew = () => sink.update(net.authority.issue(spiffeId));
        renew();
      },
    },
  });
  const statuses = new Set<number>();
  let stop = false;
  const load = Promise.all(
    Array.from({ length: 8 }, async () => {
      while (!stop) {
        const answer = await web.fetch('http://orders/');
        statuses.add(answer.status);
        await answer.text();
      }
    }),
  );
  for (let i = 0; i < 5; i++) {
    renew();
    for (let j = 0; j < 10; j++) await (await web.fetch('http://orders/')).text();
  }
  stop = true;
  await load;
  t.same([...statuses], [200]);
  t.equal(web.stats().identity?.generation, 6);
});

t.test('an expired certificate means no calls and no plaintext', async (t) => {
  const net = testMesh(t);
  const orders = await net.join('orders');
  await net.serve(orders, (_request, response) => void response.end('ok'));
  const web = await net.join('web', {
    identity: fixedIdentity(
      { ...net.authority, issue: (id) => net.authority.issue(id, { notAfter: Date.now() + 3_000 }) },
      'spiffe://cluster.local/ns/shop/sa/web',
    ),
  });
  while (web.stats().identity !== undefined) await new Promise((resolve) => setTimeout(resolve, 50));
  const answer = await web.fetch('http://orders/');
  t.equal(answer.status, 503);
  t.equal(answer.headers.get('x-inmesh-error'), 'ERR_MESH_NO_IDENTITY');
});

/** A program of its own, configured by its environment alone. */
const program = (core: string): string => `
import { createMesh } from ${JSON.stringify(core)};
const mesh = createMesh({ closeOn: process.argv[2] === 'signals' ? ['SIGTERM'] : [] });
await mesh.ready();
const server = await mesh.listen((request, response) => response.end(mesh.workload.name), { host: '127.0.0.1' });
const own = await (await mesh.fetch('http://127.0.0.1:' + server.port + '/')).text();
console.log(JSON.stringify({ own, namespace: mesh.workload.namespace }));
if (process.argv[2] === 'close') await mesh.close();
`;

t.test('a program without options is configured by its environment, and ends when the mesh is closed', async (t) => {
  const net = testMesh(t, strict.replace('STRICT', 'PERMISSIVE'));
  const file = join(net.folder, 'program.mjs');
  writeFileSync(file, program(new URL('../src/index.ts', import.meta.url).href));
  const start = (how: string) =>
    // tap would put its loaders, which have a way of their own with signals, back into the environment.
    spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, '--conditions=@inmesh/source', file, how], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...plainEnvironment(), INMESH_CONFIG: net.folder, INMESH_WORKLOAD: 'env', INMESH_NAMESPACE: 'shop' },
    });
  const closing = start('close');
  const [closingEnd, printed, complaints] = await Promise.all([
    once(closing, 'exit'),
    text(closing.stdout),
    text(closing.stderr),
  ]);
  t.same(closingEnd, [0, null], complaints);
  t.same(JSON.parse(printed), { own: 'env', namespace: 'shop' });

  const signalled = start('signals');
  await once(signalled.stdout, 'data');
  signalled.kill('SIGTERM');
  t.same(await once(signalled, 'exit'), [null, 'SIGTERM'], 'the signal takes its course once all is closed');
});
