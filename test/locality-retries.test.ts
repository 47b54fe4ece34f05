import t from 'tap';
import { request } from 'undici';
import { defaultRetryPolicy, type RetryPolicy } from '../src/model/route.ts';
import { testClient } from './support/client.ts';
import { assertIdle } from './support/recorder.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { upstream } from './support/upstream.ts';

const failing = (t: Parameters<typeof upstream>[0]) => upstream(t, (_, response) => void response.writeHead(503).end());

/** Two near servers that fail, a far one that works; 503 is tried again at once. */
async function setup(test: Parameters<typeof upstream>[0], changes: Partial<RetryPolicy>) {
  const [one, two] = [await failing(test), await failing(test)];
  const far = await upstream(test);
  const endpoints = [endpoint(one.port), endpoint(two.port), endpoint(far.port, { priority: 1 })];
  const a = cluster('a', endpoints, { balance: 'ROUND_ROBIN' });
  const retry: RetryPolicy = { ...defaultRetryPolicy, attempts: 4, retryOn: ['5xx'], backoffBaseMs: 0, ...changes };
  const client = testClient(snapshot({ a: [route(a.name, { retry })] }, [a]));
  const status = async (): Promise<number> => {
    const { body, statusCode } = await request('http://a/', { dispatcher: client.dispatcher });
    await body.dump();
    return statusCode;
  };
  const seen = (): string => [one, two, far].map((server) => server.seen.length).join(' ');
  return { client, seen, status };
}

t.test('a call whose near endpoints fail stays with them', async (t) => {
  const { client, seen, status } = await setup(t, {});
  t.equal(await status(), 503);
  t.match(seen(), /^[1-4] [1-4] 0$/);
  await assertIdle(t, client);
});

t.test('with retryRemoteLocalities it goes on to far ones after two tries', async (t) => {
  const { client, seen, status } = await setup(t, { otherPriorities: true });
  t.equal(await status(), 200);
  t.equal(seen(), '1 1 1', 'each near one once: what failed is passed over as ever');
  await assertIdle(t, client);
});

t.test('also where retries may go to endpoints that failed', async (t) => {
  const { client, seen, status } = await setup(t, { otherPriorities: true, ignorePreviousHosts: false });
  t.equal(await status(), 200);
  t.match(seen(), /^[0-2] [0-2] 1$/);
  await assertIdle(t, client);
});

t.test('two tries are too few for it', async (t) => {
  const { client, seen, status } = await setup(t, { otherPriorities: true, attempts: 1 });
  t.equal(await status(), 503);
  t.equal(seen(), '1 1 0');
  await assertIdle(t, client);
});
