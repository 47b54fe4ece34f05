import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { request, upgrade } from 'undici';
import { createFetch } from '../../src/host/fetch.ts';
import { maxCopiedBody } from '../../src/mirror/body.ts';
import { maxBytesInFlight, maxCopiesInFlight, maxFailuresInRow } from '../../src/mirror/lane.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, refusingPort, turns, type Upstream, until, upstream } from '../support/upstream.ts';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
/** A server that keeps what it gets, and answers with its name and status. */
async function keeping(t: Test, name: string, status = 200) {
  const seen: Seen[] = [];
  const server = await upstream(t, async (incoming, outgoing) => {
    const body = await text(incoming);
    seen.push({ method: incoming.method ?? '', url: incoming.url ?? '', headers: incoming.headers, body });
    outgoing.writeHead(status).end(name);
  });
  return { ...server, kept: seen };
}

interface Setup {
  readonly route?: Partial<Route>;
  readonly shadow?: Partial<Cluster>;
  readonly random?: () => number;
}
/** A client whose host `a` is mirrored to `shadow`, whole if nothing else is said. */
function meshOf(port: number, shadowPort: number, setup: Setup = {}) {
  const clock = fakeClock();
  const a = cluster('a', [endpoint(port)]);
  const shadow = cluster('shadow', [endpoint(shadowPort)], setup.shadow);
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0 };
  const to = route(a.name, { retry, mirrors: [{ cluster: shadow.name, percent: 100 }], ...setup.route });
  const random = setup.random === undefined ? {} : { random: setup.random };
  return { clock, client: testClient(snapshot({ a: [to] }, [a, shadow]), { clock, ...random }) };
}
/** What was counted for a service: `200 x1`, `UO x2`. */
const countedOf = (client: ReturnType<typeof testClient>, service: string): string[] =>
  client.metrics
    .snapshot()
    .filter(({ labels }) => labels.destinationService === service)
    .flatMap(({ statuses, flags }) => [...Object.entries(statuses), ...Object.entries(flags)])
    .map(([name, count]) => `${name} x${count}`)
    .sort();
const get = async (client: ReturnType<typeof testClient>, options: object = {}): Promise<string> => {
  const { body, statusCode } = await request('http://a/', { dispatcher: client.dispatcher, ...options });
  return `${statusCode} ${await body.text()}`;
};

t.test('a copy has method, path, headers and body of the call, and the host of a shadow', async (t) => {
  const [primary, shadow] = [await keeping(t, 'primary'), await keeping(t, 'shadow')];
  const rewrite = { pathPrefix: '/new', authority: 'b.example:81' };
  const { client } = meshOf(primary.port, shadow.port, { route: { rewrite, timeoutMs: 4_000 } });
  const scope = { requestId: 'r1', traceHeaders: ['traceparent', '00-1'] };
  const response = await runInScope(scope, () =>
    request('http://a/x?y=1', {
      dispatcher: client.dispatcher,
      method: 'PUT',
      headers: { 'x-own': ['1', '2'], 'content-type': 'text/plain' },
      body: 'two apples',
    }),
  );
  t.equal(await response.body.text(), 'primary');
  await until(() => shadow.kept.length === 1);
  const [sent] = primary.kept;
  const [copy] = shadow.kept;
  t.equal(sent?.headers.host, 'b.example:81');
  t.equal(copy?.headers.host, 'b.example-shadow:81');
  t.match(copy, { method: 'PUT', url: '/newx?y=1', body: 'two apples' });
  t.same({ ...copy?.headers, host: '' }, { ...sent?.headers, host: '' }, 'all other headers are the same');
  t.match(copy?.headers, {
    'x-request-id': 'r1',
    'x-envoy-attempt-count': '1',
    'x-envoy-expected-rq-timeout-ms': '4000',
  });
  await until(() => countedOf(client, 'shadow').includes('200 x1'), 'it counts for the mirror');
  t.same(countedOf(client, 'a'), ['200 x1']);
  await assertIdle(t, client);
});

