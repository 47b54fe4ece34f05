// What retries may cost, and what they must never do.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { request } from 'undici';
import { seededRandom } from '../../../src/lib/random.ts';
import { backoffMs } from '../../../src/retry/backoff.ts';
import type { ChaosCase } from '../case.ts';
import { brokenGreeter, greeterOf } from '../grpc.ts';
import { load, percentile, within } from '../load.ts';
import { answer, heads, httpServer } from '../servers.ts';

/** Retries that no budget stands in the way of. */
const freely = { retryBudget: { percent: 100, minRetryConcurrency: 1_000 } };

export const retryCases: readonly ChaosCase[] = [
  {
    id: 'POL-01',
    fault: 'every try takes all the time that it has',
    expected: 'the timeout of the call holds for all tries and the pauses between them',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab, () => {});
      const limitMs = lab.count(3_000, 1_500, 600);
      const mesh = await lab.mesh({
        endpoints: [server.port],
        timeout: `${limitMs / 1_000}s`,
        retries: { attempts: 10, perTryTimeout: `${limitMs / 3_000}s`, retryOn: 'reset,connect-failure' },
        policy: freely,
      });
      const count = lab.count(100, 50, 10);
      const tally = await load(mesh, { count, concurrency: 25 });
      lab.equal('outcomes', tally.outcomes, { '504 ERR_MESH_TIMEOUT': count });
      lab.check(server.seen.heads > count, `tries of ${count} calls: ${server.seen.heads}`);
      lab.time(`overshoot of ${limitMs} ms, p99`, percentile(tally.latencies, 0.99) - limitMs, 10, 1_500);
      lab.check((tally.latencies[0] ?? 0) > limitMs - 20, 'none ends before its time');
    },
  },
  {
    id: 'POL-02',
    fault: 'pauses between tries',
    expected: 'evenly spread between 0 and (2^N - 1) x 25 ms, at most 250 ms',
    quick: true,
    async run(lab) {
      const random = seededRandom(2);
      const samples = lab.count(100_000, 100_000, 20_000);
      for (const [retry, limit] of [
        [1, 25],
        [2, 75],
        [3, 175],
        [4, 250],
        [9, 250],
      ] as const) {
        const bins = new Array<number>(20).fill(0);
        for (let i = 0; i < samples; i++) {
          const bin = Math.floor((backoffMs(retry, 25, random) / limit) * bins.length);
          bins[bin] = (bins[bin] ?? 0) + 1;
        }
        const each = samples / bins.length;
        const chi = bins.reduce((sum, seen) => sum + (seen - each) ** 2 / each, 0);
        lab.equal(`retry ${retry}: pauses of ${limit} ms and more`, bins.length - 20, 0);
        // 19 degrees of freedom: one in a thousand is above 43.8
        lab.atMost(`retry ${retry}: chi-square over 20 bins up to ${limit} ms`, chi, 43.8);
      }
      const times: number[][] = [];
      const server = await httpServer(lab, (incoming, outgoing) => {
        const list = (times[Number(incoming.headers['x-call'])] ??= []);
        list.push(performance.now());
        answer(503)(incoming, outgoing);
      });
      const mesh = await lab.mesh({
        endpoints: [server.port],
        retries: { attempts: 3, retryOn: '5xx' },
        policy: freely,
      });
      const calls = lab.count(300, 100, 20);
      await load(mesh, { count: calls, concurrency: 4 });
      lab.equal('tries of each call', times.filter((list) => list?.length === 4).length, calls);
      const first = times.map((list) => (list?.[1] ?? 0) - (list?.[0] ?? 0)).sort((a, b) => a - b);
      lab.time('first pause on the wire, median', percentile(first, 0.5), 25, 500);
    },
  },
  {
    id: 'POL-03',
    fault: 'one of three endpoints answers 503',
    expected: 'a retry goes to another endpoint',
    quick: true,
    async run(lab) {
      const servers = [await httpServer(lab), await httpServer(lab), await httpServer(lab, answer(503))];
      const endpoints = servers.map(({ port }) => port);
      const mesh = await lab.mesh({ endpoints, retries: { attempts: 2, retryOn: '5xx' }, policy: freely });
      const count = lab.count(5_000, 1_000, 100);
      lab.equal('visible failures', (await load(mesh, { count })).failures, 0);
      const bad = servers[2]?.calls ?? new Map();
      lab.check(bad.size > 0, `calls that met the bad endpoint: ${bad.size}`);
      lab.equal('calls that met it twice', [...bad.values()].filter((times) => times > 1).length, 0);
    },
  },
  {
    id: 'POL-04',
    fault: 'the connection breaks after half of a body that is a stream',
    expected: 'no second try with what is left of the body',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab);
      const proxies = [await lab.proxy(server.port), await lab.proxy(server.port)];
      for (const proxy of proxies) proxy.use({ kind: 'pass', requests: { resetAt: 500_000 } });
      const endpoints = proxies.map(({ port }) => port);
      const mesh = await lab.mesh({ endpoints, retries: { attempts: 3, retryOn: 'reset,5xx' }, policy: freely });
      const calls = lab.count(200, 50, 5);
      const outcomes: Record<string, number> = {};
      for (let i = 0; i < calls; i++) {
        const chunk = Buffer.alloc(16_384, 'x');
        const body = Readable.from(
          (function* () {
            for (let sent = 0; sent < 2 ** 20; sent += chunk.length) yield chunk;
          })(),
        );
        const headers = { 'x-call': String(i) };
        const reply = await request('http://shop/', { dispatcher: mesh.dispatcher, method: 'PUT', headers, body });
        outcomes[reply.statusCode] = (outcomes[reply.statusCode] ?? 0) + 1;
        await reply.body.dump();
      }
      const streams = heads([server]);
      lab.equal('requests at the server', streams, calls);
      lab.equal('whole bodies', server.seen.whole, 0);
      lab.equal('answers', outcomes, { 503: calls });
      let whole = server.seen.whole;
      let streams2 = heads([server]);
      const fetched: Record<string, number> = {};
      for (let i = 0; i < calls; i++) {
        let left = 64;
        const body = new ReadableStream({
          pull(controller) {
            if (left-- > 0) controller.enqueue(Buffer.alloc(16_384, 'x'));
            else controller.close();
          },
        });
        const init = { method: 'PUT', body, duplex: 'half' } as RequestInit;
        const { status } = await mesh.fetch('http://shop/', init);
        fetched[status] = (fetched[status] ?? 0) + 1;
      }
      whole = server.seen.whole - whole;
      streams2 = heads([server]) - streams2;
      lab.equal(
        'with fetch and a ReadableStream: requests, whole bodies, answers',
        [streams2, whole, fetched],
        [calls, 0, { 503: calls }],
      );
      const text = 'y'.repeat(40_000);
      for (const proxy of proxies)
        proxy.use((connection) =>
          connection % 2 === 0 ? { kind: 'pass' } : { kind: 'pass', requests: { resetAt: 20_000 } },
        );
      const judge = (body: Buffer): string | undefined => (body.length === text.length ? undefined : 'short');
      const replayed = await load(mesh, { count: calls, concurrency: 1, method: 'PUT', body: text, judge });
      lab.note(`a body that is a string: ${JSON.stringify(replayed.outcomes)}`);
      lab.equal('bodies that arrived short and were answered', replayed.outcomes['short'] ?? 0, 0);
    },
  },
  {
    id: 'POL-05',
    fault: 'an outage: every endpoint answers 503',
    expected: 'retries stop at a fifth of what is under way, or at 3',
    quick: true,
    async run(lab) {
      const retries = { attempts: 3, retryOn: '5xx' };
      const concurrency = 50;
      const count = lab.count(20_000, 5_000, 1_000);
      for (const [name, policy] of [
        ['by default', undefined],
        ['with a retryBudget', { retryBudget: { percent: 20, minRetryConcurrency: 3 } }],
      ] as const) {
        const servers = [];
        for (let i = 0; i < 3; i++) {
          servers.push(
            await httpServer(lab, (incoming, outgoing) => void setTimeout(() => answer(503)(incoming, outgoing), 10)),
          );
        }
        const endpoints = servers.map(({ port }) => port);
        const mesh = await lab.mesh({ endpoints, retries, ...(policy === undefined ? {} : { policy }) });
        const tally = await load(mesh, { count, concurrency });
        lab.equal(`${name}: calls that failed`, tally.failures, count);
        const share = heads(servers) / count;
        lab.check(share > 1, `${name}: there are some retries`);
        lab.atMost(`${name}: requests at the servers for each call`, share, 1.2 + 23 / count + 3 / concurrency);
      }
    },
  },
  {
    id: 'POL-06',
    fault: 'gRPC retry throttling',
    expected: 'retries stop at half of the tokens',
    quick: true,
    async run(lab) {
      const server = await brokenGreeter(lab);
      const mesh = await lab.mesh({ endpoints: [server.port] }, { retryBudget: 'off' });
      const greet = greeterOf(lab, mesh, {
        retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
        methodConfig: [
          {
            name: [{ service: 'shop.Greeter' }],
            retryPolicy: {
              maxAttempts: 3,
              initialBackoff: '0.001s',
              maxBackoff: '0.001s',
              backoffMultiplier: 1,
              retryableStatusCodes: ['UNAVAILABLE'],
            },
          },
        ],
      });
      const tries: number[] = [];
      for (let i = 0; i < lab.count(100, 50, 10); i++) {
        const before = server.calls();
        await greet();
        tries.push(server.calls() - before);
      }
      // 9, 8, 7 tokens; then 6 and 5, which is half of ten; then one each, down to none.
      lab.equal('tries of the first calls', tries.slice(0, 4), [3, 2, 1, 1]);
      lab.equal('tries of all others', Math.max(...tries.slice(2)), 1);
    },
  },
  {
    id: 'POL-07',
    fault: 'hedging after 50 ms',
    expected: 'the first good answer counts, the other is cancelled; never for what is not idempotent',
    quick: true,
    async run(lab) {
      const answered = new Map<string, number>();
      const cancels: number[] = [];
      const completed = new Map<string, number>();
      const complete = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
        const call = String(incoming.headers['x-call']);
        completed.set(call, (completed.get(call) ?? 0) + 1);
        answered.set(call, performance.now());
        outgoing.end('done');
      };
      const fast = await httpServer(lab, (incoming, outgoing) => {
        incoming.resume();
        complete(incoming, outgoing);
      });
      const slow = await httpServer(lab, (incoming, outgoing) => {
        incoming.resume();
        const timer = setTimeout(() => complete(incoming, outgoing), 1_500);
        outgoing.on('close', () => {
          clearTimeout(timer);
          const at = answered.get(String(incoming.headers['x-call']));
          if (!outgoing.writableFinished && at !== undefined) cancels.push(performance.now() - at);
        });
      });
      const mesh = await lab.mesh({
        endpoints: [fast.port, slow.port],
        routeAnnotations: { 'inmesh.dev/hedge': '{"after": "50ms"}' },
        policy: { ...freely, loadBalancer: { simple: 'ROUND_ROBIN' } },
      });
      const count = lab.count(1_000, 200, 40);
      const gets = await load(mesh, { count, concurrency: 4 });
      lab.equal('visible failures of GET', gets.failures, 0);
      lab.check(slow.seen.heads >= count / 10, `calls that met the slow endpoint: ${slow.seen.heads}`);
      lab.time('slowest GET', gets.latencies.at(-1) ?? 0, 100, 1_400);
      await within(60_000, () => cancels.length >= slow.seen.heads);
      lab.equal(
        'GETs that were worked on to the end once',
        [...completed.values()].filter((times) => times === 1).length,
        count,
      );
      cancels.sort((a, b) => a - b);
      lab.time('cancelled after the answer of the other, p99', percentile(cancels, 0.99), 20, 1_000);
      completed.clear();
      const before = heads([fast, slow]);
      const posts = await load(mesh, { count: 8, concurrency: 8, method: 'POST', body: 'once' });
      lab.equal('visible failures of POST', posts.failures, 0);
      lab.equal('POSTs that arrived, of 8', heads([fast, slow]) - before, 8);
      lab.check((posts.latencies.at(-1) ?? 0) > 1_400, 'a slow POST is waited for');
    },
  },
];
