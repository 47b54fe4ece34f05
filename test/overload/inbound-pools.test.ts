import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { Agent, request } from 'undici';
import type { InboundPool } from '../../src/model/inbound.ts';
import { inboundPoolFilter } from '../../src/overload/inbound-pool-filter.ts';
import { createInboundPoolMemory, PortPool, type Waiting } from '../../src/overload/inbound-pools.ts';
import type { ServerCall } from '../../src/pipeline/server-call.ts';
import { inboundSnapshot, testInbound, testPipeline } from '../support/inbound.ts';
import { leave } from '../support/leave.ts';
import { turns, until } from '../support/upstream.ts';

const none = Number.POSITIVE_INFINITY;
const limits = (given: Partial<InboundPool>): InboundPool => ({
  maxConnections: none,
  maxPendingRequests: none,
  maxRequests: none,
  ...given,
});

/** A guest that notes what became of it. */
function guest(): Waiting & { readonly seen: string[] } {
  const seen: string[] = [];
  return { seen, admitted: () => void seen.push('admitted'), refused: () => void seen.push('refused') };
}

t.test('what is admitted, what waits and what is too much', async (t) => {
  // `1`: an HTTP/1.1 request, `2`: one of HTTP/2, `t`: a connection. Upper case letters: + admitted, ~ waits, - refused.
  const cases: readonly (readonly [name: string, pool: Partial<InboundPool>, arrivals: string, answers: string])[] = [
    ['no limits', {}, '112t2t', '++++++'],
    ['requests', { maxRequests: 2 }, '1211', '++--'],
    ['connections: requests of HTTP/1.1 wait for one', { maxConnections: 2 }, '11112', '++~~+'],
    ['as many as may', { maxConnections: 1, maxPendingRequests: 2 }, '11111', '+~~--'],
    ['connections that are not read do not wait', { maxConnections: 1 }, 'ttt', '+--'],
    ['both count the same connections', { maxConnections: 2 }, 't1t1', '++-~'],
    ['with fewer requests than connections nobody waits', { maxConnections: 3, maxRequests: 2 }, '111', '++-'],
    ['with fewer connections than requests somebody does', { maxConnections: 1, maxRequests: 2 }, '1122', '+~+-'],
  ];
  for (const [name, pool, arrivals, answers] of cases) {
    const port = new PortPool(limits(pool));
    const marks = { admitted: '+', waiting: '~', full: '-' } as const;
    const seen = [...arrivals].map((kind) => {
      if (kind === 't') return port.connect() ? '+' : '-';
      return marks[port.enter(kind === '1' ? guest() : undefined)];
    });
    t.equal(seen.join(''), answers, name);
  }
});

t.test('who waits moves up in order, when a place comes free or there are more', async (t) => {
  const port = new PortPool(limits({ maxConnections: 1, maxRequests: 2 }));
  const [first, second, third, fourth] = [guest(), guest(), guest(), guest()];
  t.equal(port.enter(first), 'admitted');
  for (const each of [second, third, fourth]) t.equal(port.enter(each), 'waiting');
  port.giveUp(third);
  port.leave(first);
  t.same([second.seen, third.seen, fourth.seen], [['admitted'], [], []], 'the one that gave up is passed over');
  t.equal(port.enter(undefined), 'admitted', 'a request of HTTP/2 beside');
  port.leave(second);
  t.same(fourth.seen, ['admitted']);
  const fifth = guest();
  port.enter(fifth);
  port.pool = limits({ maxConnections: 2, maxRequests: 2 });
  port.moveUp();
  t.same(fifth.seen, ['refused'], 'a connection is there by now, and too many requests are under way');
});

