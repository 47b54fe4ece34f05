import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, type IncomingMessage, Server, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { Agent, request } from 'undici';
import type { OverloadPolicy } from '../../src/model/overload.ts';
import { Protection } from '../../src/overload/protection.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { http2Session } from '../support/http2-client.ts';
import { inboundSnapshot, testPipeline } from '../support/inbound.ts';
import { turns, until } from '../support/upstream.ts';

const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
const base: OverloadPolicy = { priority: { header: 'priority' }, exemptPaths: [] };
const concurrency = { maxRequests: 2, maxQueue: 2, queueTimeoutMs: 100, maxSharePercent: 100 };

/** A server that answers when the test says so: requests that have reached the application, by path. */
async function server(t: Test, policy: Partial<OverloadPolicy>, around?: (run: () => void, path: string) => void) {
  const clock = fakeClock();
  const { now } = clock;
  let stalled = 0;
  Object.assign(clock, { now: () => now() + stalled });
  /** Time passes, and no timer fires. */
  const stall = (ms: number): void => {
    stalled += ms;
  };
  const parts = testPipeline(inboundSnapshot({ overload: { ...base, ...policy } }), { clock, random: () => 0.5 });
  const inside = new Map<string, ServerResponse>();
  const seen: string[] = [];
  const listener = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const path = incoming.url ?? '';
    const run = (): void =>
      parts.pipeline.handle(incoming, outgoing, () => {
        seen.push(path);
        inside.set(path, outgoing);
      });
    if (around === undefined) run();
    else around(run, path);
  };
  const own = createServer(listener).listen(0, '127.0.0.1');
  await once(own, 'listening');
  const dispatcher = new Agent({ connections: 100 });
  t.teardown(async () => {
    for (const each of inside.values()) each.end();
    await dispatcher.destroy();
    own.closeAllConnections();
    own.close();
    parts.pipeline.close();
  });
  const origin = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  const call = async (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) => {
    const {
      body,
      headers: got,
      statusCode,
    } = await request(`${origin}${path}`, {
      dispatcher,
      headers,
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: statusCode, headers: got, text: await body.text() };
  };
  /** Calls, and waits until the server has it. */
  const begin = async (path: string, headers?: Record<string, string>, signal?: AbortSignal) => {
    const answer = call(path, headers, signal);
    answer.catch(() => {});
    const count = () => (parts.pipeline.overload()?.active ?? 0) + (parts.pipeline.overload()?.waiting ?? 0);
    const before = count();
    await until(() => count() > before, path);
    // In an object, since a promise would be waited for.
    return { answer };
  };
  const finish = async (path: string): Promise<void> => {
    inside.get(path)?.end('ok');
    inside.delete(path);
  };
  return { ...parts, begin, call, clock, finish, inside, seen, stall };
}

t.test('more than it may: 503 at once, marked as overload', async (t) => {
  const { begin, call, metrics, pipeline } = await server(t, { concurrency: { ...concurrency, maxQueue: 0 } });
  await begin('/1');
  await begin('/2');
  const refused = await call('/3');
  t.match(refused, {
    status: 503,
    text: 'reached concurrency limit',
    headers: { 'x-inmesh-error': 'ERR_MESH_CONCURRENCY_LIMIT', 'x-envoy-overloaded': 'true', 'retry-after': '1' },
  });
  await until(() => metrics.snapshot().length > 0);
  t.match(metrics.snapshot(), [{ statuses: { 503: 1 }, flags: { UO: 1 } }]);
  t.match(pipeline.overload(), { limit: 2, active: 2, waiting: 0, refusals: { full: 1 } });
});

t.test('who waits is let in when somebody is done', async (t) => {
  const { begin, finish, pipeline, seen } = await server(t, { concurrency });
  await begin('/1');
  await begin('/2');
  const { answer: third } = await begin('/3');
  t.same(seen, ['/1', '/2']);
  await finish('/1');
  await until(() => seen.includes('/3'));
  await finish('/3');
  t.match(await third, { status: 200, text: 'ok' });
  await finish('/2');
  await until(() => pipeline.overload()?.active === 0);
});

t.test('nobody waits longer than the queue timeout', async (t) => {
  const { begin, clock, finish, pipeline, seen } = await server(t, { concurrency });
  await begin('/1');
  await begin('/2');
  const { answer: third } = await begin('/3');
  clock.advance(99);
  await turns();
  t.equal(pipeline.overload()?.waiting, 1);
  clock.advance(1);
  t.match(await third, { status: 503, headers: { 'x-inmesh-error': 'ERR_MESH_CONCURRENCY_LIMIT' } });
  t.match(pipeline.overload(), { waiting: 0, refusals: { timeout: 1 } });
  await finish('/1');
  await turns();
  t.notOk(seen.includes('/3'));
});

t.test('a caller that goes away while it waits leaves the queue', async (t) => {
  const { begin, finish, pipeline, seen } = await server(t, { concurrency });
  await begin('/1');
  await begin('/2');
  const abort = new AbortController();
  const { answer: third } = await begin('/3', {}, abort.signal);
  abort.abort();
  await t.rejects(third);
  await until(() => pipeline.overload()?.waiting === 0);
  await finish('/1');
  await until(() => pipeline.overload()?.active === 1);
  t.notOk(seen.includes('/3'));
});

