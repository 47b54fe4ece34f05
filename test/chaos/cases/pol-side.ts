// What happens beside a call must not be felt by it.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { startOtel } from '../../../packages/otel/src/index.ts';
import { fakeClock } from '../../support/fake-clock.ts';
import type { ChaosCase } from '../case.ts';
import { heldMiB } from '../heap.ts';
import type { Lab, LabMesh } from '../lab.ts';
import { load, pause, within } from '../load.ts';
import { noRetries, type Place, serviceResources } from '../resources.ts';
import { echo, httpServer, type LabServer } from '../servers.ts';
import { serving } from '../serving.ts';
import { inTurns } from '../turns.ts';

/** A service with a mirror. */
function mirrored(lab: Lab, shop: Place, shadow: Place, more: object = {}): Promise<LabMesh> {
  return lab.mesh({
    endpoints: [shop],
    retries: noRetries,
    route: { mirrors: [{ destination: { host: 'shadow.shop.svc.cluster.local' } }] },
    more: serviceResources({ name: 'shadow', endpoints: [shadow] }),
    ...more,
  });
}

/** A service that never ends its answers, in a process of its own: what it does for that must not be taken for the mesh's work. */
async function endless(lab: Lab): Promise<number> {
  const program = fileURLToPath(new URL('../../bench/mirror/shadow-process.ts', import.meta.url));
  const child = fork(program, ['flood'], { execArgv: ['--disable-warning=ExperimentalWarning'] });
  lab.teardown(() => child.kill());
  const [port] = (await once(child, 'message')) as [number];
  return port;
}

