import { once } from 'node:events';
import { type Socket, connect as tcpConnect } from 'node:net';
import { PassThrough } from 'node:stream';
import { createGzip, constants as zlib } from 'node:zlib';
import { request } from 'undici';
import { Lab } from '../../chaos/lab.ts';
import { httpServer } from '../../chaos/servers.ts';
import { parseAnswers, rawExchange } from '../../support/inbound.ts';
import { type FullServer, startServer } from './full-server.ts';
import type { Layer, Outcome } from './layers.ts';
import { besideRapidReset } from './rapid-reset.ts';

/**
 * Cases that take so long as they are written that every day's tests run smaller ones: with the limits that servers
 * have by default and a real clock, or in their full size.
 */

const listening = 'node:http, HTTP/1.1';
/** Node looks for connections that take too long from time to time, no more than 5 s apart; a busy machine is late. */
const lateMs = 10_000;

const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';

/** Runs with a server in a process of its own. */
async function withServer(way: string, run: (server: FullServer) => Promise<Outcome>, limits = {}): Promise<Outcome> {
  const server = await startServer(way, limits);
  try {
    return await run(server);
  } finally {
    server.stop();
  }
}

/** Writes a head, then one byte every `everyMs`, until the connection ends. */
async function dribble(port: number, head: string, everyMs: number): Promise<Outcome & { readonly ms: number }> {
  const socket = tcpConnect({ host: '127.0.0.1', port });
  socket.on('error', () => {}).setEncoding('latin1');
  let text = '';
  socket.on('data', (chunk: string) => void (text += chunk));
  const began = performance.now();
  socket.write(head);
  const timer = setInterval(() => socket.write('x'), everyMs);
  await once(socket, 'close');
  clearInterval(timer);
  const [answer] = parseAnswers(text);
  return { status: answer?.status, body: answer?.body ?? '', ms: performance.now() - began };
}

/** A time on a real clock, with what is asked of it. */
function timed(outcome: Outcome & { readonly ms: number }, limitMs: number): Outcome {
  const { ms, ...rest } = outcome;
  const figures = `answered ${rest.status ?? 'nothing'} after ${(ms / 1_000).toFixed(1)} s`;
  const good = ms > limitMs * 0.9 && ms < limitMs + lateMs;
  return { ...rest, figures, ...(good ? {} : { problem: `${figures}, and the limit is ${limitMs / 1_000} s` }) };
}

interface Held {
  readonly sockets: readonly Socket[];
  /** How long each was open, milliseconds, once all are closed. */
  lives(): Promise<readonly number[]>;
  readonly connected: () => number;
}

/** Opens connections that say nothing. */
async function hold(port: number, count: number): Promise<Held> {
  const sockets: Socket[] = [];
  const ends: Promise<number>[] = [];
  let connected = 0;
  for (let i = 0; i < count; i++) {
    const socket = tcpConnect({ host: '127.0.0.1', port });
    let began = 0;
    socket
      .on('error', () => {})
      .on('connect', () => {
        connected++;
        began = performance.now();
      });
    ends.push(new Promise((resolve) => socket.on('close', () => resolve(performance.now() - began))));
    sockets.push(socket.resume());
    // No more at a time than wait to be accepted.
    if (i % 250 === 249) await once(socket, 'connect');
  }
  return { sockets, lives: () => Promise.all(ends), connected: () => connected };
}

/** How long a new client waits for its answer, milliseconds; nothing where it gets none. */
async function served(port: number): Promise<number | undefined> {
  const began = performance.now();
  const [answer] = await rawExchange(port, get);
  return answer?.status === 200 ? performance.now() - began : undefined;
}

const idleMs = 10_000;

async function idleConnections(way: string, count: number): Promise<Outcome> {
  return withServer(way, async ({ port }) => {
    const held = await hold(port, count);
    const open = held.sockets.filter(({ closed }) => !closed).length;
    const meanwhile = await served(port);
    const lives = await held.lives();
    const after = await served(port);
    const [least, most] = [Math.min(...lives), Math.max(...lives)];
    const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
    const figures = `${way}: ${open} open, a new client answered after ${meanwhile?.toFixed(0)} ms; closed after ${seconds(least)} to ${seconds(most)} s`;
    if (held.connected() < count) return { figures, problem: `only ${held.connected()} connections were made` };
    if (meanwhile === undefined || after === undefined) return { figures, problem: `${way}: others are not served` };
    const good = least > idleMs * 0.9 && most < idleMs + lateMs;
    return good ? { figures } : { figures, problem: figures };
  });
}

