import fc from 'fast-check';
import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { createEventQueue } from './event-queue.ts';
import { createLatencies } from './latencies.ts';
import { SimulatedServer } from './server.ts';
import { simulate, type World } from './simulate.ts';

t.test('events come in the order of their time, those of one moment as they were added', async (t) => {
  const run = fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 3_000 }), (times) => {
    const queue = createEventQueue();
    for (const [i, at] of times.entries()) queue.add(at, i);
    const expected = times.map((at, i) => ({ at, i })).sort((a, b) => a.at - b.at || a.i - b.i);
    return (
      expected.every(({ at, i }) => queue.next() === at && queue.take() === i) &&
      queue.size === 0 &&
      queue.next() === Number.POSITIVE_INFINITY
    );
  });
  fc.assert(run, { numRuns: 50, seed: 1 });
  t.ok(true);
});

t.test('quantiles are exact to one percent', async (t) => {
  const latencies = createLatencies();
  for (let ms = 1; ms <= 10_000; ms++) latencies.record(ms / 10);
  for (const share of [0.01, 0.5, 0.99, 0.999, 1]) {
    const got = latencies.quantile(share);
    t.ok(Math.abs(got / (1_000 * share) - 1) < 0.011, `${share}: ${got}`);
  }
  t.equal(latencies.count, 10_000);
});

t.test('a server works on one request after the other, and takes its mean time', async (t) => {
  const server = new SimulatedServer('a', { serviceMs: 10 }, seededRandom(1));
  let last = 0;
  for (let i = 0; i < 20_000; i++) {
    const at = server.serve(0, Number.POSITIVE_INFINITY);
    if (at <= last) t.fail('earlier than the one before');
    last = at;
  }
  t.ok(Math.abs(last / 200_000 - 1) < 0.02, String(last));
});

t.test('what a server reports is what it does', async (t) => {
  const server = new SimulatedServer('a', { serviceMs: 10 }, seededRandom(1));
  for (let now = 0; now <= 20_000; now += 20) {
    if (now % 1_000 === 0) server.sample(now);
    server.serve(now, Number.POSITIVE_INFINITY);
  }
  const [, utilization, rps, eps] =
    /utilization=([\d.]+),rps_fractional=([\d.]+),eps=([\d.]+)/.exec(server.report) ?? [];
  t.ok(Math.abs(Number(utilization) - 0.5) < 0.1, server.report);
  t.ok(Math.abs(Number(rps) - 50) < 2, server.report);
  t.equal(Number(eps), 0);
});

t.test('a server that begins anew is slow at first', async (t) => {
  const time = (age: number): number => {
    const server = new SimulatedServer('a', { serviceMs: 10 }, seededRandom(1));
    server.start(0);
    return server.serve(age, Number.POSITIVE_INFINITY) - age - 1;
  };
  t.ok(Math.abs(time(0) / time(10_000) - 4) < 0.01);
  t.ok(Math.abs(time(5_000) / time(10_000) - 2.5) < 0.01);
});

const two: World = {
  clients: 5,
  servers: [{ serviceMs: 5 }, { serviceMs: 5 }],
  rps: 100,
  lengthMs: 20_000,
  measureFromMs: 0,
  timeoutMs: 1_000,
  retries: 2,
};
const deaths = { servers: [0], atMs: 5_000, noticedMs: 8_000, backMs: 12_000 };

t.test('every request is answered once', async (t) => {
  for (const policy of ['ROUND_ROBIN', 'RANDOM', 'LEAST_REQUEST', 'PEAK_EWMA', 'UTILIZATION'] as const) {
    const { latencies, requests, errors, loads, connections } = simulate(two, { policy }, 3);
    t.equal(latencies.count, requests, policy);
    t.equal(errors, 0, policy);
    t.ok(Math.abs(requests / 2_000 - 1) < 0.1, `${policy}: ${requests}`);
    const arrived = loads.reduce((sum, load) => sum + load);
    t.ok(
      arrived >= requests && arrived < requests + 50,
      `${policy}: ${arrived} arrived, some are under way at the end`,
    );
    t.same(connections, [5, 5], policy);
  }
});

t.test('a server that dies: retries go elsewhere; without retries requests fail until clients know', async (t) => {
  const choice = { policy: 'ROUND_ROBIN' } as const;
  t.equal(simulate({ ...two, deaths }, choice, 4).errors, 0);
  const without = simulate({ ...two, deaths, retries: 0 }, choice, 4);
  // Half of 100 requests a second for three seconds.
  t.ok(without.errors > 120 && without.errors < 190, String(without.errors));
});

t.test('who waits too long fails', async (t) => {
  const slow = { ...two, servers: [{ serviceMs: 5_000 }, { serviceMs: 5_000 }] };
  const { errors, requests, latencies } = simulate(slow, { policy: 'RANDOM' }, 5);
  t.ok(errors / requests > 0.95, `${errors} of ${requests}`);
  t.ok(latencies.quantile(1) > 999 && latencies.quantile(1) < 1_000.001);
});

t.test('a subset limits connections, not requests', async (t) => {
  const ten = { ...two, servers: Array.from({ length: 10 }, () => ({ serviceMs: 5 })) };
  const { connections, requests } = simulate(ten, { policy: 'LEAST_REQUEST', subsetSize: 3 }, 6);
  t.equal(
    connections.reduce((sum, each) => sum + each),
    5 * 3,
  );
  t.ok(requests > 1_800);
});
