import type { RequestListener } from 'node:http';
import t from 'tap';
import { request } from 'undici';
import { defaultConnectionLimits, type Endpoint } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type RetryPolicy, type Route } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { advanceUntil, rawUpstream, refusingPort, turns, type Upstream, until, upstream } from '../support/upstream.ts';

interface Setup {
  readonly retry?: Partial<RetryPolicy>;
  readonly route?: Partial<Route>;
  readonly limits?: Partial<typeof defaultConnectionLimits>;
  readonly clock?: FakeClock;
}
/** A client whose host `a` has these endpoints, taken in turn, and retries without waiting. */
function meshOf(endpoints: readonly (number | Endpoint)[], setup: Setup = {}) {
  const all = endpoints.map((each) => (typeof each === 'number' ? endpoint(each) : each));
  const limits = { ...defaultConnectionLimits, ...setup.limits };
  const a = cluster('a', all, { balance: 'ROUND_ROBIN', limits });
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0, ...setup.retry };
  const options = setup.clock === undefined ? {} : { clock: setup.clock };
  return testClient(snapshot({ a: [route(a.name, { retry, ...setup.route })] }, [a]), options);
}
const status =
  (code: number, headers: Record<string, string> = {}): RequestListener =>
  (_incoming, outgoing) =>
    void outgoing.writeHead(code, headers).end(`status ${code}`);
const attempts = ({ requests }: Upstream): (string | string[] | undefined)[] =>
  requests.map(({ headers }) => headers['x-envoy-attempt-count']);

t.test('connection refused: another endpoint at once, for any method (EP-01)', async (t) => {
  const server = await upstream(t);
  const client = meshOf([await refusingPort(), await refusingPort(), server.port]);
  for (const method of ['GET', 'POST', 'DELETE'] as const) {
    for (let i = 0; i < 3; i++) {
      const response = await request('http://a/', { dispatcher: client.dispatcher, method });
      t.equal(response.statusCode, 200);
      await response.body.dump();
    }
  }
  t.equal(server.seen.length, 9);
  t.same(counted(client), ['200 x9']);
  await assertIdle(t, client);
});

t.test(
  'what no server has seen is sent to the next endpoint at once, and only then after a pause (EP-01)',
  async (t) => {
    const clock = fakeClock();
    const server = await upstream(t);
    const retry = { backoffBaseMs: 25 };
    const one = meshOf([await refusingPort(), server.port], { clock, retry });
    for (let i = 0; i < 4; i++) t.equal(await record(one.dispatcher, { method: 'POST' }).done, 'end');
    t.equal(server.seen.length, 4, 'while the clock stands still');
    await assertIdle(t, one);

    const two = meshOf([await refusingPort(), await refusingPort(), server.port], { clock, retry });
    const call = record(two.dispatcher, {});
    await until(() => clock.pending() > 0);
    await turns(50);
    t.equal(server.seen.length, 4, 'the second pause is there');
    await advanceUntil(clock, 5, () => server.seen.length === 5);
    t.equal(await call.done, 'end');
    await assertIdle(t, two);
  },
);

t.test('every retry goes to an endpoint that has not failed this call yet (POL-03)', async (t) => {
  const servers = await Promise.all([1, 2, 3, 4].map(() => upstream(t, status(503))));
  const client = meshOf(
    servers.map(({ port }) => port),
    { retry: { retryOn: ['5xx'], attempts: 3 } },
  );
  for (let i = 1; i <= 5; i++) {
    const call = record(client.dispatcher, {});
    await call.done;
    t.same(
      servers.map(({ seen }) => seen.length),
      [i, i, i, i],
    );
  }
  await assertIdle(t, client);
});

t.test('the tries are counted for the server, and there are no more than the policy has', async (t) => {
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], { retry: { retryOn: ['gateway-error'], attempts: 4 } });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  t.equal(call.text, 'status 503', 'the last answer is that of the server');
  t.same(attempts(server), ['1', '2', '3', '4', '5']);
  t.same(counted(client), ['503 x1', 'URX x1'], 'one call, however many tries');
  await assertIdle(t, client);
});

t.test('the same connection serves the retry when what was given up is short', async (t) => {
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], { retry: { retryOn: ['5xx'], attempts: 5 } });
  await record(client.dispatcher, {}).done;
  t.equal(server.seen.length, 6);
  t.equal(server.accepted(), 1);
  await assertIdle(t, client);
});

