import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { text } from 'node:stream/consumers';
import got from 'got';
import t, { type Test } from 'tap';
import type { Fault, Route } from '../src/model/route.ts';
import { runInScope } from '../src/pipeline/scope.ts';
import { routedAgent } from './support/agent-router.ts';
import { testClient } from './support/client.ts';
import { type FakeClock, fakeClock } from './support/fake-clock.ts';
import { counted } from './support/recorder.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { turns, until, upstream } from './support/upstream.ts';

/** An agent over the routes of a client, and everything that they counted. */
function agentOf(t: Test, port: number, fault: Fault, random: () => number = () => 0.5, changes: Partial<Route> = {}) {
  const clock = fakeClock();
  const a = cluster('a', [endpoint(port)]);
  const client = testClient(
    snapshot({ a: [route(a.name, { fault, rewrite: { pathPrefix: '/new' }, ...changes })] }, [a]),
    {
      clock,
      random,
    },
  );
  return { agent: routedAgent(t, client, clock, random, port), client, clock };
}
const send = (options: RequestOptions, body?: string | Buffer): ClientRequest =>
  request({ host: 'a', port: 80, ...options }).end(body);
const answer = async (outgoing: ClientRequest): Promise<IncomingMessage> => (await once(outgoing, 'response'))[0];
const pass = async (clock: FakeClock, ms: number): Promise<void> => {
  await clock.advanceAsync(ms);
  await turns(3);
};

t.test('an abort is an ordinary response to the library above', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { level: 'call', abort: { status: 555, percent: 100 } };
  const { agent, client } = agentOf(t, server.port, fault);
  const plain = await answer(send({ agent }));
  t.equal(plain.statusCode, 555);
  t.same(plain.headers, { 'content-length': '18', 'content-type': 'text/plain', connection: 'close' });
  t.equal(await text(plain), 'fault filter abort');
  const head = await answer(send({ agent, method: 'HEAD' }));
  t.same([head.statusCode, await text(head)], [555, '']);
  const large = await answer(send({ agent, method: 'POST' }, Buffer.alloc(3_000_000)));
  t.same([large.statusCode, await text(large)], [555, 'fault filter abort'], 'a large body does not stand in the way');
  const socketless = await answer(send({ agent, timeout: 1_000, headers: ['x-array', 'shape'] }));
  t.equal(await text(socketless), 'fault filter abort');
  const library = await got('http://a/', { agent: { http: agent }, throwHttpErrors: false, retry: { limit: 0 } });
  t.same([library.statusCode, library.body], [555, 'fault filter abort']);
  await until(() => Object.keys(agent.sockets).length === 0, 'nothing is kept');
  t.same(counted(client), ['555 x5', 'FI x5']);
  t.same([server.accepted(), server.seen.length], [0, 0]);
});

t.test('a gRPC request gets a gRPC status', async (t) => {
  const server = await upstream(t);
  const { agent } = agentOf(t, server.port, { level: 'call', abort: { status: 200, grpcStatus: 7, percent: 100 } });
  const response = await answer(send({ agent, headers: { 'content-type': 'application/grpc' } }));
  t.match(response, { statusCode: 200, headers: { 'grpc-status': '7', 'grpc-message': 'fault filter abort' } });
  t.equal(await text(response), '');
});

t.test('an injected response has the header edits of its route', async (t) => {
  const server = await upstream(t);
  const headers = {
    response: { set: [{ name: 'x-route', value: '%RESPONSE_CODE%' }], add: [], remove: ['content-type'] },
  };
  const fault: Fault = { level: 'call', abort: { status: 418, percent: 100 } };
  const { agent } = agentOf(t, server.port, fault, () => 0.5, { headers });
  const response = await answer(send({ agent }));
  t.same(response.headers, { 'content-length': '18', connection: 'close', 'x-route': '418' });
  t.equal(await text(response), 'fault filter abort');
});

t.test('an upgrade is answered too', async (t) => {
  const server = await upstream(t);
  const { agent } = agentOf(t, server.port, { level: 'call', abort: { status: 418, percent: 100 } });
  const response = await answer(send({ agent, headers: { connection: 'upgrade', upgrade: 'echo' } }));
  t.equal(response.statusCode, 418);
  response.resume();
});

for (const level of ['call', 'try'] as const) {
  t.test(`a delay comes before the choice of an endpoint (${level})`, async (t) => {
    const server = await upstream(t);
    const { agent, client, clock } = agentOf(t, server.port, { level, delay: { delayMs: 1_000, percent: 100 } });
    const scope = { requestId: 'mine', traceHeaders: [], deadline: clock.now() + 5_000 };
    const answered = answer(runInScope(scope, () => send({ agent, path: '/x' })));
    await turns();
    await pass(clock, 999);
    t.equal(server.accepted(), 0);
    t.equal(
      [...client.active().values()].reduce((sum, one) => sum + one, 0),
      0,
      'no endpoint is taken',
    );
    await pass(clock, 1);
    t.equal(await text(await answered), 'ok');
    t.same(server.seen, ['GET /newx']);
    const { headers } = server.requests[0] as IncomingMessage;
    t.match(headers, { 'x-request-id': 'mine', 'x-envoy-expected-rq-timeout-ms': '4000' });
    t.same(counted(client), ['200 x1', 'DI x1']);
  });
}

t.test('a delay and then an abort', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { level: 'call', delay: { delayMs: 50, percent: 60 }, abort: { status: 503, percent: 60 } };
  const { agent, client, clock } = agentOf(t, server.port, fault);
  const answered = answer(send({ agent }));
  await turns();
  await pass(clock, 50);
  const response = await answered;
  t.equal(response.statusCode, 503);
  response.resume();
  t.same(counted(client), ['503 x1', 'DI,FI x1']);
});

t.test('a request that is given up ends its delay', async (t) => {
  const server = await upstream(t);
  const { agent, client, clock } = agentOf(t, server.port, { level: 'call', delay: { delayMs: 1_000, percent: 100 } });
  const outgoing = send({ agent });
  await turns();
  const failed = once(outgoing, 'error');
  outgoing.destroy(new Error('enough'));
  t.match(await failed, [{ message: 'enough' }]);
  t.equal(clock.pending(), 0, 'no timer');
  t.same(counted(client), ['0 x1', 'DI,DC x1']);
  t.equal(server.accepted(), 0);
});

t.test('requests that the fault misses go their way', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { level: 'call', delay: { delayMs: 50, percent: 40 }, abort: { status: 503, percent: 40 } };
  const { agent, client } = agentOf(t, server.port, fault);
  t.equal(await text(await answer(send({ agent }))), 'ok');
  t.same(counted(client), ['200 x1']);
});