export const sideCases: readonly ChaosCase[] = [
  {
    id: 'POL-18',
    fault: 'the mirror is dead, slow, or never ends its answers',
    expected: 'calls do not notice',
    quick: true,
    async run(lab) {
      const primary = await httpServer(lab);
      const alone = await lab.mesh({ endpoints: [primary.port], retries: noRetries });
      const slow: RequestListener = (incoming, outgoing) =>
        void setTimeout(() => echo(incoming, outgoing), 10_000).unref();
      const hole = await lab.proxy(primary.port, { kind: 'blackHole' });
      const targets: Record<string, number> = {
        dead: hole.port,
        slow: (await httpServer(lab, slow)).port,
        endless: await endless(lab),
      };
      const others: Record<string, LabMesh> = {};
      for (const [name, port] of Object.entries(targets)) others[name] = await mirrored(lab, primary.port, port);
      const before = await heldMiB();
      await inTurns(lab, { base: alone, others, count: lab.count(1_000, 400, 60), rounds: lab.count(100, 20, 2) });
      // Copies under way, and what mirrors have sent for them: all of them together.
      lab.atMost('growth of what is held', (await heldMiB()) - before, 32, ' MiB');
    },
  },
  {
    id: 'POL-19',
    fault: 'a large upload is mirrored',
    expected: 'what is too large is not copied; the upload goes on at its own speed',
    quick: true,
    async run(lab) {
      let received = 0;
      let copied = 0;
      const counting =
        (add: (bytes: number) => void): RequestListener =>
        (incoming, outgoing) => {
          incoming.on('data', (chunk: Buffer) => add(chunk.length));
          incoming.on('end', () => outgoing.end());
          incoming.on('error', () => {});
        };
      const primary = await httpServer(
        lab,
        counting((bytes) => void (received += bytes)),
      );
      const shadow: LabServer = await httpServer(
        lab,
        counting((bytes) => void (copied += bytes)),
      );
      const size = lab.count(1_024, 128, 8) * 2 ** 20;
      const upload = async (mesh: LabMesh): Promise<number> => {
        const chunk = Buffer.alloc(65_536, 'x');
        const body = Readable.from(
          (function* () {
            for (let sent = 0; sent < size; sent += chunk.length) yield chunk;
          })(),
        );
        const from = performance.now();
        const reply = await request('http://shop/', { dispatcher: mesh.dispatcher, method: 'POST', body });
        await reply.body.dump();
        lab.equal('status', reply.statusCode, 200);
        return size / 2 ** 20 / ((performance.now() - from) / 1_000);
      };
      const alone = await lab.mesh({ endpoints: [primary.port], retries: noRetries });
      const bare = await upload(alone);
      const mesh = await mirrored(lab, primary.port, shadow.port);
      const before = process.memoryUsage().rss;
      const speed = await upload(mesh);
      lab.equal('bytes that arrived', received, 2 * size);
      lab.equal('whole copies', shadow.seen.whole, 0);
      lab.atMost('bytes that were copied', copied / 2 ** 20, 1, ' MiB');
      lab.atMost('growth of the process', (process.memoryUsage().rss - before) / 2 ** 20, 200, ' MiB');
      lab.note(`MiB/s: ${bare.toFixed(0)} alone, ${speed.toFixed(0)} with a mirror`);
      lab.goal('the upload takes longer by a factor of', bare / speed, 1.02, 4, 'times');
    },
  },
  {
    id: 'POL-20',
    fault: 'a rate limiter under a clock that is set, in two processes',
    expected: 'no burst',
    quick: true,
    async run(lab) {
      const limit = {
        apiVersion: 'inmesh.dev/v1',
        kind: 'RateLimit',
        metadata: { name: 'shop', namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: 'shop' } },
          local: [{ name: 'all', tokenBucket: { maxTokens: 10, tokensPerFill: 10, fillInterval: '1s' } }],
        },
      };
      const clock = fakeClock();
      let passed = 0;
      const handler: RequestListener = (_, outgoing) => {
        passed++;
        outgoing.end();
      };
      const workers = [
        await serving(lab, 'shop', handler, [limit], { clock }),
        await serving(lab, 'shop', handler, [limit], { clock }),
      ];
      const mesh = await lab.mesh({ endpoints: workers.map(({ port }) => port), retries: noRetries });
      const allowed = async (): Promise<number> => {
        const before = passed;
        await load(mesh, { count: 200 });
        return passed - before;
      };
      lab.equal('200 calls, 10 for each of two processes', await allowed(), 20);
      for (const hours of [-1, 1, 24 * 365]) {
        clock.jump(hours * 3_600_000);
        lab.equal(`after the clock was set by ${hours} h`, await allowed(), 0);
      }
      clock.advance(500);
      lab.check((await allowed()) <= 20, 'half a second later: no more than there are');
      clock.advance(1_000);
      lab.equal('a second later', await allowed(), 20);
    },
  },
  {
    id: 'POL-21',
    fault: 'nobody takes the traces: the collector accepts and never answers, or drops every connection',
    expected: 'no effect',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab);
      const place = { endpoints: [server.port], retries: noRetries };
      const collector = await httpServer(lab, (incoming, outgoing) => {
        incoming.resume().on('end', () => void outgoing.writeHead(202).end());
      });
      const hole = await lab.proxy(collector.port, { kind: 'blackHole' });
      const dropping = createTcp((socket) => void socket.destroy());
      dropping.listen(0, '127.0.0.1');
      await new Promise((resolve) => dropping.once('listening', resolve));
      lab.teardown(() => dropping.close());
      const traced = async (port: number) => {
        const otel = startOtel({
          environment: { OTEL_EXPORTER_ZIPKIN_ENDPOINT: `http://127.0.0.1:${port}/api/v2/spans` },
          samplingPercent: 100,
          maxQueueSize: 256,
          maxExportBatchSize: 64,
          scheduledDelayMs: 50,
          exportTimeoutMs: 2_000,
          shutdownTimeoutMs: 500,
        });
        return { otel, mesh: await lab.mesh(place, { tracing: otel }) };
      };
      const taken = await traced(collector.port);
      const others = {
        'spans that are never answered': await traced(hole.port),
        'spans that are dropped': await traced((dropping.address() as AddressInfo).port),
      };
      const plain = await lab.mesh(place);
      const count = lab.count(1_000, 400, 60);
      const rounds = lab.count(100, 20, 2);
      const meshes = Object.fromEntries(Object.entries(others).map(([name, { mesh }]) => [name, mesh]));
      const calls = await inTurns(lab, {
        base: taken.mesh,
        others: { ...meshes, 'no spans at all': plain },
        count,
        rounds,
      });
      for (const [name, { otel }] of Object.entries({ 'spans that are taken': taken, ...others })) {
        const { dropped, exported, failed, queued, sending } = otel.counts();
        lab.equal(`${name}: accounted for`, dropped + exported + failed + queued + sending, calls);
        lab.check(queued <= 256 && sending <= 320, `${name}: ${queued} wait, ${sending} are sent, ${dropped} dropped`);
      }
      const before = performance.now();
      await others['spans that are never answered'].mesh.close();
      lab.time('closing the mesh with a collector that never answers', performance.now() - before, 600, 5_000);
    },
  },
  {
    id: 'POL-22',
    fault: 'a call is stopped during an injected delay',
    expected: 'its timer is gone',
    quick: true,
    async run(lab) {
      const server = await httpServer(lab);
      const clock = fakeClock();
      const route = { fault: { delay: { percentage: { value: 100 }, fixedDelay: '3600s' } } };
      const mesh = await lab.mesh({ endpoints: [server.port], retries: noRetries, route }, { clock });
      const before = clock.pending();
      const stop = new AbortController();
      const count = lab.count(10_000, 2_000, 200);
      const calls = Array.from({ length: count }, () =>
        request('http://shop/', { dispatcher: mesh.dispatcher, signal: stop.signal }).catch(({ name }: Error) => name),
      );
      await within(20_000, () => clock.pending() >= before + count);
      lab.check(clock.pending() > before, `timers during the delay: ${clock.pending() - before}`);
      // undici watches one signal for all of them
      stop.abort();
      const outcomes = new Set(await Promise.all(calls));
      lab.equal('calls', [...outcomes], ['AbortError']);
      lab.equal('timers afterwards', clock.pending() - before, 0);
      lab.equal('requests at the server', server.seen.heads, 0);
    },
  },
  {
    id: 'POL-23',
    fault: 'A gives B a second, B asks C, C never answers',
    expected: 'each hop has what is left, less a margin; nobody works on after the deadline',
    quick: true,
    async run(lab) {
      const limitMs = lab.count(1_000, 1_000, 600);
      const told: number[] = [];
      let abortedAt = 0;
      const { port: c } = await serving(lab, 'c', (incoming) => {
        told.push(Number(incoming.headers['x-envoy-expected-rq-timeout-ms']));
        incoming.on('close', () => (abortedAt = performance.now()));
      });
      const toC = await lab.mesh({ name: 'c', endpoints: [c], retries: noRetries });
      const outcomes: string[] = [];
      const handler: RequestListener = (incoming, outgoing) => {
        told.push(Number(incoming.headers['x-envoy-expected-rq-timeout-ms']));
        const from = performance.now();
        // Inside the scope of the request: nothing is handed on by hand.
        void request('http://c/', { dispatcher: toC.dispatcher }).then(async ({ body, headers, statusCode }) => {
          await body.dump();
          outcomes.push(`${statusCode} ${headers['x-inmesh-error']} ${performance.now() - from <= limitMs + 1_500}`);
          outgoing.writeHead(statusCode).end();
        });
      };
      const { port: b } = await serving(lab, 'b', handler);
      const a = await lab.mesh({ name: 'b', endpoints: [b], retries: noRetries, timeout: `${limitMs / 1_000}s` });
      const from = performance.now();
      const tally = await load(a, { count: 1, url: 'http://b' });
      lab.equal('A sees', Object.keys(tally.outcomes)[0]?.slice(0, 3), '504');
      lab.time('A waits', (tally.latencies[0] ?? 0) - limitMs, 10, 1_500);
      await within(60_000, () => outcomes.length > 0 && abortedAt > 0);
      await pause(10);
      lab.equal('B sees', outcomes, ['504 ERR_MESH_DEADLINE_EXPIRED true']);
      const [atB = 0, atC = 0] = told;
      lab.check(atB <= limitMs && atC < atB && atC > 0, `told to B: ${atB} ms, to C: ${atC} ms`);
      lab.time('C is left alone after the deadline by', abortedAt - from - limitMs, 10, 1_500);
    },
  },
];