t.test('each port counts for itself, under its own limits or those of all others', async (t) => {
  const memory = createInboundPoolMemory();
  memory.adopt({ ports: new Map([[80, limits({ maxRequests: 2 })]]), others: limits({ maxRequests: 1 }) });
  t.equal(memory.of(80).enter(undefined), 'admitted');
  t.equal(memory.of(80).enter(undefined), 'admitted');
  t.equal(memory.of(80).enter(undefined), 'full');
  t.equal(memory.of(81).enter(undefined), 'admitted');
  t.equal(memory.of(81).enter(undefined), 'full');
  t.equal(memory.of(82).enter(undefined), 'admitted');
  memory.adopt({ ports: new Map([[80, limits({ maxRequests: 3 })]]) });
  t.equal(memory.of(80).enter(undefined), 'admitted', 'what is under way goes on to count');
  t.equal(memory.of(80).enter(undefined), 'full');
  t.equal(memory.of(81).enter(undefined), 'admitted', 'no limit any more');
});

t.test('callers who were gone before it was their turn to wait keep no place', async (t) => {
  const memory = createInboundPoolMemory();
  memory.adopt({ ports: new Map(), others: limits({ maxConnections: 1 }) });
  const filter = inboundPoolFilter(memory);
  const call = (): ServerCall => {
    const request = new IncomingMessage(new Socket());
    request.httpVersionMajor = 1;
    const response = new ServerResponse(request);
    response.assignSocket(request.socket);
    return { request, response, localPort: 80 } as unknown as ServerCall;
  };
  const served = async (): Promise<void> => {};
  const first = call();
  await filter(first, served);
  const late = call();
  leave(late);
  await turns(2);
  let reached = false;
  const lateOutcome = (async () =>
    filter(late, async () => {
      reached = true;
    }))();
  lateOutcome.catch(() => {});
  leave(first);
  await turns(2);
  t.notOk(reached);
  await t.rejects(lateOutcome, { code: 'ERR_MESH_CLIENT_GONE' });
  t.equal(memory.of(80).enter(guest()), 'admitted', 'the place is free');
});

/** A server that answers when the test says so. */
async function server(t: Test, pool: Partial<InboundPool>) {
  const store = new AsyncLocalStorage<string>();
  const policy = { pools: { ports: new Map(), others: limits(pool) } };
  const { metrics, pipeline, use } = testPipeline(inboundSnapshot(policy));
  const inside = new Map<string, ServerResponse>();
  const seen: string[] = [];
  const own = createServer((incoming, outgoing) => {
    const path = incoming.url ?? '';
    store.run(path, () =>
      pipeline.handle(incoming, outgoing, () => {
        seen.push(`${path} in ${store.getStore()}`);
        inside.set(path, outgoing);
      }),
    );
  }).listen(0, '127.0.0.1');
  await once(own, 'listening');
  const dispatcher = new Agent({ connections: 100 });
  t.teardown(async () => {
    for (const each of inside.values()) each.end();
    await dispatcher.destroy();
    own.closeAllConnections();
    own.close();
    pipeline.close();
  });
  const origin = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  let arrived = 0;
  own.on('request', () => arrived++);
  const call = async (path: string, signal?: AbortSignal) => {
    const before = arrived;
    const answer = request(`${origin}${path}`, { dispatcher, ...(signal === undefined ? {} : { signal }) });
    answer.catch(() => {});
    await until(() => arrived > before, path);
    await turns(5);
    return { answer };
  };
  return { call, inside, metrics, seen, use };
}

t.test('over sockets: 503 as of a connection pool that overflows; others wait for their turn', async (t) => {
  const { call, inside, metrics, seen } = await server(t, { maxConnections: 1, maxPendingRequests: 1 });
  await call('/1');
  const { answer: second } = await call('/2');
  const refused = await (await call('/3')).answer;
  t.equal(refused.statusCode, 503);
  t.match(refused.headers, { 'x-envoy-overloaded': 'true', 'x-inmesh-error': 'ERR_MESH_CONCURRENCY_LIMIT' });
  await refused.body.dump();
  t.same(seen, ['/1 in /1']);
  inside.get('/1')?.end();
  await until(() => seen.length === 2);
  t.same(seen, ['/1 in /1', '/2 in /2'], 'each in its own asynchronous context');
  inside.get('/2')?.end('two');
  t.equal(await (await second).body.text(), 'two');
  await until(() => metrics.snapshot().some(({ flags }) => flags['UO'] === 1));
});

