import t from 'tap';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import { testClient } from '../support/client.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { until, upstream } from '../support/upstream.ts';

t.test('a place is taken until the last byte, and refused at once when there is none', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    outgoing.write('first ');
    incoming.socket.once('go on', () => outgoing.end('second'));
  });
  const limits = { ...defaultConnectionLimits, maxRequests: 2 };
  const a = cluster('a', [endpoint(server.port)], { limits });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { onFailure: 'throw' });
  const running = [record(client.dispatcher, {}), record(client.dispatcher, {})];
  await until(() => running.every(({ events }) => events.includes('data first ')));
  t.equal(client.active().get('outbound|80||a requests'), 2, 'headers have come, the body has not');
  const refused = record(client.dispatcher, {});
  t.equal(await refused.done, 'error ERR_MESH_OVERFLOW');
  t.match(refused.error, { status: 503, flag: 'UO', message: /at its limit of 2 requests/ });
  (await server.arrived(1)).socket.emit('go on');
  await Promise.race(running.map(({ done }) => done));
  const next = record(client.dispatcher, {});
  const third = await server.arrived(3);
  third.socket.emit('go on');
  (await server.arrived(2)).socket.emit('go on');
  for (const call of [...running, next]) t.equal(await call.done, 'end');
  t.same(counted(client), ['200 x3', '503 x1', 'UO x1']);
  await assertIdle(t, client);
});

t.test('an aborted call gives its place back', async (t) => {
  const server = await upstream(t, () => {});
  const limits = { ...defaultConnectionLimits, maxRequests: 1 };
  const a = cluster('a', [endpoint(server.port)], { limits });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { onFailure: 'throw' });
  for (let i = 1; i <= 5; i++) {
    const call = record(client.dispatcher, {});
    await server.arrived(i);
    call.controller.abort(new Error('enough'));
    await call.done;
  }
  await assertIdle(t, client);
});