t.test('a response given up that is long, or does not end, is cut off', async (t) => {
  let count = 0;
  const server = await upstream(t, (incoming, outgoing) => {
    count++;
    if (count === 3) outgoing.end('good');
    else if (incoming.url === '/long') outgoing.writeHead(503, { 'content-length': '1000000' }).write('part');
    else if (incoming.url === '/chunked') outgoing.writeHead(503).write('part');
    else outgoing.writeHead(503, { 'content-length': '100' }).write('part');
  });
  for (const path of ['/long', '/chunked', '/stalled']) {
    count = 0;
    const client = meshOf([server.port], { retry: { retryOn: ['5xx'] } });
    const call = record(client.dispatcher, { path });
    t.equal(await call.done, 'end');
    t.equal(call.text, 'good');
    await until(() => server.open() === 1, `${path}: only the connection that answered is left`);
    await assertIdle(t, client);
    await until(() => server.open() === 0);
  }
});

t.test('a status that the policy does not name is final', async (t) => {
  for (const [retryOn, code] of [
    [['connect-failure'], 503],
    [['5xx'], 404],
    [['gateway-error'], 500],
    [['retriable-4xx'], 404],
  ] as const) {
    const server = await upstream(t, status(code));
    const client = meshOf([server.port], { retry: { retryOn } });
    t.equal((await request('http://a/', { dispatcher: client.dispatcher })).statusCode, code);
    t.equal(server.seen.length, 1);
    t.same(counted(client), [`${code} x1`]);
    await assertIdle(t, client);
  }
});

t.test('a status below 400 may be retried if it is named', async (t) => {
  const server = await upstream(t, status(202));
  const client = meshOf([server.port], { retry: { retryOn: ['retriable-status-codes'], retriableStatusCodes: [202] } });
  await record(client.dispatcher, {}).done;
  t.equal(server.seen.length, 3);
  await assertIdle(t, client);
});

t.test('gRPC: the status in the headers counts, one in the trailers comes too late', async (t) => {
  const early = await upstream(t, status(200, { 'grpc-status': '14' }));
  const late = await upstream(t, (_incoming, outgoing) => {
    outgoing.writeHead(200, { trailer: 'grpc-status' }).write('message');
    outgoing.addTrailers({ 'grpc-status': '14' });
    outgoing.end();
  });
  for (const [server, tries] of [
    [early, 3],
    [late, 1],
  ] as const) {
    const client = meshOf([server.port]);
    await record(client.dispatcher, {}).done;
    t.equal(server.seen.length, tries);
    await assertIdle(t, client);
  }
});

t.test('"slow down" is final (EP-21)', async (t) => {
  const server = await upstream(t, status(503, { 'x-envoy-ratelimited': 'true' }));
  const client = meshOf([server.port], { retry: { retryOn: ['5xx', 'gateway-error'] } });
  await record(client.dispatcher, {}).done;
  t.equal(server.seen.length, 1);
  await assertIdle(t, client);
});

t.test('no policy, or no attempts: one try', async (t) => {
  const server = await upstream(t, status(503));
  const a = cluster('a', [endpoint(server.port)]);
  const none = { name: 'default', matches: [], destinations: [{ cluster: a.name, weight: 1 }] };
  const client = testClient(snapshot({ a: [none] }, [a]));
  await record(client.dispatcher, {}).done;
  t.same(attempts(server), [undefined]);
  await assertIdle(t, client);
  const zero = meshOf([server.port], { retry: { attempts: 0, retryOn: ['5xx'] } });
  await record(zero.dispatcher, {}).done;
  t.equal(server.seen.length, 2);
  await assertIdle(t, zero);
});

t.test('back-off: longer before each retry, with full jitter', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], { clock, retry: { retryOn: ['5xx'], attempts: 3, backoffBaseMs: 1_000 } });
  const started = clock.now();
  const at: number[] = [];
  const call = record(client.dispatcher, {});
  let seen = 0;
  await advanceUntil(clock, 1, () => {
    if (server.seen.length > seen) at.push(clock.now() - started);
    seen = server.seen.length;
    return call.events.includes('end');
  });
  t.equal(at.length, 4);
  const waits = at.slice(1).map((time, i) => time - (at[i] as number));
  // the turns that a request takes pass a millisecond each
  const ceilings = [1_000, 3_000, 7_000].map((ceiling) => ceiling + 100);
  for (const [i, wait] of waits.entries()) t.ok(wait <= (ceilings[i] as number), `${wait} of ${ceilings[i]}`);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