t.test('a caller that goes away while it is served gives its place back', async (t) => {
  const { begin, call, finish, inside, pipeline } = await server(t, {
    concurrency: { ...concurrency, maxRequests: 1 },
  });
  const abort = new AbortController();
  const { answer: first } = await begin('/1', {}, abort.signal);
  abort.abort();
  await t.rejects(first);
  await until(() => pipeline.overload()?.active === 0);
  const next = call('/2');
  await until(() => inside.has('/2'));
  await finish('/2');
  t.equal((await next).status, 200);
});

t.test('one that went away before it came here takes no place, over HTTP/2 as well', async (t) => {
  for (const own of [createServer(), createHttp2Server()]) {
    const parts = testPipeline(inboundSnapshot({ overload: { ...base, concurrency } }), { clock: fakeClock() });
    const arrived: { readonly request: IncomingMessage; readonly response: ServerResponse }[] = [];
    own.on('request', (incoming: IncomingMessage, response: ServerResponse) =>
      arrived.push({ request: incoming, response }),
    );
    own.listen(0, '127.0.0.1');
    await once(own, 'listening');
    const { port } = own.address() as AddressInfo;
    const session = http2Session(port);
    const stop = new AbortController();
    if (own instanceof Server) request(`http://127.0.0.1:${port}`, { signal: stop.signal }).catch(() => {});
    else session.request({ ':path': '/' }, { signal: stop.signal }).on('error', () => {});
    await until(() => arrived.length === 1);
    const [only] = arrived as [(typeof arrived)[number]];
    const gone = once(only.response, 'close');
    stop.abort();
    await gone;
    // Something of the application's own took its time, or a rate limit service did.
    await turns(3);
    parts.pipeline.handle(only.request, only.response, () => {});
    t.match(parts.pipeline.overload(), { active: 0, waiting: 0 });
    session.destroy();
    own.close();
    parts.pipeline.close();
  }
});

t.test('the share of those without identity is that of one caller', async (t) => {
  const { begin, call, pipeline } = await server(t, {
    concurrency: { ...concurrency, maxRequests: 4, maxSharePercent: 50 },
  });
  await begin('/1');
  await begin('/2');
  t.equal((await call('/3')).status, 503);
  t.match(pipeline.overload(), { active: 2, refusals: { share: 1, full: 0 } });
});

t.test('the less urgent give way in the queue', async (t) => {
  const { begin, call, finish, inside } = await server(t, {
    concurrency: { ...concurrency, maxRequests: 1, maxQueue: 1 },
  });
  await begin('/1');
  const { answer: idle } = await begin('/idle', { priority: 'u=7' });
  const normal = call('/normal');
  t.equal((await idle).status, 503, 'displaced');
  t.equal((await call('/idle', { priority: 'u=7' })).status, 503);
  await finish('/1');
  await until(() => inside.has('/normal'));
  await finish('/normal');
  t.equal((await normal).status, 200);
});

t.test('health checks are let in always, and count nowhere', async (t) => {
  const { begin, call, finish, inside, pipeline } = await server(t, {
    concurrency: { ...concurrency, maxRequests: 1, maxQueue: 0 },
    exemptPaths: [
      { kind: 'exact', value: '/healthz' },
      { kind: 'prefix', value: '/live/' },
    ],
  });
  await begin('/1');
  for (const path of ['/healthz', '/live/now?x=1']) {
    const answer = call(path);
    await until(() => inside.has(path));
    t.equal(pipeline.overload()?.active, 1);
    await finish(path);
    t.equal((await answer).status, 200);
  }
  t.equal((await call('/healthz/no')).status, 503);
});

t.test('who is not allowed in takes no place', async (t) => {
  const { call, pipeline, use } = await server(t, {});
  const deny = { action: 'DENY' as const, rules: [{ from: [], to: [] }], provenance };
  use(
    inboundSnapshot({ authorization: [deny], overload: { ...base, concurrency: { ...concurrency, maxRequests: 1 } } }),
  );
  for (let i = 0; i < 5; i++) t.equal((await call('/')).status, 403);
  t.match(pipeline.overload(), { active: 0, refusals: { full: 0 } });
});

t.test('a changed policy keeps the counts; without one everybody is let in', async (t) => {
  const { begin, call, finish, inside, pipeline, seen, use } = await server(t, { concurrency });
  await begin('/1');
  await begin('/2');
  await begin('/3');
  use(inboundSnapshot({ overload: { ...base, concurrency: { ...concurrency, maxRequests: 3, maxQueue: 0 } } }));
  t.equal((await call('/5')).status, 503);
  t.ok(seen.includes('/3'), 'the higher limit lets it in');
  t.match(pipeline.overload(), { limit: 3, active: 3 });
  use(inboundSnapshot());
  const open = call('/6');
  await until(() => inside.has('/6'));
  await finish('/6');
  t.equal((await open).status, 200);
  t.equal(pipeline.overload(), undefined);
});

