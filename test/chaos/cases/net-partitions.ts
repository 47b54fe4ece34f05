// Networks that lose what they carry: each case runs in a network of its own.

import { writeFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { request } from 'undici';
import type { ChaosCase } from '../case.ts';
import { load, pause, percentile } from '../load.ts';
import { twoNetworks } from '../network.ts';
import { noRetries } from '../resources.ts';
import { httpServer } from '../servers.ts';

export const partitionCases: readonly ChaosCase[] = [
  {
    id: 'NET-01',
    fault: '5 % of all packets are lost, in both directions',
    expected: 'calls take longer; none fails before its time is up',
    needs: 'namespace',
    async run(lab) {
      const { address, losePackets, lost, server } = await twoNetworks(lab);
      losePackets(5);
      const mesh = await lab.mesh({ endpoints: [{ address, port: server.port }], timeout: '20s' });
      const count = lab.count(1_500, 500);
      const body = 'x'.repeat(3_000);
      const judge = (received: Buffer): string | undefined => (received.length === 3_000 ? undefined : 'short');
      const options = { count, concurrency: 10, method: 'POST', path: '/?bytes=3000', body, judge };
      const tally = await load(mesh, options);
      const { dropped, packets } = lost();
      const percent = (100 * dropped) / packets;
      lab.check(percent > 3 && percent < 7, `packets lost: ${dropped} of ${packets} (${percent.toFixed(1)} %)`);
      lab.equal('visible failures', tally.failures, 0);
      lab.time('p99', percentile(tally.latencies, 0.99), 2_000, 20_000);
      lab.check(
        (tally.latencies.at(-1) ?? 0) > 150,
        `slowest call, which waited for what was lost: ${Math.round(tally.latencies.at(-1) ?? 0)} ms`,
      );
    },
  },
  {
    id: 'NET-03',
    fault: 'a link of 1 Mbit/s, 100 uploads of 10 MiB',
    expected: 'senders wait; memory stays flat',
    needs: 'namespace',
    async run(lab) {
      const { address, here, server } = await twoNetworks(lab);
      const mesh = await lab.mesh({ endpoints: [{ address, port: server.port }], retries: noRetries });
      await load(mesh, { count: 100, concurrency: 100, method: 'POST', body: 'x' });
      here(...'tc qdisc add dev near root tbf rate 1mbit burst 32kbit latency 400ms'.split(' '));
      globalThis.gc?.();
      const before = process.memoryUsage().rss;
      let produced = 0;
      const stop = new AbortController();
      const chunk = Buffer.alloc(16_384, 'x');
      const uploads = Array.from({ length: 100 }, async () => {
        const body = Readable.from(
          (function* () {
            for (let sent = 0; sent < 10 * 2 ** 20; sent += chunk.length) {
              produced += chunk.length;
              yield chunk;
            }
          })(),
        );
        const options = { dispatcher: mesh.dispatcher, method: 'POST' as const, body, signal: stop.signal };
        await request('http://shop/', options).catch(() => {});
      });
      await pause(lab.count(20_000, 6_000));
      const grown = (process.memoryUsage().rss - before) / 2 ** 20;
      stop.abort();
      await Promise.all(uploads);
      lab.atMost('growth of the process', grown, 20, ' MiB');
      lab.atMost('taken from the senders', produced / 2 ** 20, 400, ' of 1000 MiB');
    },
  },
  {
    id: 'NET-04',
    fault: 'everything is lost on a connection that is open',
    expected: 'keep-alive finds it; the call ends, and the connection is gone',
    needs: 'namespace',
    async run(lab) {
      const { address, loseRequests, server } = await twoNetworks(lab);
      const policy = { connectionPool: { tcp: { tcpKeepalive: { time: '5s', interval: '1s', probes: 5 } } } };
      const mesh = await lab.mesh({ endpoints: [{ address, port: server.port }], retries: noRetries, policy });
      const loading = load(mesh, { count: 1, path: '/hang' });
      await server.arrived(1);
      await pause(100);
      loseRequests();
      const from = performance.now();
      const tally = await loading;
      lab.equal('the call', Object.keys(tally.outcomes), ['503 ERR_MESH_UPSTREAM_RESET']);
      lab.time('found after', performance.now() - from, 10_500, 25_000);
    },
  },
  {
    id: 'NET-05',
    fault: 'a partition heals',
    expected: 'calls succeed again without a restart',
    needs: 'namespace',
    async run(lab) {
      const { address, heal, loseRequests, server } = await twoNetworks(lab);
      const mesh = await lab.mesh({
        endpoints: [{ address, port: server.port }],
        retries: { attempts: 1, perTryTimeout: '0.5s', retryOn: 'reset,connect-failure' },
        policy: { connectionPool: { tcp: { connectTimeout: '0.5s' } } },
      });
      lab.equal('failures before', (await load(mesh, { count: 200 })).failures, 0);
      loseRequests();
      const during = await load(mesh, { count: 20 });
      lab.equal('failures during the partition', during.failures, 20);
      heal();
      const healed = performance.now();
      for (let streak = 0; streak < 50 && performance.now() - healed < 20_000; ) {
        const { failures } = await load(mesh, { count: 1, concurrency: 1 });
        streak = failures === 0 ? streak + 1 : 0;
      }
      lab.time('50 calls in a row succeed after', performance.now() - healed, 2_000, 10_000);
      lab.equal('failures afterwards', (await load(mesh, { count: 200 })).failures, 0);
    },
  },
  {
    id: 'NET-06',
    fault: 'only answers are lost',
    expected: 'as a black hole: connect timeout, then another endpoint',
    needs: 'namespace',
    async run(lab) {
      const good = await httpServer(lab);
      const { address, loseAnswers, server } = await twoNetworks(lab);
      loseAnswers();
      const mesh = await lab.mesh({
        endpoints: [good.port, { address, port: server.port }],
        policy: { connectionPool: { tcp: { connectTimeout: '0.5s' } } },
      });
      const tally = await load(mesh, { count: lab.count(100, 30), concurrency: 5 });
      lab.equal('visible failures', tally.failures, 0);
      lab.check((tally.latencies.at(-1) ?? 0) > 400, 'some calls met the partition');
      lab.time('slowest call', tally.latencies.at(-1) ?? 0, 550, 3_000);
    },
  },
  {
    id: 'NET-08',
    fault: 'packets of 1280 bytes at most',
    expected: 'nothing is different',
    needs: 'namespace',
    async run(lab) {
      const { address, here, server, there } = await twoNetworks(lab);
      here('ip', 'link', 'set', 'near', 'mtu', '1280');
      there('ip', 'link', 'set', 'far', 'mtu', '1280');
      const mesh = await lab.mesh({ endpoints: [{ address, port: server.port }] });
      const count = lab.count(1_000, 200);
      const judge = (body: Buffer): string | undefined => (body.length === 300_000 ? undefined : 'short');
      const body = 'x'.repeat(300_000);
      const tally = await load(mesh, { count, method: 'POST', path: '/?bytes=300000', body, judge });
      lab.equal('failures', tally.failures, 0);
    },
  },
  {
    id: 'NET-09',
    fault: '200 ports for connections of this machine',
    expected: 'connections are used again; without a port the connection has failed, nothing worse',
    needs: 'namespace',
    async run(lab) {
      writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', '40000 40199');
      const { port } = await httpServer(lab, undefined, { port: 8_080 });
      const steady = await lab.mesh({ endpoints: [port], retries: noRetries });
      const count = lab.count(50_000, 10_000);
      lab.equal(`lost of ${count} at a steady load`, (await load(steady, { count, concurrency: 100 })).failures, 0);
      const greedy = await lab.mesh({ endpoints: [port], retries: noRetries });
      const crowd = await load(greedy, { count: 400, concurrency: 400 });
      const kinds = Object.keys(crowd.outcomes).filter((each) => each !== '200' && !each.includes('CONNECT_FAILED'));
      lab.equal('failures that are not failed connections', kinds, []);
      lab.check(crowd.failures > 0, `400 at once: ${JSON.stringify(crowd.outcomes)}`);
      lab.equal('lost afterwards', (await load(greedy, { count: 200, concurrency: 20 })).failures, 0);
    },
  },
];