t.test('the host of a copy is that of the URL, or of the application', async (t) => {
  const [primary, shadow] = [await keeping(t, 'primary'), await keeping(t, 'shadow')];
  const { client } = meshOf(primary.port, shadow.port);
  await get(client);
  await get(client, { headers: { Host: 'mine' } });
  await get(client);
  await until(() => shadow.kept.length === 3);
  t.same(shadow.kept.map(({ headers }) => headers.host).sort(), ['a-shadow', 'a-shadow', 'mine-shadow']);
  t.same(
    primary.kept.map(({ headers }) => headers.host),
    ['a', 'mine', 'a'],
  );
  t.equal(shadow.kept[0]?.headers['x-envoy-expected-rq-timeout-ms'], '15000', 'a copy has a time of its own');
  await assertIdle(t, client);
});

t.test('bodies of every kind are copied', async (t) => {
  const [primary, shadow] = [await keeping(t, 'primary'), await keeping(t, 'shadow')];
  const { client } = meshOf(primary.port, shadow.port);
  const reused = Buffer.from('aaaa');
  const bodies: Readonly<Record<string, () => unknown>> = {
    text: () => 'text',
    buffer: () => Buffer.from('buffer'),
    bytes: () => new Uint8Array([49, 50]),
    blob: () => new Blob(['blob']),
    stream: () => Readable.from(['a ', 'stream']),
    'web stream': () => new Blob(['web stream']).stream(),
    generator: () =>
      (async function* () {
        yield 'gene';
        yield Buffer.from('rator');
      })(),
    'memory that is used again': () =>
      (async function* () {
        yield reused;
        await turns(3);
        reused.fill('b');
        yield reused;
      })(),
    'empty stream': () => Readable.from([]),
  };
  let count = 0;
  for (const [name, make] of Object.entries(bodies)) {
    t.equal(await get(client, { method: 'POST', body: make() }), '200 primary', name);
    count++;
    await until(() => shadow.kept.length === count, name);
    t.equal(shadow.kept.at(-1)?.body, primary.kept.at(-1)?.body, name);
    t.equal(shadow.kept.at(-1)?.headers['content-length'], String(shadow.kept.at(-1)?.body.length), name);
  }
  t.equal(primary.kept.find(({ body }) => body.startsWith('a'))?.body, 'a stream');
  const fetched = await createFetch(client.dispatcher)('http://a/', { method: 'POST', body: 'fetched' });
  t.equal(await fetched.text(), 'primary');
  await until(() => shadow.kept.length === count + 1);
  t.equal(shadow.kept.at(-1)?.body, 'fetched');
  await assertIdle(t, client);
});

t.test('a stream that is too long goes to the call alone', async (t) => {
  const [primary, shadow] = [await keeping(t, 'primary'), await keeping(t, 'shadow')];
  const { client } = meshOf(primary.port, shadow.port);
  const just = Readable.from([Buffer.alloc(maxCopiedBody - 1, 'x'), 'y']);
  t.equal(await get(client, { method: 'POST', body: just }), '200 primary');
  await until(() => shadow.kept.length === 1);
  t.equal(shadow.kept[0]?.body.length, maxCopiedBody, 'the limit itself is not too long');
  const long = Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(50_000, 'x')));
  t.equal(await get(client, { method: 'POST', body: long }), '200 primary');
  t.equal(primary.kept[1]?.body.length, 2_000_000);
  await turns();
  t.equal(shadow.seen.length, 1);
  t.same(countedOf(client, 'shadow'), ['0 x1', '200 x1', 'UO x1'], 'and is counted');
  const text = 'x'.repeat(2_000_000);
  t.equal(await get(client, { method: 'POST', body: text }), '200 primary');
  await until(() => shadow.kept.length === 2, 'what is in memory costs nothing to share');
  t.equal(shadow.kept[1]?.body.length, 2_000_000);
  await assertIdle(t, client);
});

