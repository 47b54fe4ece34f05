import t from 'tap';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, until, upstream } from '../support/upstream.ts';

t.test('ROUND_ROBIN takes endpoints in turn', async (t) => {
  const servers = await Promise.all([1, 2, 3].map(() => upstream(t)));
  const a = cluster(
    'a',
    servers.map(({ port }) => endpoint(port)),
    { balance: 'ROUND_ROBIN' },
  );
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]));
  for (let i = 0; i < 30; i++) await record(client.dispatcher, {}).done;
  t.same(
    servers.map(({ seen }) => seen.length),
    [10, 10, 10],
  );
  await assertIdle(t, client);
});

t.test('LEAST_REQUEST leaves an endpoint alone that does not answer (EP-18)', async (t) => {
  const slow = await upstream(t, () => {});
  const fast = [await upstream(t), await upstream(t)];
  const a = cluster(
    'a',
    [slow, ...fast].map(({ port }) => endpoint(port)),
  );
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]));
  const calls = Array.from({ length: 10 }, () => record(client.dispatcher, {}));
  for (let i = 0; i < 100; i++) {
    const call = record(client.dispatcher, {});
    calls.push(call);
    await until(() => call.events.includes('end') || slow.seen.length > 8);
  }
  t.ok(slow.seen.length < 12, `${slow.seen.length} of 110`);
  for (const call of calls) call.controller.abort(new Error('enough'));
  await assertIdle(t, client);
});

t.test('a name that moves: new calls go to the new address, running ones finish on the old (EP-23)', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/slow') incoming.socket.once('go on', () => outgoing.end('slow'));
    else outgoing.end('ok');
  });
  const { port } = server;
  const discovery = { kind: 'dns', endpoints: [endpoint(port, { address: 'svc' })] } as const;
  const a = cluster('a', [], { discovery });
  let addresses = ['127.0.0.1'];
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { clock, resolve: async () => addresses });
  const running = record(client.dispatcher, { path: '/slow' });
  const incoming = await server.arrived(1);
  addresses = ['127.0.0.2'];
  await clock.advanceAsync(33_000);
  const [state] = client.clusters.all();
  t.same(
    state?.endpoints.map(({ name }) => name),
    [`127.0.0.2:${port}`],
  );
  incoming.socket.emit('go on');
  t.equal(await running.done, 'end');
  t.equal(running.text, 'slow');
  await until(() => server.open() === 0, 'then the old connection closes');
  await assertIdle(t, client);
});

t.test('a server that comes back is used again without a restart (NET-05)', async (t) => {
  let partitioned = true;
  const server = await rawUpstream(t, (socket) => {
    if (partitioned) socket.resetAndDestroy();
    else socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nback'));
  });
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { onFailure: 'throw' });
  for (let i = 0; i < 3; i++) t.match(await record(client.dispatcher, {}).done, /^error ERR_MESH_/);
  partitioned = false;
  for (let i = 0; i < 3; i++) {
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    t.equal(call.text, 'back');
  }
  await assertIdle(t, client);
});
