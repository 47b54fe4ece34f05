// Endpoints come and go all the time, while calls go on.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ConfigSink } from '../../../src/config/source.ts';
import { createMesh } from '../../../src/index.ts';
import { seededRandom } from '../../../src/lib/random.ts';
import type { Endpoint, OutlierPolicy } from '../../../src/model/cluster.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { cluster, endpoint, route, snapshot } from '../../support/snapshot.ts';
import type { ChaosCase } from '../case.ts';
import { heapMiB } from '../heap.ts';
import { load, loopDelays, percentile, type Tally } from '../load.ts';
import { httpServer } from '../servers.ts';

export const churn: ChaosCase = {
  id: 'CHURN',
  fault: 'endpoints are added, removed and weighed anew without end',
  expected: 'no call fails; memory and event loop do not notice',
  quick: true,
  async run(lab) {
    // One server answers at every address of loopback.
    const { port } = await httpServer(lab, undefined, { host: '0.0.0.0' });
    const random = seededRandom(3);
    const pool = Array.from({ length: 20 }, (_, i) => endpoint(port, { address: `127.0.0.${i + 1}` }));
    let endpoints: readonly Endpoint[] = pool.slice(0, 10);
    let strangers = 0;
    /** One that was never there before, of sixteen million. */
    const stranger = (): Endpoint => {
      const number = ++strangers;
      const workload = `workload-${number % 50}`;
      return endpoint(port, { address: `127.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`, workload });
    };
    const next = (): void => {
      const kind = random();
      // Half of them come back again and again, the others are seen once.
      const among = random() < 0.5 ? pool : endpoints;
      const one = kind < 0.2 ? stranger() : (among[Math.floor(random() * among.length)] as Endpoint);
      const without = endpoints.filter(({ address }) => address !== one.address);
      // Never fewer than three: what is left must carry the calls.
      if (kind < 0.4) endpoints = [...without, one];
      else if (kind < 0.8) endpoints = without.length < 3 ? endpoints : without.slice(-20);
      else endpoints = [...without, { ...one, weight: 1 + Math.floor(random() * 5) }];
    };
    // Nobody fails; what is remembered of those that might is part of what could grow.
    const outlier: OutlierPolicy = {
      consecutive5xx: 5,
      consecutiveGatewayErrors: 0,
      intervalMs: 1_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 100,
      minHealthPercent: 0,
      successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1_900 },
    };
    let sink: ConfigSink | undefined;
    let version = 0;
    const publish = (): void => {
      const shop = cluster('shop', endpoints, { outlier });
      sink?.update(snapshot({ shop: [route(shop.name)] }, [shop], { version: String(++version) }), { entries: [] });
    };
    const mesh = createMesh({
      workload: { name: 'web', namespace: 'shop' },
      identity: false,
      logger: recordingLogger(),
      config: {
        name: 'lab',
        async run(given) {
          sink = given;
          publish();
        },
      },
    });
    lab.teardown(() => mesh.close());
    await mesh.ready();
    const updates = lab.count(100_000, 10_000, 500);
    const costs: number[] = [];
    const change = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        next();
        const from = performance.now();
        publish();
        costs.push(performance.now() - from);
        await nextTurn();
      }
    };
    let over = false;
    // The server remembers each call by its number, which would count as growth.
    const headers = { 'x-call': 'churn' };
    const traffic = (): Promise<Tally> => load(mesh, { count: 1e9, concurrency: 10, headers, enough: () => over });
    const warm = traffic();
    await change(lab.count(2_000, 2_000, 300));
    costs.length = 0;
    over = true;
    await warm;
    const before = await heapMiB();
    over = false;
    let tally: Tally | undefined;
    const from = performance.now();
    const delays = await loopDelays(async () => {
      const loading = traffic();
      await change(updates);
      over = true;
      tally = await loading;
    });
    const seconds = (performance.now() - from) / 1_000;
    const calls = tally?.calls ?? 0;
    const p99 = percentile(tally?.latencies ?? [], 0.99);
    lab.check(strangers > updates / 10, `endpoints that were never there before: ${strangers}`);
    lab.equal(`failed of ${calls} calls during ${updates} updates`, tally?.failures, 0);
    lab.note(
      `${Math.round(updates / seconds)} updates and ${Math.round(calls / seconds)} calls a second; p99 of a call ${p99.toFixed(1)} ms`,
    );
    lab.time('delay of the event loop, p99', percentile(delays, 0.99), 20, 300);
    costs.sort((a, b) => a - b);
    lab.time('one update, p99', percentile(costs, 0.99), 2, 100);
    tally = undefined;
    costs.length = 0;
    const grown = (await heapMiB()) - before;
    lab.atMost('growth of the heap', grown, 5, ' MiB');
  },
};
