// Who is counted, who is ejected, and who is turned away.
import { request } from 'undici';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load, pause, percentile, within } from '../load.ts';
import { eager, noRetries } from '../resources.ts';
import { answer, httpServer } from '../servers.ts';

export const limitCases: readonly ChaosCase[] = [
  {
    id: 'POL-14',
    fault: 'failures that the endpoint has nothing to do with',
    expected: 'injected aborts, refusals of a limit and calls that the application stops eject nobody',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab, (incoming, outgoing) => {
        incoming.resume();
        if (incoming.url !== '/hang') outgoing.end();
      });
      const breaker = {
        apiVersion: 'inmesh.dev/v1',
        kind: 'CircuitBreaker',
        metadata: { name: 'shop', namespace: 'shop' },
        spec: { host: 'shop.shop.svc.cluster.local', volumeThreshold: 5 },
      };
      const policy = { outlierDetection: { ...eager, consecutive5xxErrors: 1, consecutiveGatewayErrors: 1 } };
      const faulty = await lab.mesh({
        endpoints: [server.port],
        retries: noRetries,
        policy,
        route: { fault: { abort: { percentage: { value: 100 }, httpStatus: 503 } } },
        more: [breaker],
      });
      const injected = await load(faulty, { count: 100 });
      lab.equal('injected aborts', injected.outcomes['503 ERR_MESH_FAULT'] ?? injected.outcomes['503'], 100);
      const limited = await lab.mesh({
        endpoints: [server.port],
        retries: noRetries,
        policy: { ...policy, connectionPool: { http: { http2MaxRequests: 5 } } },
        more: [breaker],
      });
      const stops: AbortController[] = [];
      const stopped: Promise<unknown>[] = [];
      for (let i = 0; i < 5; i++) {
        const stop = new AbortController();
        stops.push(stop);
        const options = { dispatcher: limited.dispatcher, signal: stop.signal };
        stopped.push(request('http://shop/hang', options).catch(({ name }: Error) => name));
      }
      await within(20_000, () => server.seen.heads === 5);
      const refused = await load(limited, { count: 100 });
      lab.equal('refused by the limit', refused.outcomes, { '503 ERR_MESH_OVERFLOW': 100 });
      for (const stop of stops) stop.abort();
      lab.equal('stopped by the application', await Promise.all(stopped), Array(5).fill('AbortError'));
      const nobody = {
        apiVersion: 'inmesh.dev/v1',
        kind: 'EgressPolicy',
        metadata: { name: 'nothing', namespace: 'shop' },
        spec: {},
      };
      const denied = await lab.mesh({ endpoints: [server.port], retries: noRetries, policy, more: [breaker, nobody] });
      const refusals = await load(denied, { count: 100 });
      lab.equal(
        'denied by policy',
        Object.keys(refusals.outcomes).map((each) => each.slice(0, 3)),
        ['403'],
      );
      for (const mesh of [faulty, limited, denied]) {
        const { breakers, endpoints } = mesh.stats();
        lab.equal('ejections', endpoints.filter(({ ejections, healthy }) => ejections > 0 || !healthy).length, 0);
        lab.equal('breakers that are not closed', breakers.filter(({ state }) => state !== 'closed').length, 0);
      }
    },
  },
  {
    id: 'POL-15',
    fault: 'more endpoints fail than may be ejected',
    expected: 'an endpoint goes only if it fits into the share, as in Envoy today',
    quick: true,
    async run(lab) {
      for (const [count, percent, out] of [
        [1, 10, 0],
        [2, 10, 0],
        [2, 50, 1],
        [3, 34, 1],
        [10, 10, 1],
        [10, 35, 3],
        [4, 100, 4],
      ] as const) {
        const ports: number[] = [];
        for (let i = 0; i < count; i++) ports.push((await httpServer(lab, answer(500))).port);
        const policy = {
          outlierDetection: { ...eager, maxEjectionPercent: percent },
          loadBalancer: { simple: 'ROUND_ROBIN' },
        };
        const mesh = await lab.mesh({ endpoints: ports, retries: noRetries, policy });
        await load(mesh, { count: 12 * count, concurrency: 1 });
        const ejected = mesh.stats().endpoints.filter(({ healthy }) => !healthy).length;
        lab.equal(`${count} endpoints, ${percent} %: ejected`, ejected, out);
      }
    },
  },
  {
    id: 'POL-16',
    fault: 'one call more than may be under way',
    expected: '503 at once, not retried',
    quick: true,
    run: (lab) => overflow(lab, 'requests', lab.count(1_024, 1_024, 64)),
  },
  {
    id: 'POL-17',
    fault: 'one call more than may wait for a connection',
    expected: '503 at once; the queue costs little',
    quick: true,
    run: (lab) => overflow(lab, 'pending', lab.count(1_024, 1_024, 64)),
  },
];

async function overflow(lab: Lab, kind: 'requests' | 'pending', limit: number): Promise<void> {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const server = await httpServer(lab, (incoming, outgoing) => {
    incoming.resume();
    void released.then(() => outgoing.end());
  });
  const connectionPool =
    kind === 'requests'
      ? { http: { http2MaxRequests: limit } }
      : { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: limit } };
  const retries = { attempts: 3, retryOn: '5xx' };
  const mesh = await lab.mesh({ endpoints: [server.port], retries, policy: { connectionPool } });
  // Of those that wait, one has the connection.
  const first = kind === 'pending' ? load(mesh, { count: 1 }) : undefined;
  if (first !== undefined) await within(20_000, () => server.seen.heads === 1);
  const before = process.memoryUsage().heapUsed;
  const held = load(mesh, { count: limit, concurrency: limit });
  await within(20_000, () => server.seen.heads === (kind === 'requests' ? limit : 1));
  await pause(50);
  const perCall = (process.memoryUsage().heapUsed - before) / limit / 1_024;
  const more = await load(mesh, { count: 50, concurrency: 10 });
  lab.equal('one more, 50 times', more.outcomes, { '503 ERR_MESH_OVERFLOW': 50 });
  lab.time('turned away after, p99', percentile(more.latencies, 0.99), 10, 1_000);
  lab.atMost('heap for each call that is held', perCall, 200, ' KiB');
  globalThis.gc?.();
  const held2 = process.memoryUsage().heapUsed;
  const turned = await load(mesh, { count: lab.count(20_000, 5_000, 500), concurrency: 10 });
  globalThis.gc?.();
  lab.equal('turned away later', turned.outcomes['503 ERR_MESH_OVERFLOW'], turned.calls);
  lab.atMost('growth of the heap by those', (process.memoryUsage().heapUsed - held2) / 2 ** 20, 60, ' MiB');
  release();
  lab.equal('failures among those that were admitted', (await held).failures + ((await first)?.failures ?? 0), 0);
  lab.equal('requests at the server', server.seen.heads, limit + (first === undefined ? 0 : 1));
}