t.test('a body that fails is not copied', async (t) => {
  const [primary, shadow] = [await upstream(t, (incoming) => void incoming.resume()), await keeping(t, 'shadow')];
  const { client } = meshOf(primary.port, shadow.port);
  const failing = async function* () {
    yield 'the first part';
    await turns(3);
    throw new Error('no second part');
  };
  await t.rejects(get(client, { method: 'POST', body: failing() }), { message: 'no second part' });
  await turns();
  t.equal(shadow.seen.length, 0);
  t.same(countedOf(client, 'shadow'), []);
  await assertIdle(t, client);
});

t.test('each mirror draws for itself', async (t) => {
  const primary = await keeping(t, 'primary');
  const shadows = [await keeping(t, '1'), await keeping(t, '2')];
  const clock = fakeClock();
  const a = cluster('a', [endpoint(primary.port)]);
  const [first, second] = shadows.map(({ port }, i) => cluster(`s${i}`, [endpoint(port)])) as [Cluster, Cluster];
  const mirrors = [
    { cluster: first.name, percent: 25 },
    { cluster: second.name, percent: 50 },
    { cluster: 'outbound|80||never', percent: 0 },
  ];
  const client = testClient(snapshot({ a: [route(a.name, { mirrors })] }, [a, first, second]), { clock });
  for (let i = 0; i < 400; i++) await get(client, { path: `/${i}` });
  await turns();
  const [one, two] = shadows.map(({ kept }) => new Set(kept.map(({ url }) => url))) as [Set<string>, Set<string>];
  t.ok(one.size > 60 && one.size < 140, `25 %: ${one.size}`);
  t.ok(two.size > 150 && two.size < 250, `50 %: ${two.size}`);
  const both = [...one].filter((url) => two.has(url)).length;
  t.ok(both > 20 && both < 90, `both: ${both}`);
  await assertIdle(t, client);
});

/** Ten calls, and what they got; the mirror does what it wants. */
const unimpressed = async (t: Test, primary: Upstream, shadowPort: number): Promise<void> => {
  const { client, clock } = meshOf(primary.port, shadowPort);
  for (let i = 0; i < 10; i++) {
    t.equal(await get(client), '200 ok');
    t.equal(await get(client, { method: 'POST', body: Readable.from(['a', 'b']) }), '200 ok');
  }
  t.same(countedOf(client, 'a'), ['200 x20']);
  await until(() => {
    clock.advance(1_000);
    return [...client.active().values()].every((count) => count === 0);
  }, 'all copies end');
  t.equal(
    client.metrics
      .snapshot()
      .filter(({ labels }) => labels.destinationService === 'shadow')
      .reduce((sum, { requests }) => sum + requests, 0),
    20,
    'each is counted',
  );
  await assertIdle(t, client);
};

