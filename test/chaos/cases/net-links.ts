// Bytes that come late, in pieces, or changed: all with the proxy.
import type { RequestListener } from 'node:http';
import type { ChaosCase } from '../case.ts';
import { digest } from '../lab.ts';
import { load, percentile } from '../load.ts';
import { mutualLab } from '../mutual.ts';
import { eager } from '../resources.ts';
import { echo, httpServer } from '../servers.ts';

export const linkCases: readonly ChaosCase[] = [
  {
    id: 'NET-02',
    fault: 'latency of 50 ms, 20 more or less',
    expected: 'calls take longer; nobody is ejected for it',
    async run(lab) {
      const late = { latencyMs: 50, jitterMs: 20 };
      const ports: number[] = [];
      for (let i = 0; i < 3; i++) {
        const { port } = await httpServer(lab);
        ports.push((await lab.proxy(port, { kind: 'pass', requests: late, responses: late })).port);
      }
      const retries = { attempts: 2, perTryTimeout: '2s', retryOn: 'reset,connect-failure' };
      const mesh = await lab.mesh({ endpoints: ports, retries, policy: { outlierDetection: eager } });
      const tally = await load(mesh, { count: lab.count(2_000, 600), concurrency: 20 });
      lab.equal('visible failures', tally.failures, 0);
      lab.equal('ejections', mesh.stats().endpoints.filter(({ ejections }) => ejections > 0).length, 0);
      lab.check((tally.latencies[0] ?? 0) >= 55, `fastest call: ${Math.round(tally.latencies[0] ?? 0)} ms`);
      lab.time('p99', percentile(tally.latencies, 0.99), 200, 2_000);
    },
  },
  {
    id: 'NET-07',
    fault: 'a fifth of all connections is reset',
    expected: 'less than 0.1 % of GETs fail visibly; retries stay within their budget',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab);
      const ports: number[] = [];
      let resets = 0;
      for (let i = 0; i < 3; i++) {
        const proxy = await lab.proxy(server.port);
        proxy.use((connection) => {
          if (connection % 5 !== i) return { kind: 'pass' };
          resets++;
          return { kind: 'pass', requests: { resetAt: 10 } };
        });
        ports.push(proxy.port);
      }
      const retries = { attempts: 5, retryOn: 'reset,connect-failure' };
      const policy = { connectionPool: { http: { maxRequestsPerConnection: 1 } } };
      const mesh = await lab.mesh({ endpoints: ports, retries, policy });
      const tally = await load(mesh, { count: lab.count(10_000, 2_000, 200) });
      // Of few calls the first that the budget leaves without a retry is more than the share.
      const share = Math.max(0, tally.failures - (tally.calls < 1_000 ? 1 : 0)) / tally.calls;
      lab.check(share < 0.001, `visible failures: ${tally.failures} of ${tally.calls} (less than 0.1 %)`);
      lab.check(resets > tally.calls / 10, `connections reset: ${resets}`);
      const { made, overflow } = mesh.stats().clusters[0]?.retries ?? { made: 0, overflow: 0 };
      // Each reset asks for a retry: a fifth of all tries.
      lab.check(made > 0 && made <= 0.3 * tally.calls, `retries: ${made} for ${tally.calls} calls (at most 30 %)`);
      lab.equal('calls that the budget left without a retry are those that failed', overflow, tally.failures);
    },
  },
  {
    id: 'NET-10',
    fault: 'a bit is turned over under TLS',
    expected: 'the connection ends with an error; the call is tried again; no body is corrupted',
    quick: true,
    async run(lab) {
      const body = Buffer.alloc(20_000, 'the same all over ');
      const handler: RequestListener = (_, response) => response.end(body);
      const { mesh: meshOf, place, serve } = mutualLab(lab);
      const good = await serve('shop', handler);
      const proxy = await lab.proxy(good);
      // Somewhere in the handshake, in the headers, or in the body.
      proxy.use((connection) => ({ kind: 'pass', responses: { corruptAt: (connection * 977) % 24_000 } }));
      const other = await lab.proxy(good);
      other.use((connection) => ({ kind: 'pass', requests: { corruptAt: (connection * 97) % 4_000 } }));
      const mesh = await meshOf({
        endpoints: [place(good), place(proxy.port), place(other.port)],
        retries: { attempts: 3, perTryTimeout: '1s', retryOn: 'reset,connect-failure' },
        // A wrong bit in the length of a record makes the other side wait for what never comes.
        timeout: '4s',
        policy: { connectionPool: { tcp: { connectTimeout: '1s' } } },
      });
      let corrupted = 0;
      const tally = await load(mesh, {
        count: lab.count(2_000, 300, 40),
        concurrency: 4,
        judge(received) {
          if (digest(received) === digest(body)) return undefined;
          corrupted++;
          return 'corrupted';
        },
      });
      lab.equal('corrupted bodies', corrupted, 0);
      lab.check(proxy.accepted() > 5, `connections with a wrong bit in what the server says: ${proxy.accepted()}`);
      lab.check(other.accepted() > 1, `connections with a wrong bit in what the client says: ${other.accepted()}`);
      const kinds = Object.keys(tally.outcomes).filter((each) => each !== '200' && !each.startsWith('body '));
      lab.equal('failures before the body that were not tried again', kinds, []);
      lab.note(JSON.stringify(tally.outcomes));
    },
  },
  {
    id: 'NET-11',
    fault: 'writes of one to three bytes, and many in one',
    expected: 'nothing is different',
    quick: true,
    async run(lab) {
      const { port } = await httpServer(lab, echo);
      const sliced = await lab.proxy(port, { kind: 'pass', requests: { sliceBytes: 3 }, responses: { sliceBytes: 3 } });
      const joined = await lab.proxy(port, { kind: 'pass', requests: { coalesceMs: 5 }, responses: { coalesceMs: 5 } });
      const mesh = await lab.mesh({ endpoints: [sliced.port, joined.port] });
      const body = 'a body with some length';
      const judge = (received: Buffer): string | undefined => (received.toString() === body ? undefined : 'other');
      const count = lab.count(2_000, 300, 40);
      const tally = await load(mesh, { count, method: 'POST', body, judge });
      lab.equal('failures', tally.failures, 0);
      lab.check(sliced.accepted() > 0 && joined.accepted() > 0, 'both ways were used');
    },
  },
];