t.test('reset before the headers: as the policy says, and only what can be sent again (EP-05)', async (t) => {
  for (const reset of [true, false]) {
    const bad = await rawUpstream(
      t,
      (socket) => void socket.once('data', () => (reset ? socket.resetAndDestroy() : socket.end())),
    );
    const good = await upstream(t);
    const rows: readonly (readonly [RetryPolicy['retryOn'], string, string])[] = [
      [['reset'], 'GET', '200'],
      [['5xx'], 'POST', '200'],
      [['gateway-error'], 'GET', '200'],
      [['connect-failure', 'reset-before-request'], 'GET', '503'],
      [['connect-failure', 'refused-stream', 'unavailable'], 'POST', '503'],
    ];
    for (const [retryOn, method, wanted] of rows) {
      const before = bad.accepted();
      const client = meshOf([bad.port, good.port], { retry: { retryOn } });
      const results: string[] = [];
      for (let i = 0; i < 2; i++) {
        const call = record(client.dispatcher, { method: method as 'GET' });
        await call.done;
        results.push(call.events[1] as string);
      }
      t.same(results.sort(), ['200', wanted], `${retryOn} ${method}`);
      const sent = bad.accepted() - before;
      t.ok(wanted === '200' ? sent <= 2 : sent === 1, 'at most once for each call');
      await assertIdle(t, client);
    }
  }
});

t.test('reset right after accept (EP-02)', async (t) => {
  const bad = await rawUpstream(t, (socket) => void socket.resetAndDestroy());
  const good = await upstream(t);
  const client = meshOf([bad.port, good.port], { retry: { retryOn: ['reset'] } });
  for (let i = 0; i < 4; i++) t.equal(await record(client.dispatcher, {}).done, 'end');
  t.equal(good.seen.length, 4);
  await assertIdle(t, client);
});

t.test('headers have reached the caller: never again (EP-06)', async (t) => {
  const server = await rawUpstream(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'));
  });
  const client = meshOf([server.port, server.port], { retry: { retryOn: ['5xx', 'reset'], attempts: 5 } });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'error ERR_MESH_UPSTREAM_RESET');
  t.equal(server.accepted(), 1);
  await assertIdle(t, client);
});

t.test('retries that are under way are limited (maxRetries)', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], {
    clock,
    retry: { retryOn: ['5xx'], attempts: 1, backoffBaseMs: 1_000 },
    limits: { maxRetries: 2 },
  });
  const calls = Array.from({ length: 5 }, () => record(client.dispatcher, {}));
  await until(() => calls.filter(({ events }) => events.includes('end')).length === 3, 'three may not be retried');
  t.equal(client.active().get('outbound|80||a retries'), 2);
  await advanceUntil(clock, 100, () => calls.every(({ events }) => events.includes('end')));
  t.equal(server.seen.length, 7);
  t.same(counted(client), ['503 x5', 'UO x3', 'URX x2']);
  t.equal(client.active().get('outbound|80||a retries'), 0);
  await assertIdle(t, client);
});

t.test('each try needs a place of its own (http2MaxRequests)', async (t) => {
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], { retry: { retryOn: ['5xx'] }, limits: { maxRequests: 1 } });
  for (let i = 0; i < 3; i++) t.equal(await record(client.dispatcher, {}).done, 'end');
  t.equal(server.seen.length, 9, 'the place of one try is free for the next');
  await assertIdle(t, client);
});

t.test('nobody healthy is not retried', async (t) => {
  const client = meshOf([], { retry: { retryOn: ['5xx', 'connect-failure'] } });
  const call = record(client.dispatcher, {});
  await call.done;
  t.equal(call.headers['x-inmesh-error'], 'ERR_MESH_NO_HEALTHY_ENDPOINT');
  t.same(counted(client), ['503 x1', 'UH x1']);
  await assertIdle(t, client);
});

t.test('a keep-alive connection that closes as a request leaves: sent once more, if idempotent (EP-11)', async (t) => {
  // answers the first request of each connection and closes at the second
  const server = await rawUpstream(t, (socket) => {
    let requests = 0;
    socket.on('data', () => {
      requests++;
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      else socket.destroy();
    });
  });
  const rows: readonly (readonly [object, string])[] = [
    [{ method: 'GET' }, 'end'],
    [{ method: 'HEAD' }, 'end'],
    [{ method: 'PUT', body: 'x' }, 'end'],
    [{ method: 'DELETE' }, 'end'],
    [{ method: 'POST', body: 'x' }, 'error ERR_MESH_UPSTREAM_RESET'],
    [{ method: 'POST', body: 'x', idempotent: true }, 'end'],
    [{ method: 'GET', idempotent: false }, 'error ERR_MESH_UPSTREAM_RESET'],
  ];
  for (const [options, wanted] of rows) {
    const a = cluster('a', [endpoint(server.port)]);
    // without any policy of retries
    const client = testClient(
      snapshot({ a: [route(a.name, { retry: { ...defaultRetryPolicy, attempts: 0 } })] }, [a]),
      {
        onFailure: 'throw',
      },
    );
    const before = server.accepted();
    t.equal(await record(client.dispatcher, {}).done, 'end');
    await turns(3);
    t.equal(await record(client.dispatcher, options).done, wanted, JSON.stringify(options));
    t.equal(server.accepted() - before, wanted === 'end' ? 2 : 1);
    await assertIdle(t, client);
  }
});