t.test('whatever a mirror does, calls end as they would without it', async (t) => {
  const primary = await upstream(t);
  const hanging = await upstream(t, () => {});
  const silent = await rawUpstream(t, () => {});
  const resetting = await rawUpstream(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const garbage = await rawUpstream(t, (socket) => void socket.once('data', () => socket.end('not HTTP\r\n\r\n')));
  const failing = await upstream(t, (_in, outgoing) => void outgoing.writeHead(500).end('no'));
  const halfway = await upstream(t, (_in, outgoing) => {
    outgoing.writeHead(200, { 'content-length': '100' }).write('half');
    setImmediate(() => outgoing.destroy());
  });
  const early = await rawUpstream(t, (socket) => {
    socket.once('data', () => {
      for (let i = 0; i < 1_000; i++) socket.write('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n');
    });
  });
  const ports = {
    hangs: hanging.port,
    'is silent': silent.port,
    resets: resetting.port,
    'speaks garbage': garbage.port,
    fails: failing.port,
    'stops halfway': halfway.port,
    'sends early hints without end': early.port,
    'is not there': await refusingPort(),
  };
  for (const [name, port] of Object.entries(ports)) await t.test(name, (t) => unimpressed(t, primary, port));
});

t.test('a flood is cut off', async (t) => {
  const primary = await upstream(t);
  const written: number[] = [];
  const flooding: RequestListener = (incoming, outgoing) => {
    incoming.resume();
    const index = written.push(0) - 1;
    const chunk = Buffer.alloc(65_536);
    const pour = (): void => {
      while (!outgoing.destroyed && outgoing.write(chunk)) written[index] = (written[index] ?? 0) + chunk.length;
    };
    outgoing.on('drain', pour);
    outgoing.on('error', () => {});
    pour();
  };
  const announced: RequestListener = (incoming, outgoing) => {
    outgoing.writeHead(200, { 'content-length': '1000000000000' });
    flooding(incoming, outgoing);
  };
  for (const listener of [flooding, announced]) {
    const shadow = await upstream(t, listener);
    const { client } = meshOf(primary.port, shadow.port);
    for (let i = 0; i < 5; i++) t.equal(await get(client), '200 ok');
    await until(() => shadow.seen.length === 5 && shadow.open() === 0, 'the connections are closed');
    t.same(countedOf(client, 'shadow'), ['200 x5', 'DC x5']);
    await assertIdle(t, client);
  }
  t.ok(Math.max(...written) < 20_000_000, `bounded by what fits into sockets: ${Math.max(...written)}`);
});

t.test('a mirror that hangs holds a bounded number of copies, for a bounded time', async (t) => {
  const primary = await upstream(t);
  const shadow = await upstream(t, () => {});
  const { client, clock } = meshOf(primary.port, shadow.port);
  const calls = maxCopiesInFlight + 30;
  for (let i = 0; i < calls; i++) t.equal(await get(client), '200 ok');
  await until(() => shadow.seen.length === maxCopiesInFlight);
  await turns();
  t.equal(shadow.seen.length, maxCopiesInFlight);
  t.same(countedOf(client, 'shadow'), ['0 x30', 'UO x30'], 'the others were dropped');
  clock.advance(14_999);
  await turns();
  t.equal(shadow.open(), maxCopiesInFlight);
  clock.advance(1);
  await until(() => shadow.open() === 0, 'their time is up');
  t.same(countedOf(client, 'shadow'), ['0 x30', `504 x${maxCopiesInFlight}`, 'UO x30', `UT x${maxCopiesInFlight}`]);
  await get(client);
  await turns();
  t.equal(shadow.seen.length, maxCopiesInFlight, 'it is left alone for a while');
  clock.advance(5_000);
  await get(client);
  await until(() => shadow.seen.length === maxCopiesInFlight + 1, 'there is room again');
  t.same(countedOf(client, 'a'), [`200 x${calls + 2}`]);
  await assertIdle(t, client);
});

t.test('a mirror that fails every copy gets one now and then, and all again once it answers', async (t) => {
  const primary = await upstream(t);
  let broken = true;
  let asked = 0;
  const shadow = await upstream(t, ({ socket }, outgoing) => {
    asked++;
    if (broken) socket.destroy();
    else outgoing.end('ok');
  });
  const { client, clock } = meshOf(primary.port, shadow.port);
  const ends = (): number =>
    countedOf(client, 'shadow').reduce((sum, text) => sum + Number(/^\d+ x(\d+)/.exec(text)?.[1] ?? 0), 0);
  let calls = 0;
  const call = async (): Promise<void> => {
    await get(client);
    calls++;
    await until(() => ends() === calls, 'the copy has ended, or was dropped');
  };
  for (let i = 0; i < maxFailuresInRow; i++) await call();
  t.equal(asked, maxFailuresInRow);
  for (const pauseMs of [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_000, 5_000]) {
    const before = asked;
    await call();
    clock.advance(pauseMs - 1);
    await call();
    t.equal(asked, before, `nothing for ${pauseMs} ms`);
    clock.advance(1);
    await call();
    t.equal(asked, before + 1);
  }
  broken = false;
  clock.advance(5_000);
  const before = asked;
  for (let i = 0; i < 5; i++) await call();
  t.equal(asked, before + 5);
  t.same(countedOf(client, 'a'), [`200 x${calls}`]);
  await assertIdle(t, client);
});

t.test('large bodies that a mirror holds are bounded, too', async (t) => {
  const primary = await upstream(t, (incoming, outgoing) => incoming.resume().on('end', () => outgoing.end('ok')));
  const shadow = await upstream(t, (incoming) => void incoming.resume());
  const { client, clock } = meshOf(primary.port, shadow.port);
  const post = (body: unknown): Promise<string> => get(client, { method: 'POST', body });
  const third = Buffer.alloc(Math.floor(maxBytesInFlight / 3));
  for (let i = 0; i < 3; i++) t.equal(await post(third), '200 ok');
  t.equal(await post('a little'), '200 ok');
  t.same(countedOf(client, 'shadow'), ['0 x1', 'UO x1'], 'the fourth was too much');
  t.equal(await get(client), '200 ok');
  await until(() => shadow.seen.length === 4, 'and no body at all is never too much');
  clock.advance(15_000);
  await until(() => shadow.open() === 0);
  t.equal(await post(Buffer.alloc(maxBytesInFlight + 1)), '200 ok');
  t.equal(await post('a little'), '200 ok');
  await until(() => shadow.seen.length === 5, 'alone, a larger one goes');
  t.equal(await get(client), '200 ok');
  await until(() => shadow.seen.length === 6, 'and what has no body goes with it');
  t.same(countedOf(client, 'shadow'), ['0 x2', '504 x4', 'UO x2', 'UT x4']);
  await assertIdle(t, client);
});

t.test('a body that comes slowly holds a place', async (t) => {
  const primary = await keeping(t, 'ok');
  const shadow = await keeping(t, 'shadow');
  const { client } = meshOf(primary.port, shadow.port);
  const gate = Promise.withResolvers<void>();
  const slow = async function* () {
    yield 'first ';
    await gate.promise;
    yield 'second';
  };
  const uploads = Array.from({ length: maxCopiesInFlight }, () => get(client, { method: 'POST', body: slow() }));
  await until(() => primary.seen.length === maxCopiesInFlight);
  t.equal(await get(client), '200 ok');
  t.same(countedOf(client, 'shadow'), ['0 x1', 'UO x1']);
  gate.resolve();
  t.same([...new Set(await Promise.all(uploads))], ['200 ok']);
  await until(() => shadow.kept.length === maxCopiesInFlight);
  t.same([...new Set(shadow.kept.map(({ body }) => body))], ['first second']);
  await assertIdle(t, client);
});

t.test('an answer ahead of the end of the body ends the copy of the body too', async (t) => {
  const primary = await upstream(t, (_incoming, outgoing) => void outgoing.end('enough'));
  const shadow = await keeping(t, 'shadow');
  const { client } = meshOf(primary.port, shadow.port);
  const gate = Promise.withResolvers<void>();
  const endless = async function* () {
    yield 'first';
    await gate.promise;
  };
  for (let i = 0; i <= maxCopiesInFlight; i++) {
    t.equal(await get(client, { method: 'POST', body: endless() }), '200 enough');
  }
  t.same(countedOf(client, 'shadow'), [], 'no place is held, so none was missing');
  t.equal(shadow.seen.length, 0);
  gate.resolve();
  await assertIdle(t, client);
});

t.test('a copy is sent once, however often its call is tried', async (t) => {
  let answers = 0;
  const primary = await upstream(t, (_in, outgoing) => void outgoing.writeHead(++answers < 3 ? 503 : 200).end('ok'));
  const shadow = await keeping(t, 'shadow', 503);
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0, retryOn: ['5xx'], attempts: 3 } as const;
  const { client, clock } = meshOf(primary.port, shadow.port, { route: { retry } });
  const call = record(client.dispatcher, {});
  await until(() => {
    clock.advance(0);
    return call.events.includes('end');
  });
  t.equal(primary.seen.length, 3);
  await until(() => shadow.kept.length > 0);
  await turns();
  t.equal(shadow.kept.length, 1, 'a failed copy is not tried again either');
  await assertIdle(t, client);
});