t.test('a caller that does not wait any more leaves its place in the line', async (t) => {
  const { call, inside, seen } = await server(t, { maxConnections: 1, maxPendingRequests: 1 });
  await call('/1');
  const patience = new AbortController();
  const { answer: second } = await call('/2', patience.signal);
  patience.abort();
  await t.rejects(second);
  let third: Awaited<ReturnType<typeof call>>['answer'] | undefined;
  await until(() => inside.has('/1'));
  // The server hears of it a moment later.
  for (let i = 0; i < 50; i++) {
    third = (await call('/3')).answer;
    if ((await Promise.race([third, turns(5).then(() => undefined)])) === undefined) break;
  }
  inside.get('/1')?.end();
  await until(() => seen.includes('/3 in /3'));
  inside.get('/3')?.end('three');
  t.equal(await (await third)?.body.text(), 'three');
  t.notOk(seen.includes('/2 in /2'));
});

t.test('limits that come and go hold for the requests that come after', async (t) => {
  const { call, inside, use } = await server(t, { maxRequests: 1 });
  await call('/1');
  t.equal((await (await call('/2')).answer).statusCode, 503);
  use(inboundSnapshot());
  await call('/3');
  await until(() => inside.has('/3'));
});

t.test(
  'requests in a line behind others have no place before it is their turn, nor when their caller is gone',
  async (t) => {
    const inside = new Map<string, ServerResponse>();
    const inbound = await testInbound((incoming, outgoing) => void inside.set(incoming.url ?? '', outgoing), {
      policy: { pools: { ports: new Map(), others: limits({ maxConnections: 2, maxPendingRequests: 0 }) } },
    });
    t.teardown(() => inbound.acceptor.close());
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: web\r\n\r\n`;
    const open = (...paths: readonly string[]): Socket => {
      const socket = connect({ host: '127.0.0.1', port: inbound.port });
      socket.on('error', () => {});
      socket.resume().write(paths.map(get).join(''));
      return socket;
    };
    const first = open('/1', '/2', '/3');
    await until(() => inside.has('/1'));
    const other = open('/other');
    await until(() => inside.has('/other'), 'the second place is that of somebody else');
    t.notOk(inside.has('/2'));
    inside.get('/1')?.end('one');
    await until(() => inside.has('/2'), 'its turn has come');
    first.destroy();
    other.destroy();
    await until(() => inside.get('/2')?.closed === true && inside.get('/other')?.closed === true);
    const last = [open('/4'), open('/5')];
    await until(() => inside.has('/4') && inside.has('/5'), 'both places are free again');
    for (const each of last) each.destroy();
    t.notOk(inside.has('/3'));
  },
);

t.test('requests of HTTP/2 share a connection', async (t) => {
  const inside = new Map<string, ServerResponse>();
  const inbound = await testInbound((incoming, outgoing) => void inside.set(incoming.url ?? '', outgoing), {
    policy: { pools: { ports: new Map(), others: limits({ maxConnections: 1, maxRequests: 2 }) } },
  });
  t.teardown(() => inbound.acceptor.close());
  const session = connectHttp2(`http://127.0.0.1:${inbound.port}`);
  t.teardown(() => session.destroy());
  const [one, two] = [session.request({ ':path': '/1' }), session.request({ ':path': '/2' })];
  for (const each of [one, two]) each.on('error', () => {}).resume();
  await until(() => inside.size === 2);
  const [head] = (await once(session.request({ ':path': '/3' }).resume(), 'response')) as [{ ':status': number }];
  t.equal(head[':status'], 503, 'more than there may be of any version');
});
