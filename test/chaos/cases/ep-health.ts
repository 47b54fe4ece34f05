// Endpoints that answer, but badly: with errors, slowly, or now and then.
import type { RequestListener } from 'node:http';
import type { ChaosCase } from '../case.ts';
import { load, pause, percentile, type Tally } from '../load.ts';
import { eager, noRetries } from '../resources.ts';
import { answer, echo, heads, httpServer } from '../servers.ts';

const afterMs =
  (ms: number): RequestListener =>
  (request, response) =>
    void setTimeout(() => echo(request, response), ms);

const on5xx = { attempts: 2, retryOn: '5xx,connect-failure,refused-stream,reset' };

export const healthCases: readonly ChaosCase[] = [
  {
    id: 'EP-16',
    fault: 'one of three endpoints answers 500',
    expected: 'ejected after 5 in a row: at most 5 and those under way without retries, none with',
    quick: true,
    async run(lab) {
      const servers = [await httpServer(lab), await httpServer(lab), await httpServer(lab, answer(500))];
      const endpoints = servers.map(({ port }) => port);
      const concurrency = 10;
      const count = lab.count(5_000, 1_000, 200);
      const plain = await lab.mesh({ endpoints, retries: noRetries, policy: { outlierDetection: eager } });
      const without = await load(plain, { count, concurrency });
      lab.atMost('visible failures without retries', without.failures, 5 + concurrency);
      const retrying = await lab.mesh({ endpoints, retries: on5xx, policy: { outlierDetection: eager } });
      lab.equal('visible failures with retries', (await load(retrying, { count, concurrency })).failures, 0);
      const out = retrying.stats().endpoints.filter(({ healthy }) => !healthy);
      lab.equal(
        'ejected',
        out.map(({ address }) => address),
        [`127.0.0.1:${endpoints[2]}`],
      );
    },
  },
  {
    id: 'EP-17',
    fault: 'all endpoints answer 503',
    expected: 'no more are ejected than may be; the load that arrives stays near what was offered',
    async run(lab) {
      const servers = [];
      for (let i = 0; i < 4; i++) servers.push(await httpServer(lab, answer(503)));
      const endpoints = servers.map(({ port }) => port);
      const policy = { outlierDetection: { ...eager, maxEjectionPercent: 50 } };
      const mesh = await lab.mesh({ endpoints, retries: on5xx, policy });
      const count = lab.count(10_000, 2_000);
      const tally = await load(mesh, { count, concurrency: 40 });
      lab.equal('calls that failed', tally.failures, count);
      lab.equal('ejected, of 4', mesh.stats().endpoints.filter(({ healthy }) => !healthy).length, 2);
      // A fifth, and the 20 retries that are saved at the beginning.
      lab.atMost('requests at the servers for each call', heads(servers) / count, 1.2 + 20 / count);
      const breaker = {
        apiVersion: 'inmesh.dev/v1',
        kind: 'CircuitBreaker',
        metadata: { name: 'shop', namespace: 'shop' },
        spec: { host: 'shop.shop.svc.cluster.local', volumeThreshold: 20 },
      };
      const guarded = await lab.mesh({ endpoints, retries: on5xx, policy, more: [breaker] });
      const before = heads(servers);
      const refused = await load(guarded, { count, concurrency: 40 });
      lab.equal('calls that failed with a breaker', refused.failures, count);
      lab.atMost('requests at the servers until it was open', heads(servers) - before, 200);
      lab.time('answer of an open breaker, p50', percentile(refused.latencies, 0.5), 5, 500);
    },
  },
  {
    id: 'EP-18',
    fault: 'one endpoint is 100 times slower',
    expected: 'load moves away from it',
    async run(lab) {
      const servers = [
        await httpServer(lab, afterMs(10)),
        await httpServer(lab, afterMs(10)),
        await httpServer(lab, afterMs(1_000)),
      ];
      const healthy = await lab.mesh({ endpoints: servers.slice(0, 2).map(({ port }) => port) });
      const concurrency = 20;
      const base = percentile((await load(healthy, { count: 1_500, concurrency })).latencies, 0.99);
      const before = heads(servers);
      const mesh = await lab.mesh({ endpoints: servers.map(({ port }) => port) });
      await load(mesh, { count: 1_500, concurrency });
      const mark = servers[2]?.seen.heads ?? 0;
      const count = lab.count(10_000, 4_000);
      const tally = await load(mesh, { count, concurrency });
      const share = ((servers[2]?.seen.heads ?? 0) - mark) / (heads(servers) - before - 1_500);
      lab.check(share < 0.02, `share of the slow endpoint: ${(100 * share).toFixed(2)} % (at most 2 %)`);
      lab.time('p99 with LEAST_REQUEST', percentile(tally.latencies, 0.99), 2 * base, 1_500);
      lab.time('p95 with LEAST_REQUEST', percentile(tally.latencies, 0.95), 2 * base, 20 * base + 200);
      const annotations = { 'inmesh.dev/load-balancer': 'PEAK_EWMA' };
      const ewma = await lab.mesh({ endpoints: servers.map(({ port }) => port), annotations });
      await load(ewma, { count: 1_500, concurrency });
      const byLatency = await load(ewma, { count, concurrency });
      lab.time('p99 with PEAK_EWMA', percentile(byLatency.latencies, 0.99), 2 * base, 20 * base + 200);
    },
  },
  {
    id: 'EP-19',
    fault: 'an endpoint goes away and comes back every 200 ms',
    expected: 'ejected for longer each time; nearly nothing is seen with retries',
    async run(lab) {
      const servers = [await httpServer(lab), await httpServer(lab), await httpServer(lab)];
      const flaps = await lab.proxy(servers[2]?.port ?? 0);
      const endpoints = [servers[0]?.port ?? 0, servers[1]?.port ?? 0, flaps.port];
      let ejections = 0;
      const policy = { outlierDetection: { ...eager, interval: '0.1s', baseEjectionTime: '0.2s' } };
      const mesh = await lab.mesh({ endpoints, retries: on5xx, policy });
      mesh.on('endpoint', ({ healthy }) => void (ejections += healthy ? 0 : 1));
      let running = true;
      const flapping = (async () => {
        while (running) {
          await flaps.refuse();
          flaps.cut();
          await pause(200);
          await flaps.listen();
          await pause(200);
        }
      })();
      const until = performance.now() + lab.count(10_000, 4_000);
      const tally = await load(mesh, { count: 1e9, pauseMs: 1, enough: () => performance.now() > until });
      running = false;
      await flapping;
      const share = tally.failures / tally.calls;
      lab.check(share < 0.001, `visible failures: ${tally.failures} of ${tally.calls} (less than 0.1 %)`);
      lab.check(ejections > 0, `ejections: ${ejections}`);
    },
  },
  {
    id: 'EP-20',
    fault: 'an endpoint with a cold cache joins',
    expected: 'it gets its share little by little; no errors',
    async run(lab) {
      const warm = [await httpServer(lab, afterMs(5)), await httpServer(lab, afterMs(5))];
      let under = 0;
      let refused = 0;
      let joined = Number.POSITIVE_INFINITY;
      const cold = await httpServer(lab, (incoming, outgoing) => {
        // More than two at once is too much for it in the beginning.
        const young = performance.now() - joined < 500;
        if (young && under >= 2) {
          refused++;
          answer(503)(incoming, outgoing);
          return;
        }
        under++;
        setTimeout(() => {
          under--;
          echo(incoming, outgoing);
        }, 5);
      });
      const warmPorts = warm.map(({ port }) => port);
      const policy = { loadBalancer: { simple: 'ROUND_ROBIN', warmup: { duration: '2s', minimumPercent: 1 } } };
      const mesh = await lab.mesh({ endpoints: warmPorts, retries: noRetries, policy });
      let over = false;
      const loading = load(mesh, { count: 1e9, concurrency: 9, enough: () => over });
      // The others were new once, too.
      await pause(2_200);
      joined = performance.now();
      const before = heads(warm);
      mesh.reconfigure({ endpoints: [...warmPorts, cold.port], retries: noRetries, policy });
      await pause(500);
      const share = cold.seen.heads / (cold.seen.heads + heads(warm) - before);
      await pause(2_500);
      const [mark, warmMark] = [cold.seen.heads, heads(warm)];
      await pause(500);
      over = true;
      const tally = await loading;
      const later = (cold.seen.heads - mark) / (cold.seen.heads - mark + heads(warm) - warmMark);
      lab.check(share < 0.2, `share of a third at first: ${(100 * share).toFixed(1)} % (at most 20 %)`);
      lab.check(later > 0.25, `share when it is warm: ${(100 * later).toFixed(1)} % (at least 25 %)`);
      lab.check(
        tally.failures <= tally.calls / 1_000,
        `failures: ${tally.failures} of ${tally.calls}, refused ${refused}`,
      );
    },
  },
  {
    id: 'EP-21',
    fault: 'an endpoint answers 429 with Retry-After, and fast',
    expected: 'not ejected; its share of the load does not rise because it is fast',
    async run(lab) {
      const slow = afterMs(20);
      const servers = [await httpServer(lab, slow), await httpServer(lab, slow)];
      const limited = await httpServer(lab, answer(429, { 'retry-after': '1' }));
      const endpoints = [...servers.map(({ port }) => port), limited.port];
      const policy = { outlierDetection: eager, loadBalancer: { simple: 'ROUND_ROBIN' } };
      const mesh = await lab.mesh({ endpoints, policy });
      const tally: Tally = await load(mesh, { count: lab.count(3_000, 900), concurrency: 12 });
      lab.equal('ejected', mesh.stats().endpoints.filter(({ healthy }) => !healthy).length, 0);
      const share = limited.seen.heads / tally.calls;
      lab.check(share < 0.35, `share of the endpoint with ROUND_ROBIN: ${(100 * share).toFixed(1)} % (at most 35 %)`);
      const least = await lab.mesh({ endpoints, policy: { outlierDetection: eager } });
      const seen = limited.seen.heads;
      const second = await load(least, { count: lab.count(3_000, 900), concurrency: 12 });
      const drawn = (limited.seen.heads - seen) / second.calls;
      lab.note(`share with LEAST_REQUEST, which like Envoy's prefers who is fast: ${(100 * drawn).toFixed(1)} %`);
      const annotations = { 'inmesh.dev/load-balancer': 'PEAK_EWMA' };
      const ewma = await lab.mesh({ endpoints, annotations, policy: { outlierDetection: eager } });
      const known = limited.seen.heads;
      const third = await load(ewma, { count: lab.count(3_000, 900), concurrency: 12 });
      const pulled = (limited.seen.heads - known) / third.calls;
      lab.check(pulled < 0.35, `share with PEAK_EWMA: ${(100 * pulled).toFixed(1)} % (at most 35 %)`);
    },
  },
];
