// Servers of HTTP/2 that end connections, refuse streams, and change their minds about how many they want.
import { once } from 'node:events';
import {
  constants,
  createServer,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ChaosCase } from '../case.ts';
import type { Lab } from '../lab.ts';
import { load, pause, within } from '../load.ts';
import { noRetries } from '../resources.ts';

interface Http2Server {
  readonly port: number;
  /** How often each call was worked on, by `x-call`. */
  readonly worked: ReadonlyMap<string, number>;
  readonly sessions: readonly ServerHttp2Session[];
}

/** What a case does with a stream; `work` answers it and counts that. */
type OnStream = (stream: ServerHttp2Stream, work: () => void, session: Http2Session, number: number) => void;

async function http2Server(lab: Lab, onStream: OnStream): Promise<Http2Server> {
  const worked = new Map<string, number>();
  const sessions: ServerHttp2Session[] = [];
  const counts = new WeakMap<object, number>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const { session } = stream;
    if (session === undefined) return;
    const number = (counts.get(session) ?? 0) + 1;
    counts.set(session, number);
    const call = String(headers['x-call']);
    const work = (): void => {
      if (stream.destroyed) return;
      worked.set(call, (worked.get(call) ?? 0) + 1);
      stream.resume();
      stream.respond({ ':status': 200 });
      stream.end('ok');
    };
    onStream(stream, work, session, number);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  lab.teardown(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, worked, sessions };
}

/** Calls that were worked on more than once. */
const twice = ({ worked }: Http2Server): number => [...worked.values()].filter((times) => times > 1).length;

const post = { method: 'POST', body: 'once' };

