// Endpoints that cannot be reached, or break the connection before they answer.
import { connect } from 'node:net';
import type { ChaosCase } from '../case.ts';
import { load, pause, percentile } from '../load.ts';
import { eager, noRetries } from '../resources.ts';
import { duplicates, heads, httpServer, rawServer, refusingPort } from '../servers.ts';
import { victim } from '../victims.ts';

/** Retries whatever breaks before an answer. */
const onReset = { attempts: 2, retryOn: 'connect-failure,refused-stream,reset,503' };

export const connectionCases: readonly ChaosCase[] = [
  {
    id: 'EP-01',
    fault: 'connection refused',
    expected: 'another endpoint at once, whatever the method; counts as a failure of the endpoint',
    quick: true,
    async run(lab) {
      const servers = [await httpServer(lab), await httpServer(lab)];
      const ports = [...servers.map(({ port }) => port), await refusingPort()];
      const count = lab.count(3_000, 500, 60);
      const healthy = await lab.mesh({ endpoints: ports.slice(0, 2) });
      await load(healthy, { count });
      const base = percentile((await load(healthy, { count })).latencies, 0.99);
      const before = heads(servers);
      const mesh = await lab.mesh({ endpoints: ports });
      const gets = await load(mesh, { count });
      const posts = await load(mesh, { count, method: 'POST', body: 'once', headers: { 'x-post': '1' } });
      lab.equal('visible failures of GET', gets.failures, 0);
      lab.equal('visible failures of POST', posts.failures, 0);
      lab.equal('calls that reached servers', heads(servers) - before, 2 * count);
      lab.time('p99, more than without the endpoint', percentile(gets.latencies, 0.99) - base, 10, 500);
      const watched = await lab.mesh({ endpoints: ports, policy: { outlierDetection: eager } });
      await load(watched, { count: 60 });
      const split = { ...eager, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 5 };
      const local = await lab.mesh({ endpoints: ports, policy: { outlierDetection: split } });
      await load(local, { count: 60 });
      for (const [mesh, cause] of [
        [watched, 'consecutive_5xx'],
        [local, 'consecutive_local_origin_failure'],
      ] as const) {
        const out = mesh.stats().endpoints.filter(({ healthy }) => !healthy);
        lab.equal(
          'ejected',
          out.map(({ address, reason }) => [address, reason]),
          [[`127.0.0.1:${ports[2]}`, cause]],
        );
      }
    },
  },
  {
    id: 'EP-02',
    fault: 'connection reset right after it was accepted',
    expected: 'no failure of idempotent methods; no POST arrives twice',
    quick: true,
    async run(lab) {
      const good = await httpServer(lab);
      const behind = await httpServer(lab);
      const bad = await lab.proxy(behind.port, { kind: 'reset' });
      const count = lab.count(2_000, 500, 60);
      const mesh = await lab.mesh({ endpoints: [good.port, bad.port], retries: onReset });
      const gets = await load(mesh, { count });
      lab.equal('visible failures of GET', gets.failures, 0);
      const defaults = await lab.mesh({ endpoints: [good.port, bad.port] });
      const posts = await load(defaults, { count, method: 'POST', body: 'once', headers: { 'x-call': 'p' } });
      lab.check(bad.accepted() > 0, `connections reset: ${bad.accepted()}`);
      lab.equal('requests behind the resets', behind.seen.heads, 0);
      lab.note(`POST with the default policy: ${JSON.stringify(posts.outcomes)}`);
      lab.equal('POSTs that arrived = POSTs that succeeded', good.calls.get('p') ?? 0, posts.outcomes['200'] ?? 0);
    },
  },
  {
    id: 'EP-03',
    fault: 'SYN goes into a black hole (frozen process, full backlog)',
    expected: 'connect timeout, then another endpoint; nobody goes on dialling',
    async run(lab) {
      const frozen = await victim(lab, { backlog: 1 });
      frozen.freeze();
      lab.teardown(() => frozen.thaw());
      let connected = 0;
      for (let i = 0; i < 6; i++) {
        const socket = connect(frozen.port, '127.0.0.1', () => connected++).on('error', () => {});
        lab.teardown(() => socket.destroy());
      }
      await pause(300);
      lab.check(connected < 6, `${connected} of 6 connections fit into the backlog`);
      const good = await httpServer(lab);
      const connectTimeoutMs = 500;
      const mesh = await lab.mesh({
        endpoints: [good.port, frozen.port],
        policy: { connectionPool: { tcp: { connectTimeout: '0.5s' } } },
      });
      const tally = await load(mesh, { count: lab.count(40, 20), concurrency: 5 });
      lab.equal('visible failures', tally.failures, 0);
      const slowest = tally.latencies.at(-1) ?? 0;
      lab.check(slowest > 400, 'some calls met the black hole');
      lab.time('slowest call', slowest, connectTimeoutMs + 50, connectTimeoutMs + 2_500);
      const busy = mesh.stats().endpoints.filter(({ inFlight }) => inFlight > 0);
      lab.equal('still under way', busy.length, 0);
    },
  },
  {
    id: 'EP-04',
    fault: 'accepts, never answers',
    expected: 'the time of the try ends it, another endpoint answers; 504 when all time is spent',
    quick: true,
    async run(lab) {
      const good = await httpServer(lab);
      const silent = await lab.proxy(good.port, { kind: 'blackHole' });
      const retries = { attempts: 2, perTryTimeout: '0.3s', retryOn: 'reset,connect-failure' };
      const mesh = await lab.mesh({ endpoints: [good.port, silent.port], retries });
      const tally = await load(mesh, { count: lab.count(200, 50, 10), concurrency: 5 });
      lab.equal('visible failures', tally.failures, 0);
      lab.check(silent.accepted() > 0, `connections that nobody answers: ${silent.accepted()}`);
      const alone = await lab.mesh({ endpoints: [silent.port], retries: noRetries, timeout: '0.4s' });
      const late = await load(alone, { count: lab.count(200, 50, 5), concurrency: 5 });
      lab.equal('outcomes with nobody else', Object.keys(late.outcomes), ['504 ERR_MESH_TIMEOUT']);
      lab.time('overshoot of the deadline, p99', percentile(late.latencies, 0.99) - 400, 10, 1_500);
    },
  },
  {
    id: 'EP-05',
    fault: 'process killed before it sent response headers',
    expected: 'a POST is not sent again by the default policy: 503; no POST arrives twice; GET by policy',
    quick: true,
    async run(lab) {
      const rounds = lab.count(25, 8, 1);
      const calls = 40;
      let posts = 0;
      let answered = 0;
      for (let i = 0; i < rounds; i++) {
        const good = await httpServer(lab);
        const dies = await victim(lab);
        const mesh = await lab.mesh({
          endpoints: [good.port, dies.port],
          policy: { loadBalancer: { simple: 'ROUND_ROBIN' } },
        });
        const loading = load(mesh, { count: calls, concurrency: calls, method: 'POST', path: '/hang', body: 'once' });
        await dies.arrived(calls / 2);
        await dies.kill();
        const tally = await loading;
        const twice = [...good.calls.keys()].filter((call) => dies.begun.includes(call));
        posts += twice.length + duplicates([good]);
        answered += (tally.outcomes['200'] ?? 0) + (tally.outcomes['503 ERR_MESH_UPSTREAM_RESET'] ?? 0);
      }
      lab.equal(`POSTs that arrived twice, of ${rounds * calls}`, posts, 0);
      lab.equal('answered 200 or 503 reset', answered, rounds * calls);
      const good = await httpServer(lab);
      const dies = await victim(lab);
      const mesh = await lab.mesh({ endpoints: [good.port, dies.port], retries: onReset });
      const loading = load(mesh, { count: calls, concurrency: calls, path: '/hang' });
      await dies.arrived(5);
      await dies.kill();
      lab.equal('visible failures of GET that the policy retries', (await loading).failures, 0);
    },
  },
  {
    id: 'EP-06',
    fault: 'process killed in the middle of the response body',
    expected: 'the body ends with an error, never short; nothing is tried again after the headers',
    quick: true,
    async run(lab) {
      const rounds = lab.count(25, 5, 1);
      const calls = lab.count(400, 200, 50);
      const outcomes: Record<string, number> = {};
      let again = 0;
      for (let i = 0; i < rounds; i++) {
        const dies = await victim(lab);
        const mesh = await lab.mesh({ endpoints: [dies.port], retries: onReset });
        const loading = load(mesh, { count: calls, concurrency: calls, path: '/half?bytes=20000' });
        await dies.arrived(calls);
        await pause(50);
        await dies.kill();
        for (const [outcome, count] of Object.entries((await loading).outcomes)) {
          outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
        }
        again += dies.begun.length - calls;
      }
      lab.equal(`whole bodies, of ${rounds * calls} that broke off`, outcomes['200'] ?? 0, 0);
      lab.equal('tried again after the headers', again, 0);
      lab.note(JSON.stringify(outcomes));
    },
  },
  {
    id: 'EP-07',
    fault: 'body shorter than its Content-Length',
    expected: 'an error, and a connection of its own for the next call',
    quick: true,
    run: (lab) => shortBody(lab, `HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n${'x'.repeat(90)}`),
  },
  {
    id: 'EP-08',
    fault: 'chunked body without its last chunk',
    expected: 'an error, and a connection of its own for the next call',
    quick: true,
    run: (lab) => shortBody(lab, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'),
  },
  {
    id: 'EP-09',
    fault: 'the response drips',
    expected: 'the timeout of the call ends it in the middle of the body, or that of a pause without a byte',
    async run(lab) {
      const { port } = await rawServer(lab, (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
        const drip = setInterval(() => socket.write('x'), 1_000);
        socket.on('close', () => clearInterval(drip));
        socket.resume();
      });
      // A byte a second is enough for this pause, and not for the whole time.
      const patient = { 'inmesh.dev/per-try-idle-timeout': '1.5s' };
      const mesh = await lab.mesh({ endpoints: [port], timeout: '2.5s', routeAnnotations: patient });
      const tally = await load(mesh, { count: lab.count(40, 20), concurrency: 20 });
      lab.equal('whole bodies', tally.outcomes['200'] ?? 0, 0);
      lab.note(JSON.stringify(tally.outcomes));
      lab.check((tally.latencies[0] ?? 0) > 2_400, 'none was cut between two bytes');
      lab.time('cut after the limit of 2500 ms, p99', percentile(tally.latencies, 0.99) - 2_500, 50, 1_500);
      const routeAnnotations = { 'inmesh.dev/per-try-idle-timeout': '0.2s' };
      const hasty = await lab.mesh({ endpoints: [port], timeout: '30s', routeAnnotations });
      const between = await load(hasty, { count: lab.count(40, 20), concurrency: 20 });
      lab.equal('whole bodies that drip too slowly', between.outcomes['200'] ?? 0, 0);
      lab.time('cut between two bytes, after 200 ms, p99', percentile(between.latencies, 0.99) - 200, 50, 700);
      const silent = await rawServer(lab, (socket) => {
        socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx'));
      });
      const impatient = await lab.mesh({ endpoints: [silent.port], timeout: '30s', routeAnnotations });
      const idle = await load(impatient, { count: lab.count(40, 20), concurrency: 10 });
      lab.equal('whole bodies of those that stop', idle.outcomes['200'] ?? 0, 0);
      lab.time('cut after the pause of 200 ms, p99', percentile(idle.latencies, 0.99) - 200, 50, 5_000);
    },
  },
  {
    id: 'EP-10',
    fault: 'the server ends its side of an idle connection and keeps reading',
    expected: 'the connection is not used again',
    quick: true,
    async run(lab) {
      const { accepted, port } = await rawServer(
        lab,
        (socket) => {
          socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok', () => socket.end()));
        },
        true,
      );
      const mesh = await lab.mesh({ endpoints: [port], retries: noRetries });
      const count = lab.count(1_000, 300, 50);
      // A call every now and then: the FIN of the one before has been seen.
      const gets = await load(mesh, { count, concurrency: 1, pauseMs: 2 });
      const posts = await load(mesh, { count, concurrency: 1, pauseMs: 2, method: 'POST', body: 'x' });
      lab.equal('visible failures', gets.failures + posts.failures, 0);
      lab.equal('connections', accepted(), 2 * count);
    },
  },
  {
    id: 'EP-11',
    fault: 'the server closes an idle connection as the next request leaves on it',
    expected: 'an idempotent request is sent again without being asked; no POST arrives twice',
    quick: true,
    async run(lab) {
      const posts = new Map<string, number>();
      const { accepted, port } = await rawServer(lab, (socket) => {
        let timer: NodeJS.Timeout | undefined;
        socket.on('data', (bytes) => {
          clearTimeout(timer);
          const text = bytes.toString('latin1');
          const call = /x-call: (\d+)/.exec(text)?.[1] ?? '';
          if (text.startsWith('POST')) posts.set(call, (posts.get(call) ?? 0) + 1);
          socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
          timer = setTimeout(() => socket.destroy(), 3);
        });
      });
      const mesh = await lab.mesh({ endpoints: [port], retries: noRetries });
      const count = lab.count(100_000, 10_000, 1_000);
      const gets = await load(mesh, { count, concurrency: 20, pauseMs: 2 });
      lab.equal(`visible failures of ${count} GETs`, gets.failures, 0);
      const sent = await load(mesh, { count: count / 10, concurrency: 20, pauseMs: 2, method: 'POST' });
      lab.check(accepted() > count / 100, `connections, each closed by the server: ${accepted()}`);
      lab.equal('POSTs that arrived twice', [...posts.values()].filter((times) => times > 1).length, 0);
      lab.equal(
        'POSTs that were answered, and did not arrive',
        Math.max(0, (sent.outcomes['200'] ?? 0) - posts.size),
        0,
      );
      lab.note(`POSTs: ${sent.calls} called, ${posts.size} arrived, ${JSON.stringify(sent.outcomes)}`);
    },
  },
];

async function shortBody(lab: Parameters<NonNullable<ChaosCase['run']>>[0], response: string): Promise<void> {
  const { accepted, port } = await rawServer(lab, (socket) => {
    socket.once('data', () => socket.end(response));
  });
  const count = lab.count(2_000, 500, 50);
  const mesh = await lab.mesh({ endpoints: [port], retries: onReset });
  const tally = await load(mesh, { count });
  lab.equal('bodies that ended as if they were whole', tally.outcomes['200'] ?? 0, 0);
  lab.equal('connections', accepted(), count);
  lab.note(JSON.stringify(tally.outcomes));
}