t.test('failures of a mirror eject its own endpoints, and no others', async (t) => {
  const primary = await upstream(t);
  const shadow = await keeping(t, 'shadow', 503);
  const outlier = {
    consecutive5xx: 2,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  const { client } = meshOf(primary.port, shadow.port, { shadow: { outlier } });
  for (let i = 1; i <= 2; i++) {
    await get(client);
    await until(() => countedOf(client, 'shadow').includes(`503 x${i}`));
  }
  t.same(client.health, [`127.0.0.1:${shadow.port} out`]);
  t.equal(await get(client), '200 ok');
  await until(() => countedOf(client, 'shadow').includes('UH x1'), 'without endpoints there is nowhere to send it');
  t.same(countedOf(client, 'a'), ['200 x3']);
  await assertIdle(t, client);
});

t.test('a mirror that does not exist, or has no address of its own, is counted and nothing else', async (t) => {
  const primary = await upstream(t);
  const { client } = meshOf(primary.port, 1, { shadow: { discovery: { kind: 'original' } } });
  t.equal(await get(client), '200 ok');
  await turns();
  t.same(countedOf(client, 'shadow'), ['503 x1', 'NC x1']);
  await assertIdle(t, client);
  const gone = { mirrors: [{ cluster: 'outbound|80||gone', percent: 100 }] };
  const without = meshOf(primary.port, 1, { route: gone });
  t.equal(await get(without.client), '200 ok');
  await turns();
  t.same(countedOf(without.client, 'gone'), ['503 x1', 'NC x1']);
  t.equal(primary.seen.length, 2);
  await assertIdle(t, without.client);
});

t.test('connections are not mirrored', async (t) => {
  const primary = await rawUpstream(t, (socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n'),
    );
  });
  const shadow = await upstream(t);
  const { client } = meshOf(primary.port, shadow.port);
  const { socket } = await upgrade('http://a/', { protocol: 'echo', dispatcher: client.dispatcher });
  await turns();
  t.equal(shadow.seen.length, 0);
  socket.destroy();
  await once(socket, 'close');
  await assertIdle(t, client);
});