t.test('removing the policy lets in who waits', async (t) => {
  const { begin, call, finish, inside, use } = await server(t, { concurrency });
  await begin('/1');
  await begin('/2');
  const { answer: waiting } = await begin('/3');
  use(inboundSnapshot());
  const other = call('/4');
  await until(() => inside.has('/3') && inside.has('/4'));
  await finish('/3');
  await finish('/4');
  t.same([(await waiting).status, (await other).status], [200, 200]);
});

t.test('what an application keeps for a request stays that of the request that waited', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const parts = await server(t, { concurrency: { ...concurrency, maxRequests: 1 } }, (run, path) =>
    storage.run(path, run),
  );
  const end = parts.finish;
  await parts.begin('/1');
  await parts.begin('/2');
  parts.seen.push = (path) => {
    seen.push(`${path} ${storage.getStore()}`);
    return 0;
  };
  await end('/1');
  await until(() => parts.inside.has('/2'));
  t.same(seen, ['/2 /2']);
});

t.test('adaptive: the first requests are measured, the limit follows', async (t) => {
  const adaptive = {
    samplePercentile: 50,
    updateIntervalMs: 100,
    maxLimit: 1_000,
    minRttIntervalMs: 60_000,
    minRttRequests: 5,
    jitterPercent: 0,
    minConcurrency: 1,
    bufferPercent: 25,
  };
  const { begin, call, clock, finish, pipeline } = await server(t, { adaptive });
  const serve = async (latencyMs: number): Promise<void> => {
    const { answer } = await begin('/');
    clock.advance(latencyMs);
    await finish('/');
    t.equal((await answer).status, 200);
    await until(() => pipeline.overload()?.active === 0);
  };
  const { answer: held } = await begin('/held');
  t.equal((await call('/2')).status, 503, 'one at a time while it is measured');
  clock.advance(10);
  await finish('/held');
  await held;
  await until(() => pipeline.overload()?.active === 0);
  for (let i = 0; i < 4; i++) await serve(10);
  t.match(pipeline.overload()?.adaptive, { measuring: false });
  for (let i = 0; i < 10; i++) {
    await serve(10);
    clock.advance(100);
  }
  const limit = pipeline.overload()?.limit ?? 0;
  t.ok(limit >= 5, `${limit}`);
  for (let i = 0; i < 10; i++) {
    await serve(1_000);
    clock.advance(100);
  }
  t.ok((pipeline.overload()?.limit ?? 0) < limit);
});

t.test('the event loop: a late timer turns requests away, the least urgent first', async (t) => {
  const eventLoop = { maxDelayMs: 100, resumeDelayMs: 50, maxShedPercent: 95 };
  const { call, clock, finish, inside, metrics, pipeline, stall } = await server(t, { eventLoop });
  const serve = async (priority: string): Promise<number> => {
    const answer = call(`/${priority}`, { priority });
    void answer.catch(() => {});
    let status = 0;
    void answer.then((each) => (status = each.status));
    await until(() => status !== 0 || inside.has(`/${priority}`));
    await finish(`/${priority}`);
    return (await answer).status;
  };
  const all: number[] = [await serve('u=7')];
  t.same(all, [200]);
  for (let i = 0; i < 4; i++) {
    all.push(await serve('u=7'));
    stall(1_100);
    clock.advance(100);
  }
  t.match(pipeline.overload()?.eventLoop, { delayMs: 1_100, share: 0.95 });
  t.equal(await serve('u=1'), 200, 'a stranger cannot be more urgent than others, but is not less');
  const statuses = [await serve('u=7'), await serve('u=7')];
  t.same(statuses, [503, 503]);
  const refused = [...all, ...statuses].filter((status) => status === 503).length;
  t.match(metrics.snapshot()[0]?.flags, { OM: refused });
  t.equal(pipeline.overload()?.refusals['event-loop'], refused);
  for (let i = 0; i < 30; i++) clock.advance(100);
  t.equal(await serve('u=7'), 200);
});

t.test('the event loop is looked at outside of the request that came first', async (t) => {
  const requests = new AsyncLocalStorage<string>();
  const clock = fakeClock();
  const armed: (string | undefined)[] = [];
  const watched = {
    ...clock,
    after: (ms: number, action: () => void) => {
      armed.push(requests.getStore());
      return clock.after(ms, action);
    },
  };
  const eventLoop = { maxDelayMs: 100, resumeDelayMs: 50, maxShedPercent: 95 };
  const protection = requests.run('the first', () => new Protection({ ...base, eventLoop }, watched, () => 0.5));
  t.same(armed, [undefined]);
  protection.close();
  t.equal(clock.pending(), 0);
});

t.test('closing leaves no timer', async (t) => {
  const eventLoop = { maxDelayMs: 100, resumeDelayMs: 50, maxShedPercent: 95 };
  const { begin, clock, finish, pipeline } = await server(t, { eventLoop, concurrency });
  const before = clock.pending();
  await begin('/1');
  t.ok(clock.pending() > before);
  await finish('/1');
  pipeline.close();
  t.ok(clock.pending() <= 1, 'at most the shared one of queue timeouts');
});