t.test('a server that always closes gets no more than two requests (EP-11)', async (t) => {
  let requests = 0;
  const server = await rawUpstream(t, (socket) => {
    let own = 0;
    socket.on('data', () => {
      requests++;
      if (requests === 1 && ++own === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      else socket.destroy();
    });
  });
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { onFailure: 'throw' });
  await record(client.dispatcher, {}).done;
  await turns(3);
  t.equal(await record(client.dispatcher, {}).done, 'error ERR_MESH_UPSTREAM_RESET');
  t.equal(requests, 3);
  // on a fresh connection a reset says something about the server: the policy decides
  t.equal(await record(client.dispatcher, {}).done, 'error ERR_MESH_UPSTREAM_RESET');
  t.equal(requests, 4);
  await assertIdle(t, client);
});

t.test('a reset storm is met with retries (NET-07)', async (t) => {
  let connections = 0;
  const server = await rawUpstream(t, (socket) => {
    const bad = ++connections % 5 === 0;
    socket.on('data', () => {
      if (bad) socket.resetAndDestroy();
      else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok');
    });
  });
  const client = meshOf([server.port], { retry: { retryOn: ['reset', 'connect-failure'], attempts: 3 } });
  for (let i = 0; i < 10; i++) {
    const calls = Array.from({ length: 10 }, () => record(client.dispatcher, {}));
    for (const call of calls) t.equal(await call.done, 'end');
    t.ok(calls.every(({ events }) => events.includes('200')));
  }
  await assertIdle(t, client);
});

t.test('retries that are used up or refused say so, also without any answer', async (t) => {
  const port = await refusingPort();
  const used = meshOf([port], { retry: { attempts: 1 } });
  await record(used.dispatcher, {}).done;
  t.same(counted(used), ['503 x1', 'UF,URX x1']);
  await assertIdle(t, used);
  const none = meshOf([port], { limits: { maxRetries: 0 } });
  await record(none.dispatcher, {}).done;
  t.same(counted(none), ['503 x1', 'UF,UO x1']);
  await assertIdle(t, none);
});

t.test('retryIgnorePreviousHosts: false, and a consistent hash: the same endpoint again', async (t) => {
  for (const [setup, tries] of [
    [{}, [1, 1, 1]],
    [{ ignorePreviousHosts: true }, [1, 1, 1]],
    [{ ignorePreviousHosts: false }, [1, 2, 0]],
  ] as const) {
    const servers = await Promise.all([1, 2, 3].map(() => upstream(t, status(503))));
    const draws = [0.4, 0.4, 0.1, 0.4, 0.4].values();
    const all = servers.map(({ port }) => endpoint(port));
    const a = cluster('a', all, { balance: 'RANDOM' });
    const retry = { ...defaultRetryPolicy, backoffBaseMs: 0, attempts: 2, retryOn: ['5xx'], ...setup } as RetryPolicy;
    const client = testClient(snapshot({ a: [route(a.name, { retry })] }, [a]), {
      random: () => draws.next().value ?? 0.4,
    });
    await record(client.dispatcher, {}).done;
    const seen = servers.map(({ seen }) => seen.length);
    if (setup.ignorePreviousHosts === false) t.ok(seen.includes(0), `${seen} of ${tries}`);
    else t.same(seen, tries);
    await assertIdle(t, client);
  }
});

t.test(
  'without a word about it there is a budget: a fifth, three in any case, and a small reserve (POL-05)',
  async (t) => {
    const clock = fakeClock();
    const server = await upstream(t, status(503));
    const client = meshOf([server.port], { clock, retry: { retryOn: ['5xx'], attempts: 1, backoffBaseMs: 1_000 } });
    const calls = Array.from({ length: 100 }, () => record(client.dispatcher, {}));
    // Nothing that waits is sent while the clock stands still.
    await until(() => calls.filter(({ events }) => events.includes('end')).length >= 60, 'most may not be retried');
    const active = client.active().get('outbound|80||a retries') as number;
    t.ok(active >= 23 && active <= 40, `${active} retries of 100 calls, of which 20 from the reserve`);
    await advanceUntil(clock, 100, () => calls.every(({ events }) => events.includes('end')));
    t.equal(server.seen.length, 100 + active);
    await assertIdle(t, client);
  },
);