export const http2Cases: readonly ChaosCase[] = [
  {
    id: 'EP-12',
    fault: 'HTTP/2: GOAWAY that leaves out streams that were sent',
    expected: 'those are sent again, whatever the method; nothing is worked on twice',
    quick: true,
    async run(lab) {
      let left = 0;
      const held = new WeakMap<object, ServerHttp2Stream[]>();
      const server = await http2Server(lab, (stream, work, session, number) => {
        // The first session takes five streams of ten, the others all.
        if (session !== server.sessions[0]) {
          work();
          return;
        }
        const streams = held.get(session) ?? [];
        held.set(session, streams);
        streams.push(stream);
        if (number <= 5) stream.once('go', work);
        else left++;
        if (number !== 10) return;
        session.goaway(constants.NGHTTP2_NO_ERROR, streams[4]?.id);
        for (const each of streams) each.emit('go');
      });
      const mesh = await lab.mesh({ endpoints: [server.port], protocol: 'http2', retries: noRetries });
      const tally = await load(mesh, { count: 10, concurrency: 10, ...post });
      lab.equal('visible failures of POST', tally.failures, 0);
      lab.equal('streams that were left out', left, 5);
      lab.equal('calls that were worked on', server.worked.size, 10);
      lab.equal('worked on twice', twice(server), 0);
      lab.check(server.sessions.length > 1, `connections: ${server.sessions.length}`);
    },
  },
  {
    id: 'EP-13',
    fault: 'HTTP/2: the server closes connections gracefully',
    expected: 'running streams finish; new ones go to a new connection',
    quick: true,
    async run(lab) {
      const server = await http2Server(lab, (_, work, session, number) => {
        setTimeout(work, 5);
        if (number === 20) session.close();
      });
      const mesh = await lab.mesh({ endpoints: [server.port], protocol: 'http2' });
      const count = lab.count(10_000, 2_000, 200);
      const tally = await load(mesh, { count, concurrency: 10, ...post });
      lab.equal('visible failures of POST', tally.failures, 0);
      lab.equal('worked on twice', twice(server), 0);
      lab.check(server.sessions.length >= count / 50, `connections: ${server.sessions.length}`);
    },
  },
  {
    id: 'EP-14',
    fault: 'HTTP/2: REFUSED_STREAM',
    expected: 'sent again once without being asked, then as the policy says',
    quick: true,
    async run(lab) {
      let refused = 0;
      let all = 0;
      const server = await http2Server(lab, (stream, work) => {
        // Every third stream, whoever it is.
        if (++all % 3 !== 0) work();
        else {
          refused++;
          stream.close(constants.NGHTTP2_REFUSED_STREAM);
        }
      });
      const mesh = await lab.mesh({ endpoints: [server.port], protocol: 'http2' });
      const tally = await load(mesh, { count: lab.count(5_000, 1_000, 100), concurrency: 5, ...post });
      lab.equal('visible failures of POST', tally.failures, 0);
      lab.check(refused > 10, `streams refused: ${refused}`);
      lab.equal('worked on twice', twice(server), 0);
      const never = await http2Server(lab, (stream) => {
        refused++;
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
      });
      refused = 0;
      const without = await lab.mesh({ endpoints: [never.port], protocol: 'http2', retries: { attempts: 0 } });
      const given = await load(without, { count: 1, ...post });
      lab.equal('streams of a call that is always refused, without retries', refused, 2);
      lab.equal('and its outcome', Object.keys(given.outcomes)[0]?.slice(0, 3), '503');
    },
  },
  {
    id: 'EP-15',
    fault: 'HTTP/2: SETTINGS_MAX_CONCURRENT_STREAMS falls to 1 and to 0',
    expected: 'calls wait, and do not fail',
    quick: true,
    async run(lab) {
      // Connections that come later have not been told of a limit.
      const open = new Map<object, number>();
      let most = 0;
      const server = await http2Server(lab, (stream, work) => {
        const session = stream.session as object;
        const count = open.get(session);
        if (count !== undefined) {
          open.set(session, count + 1);
          most = Math.max(most, count + 1);
          stream.once('close', () => open.set(session, (open.get(session) as number) - 1));
        }
        setTimeout(work, 2);
      });
      const mesh = await lab.mesh({ endpoints: [server.port], protocol: 'http2' });
      let over = false;
      const loading = load(mesh, { count: 1e9, concurrency: 30, enough: () => over, ...post });
      await within(10_000, () => server.worked.size > 50);
      const settings = (maxConcurrentStreams: number): Promise<void> =>
        Promise.all(
          server.sessions
            .filter(({ closed }) => !closed)
            .map(
              (session) => new Promise<void>((resolve) => session.settings({ maxConcurrentStreams }, () => resolve())),
            ),
        ).then(() => {});
      const told = [...server.sessions];
      await settings(1);
      await pause(50);
      for (const session of told) open.set(session, 0);
      await pause(lab.count(2_000, 500, 200));
      lab.atMost('streams at once on a connection, limit 1', most, 1);
      await settings(0);
      await pause(50);
      const before = server.worked.size;
      await pause(200);
      lab.note(`worked on while nothing is allowed on the old connections: ${server.worked.size - before}`);
      await settings(100);
      const again = server.worked.size;
      await within(10_000, () => server.worked.size > again + 50);
      over = true;
      const tally = await loading;
      lab.equal(`failures of ${tally.calls}`, tally.failures, 0);
      lab.equal('worked on twice', twice(server), 0);

      const shut = await http2Server(lab, (_, work) => work());
      const limits = { tcp: { maxConnections: 1 }, http: { http1MaxPendingRequests: 20 } };
      const policy = { connectionPool: limits };
      const bounded = await lab.mesh({ endpoints: [shut.port], protocol: 'http2', retries: noRetries, policy });
      await load(bounded, { count: 1 });
      const change = (maxConcurrentStreams: number): Promise<void> =>
        new Promise((resolve) => shut.sessions[0]?.settings({ maxConcurrentStreams }, () => resolve()));
      await change(0);
      const waiting = load(bounded, { count: 20, concurrency: 20, ...post });
      await pause(50);
      const more = await load(bounded, { count: 10, ...post });
      lab.equal('calls beyond those that may wait', more.outcomes, { '503 ERR_MESH_OVERFLOW': 10 });
      await change(100);
      lab.equal('failures of those that waited', (await waiting).failures, 0);
      lab.equal('connections, of which one is allowed', shut.sessions.length, 1);
    },
  },
];
