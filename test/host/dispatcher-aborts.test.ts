import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type Dispatcher, request } from 'undici';
import { MeshError } from '../../src/errors.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import { type TestClient, testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { assertIdle, counted, type Recorded, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, refusingPort, turns, until, upstream } from '../support/upstream.ts';

interface Stage {
  readonly client: TestClient;
  readonly call: Recorded;
  /** Looks at the server afterwards. */
  readonly after?: () => Promise<void>;
}

function mesh(
  port: number,
  changes: {
    cluster?: Partial<Cluster>;
    route?: Partial<Route>;
    clock?: FakeClock;
    resolve?: (name: string) => Promise<readonly string[]>;
  } = {},
) {
  const a = cluster('a', [endpoint(port)], changes.cluster);
  return testClient(snapshot({ a: [route(a.name, changes.route)] }, [a]), {
    ...(changes.clock === undefined ? {} : { clock: changes.clock }),
    ...(changes.resolve === undefined ? {} : { resolve: changes.resolve }),
  });
}

/** Brings a call to each point at which it can be aborted. */
const stages: Readonly<Record<string, (t: Test) => Promise<Stage>>> = {
  async 'while it waits for names'() {
    let answer = (_addresses: readonly string[]): void => {};
    const resolve = () => new Promise<readonly string[]>((resolve) => (answer = resolve));
    const discovery = { kind: 'dns', endpoints: [endpoint(1, { address: 'svc' })] } as const;
    const client = mesh(1, { cluster: { discovery }, resolve });
    const call = record(client.dispatcher, {});
    await turns(3);
    return { client, call, after: async () => answer([]) };
  },
  async 'while it is queued for a connection'(t) {
    const server = await upstream(t, (incoming, outgoing) => {
      if (incoming.url === '/second') t.fail('the aborted request was sent');
      if (incoming.url === '/third') return void outgoing.end('ok');
      incoming.socket.once('go on', () => outgoing.end('ok'));
    });
    const a = cluster('a', [endpoint(server.port)]);
    const limited = { ...a, limits: { ...a.limits, maxConnections: 1 } };
    const client = testClient(snapshot({ a: [route(a.name)] }, [limited]));
    const first = record(client.dispatcher, { path: '/first' });
    const incoming = await server.arrived(1);
    const call = record(client.dispatcher, { path: '/second', method: 'POST', body: 'x' });
    await turns(3);
    return {
      client,
      call,
      after: async () => {
        incoming.socket.emit('go on');
        t.equal(await first.done, 'end', 'the other call is not disturbed');
        t.equal(await record(client.dispatcher, { path: '/third' }).done, 'end');
        t.equal(server.accepted(), 1, 'nor is the connection');
      },
    };
  },
  async 'while the connection is being made'(t) {
    const server = await rawUpstream(t, (socket) => void socket.resume());
    const client = mesh(server.port);
    return { client, call: record(client.dispatcher, {}) };
  },
  async 'before the headers come'(t) {
    const server = await upstream(t, (incoming) => void incoming.resume());
    const client = mesh(server.port);
    const call = record(client.dispatcher, {});
    await server.arrived(1);
    return { client, call, after: () => until(() => server.open() === 0, 'the request is cancelled upstream') };
  },
  async 'while the request body is on its way'(t) {
    const server = await upstream(t, () => {});
    const client = mesh(server.port);
    const { Readable } = await import('node:stream');
    const body = new Readable({ read() {} });
    body.push('part');
    const call = record(client.dispatcher, { method: 'POST', body });
    await server.arrived(1);
    return { client, call, after: () => until(() => body.destroyed, 'the body is given up') };
  },
  async 'in back-off between two tries'(t) {
    const clock = fakeClock();
    const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end('no'));
    const retry = { ...defaultRetryPolicy, retryOn: ['5xx'] as const, backoffBaseMs: 1_000 };
    const client = mesh(server.port, { clock, route: { retry } });
    const call = record(client.dispatcher, {});
    await until(() => clock.pending() === 1, 'the back-off');
    return {
      client,
      call,
      after: async () => {
        await clock.advanceAsync(10_000);
        await turns();
        t.equal(server.seen.length, 1, 'there is no second try');
      },
    };
  },
  async 'in the middle of the body'(t) {
    const server = await upstream(t, (_incoming, outgoing) => void outgoing.write('part'));
    const client = mesh(server.port);
    const call = record(client.dispatcher, {});
    await until(() => call.events.includes('data part'));
    return { client, call, after: () => until(() => server.open() === 0) };
  },
  async 'while the body is paused'(t) {
    const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('whole'));
    const client = mesh(server.port);
    const call = record(client.dispatcher, {}, { onResponseStart: (controller) => controller.pause() });
    await until(() => call.events.includes('200'));
    await turns();
    return { client, call };
  },
};

