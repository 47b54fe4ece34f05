import t from 'tap';
import { Agent, getGlobalDispatcher, request, setGlobalDispatcher, fetch as undiciFetch } from 'undici';
import { createFetch } from '../../src/host/fetch.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { until, upstream } from '../support/upstream.ts';

const meshOf = (port: number) => {
  const a = cluster('a', [endpoint(port)]);
  return testClient(snapshot({ a: [route(a.name)] }, [a]));
};

t.test('closing lets finish what is under way, refuses what is new, and closes every connection', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    outgoing.write('first ');
    incoming.socket.once('go on', () => outgoing.end('second'));
  });
  const client = meshOf(server.port);
  const running = record(client.dispatcher, {});
  const incoming = await server.arrived(1);
  let closed = false;
  const closing = client.dispatcher.close().then(() => {
    closed = true;
  });
  const refused = await request('http://a/', { dispatcher: client.dispatcher });
  t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_CLOSED');
  t.equal(refused.statusCode, 503);
  t.notOk(closed);
  incoming.socket.emit('go on');
  t.equal(await running.done, 'end');
  t.equal(running.text, 'first second');
  await closing;
  await until(() => server.open() === 0);
  t.same(counted(client), ['200 x1']);
});

t.test('closing twice, with and without a callback, is closing once (RT-16)', async (t) => {
  const server = await upstream(t);
  const client = meshOf(server.port);
  await record(client.dispatcher, {}).done;
  const { dispatcher } = client;
  await Promise.all([
    dispatcher.close(),
    dispatcher.close(),
    dispatcher.destroy(),
    dispatcher.destroy(null),
    new Promise<void>((resolve) => dispatcher.close(resolve)),
    new Promise<void>((resolve) => dispatcher.destroy(resolve)),
    new Promise<void>((resolve) => dispatcher.destroy(null, resolve)),
  ]);
  await dispatcher.close();
});

t.test('a client that was never used closes too', async (t) => {
  await assertIdle(t, testClient(undefined));
  await assertIdle(t, meshOf(1));
});

t.test('destroying aborts what is under way, wherever it is', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/body') outgoing.write('part');
  });
  for (const error of [new Error('destroyed by me'), null]) {
    const client = meshOf(server.port);
    const calls = [record(client.dispatcher, { path: '/head' }), record(client.dispatcher, { path: '/body' })];
    await until(() => calls[1]?.events.includes('data part') === true);
    await client.dispatcher.destroy(error as Error);
    for (const call of calls)
      t.match(await call.done, error === null ? 'error ERR_MESH_CLOSED' : 'error destroyed by me');
    await until(() => server.open() === 0);
    await assertIdle(t, client);
  }
});

t.test('as the global dispatcher of undici', async (t) => {
  const server = await upstream(t);
  const client = meshOf(server.port);
  const before = getGlobalDispatcher();
  setGlobalDispatcher(client.dispatcher);
  t.teardown(() => setGlobalDispatcher(before));
  t.equal(await (await request('http://a/')).body.text(), 'ok');
  t.equal(await (await undiciFetch('http://a/')).text(), 'ok');
  setGlobalDispatcher(before);
  t.same(counted(client), ['200 x2']);
  await assertIdle(t, client);
});

t.test('mesh.fetch, the global fetch with a dispatcher, and the own one of undici', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(incoming.headers['x-request-id']));
  const client = meshOf(server.port);
  const { dispatcher } = client;
  const scope = { requestId: 'r1', traceHeaders: [] };
  const calls: readonly (() => Promise<{ text(): Promise<string> }>)[] = [
    () => createFetch(dispatcher)('http://a/'),
    () => fetch('http://a/', { dispatcher } as never),
    () => undiciFetch('http://a/', { dispatcher }),
    () => createFetch(dispatcher)('http://a/', { method: 'POST', body: new FormData() }),
  ];
  for (const call of calls) {
    const response = await runInScope(scope, call);
    t.equal(await response.text(), 'r1', 'the scope travels on');
  }
  await assertIdle(t, client);
});

t.test('no interceptor of undici is needed, and one may be put around it', async (t) => {
  const server = await upstream(t);
  const client = meshOf(server.port);
  let seen = 0;
  const dispatcher = client.dispatcher.compose((dispatch) => (options, handler) => {
    seen++;
    return dispatch(options, handler);
  });
  t.equal(await (await request('http://a/', { dispatcher })).body.text(), 'ok');
  t.equal(seen, 1);
  await assertIdle(t, client);
  t.notOk(client.dispatcher instanceof Agent);
});
