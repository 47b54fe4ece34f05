import t from 'tap';
import { utilizationDefaults } from '../../src/balance/utilization.ts';
import { sampleMs } from '../../src/load/sampler.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { testPipeline } from '../support/inbound.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

t.test('a client of inmesh weighs a server of inmesh by what that reports', async (t) => {
  const clock = fakeClock();
  const { pipeline } = testPipeline(undefined, { clock });
  t.teardown(() => pipeline.close());
  const seen: unknown[] = [];
  const server = await upstream(
    t,
    pipeline.serve((incoming, outgoing) => {
      seen.push(incoming.headers['endpoint-load-metrics-format']);
      outgoing.end('ok');
    }),
  );
  const a = cluster('a', [endpoint(server.port)], { balance: 'UTILIZATION' });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]), { clock });
  const call = async () => {
    const one = record(client.dispatcher, {});
    t.equal(await one.done, 'end');
    t.notOk('endpoint-load-metrics' in one.headers);
  };
  await call();
  const [state] = [...client.clusters.all()].flatMap(({ endpoints }) => endpoints);
  t.equal(state?.reports, undefined, 'nothing to report in the first second');
  clock.advance(sampleMs);
  await call();
  clock.advance(utilizationDefaults.blackoutMs);
  const weight = state?.reports?.weight(clock.now()) ?? 0;
  t.ok(weight >= 1, `one request a second at no more than full utilization: ${weight}`);
  t.same(seen, [undefined, undefined], 'applications see nothing of it');
  await assertIdle(t, client);
});