for (const [name, reach] of Object.entries(stages)) {
  for (const reason of [new Error('mine'), new MeshError('ERR_MESH_TIMEOUT', 'of another call'), undefined]) {
    t.test(
      `aborted ${name}, ${reason === undefined ? 'without a reason' : `with ${reason.name}`} (RT-08)`,
      async (t) => {
        const { after, call, client } = await reach(t);
        (call.controller.abort as (reason?: Error) => void)(reason);
        (call.controller.abort as (reason?: Error) => void)(new Error('a second time'));
        await call.done;
        t.ok(call.controller.aborted);
        if (reason === undefined) t.match(call.error, { name: 'AbortError', code: 'UND_ERR_ABORTED' });
        else t.equal(call.error, reason, 'the reason comes back as it is, never as a response');
        t.equal(call.controller.reason, call.error);
        const heard = call.events.length;
        await after?.();
        await turns(5);
        t.equal(call.events.length, heard, 'nothing after the error');
        const dc = counted(client).find((count) => count.startsWith('DC'));
        // A body that has arrived completely is counted as such.
        t.equal(dc, name === 'while the body is paused' ? undefined : 'DC x1');
        await assertIdle(t, client);
      },
    );
  }
}

t.test('aborted before it begins: nothing is sent', async (t) => {
  const server = await upstream(t);
  const client = mesh(server.port);
  for (const reason of [new Error('mine'), undefined]) {
    const call = record(
      client.dispatcher,
      {},
      {
        onRequestStart: (controller) => (controller.abort as (reason?: Error) => void)(reason),
      },
    );
    t.match(await call.done, /^error (mine|UND_ERR_ABORTED)$/);
  }
  const signal = AbortSignal.abort(new Error('signal'));
  await t.rejects(request('http://a/', { dispatcher: client.dispatcher, signal }), { message: 'signal' });
  t.equal(server.seen.length, 0);
  await assertIdle(t, client);
});

t.test('aborted after the end: nothing happens', async (t) => {
  const server = await upstream(t);
  const client = mesh(server.port);
  const call = record(client.dispatcher, {});
  await call.done;
  call.controller.abort(new Error('late'));
  call.controller.resume();
  await turns();
  t.equal(call.events.at(-1), 'end');
  await assertIdle(t, client);
});

t.test('aborted in the turn in which the response begins: told once', async (t) => {
  const server = await upstream(t);
  const client = mesh(server.port);
  const call = record(client.dispatcher, {}, { onResponseStarted: (controller) => controller.abort(new Error('now')) });
  t.equal(await call.done, 'error now');
  await turns();
  t.same(call.events, ['start', 'error now']);
  await assertIdle(t, client);
});

t.test('the body of undici.request destroyed by its reader: the call ends', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.write('part'));
  const client = mesh(server.port);
  const response = await request('http://a/', { dispatcher: client.dispatcher });
  response.body.on('error', () => {});
  response.body.destroy();
  await until(() => server.open() === 0);
  t.same(counted(client), ['200 x1', 'DC x1']);
  await assertIdle(t, client);
});

t.test('signals of many calls leave nothing behind (RT-08)', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    incoming.resume();
    if (incoming.url === '/answer') outgoing.end('ok');
  });
  const client = mesh(server.port);
  const controller = new AbortController();
  const { signal } = controller;
  const results: Promise<unknown>[] = [];
  for (let i = 0; i < 300; i++) {
    const own = new AbortController();
    const path = i % 3 === 0 ? '/answer' : '/hang';
    const call = request(`http://a${path}`, {
      dispatcher: client.dispatcher,
      signal: i % 2 === 0 ? signal : own.signal,
    });
    results.push(call.then((response) => response.body.dump()).catch(() => {}));
    if (i % 50 === 0) await nextTurn();
    if (i % 2 === 1 && path === '/hang') setImmediate(() => own.abort());
  }
  setImmediate(() => controller.abort());
  await Promise.all(results);
  await assertIdle(t, client);
  await until(() => server.open() === 0, 'every connection is closed');
});

t.test('aborted at a random time: always exactly one end, nothing leaks', async (t) => {
  const server = await upstream(t, async (incoming, outgoing) => {
    incoming.resume();
    if (incoming.url === '/503') return void outgoing.writeHead(503).end('no');
    outgoing.write('one');
    await turns(2);
    outgoing.end('two');
  });
  const refusing = await refusingPort();
  const retry = { ...defaultRetryPolicy, retryOn: ['5xx'] as const, backoffBaseMs: 1 };
  const a = cluster('a', [endpoint(server.port), endpoint(refusing)]);
  const client = testClient(snapshot({ a: [route(a.name, { retry, timeoutMs: 5_000 })] }, [a]));
  const calls: Recorded[] = [];
  for (let i = 0; i < 400; i++) {
    const call = record(client.dispatcher, { path: i % 4 === 0 ? '/503' : '/' });
    calls.push(call);
    void turns(i % 12).then(() => call.controller.abort(new Error('abort')));
    if (i % 20 === 0) await nextTurn();
  }
  await Promise.all(calls.map((call) => call.done));
  await turns(50);
  for (const { events } of calls) {
    const last = events.filter((event) => event === 'end' || event.startsWith('error'));
    if (last.length !== 1) t.fail(events.join());
  }
  await assertIdle(t, client);
});

t.test('the global fetch aborts in the same way', async (t) => {
  const server = await upstream(t, (incoming) => void incoming.resume());
  const client = mesh(server.port);
  const controller = new AbortController();
  const call = fetch('http://a/', { dispatcher: client.dispatcher, signal: controller.signal } as RequestInit & {
    dispatcher: Dispatcher;
  });
  await server.arrived(1);
  controller.abort();
  await t.rejects(call, { name: 'AbortError' });
  await until(() => server.open() === 0);
  await assertIdle(t, client);
});
