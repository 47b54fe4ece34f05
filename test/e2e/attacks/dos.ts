import { once } from 'node:events';
import { type Socket, connect as tcpConnect } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { LocalRateLimit } from '../../../src/model/rate-limit.ts';
import type { Peer } from '../../../src/pipeline/scope.ts';
import { Buckets } from '../../../src/ratelimit/buckets.ts';
import { createMetrics } from '../../../src/telemetry/metrics.ts';
import { serverSeries } from '../../../src/telemetry/server-filter.ts';
import { Lab } from '../../chaos/lab.ts';
import { httpServer } from '../../chaos/servers.ts';
import { frameTypes } from '../../support/http2-frames.ts';
import { endHeaders, literals, rawHttp2 } from '../../support/http2-raw-client.ts';
import { parseAnswers, rawExchange } from '../../support/inbound.ts';
import { quickCount } from './catalogue.ts';
import type { Layer, Outcome, Script, Target } from './layers.ts';
import { tlsOf } from './send.ts';

const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';

/** What a connection is told until it ends. */
async function toTheEnd(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => void (text += chunk));
  socket.on('error', () => {});
  await once(socket, 'close');
  return text;
}

/** Says a part of a request and no more. */
const silentAfter =
  (part: string): Script =>
  async ({ plainPort }) => {
    const socket = tcpConnect({ host: '127.0.0.1', port: plainPort });
    socket.write(part);
    const [answer] = parseAnswers(await toTheEnd(socket));
    return { status: answer?.status, body: answer?.body ?? '' };
  };

const post = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'web'],
] as const;

/** The same by frames: a body that stops, or a response that is not taken. */
async function stalled(target: Target, kind: 'body' | 'response'): Promise<Outcome> {
  const settings: Record<number, number> = kind === 'response' ? { 4: 0 } : {};
  const tls = target.way.speaks === 'h2' ? tlsOf(target) : undefined;
  const client = rawHttp2(target.port, tls === undefined ? { settings } : { tls, settings });
  client.send(frameTypes.headers, endHeaders, 1, literals(post));
  client.send(frameTypes.data, kind === 'response' ? 1 : 0, 1, Buffer.from('body'));
  const stream = (): ReturnType<typeof client.streams.get> => client.streams.get(1);
  await client.until(() => stream()?.ended === true || stream()?.reset !== undefined);
  client.destroy();
  if (kind === 'body') return { status: stream()?.status, body: stream()?.body ?? '' };
  return stream()?.reset === undefined ? { problem: 'the stream waits for ever' } : {};
}

const idle: Script = async (target, input) => {
  const count = target.full ? Number(input['n']) : quickCount(input);
  const sockets: Socket[] = [];
  let connected = 0;
  for (let i = 0; i < count; i++) {
    const socket = tcpConnect({ host: '127.0.0.1', port: target.plainPort });
    socket.on('error', () => {}).on('connect', () => void connected++);
    sockets.push(socket.resume());
    // No more at a time than wait to be accepted.
    if (i % 250 === 249) await once(socket, 'connect');
  }
  const [answer] = await rawExchange(target.plainPort, get);
  await Promise.all(sockets.map((socket) => (socket.closed ? undefined : once(socket, 'close'))));
  if (connected < count) return { problem: `only ${connected} connections were made` };
  return answer?.status === 200 ? {} : { problem: 'others are not served meanwhile' };
};

/** A case about what is called: with a mesh of its own. */
function calling(run: (lab: Lab) => Promise<string | undefined>): () => Promise<Outcome> {
  return async () => {
    const lab = new Lab('quick');
    try {
      const problem = await run(lab);
      return problem === undefined ? {} : { problem };
    } finally {
      await lab.close();
    }
  };
}

const short = 60;