t.test('a retry that is cut off while it waits gives its place back', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, status(503));
  const client = meshOf([server.port], { clock, retry: { retryOn: ['5xx'], backoffBaseMs: 10_000 } });
  const call = record(client.dispatcher, {});
  await until(() => client.active().get('outbound|80||a retries') === 1);
  call.controller.abort(new Error('enough'));
  t.equal(await call.done, 'error enough');
  t.equal(client.active().get('outbound|80||a retries'), 0);
  await assertIdle(t, client);
});

t.test('401 and 403 are final, and "please again" in a header does not change that (ABUSE-006)', async (t) => {
  for (const code of [401, 403]) {
    const server = await upstream(t, status(code, { 'x-again': '1' }));
    const retriableHeaders = [{ name: 'x-again', match: { kind: 'present' } }] as const;
    const retryOn = ['5xx', 'retriable-4xx', 'retriable-headers', 'reset'] as const;
    const client = meshOf([server.port], { retry: { retryOn, retriableHeaders } });
    await record(client.dispatcher, {}).done;
    t.equal(server.seen.length, 1);
    await assertIdle(t, client);
  }
});

t.test('an answer that has a retriable header is tried again, whatever its status', async (t) => {
  const server = await upstream(t, status(200, { 'x-again': 'yes' }));
  const retriableHeaders = [{ name: 'x-again', match: { kind: 'exact', value: 'yes' } }] as const;
  const client = meshOf([server.port], { retry: { retryOn: ['retriable-headers'], retriableHeaders } });
  await record(client.dispatcher, {}).done;
  t.equal(server.seen.length, 3);
  await assertIdle(t, client);
});

t.test(
  '"not before": a retry waits as long as the answer asks for, within the time of the call (ABUSE-004)',
  async (t) => {
    for (const [headers, route, wait] of [
      [{ 'retry-after': '2' }, {}, [2_000, 3_100]],
      [{ 'retry-after': '2' }, { timeoutMs: 30_000 }, [2_000, 3_100]],
      [{ 'retry-after': '2' }, { timeoutMs: 1_000 }, 'final'],
      [{ 'retry-after': '9999999' }, {}, 'final'],
      [{ 'retry-after': '-1' }, {}, [0, 1_100]],
      [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, {}, [0, 1_100]],
      [{ 'grpc-retry-pushback-ms': '-1', 'grpc-status': '14' }, {}, 'final'],
      [{ 'grpc-retry-pushback-ms': '500', 'grpc-status': '14' }, {}, [500, 600]],
    ] as const) {
      const clock = fakeClock();
      let first: number | undefined;
      let second: number | undefined;
      const server = await upstream(t, (_incoming, outgoing) => {
        if (first === undefined) first = clock.now();
        else second = clock.now();
        outgoing.writeHead(second === undefined ? 503 : 200, second === undefined ? headers : {}).end();
      });
      const client = meshOf([server.port], {
        clock,
        route,
        retry: { retryOn: ['5xx', 'unavailable'], backoffBaseMs: 1_000 },
      });
      const call = record(client.dispatcher, {});
      await advanceUntil(clock, 5, () => call.events.includes('end'));
      const waited = second === undefined ? 'final' : second - (first as number);
      const name = JSON.stringify([headers, route]);
      if (wait === 'final') t.equal(waited, 'final', name);
      else t.ok(waited !== 'final' && waited >= wait[0] && waited <= wait[1], `${name} ${waited}`);
      await assertIdle(t, client);
    }
  },
);

t.test('the time of the call covers tries and waits (POL-01)', async (t) => {
  const clock = fakeClock();
  const server = await upstream(t, () => {});
  const client = meshOf([server.port], {
    clock,
    route: { timeoutMs: 3_000 },
    retry: { retryOn: ['reset'], attempts: 10, perTryTimeoutMs: 1_000, backoffBaseMs: 100 },
  });
  const started = clock.now();
  const call = record(client.dispatcher, {});
  await advanceUntil(clock, 10, () => call.events.includes('end'));
  const took = clock.now() - started;
  t.equal(call.headers['x-inmesh-error'], 'ERR_MESH_TIMEOUT');
  t.ok(took >= 3_000 && took < 3_300, `${took} ms`);
  t.ok(server.seen.length >= 2 && server.seen.length <= 3, `${server.seen.length} tries`);
  await assertIdle(t, client);
});
