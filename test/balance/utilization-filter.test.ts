import t from 'tap';
import { utilizationDefaults } from '../../src/balance/utilization.ts';
import { defaultRetryPolicy } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

t.test('UTILIZATION asks every server, and calls the one more that is less busy', async (t) => {
  const clock = fakeClock();
  const reporting = (utilization: number) =>
    upstream(t, (incoming, outgoing) => {
      if (incoming.headers['endpoint-load-metrics-format'] === 'TEXT') {
        const report = `TEXT application_utilization=${utilization},rps_fractional=100,eps=0`;
        outgoing.setHeader('endpoint-load-metrics', report);
      }
      outgoing.end('ok');
    });
  const servers = [await reporting(0.2), await reporting(0.8)];
  const a = cluster(
    'a',
    servers.map(({ port }) => endpoint(port)),
    { balance: 'UTILIZATION' },
  );
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { clock });
  const call = async (times: number): Promise<readonly number[]> => {
    const before = servers.map(({ seen }) => seen.length);
    for (let i = 0; i < times; i++) await record(client.dispatcher, {}).done;
    return servers.map(({ seen }, i) => seen.length - (before[i] as number));
  };
  t.same(await call(20), [10, 10], 'in turn, as long as nothing is known');
  clock.advance(utilizationDefaults.blackoutMs);
  await call(10);
  t.same(await call(50), [40, 10]);

  const changed = { ...a, limits: { ...a.limits, maxRetries: 7 } };
  client.use(snapshot({ a: [route(a.name)] }, [changed], { version: '2' }));
  t.same(await call(50), [40, 10], 'a new configuration forgets nothing');
  await assertIdle(t, client);
});

t.test('the report is for the mesh, unless the application asks itself', async (t) => {
  const report = 'TEXT application_utilization=0.5,rps_fractional=100,eps=0';
  const asked: unknown[] = [];
  const server = await upstream(t, (incoming, outgoing) => {
    asked.push(incoming.headers['endpoint-load-metrics-format']);
    outgoing.writeHead(asked.length === 1 ? 503 : 200, { 'endpoint-load-metrics': report, 'x-app': '1' });
    outgoing.end('ok');
  });
  const a = cluster('a', [endpoint(server.port)], { balance: 'UTILIZATION' });
  const retry = { ...defaultRetryPolicy, retryOn: ['5xx'] as const };
  const client = testClient(snapshot({ a: [route(a.name, { retry })] }, [a]));
  const plain = record(client.dispatcher, {});
  await plain.done;
  t.equal(plain.headers['x-app'], '1');
  t.notOk('endpoint-load-metrics' in plain.headers);
  const own = record(client.dispatcher, { headers: { 'Endpoint-Load-Metrics-Format': 'JSON' } });
  await own.done;
  t.equal(own.headers['endpoint-load-metrics'], report);
  t.same(asked, ['TEXT', 'TEXT', 'JSON'], 'once in each try');
  await assertIdle(t, client);
});

t.test('other balancers do not ask', async (t) => {
  const asked: (string | undefined)[] = [];
  const server = await upstream(t, (incoming, outgoing) => {
    asked.push(incoming.headers['endpoint-load-metrics-format'] as string | undefined);
    outgoing.end('ok');
  });
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]));
  await record(client.dispatcher, {}).done;
  t.same(asked, [undefined]);
  await assertIdle(t, client);
});
