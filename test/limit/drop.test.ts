import { once } from 'node:events';
import { type IncomingMessage, request as nodeRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { request, upgrade } from 'undici';
import { isDropped, planDrops } from '../../src/limit/drop.ts';
import type { DropOverload } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import { addFlag } from '../../src/pipeline/response-flags.ts';
import { routedAgent } from '../support/agent-router.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { counted } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

/** These numbers, over and over. */
function numbers(...list: readonly number[]): () => number {
  let at = 0;
  return () => list[at++ % list.length] as number;
}

const drop = (percent: number, category = 'lb'): DropOverload => ({ category, percent });

t.test('each category draws of what those before it have let pass', async (t) => {
  const cases: readonly (readonly [drops: readonly DropOverload[], numbers: readonly number[], dropped: boolean])[] = [
    [[drop(30)], [0.299], true],
    [[drop(30)], [0.3], false],
    [[drop(30), drop(50, 'throttle')], [0.3, 0.499], true],
    [[drop(30), drop(50, 'throttle')], [0.3, 0.5], false],
    [[drop(0), drop(50)], [0.499], true],
    [[drop(100)], [0.999999], true],
  ];
  for (const [drops, drawn, dropped] of cases) {
    const plan = planDrops(drops);
    t.equal(plan && isDropped(plan, numbers(...drawn)), dropped, JSON.stringify([drops, drawn]));
  }
  t.equal(planDrops([drop(0)]), undefined, 'no filter for nothing');
  t.equal(planDrops(), undefined);
  t.equal(addFlag('DI', 'DO'), 'DI,DO');
});

function clientOf(port: number, drops: readonly DropOverload[], random: () => number, changes: Partial<Route> = {}) {
  const clock = fakeClock();
  const a = cluster('a', [endpoint(port)], { drops });
  const to = route(a.name, {
    retry: { ...defaultRetryPolicy, attempts: 3, retryOn: ['5xx'], backoffBaseMs: 0 } as never,
    headers: { response: { set: [{ name: 'x-route', value: 'yes' }], add: [], remove: [] } },
    ...changes,
  });
  return { clock, client: testClient(snapshot({ a: [to] }, [a]), { clock, random }) };
}

t.test(
  'a call that is dropped is answered 503 with a mark, has the edits of its route, and is not tried again',
  async (t) => {
    const server = await upstream(t, (_, response) => response.end('hello'));
    const { client } = clientOf(server.port, [drop(30)], numbers(0.1, 0.9));
    t.teardown(() => client.close());
    const ask = async () => request('http://a/', { dispatcher: client.dispatcher });
    const first = await ask();
    t.equal(first.statusCode, 503);
    t.equal(await first.body.text(), 'drop overload');
    t.match(first.headers, { 'x-envoy-drop-overload': 'true', 'x-route': 'yes', 'content-type': 'text/plain' });
    t.same(counted(client), ['503 x1', 'DO x1'], 'no second try, which would have passed');
    const second = await ask();
    t.equal(second.statusCode, 200);
    await second.body.dump();
    const grpc = clientOf(server.port, [drop(100)], () => 0.5);
    t.teardown(() => grpc.client.close());
    const told = await request('http://a/', {
      dispatcher: grpc.client.dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/grpc' },
      body: 'x',
    });
    t.equal(told.statusCode, 200);
    t.match(told.headers, { 'grpc-status': '14', 'grpc-message': 'unconditional drop overload' });
    await told.body.dump();
    await t.rejects(upgrade('http://a/', { dispatcher: grpc.client.dispatcher, protocol: 'x' }), {
      code: 'ERR_MESH_OVERFLOW',
    });
  },
);

t.test('calls of node:http are dropped, too', async (t) => {
  const server = await upstream(t, (_, response) => response.end('hello'));
  const { client, clock } = clientOf(server.port, [drop(30)], () => 0.9);
  let drawn = 0.1;
  const agent = routedAgent(t, client, clock, () => drawn, server.port);
  const ask = async (): Promise<IncomingMessage> =>
    (await once(nodeRequest({ host: 'a', port: 80, agent }).end(), 'response'))[0];
  const dropped = await ask();
  t.equal(dropped.statusCode, 503);
  t.equal(dropped.headers['x-envoy-drop-overload'], 'true');
  t.equal(await text(dropped), 'drop overload');
  drawn = 0.9;
  const passed = await ask();
  t.equal(passed.statusCode, 200);
  passed.resume();
});