/** What takes time or memory from the server. */
export const dosLayer: Layer = {
  name: 'dos',
  heavy: true,
  mesh: () => ({
    limits: { headersTimeoutMs: short, bodyIdleMs: short, responseIdleMs: short, handshakeTimeoutMs: short },
  }),
  scripts: {
    'DOS-001': silentAfter('GET / HTTP/1.1\r\nHost:'),
    'DOS-002': async (target, input) =>
      target.way.speaks === 'HTTP/1.1'
        ? silentAfter('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nbody')(target, input)
        : stalled(target, 'body'),
    'DOS-004': idle,
    'DOS-101': (target) => stalled(target, 'response'),
    'DOS-102': async ({ plainPort }) => {
      const socket = tcpConnect({ host: '127.0.0.1', port: plainPort });
      socket.on('error', () => {});
      socket.pause();
      // More than a connection of loopback holds by itself.
      for (let i = 0; i < 16; i++) socket.write(get.replace('/', '/large'));
      const closed = new Promise((resolve) => socket.on('close', resolve));
      // Who does not read does not notice the end either; a write does.
      const poke = setInterval(() => socket.write('x'), 50);
      await closed;
      clearInterval(poke);
      return {};
    },
  },
  alone: {
    'DOS-007': calling(async (lab) => {
      // 64 MiB out of 64 KiB: passes as it is, and comes apart piece by piece where it is asked for.
      const bomb = gzipSync(Buffer.alloc(64 * 1_048_576));
      const server = await httpServer(lab, (_request, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb);
      });
      const mesh = await lab.mesh({ endpoints: [server.port] });
      const before = process.memoryUsage().arrayBuffers;
      const reply = await mesh.fetch('http://shop/');
      const reader = reply.body?.getReader();
      await reader?.read();
      const grown = process.memoryUsage().arrayBuffers - before;
      await reader?.cancel();
      return grown < 8 * 1_048_576 ? undefined : `${grown} bytes were taken for one read`;
    }),
    'DOS-008': calling(async (lab) => {
      const server = await httpServer(lab, (_request, response) => {
        response.writeHead(200, { 'content-encoding': Array(1_000).fill('gzip').join(', ') }).end('x');
      });
      const mesh = await lab.mesh({ endpoints: [server.port], retries: { attempts: 0 } });
      try {
        const text = await (await mesh.fetch('http://shop/')).text();
        return `it was decoded: ${text.slice(0, 20)}`;
      } catch {
        return undefined;
      }
    }),
    'DOS-011': async () => {
      const limit: LocalRateLimit = {
        name: 'shop/r all',
        rules: [],
        by: [{ kind: 'header', name: 'x-user' }],
        bucket: { maxTokens: 1, tokensPerFill: 1, fillIntervalMs: 60_000 },
        maxKeys: 10_000,
        shadow: false,
        headers: 'NEVER',
        provenance: { kind: 'RateLimit', namespace: 'shop', name: 'r' },
      };
      const buckets = new Buckets(limit);
      let passed = 0;
      for (let i = 0; i < 1_000_000; i++) {
        const bucket = buckets.of(`user-${i}`, i / 1_000);
        if (bucket.tokens >= 1) passed++;
        bucket.tokens = Math.max(0, bucket.tokens - 1);
      }
      if (buckets.size > limit.maxKeys) return { problem: `${buckets.size} keys are kept` };
      return passed <= limit.maxKeys + 20 ? {} : { problem: `${passed} made-up keys passed` };
    },
    'DOS-012': async (full) => {
      const calls = full ? 1_000_000 : 200_000;
      const metrics = createMetrics();
      const labels = { destinationService: 's', destinationWorkload: 'w', destinationVersion: 'v' };
      const seriesOf = serverSeries(metrics, labels);
      for (let i = 0; i < calls; i++) {
        seriesOf({ spiffeId: `spiffe://cluster.local/ns/a/sa/s${i}` } as Peer).record(i % 1_000_000, '', 1);
      }
      const all = metrics.snapshot();
      const count = all.reduce((sum, { statuses }) => sum + Object.keys(statuses).length, 0);
      // 5,000, and one for all further ones.
      if (all.length > 5_001) return { problem: `${all.length} series` };
      return count < 300_000 ? {} : { problem: `${count} statuses` };
    },
  },
};