t.test('what a fault aborts is not copied; what it delays is copied after the delay', async (t) => {
  const [primary, shadow] = [await upstream(t), await keeping(t, 'shadow')];
  const aborted = meshOf(primary.port, shadow.port, {
    route: { fault: { level: 'call', abort: { status: 418, percent: 100 } } },
  });
  t.equal(await get(aborted.client), '418 fault filter abort');
  await turns();
  t.equal(shadow.seen.length, 0);
  await assertIdle(t, aborted.client);
  const delayed = meshOf(primary.port, shadow.port, {
    route: { fault: { level: 'call', delay: { delayMs: 100, percent: 100 } } },
  });
  const call = record(delayed.client.dispatcher, {});
  await delayed.clock.advanceAsync(99);
  await turns();
  t.equal(shadow.seen.length, 0);
  await delayed.clock.advanceAsync(1);
  t.equal(await call.done, 'end');
  await until(() => shadow.kept.length === 1);
  await assertIdle(t, delayed.client);
});

t.test('a call that the application gives up leaves its copy alone', async (t) => {
  const primary = await upstream(t, () => {});
  const gate = Promise.withResolvers<void>();
  const shadow = await upstream(t, async (_in, outgoing) => {
    await gate.promise;
    outgoing.end('late');
  });
  const { client } = meshOf(primary.port, shadow.port);
  const call = record(client.dispatcher, {});
  await shadow.arrived(1);
  call.controller.abort(new Error('enough'));
  t.equal(await call.done, 'error enough');
  gate.resolve();
  await until(() => countedOf(client, 'shadow').includes('200 x1'));
  await assertIdle(t, client);
});

t.test('closing does not wait for copies', async (t) => {
  const primary = await upstream(t);
  const shadow = await upstream(t, () => {});
  const { client } = meshOf(primary.port, shadow.port);
  t.equal(await get(client), '200 ok');
  await shadow.arrived(1);
  await assertIdle(t, client);
  await until(() => shadow.open() === 0);
  t.same(countedOf(client, 'shadow'), ['0 x1', 'DC x1']);
});