/** Beyond `maxConnections` each further connection is closed at once, and when places are free others are served. */
async function tooMany(maxConnections: number, more: number): Promise<Outcome> {
  const run = async ({ port }: FullServer): Promise<Outcome> => {
    const held = await hold(port, maxConnections);
    const beyond = await hold(port, more);
    const began = performance.now();
    await beyond.lives();
    const ms = performance.now() - began;
    const left = held.sockets.filter(({ closed }) => !closed).length;
    const full = await served(port);
    for (const socket of held.sockets.slice(0, 10)) socket.destroy();
    let again: number | undefined;
    // The server notices that they have gone a little later.
    for (let i = 0; i < 100 && again === undefined; i++) again = await served(port);
    for (const socket of held.sockets) socket.destroy();
    const figures = `maxConnections ${maxConnections}: ${more} further ones closed within ${ms.toFixed(0)} ms`;
    if (left !== maxConnections || full !== undefined || ms > idleMs / 2) {
      return { figures, problem: `${left} of ${maxConnections} are left, ${figures}` };
    }
    return again === undefined ? { figures, problem: 'nobody is served when places are free again' } : { figures };
  };
  return withServer(listening, run, { maxConnections });
}

async function allOf(...runs: readonly Promise<Outcome>[]): Promise<Outcome> {
  const outcomes = await Promise.all(runs);
  const problem = outcomes.find((outcome) => outcome.problem !== undefined)?.problem;
  const figures = outcomes.map((outcome) => outcome.figures).join('; ');
  return { ...outcomes[0], figures, ...(problem === undefined ? {} : { problem }) };
}

/** One gzip stream of a gibibyte of zeros. */
async function bombOf(bytes: number): Promise<Buffer> {
  const gzip = createGzip({ level: zlib.Z_BEST_COMPRESSION });
  const chunks: Buffer[] = [];
  gzip.on('data', (chunk: Buffer) => void chunks.push(chunk));
  const zeros = Buffer.alloc(1_048_576);
  for (let i = 0; i < bytes / zeros.length; i++) if (!gzip.write(zeros)) await once(gzip, 'drain');
  gzip.end();
  await once(gzip, 'end');
  return Buffer.concat(chunks);
}

const gibibyte = 1_073_741_824;
/** Of what is read and thrown away piece by piece, no more than this may be there at a time. */
const pieces = 128 * 1_048_576;

async function gzipBomb(): Promise<Outcome> {
  const bomb = await bombOf(gibibyte);
  const lab = new Lab('quick');
  try {
    const server = await httpServer(lab, (_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': bomb.length }).end(bomb);
    });
    const mesh = await lab.mesh({ endpoints: [server.port] });
    // Who does not ask for it gets it as it is.
    const reply = await request('http://shop/', { dispatcher: mesh.dispatcher });
    let passed = 0;
    for await (const chunk of reply.body.pipe(new PassThrough())) passed += (chunk as Buffer).length;
    if (passed !== bomb.length) return { problem: `${passed} of ${bomb.length} bytes passed` };
    // Who reads it through fetch gets it piece by piece.
    const before = process.memoryUsage.rss();
    let [most, size] = [0, 0];
    for await (const chunk of (await mesh.fetch('http://shop/')).body ?? []) {
      const whole = size >> 26;
      size += chunk.length;
      if (size >> 26 !== whole) most = Math.max(most, process.memoryUsage.rss() - before);
    }
    const ratio = Math.round(gibibyte / bomb.length);
    const figures = `${ratio}:1, ${passed} bytes passed; read through fetch ${size} bytes, the process grew by at most ${(most / 1_048_576).toFixed(0)} MiB`;
    if (size !== gibibyte) return { figures, problem: `${size} bytes came apart` };
    return most < pieces ? { figures } : { figures, problem: figures };
  } finally {
    await lab.close();
  }
}

/** What takes half a minute of waiting is waited for together. */
function inRealTime() {
  const slowHeaders = withServer(listening, async ({ port }) =>
    timed(await dribble(port, 'GET / HTTP/1.1\r\nHost: web\r\nx: ', 5_000), 10_000),
  );
  const stoppedBody = withServer(listening, async ({ port }) =>
    timed(await dribble(port, 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nx', 60_000), 30_000),
  );
  // Never silent for long: the limit of the whole request ends it, five minutes by default.
  const dribbledBody = withServer(
    listening,
    async ({ port }) =>
      timed(await dribble(port, 'POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nx', 500), 5_000),
    { requestTimeoutMs: 5_000 },
  );
  const slowBody = allOf(stoppedBody, dribbledBody);
  const idle = allOf(idleConnections(listening, 5_000), tooMany(5_000, 200));
  return { slowHeaders, slowBody, idle };
}

let running: ReturnType<typeof inRealTime> | undefined;
const realTime = (name: keyof ReturnType<typeof inRealTime>) => (): Promise<Outcome> =>
  (running ??= inRealTime())[name];

/** As the catalogue has them, in every respect. */
export const fullLayer: Layer = {
  name: 'full',
  heavy: true,
  alone: {
    'H2-001': besideRapidReset,
    'DOS-001': realTime('slowHeaders'),
    'DOS-002': realTime('slowBody'),
    'DOS-004': realTime('idle'),
    'DOS-007': gzipBomb,
  },
};
