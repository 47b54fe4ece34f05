import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { frameTypes } from '../../support/http2-frames.ts';
import {
  endHeaders,
  endStream,
  frameBytes,
  kept,
  literals,
  type RawHttp2,
  rawHttp2,
  uint32,
} from '../../support/http2-raw-client.ts';
import { plainEnvironment } from '../../support/plain-environment.ts';
import { jwtRules, request, tokenKinds } from './asymmetry-tokens.ts';

/** What one kind of request costs the server. */
export interface Cost {
  readonly name: string;
  /** Processor time for each request, microseconds. */
  readonly micros: number;
  /** The same over that of a plain request that is sent in the same way. */
  readonly ratio: number;
}

/** What one connection costs that is held open. */
export interface HeldCost {
  readonly name: string;
  readonly bytes: number;
  /** What the client has sent for it. */
  readonly sent: number;
  /** Over that of a connection with a plain request under way and what was sent: Node keeps that until somebody reads it. */
  readonly ratio: number;
}

interface Kind {
  readonly name: string;
  /** How it is sent, which decides with what it is compared. */
  readonly way: 'one connection' | 'a connection each' | 'HTTP/2';
  /** HTTP/1.1: its bytes. */
  readonly bytes?: string;
  /** HTTP/1.1: several, in turn, in place of `bytes`. */
  readonly turns?: readonly string[];
  /** What the answer begins with or says: so that the cost is that of what the name says. */
  readonly says?: string;
  /** HTTP/1.1: sent once before all others, and answered with 200. */
  readonly first?: readonly string[];
  /** HTTP/2: the frames of a stream. */
  readonly frames?: (stream: number) => Buffer;
  /** HTTP/2: streams after which a new connection is made. */
  readonly streams?: number;
  readonly plain?: true;
}

const yaml = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-admin, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec:
  jwtRules:
${jwtRules}`;

const fields = (path: string, ...more: readonly (readonly [string, string])[]) =>
  literals([[':method', 'GET'], [':scheme', 'http'], [':path', path], [':authority', 'web'], ...more]);
const head = (stream: number, block: Buffer): Buffer =>
  frameBytes(frameTypes.headers, endStream | endHeaders, stream, block);
const many = Array.from({ length: 90 }, (_, i) => `x-h${i}: v\r\n`).join('');
const tooMany = Array.from({ length: 300 }, (_, i) => `a${i}: b\r\n`).join('');

const kinds: readonly Kind[] = [
  { name: 'plain', way: 'one connection', bytes: request('/'), plain: true },
  { name: '403 by a policy', way: 'one connection', bytes: request('/admin') },
  { name: '403, a path with many readings', way: 'one connection', bytes: request('/x/..%2f%2e/ADMIN;a=%41//b\\c/') },
  ...tokenKinds.map((kind): Kind => ({ way: 'one connection', says: 'HTTP/1.1 ', ...kind })),
  {
    name: 'gRPC that is refused',
    says: 'grpc-status: 7',
    way: 'one connection',
    bytes: request('/admin', 'Content-Type: application/grpc\r\n'),
  },
  { name: '90 headers', way: 'one connection', bytes: request('/', many) },
  { name: 'a path of 8 KB that goes up again', way: 'one connection', bytes: request(`/${'a/../'.repeat(1_600)}`) },
  { name: '403, a path of 8 KB of escapes', way: 'one connection', bytes: request(`/${'%2f%41'.repeat(1_300)}`) },
  {
    name: 'identity and trace headers of 12 KB',
    way: 'one connection',
    bytes: request(
      '/',
      `X-Forwarded-Client-Cert: ${'URI=a,'.repeat(1_000)}\r\nBaggage: ${'a=b,'.repeat(1_500)}\r\nTraceparent: x\r\n`,
    ),
  },
  {
    name: 'a hundred chunks of one byte',
    way: 'one connection',
    bytes: `${request('/', 'Transfer-Encoding: chunked\r\n', 'POST')}${'1\r\nx\r\n'.repeat(100)}0\r\n\r\n`,
  },
  { name: 'plain', way: 'a connection each', bytes: request('/'), plain: true },
  {
    name: '400, two lengths',
    way: 'a connection each',
    bytes: request('/', 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n', 'POST'),
  },
  { name: '400, two hosts', way: 'a connection each', bytes: request('/', 'Host: other\r\n') },
  { name: '400, a broken escape', way: 'a connection each', bytes: request('/%zz') },
  { name: '400, no HTTP', way: 'a connection each', bytes: 'hello\r\n\r\n' },
  { name: '405, TRACE', way: 'a connection each', bytes: request('/', '', 'TRACE') },
  { name: '431, 300 headers', way: 'a connection each', bytes: request('/', tooMany) },
  { name: '431, 17 KB', way: 'a connection each', bytes: request('/', `x-a: ${'a'.repeat(17_000)}\r\n`) },
  { name: 'plain', way: 'HTTP/2', frames: (stream) => head(stream, fields('/')), plain: true },
  { name: '403 by a policy', way: 'HTTP/2', frames: (stream) => head(stream, fields('/admin')) },
  {
    name: 'opened and reset',
    way: 'HTTP/2',
    streams: 500,
    frames: (stream) => Buffer.concat([head(stream, fields('/')), frameBytes(frameTypes.rst, 0, stream, uint32(8))]),
  },
  {
    name: 'a header bomb',
    way: 'HTTP/2',
    streams: 90,
    frames: (stream) => {
      const bomb = Buffer.concat([fields('/'), kept('x-bomb', 'a'.repeat(4_000)), Buffer.alloc(1_000, 0xbe)]);
      return head(stream, bomb);
    },
  },
  {
    name: 'malformed',
    way: 'HTTP/2',
    streams: 90,
    frames: (stream) => head(stream, fields('/', ['connection', 'close'])),
  },
];

/** The server, in a process of its own. */
class Server {
  readonly #child: ChildProcess;
  port = 0;

  constructor() {
    const entry = fileURLToPath(new URL('./asymmetry-server.ts', import.meta.url));
    const execArgv = ['--conditions=@inmesh/source', '--disable-warning=ExperimentalWarning'];
    this.#child = fork(entry, [yaml], { env: plainEnvironment(), execArgv });
  }

  async start(): Promise<void> {
    const [{ port }] = (await once(this.#child, 'message')) as [{ port: number }];
    this.port = port;
  }

  async ask(what: 'cpu' | 'memory'): Promise<number> {
    this.#child.send(what);
    const [{ bytes, micros }] = (await once(this.#child, 'message')) as [{ bytes?: number; micros?: number }];
    return bytes ?? micros ?? 0;
  }

  stop(): void {
    this.#child.kill();
  }
}

const lanes = 8;

/** One request after the other on one connection. */
async function onOne(
  port: number,
  next: () => Buffer,
  count: number,
  says: string,
  localAddress = '127.0.0.1',
): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  let done = 0;
  socket.on('error', reject);
  socket.on('close', () => (done < count ? reject(new Error(`closed after ${done} requests`)) : resolve()));
  socket.on('data', (answer) => {
    // Answers are short: one arrives whole.
    if (!answer.includes(says)) socket.destroy(new Error(`expected ${says}, got ${answer.toString()}`));
    if (++done === count) socket.destroy();
    else socket.write(next());
  });
  socket.write(next());
  await promise;
}

async function onNew(port: number, bytes: Buffer, count: number, says = ''): Promise<void> {
  for (let i = 0; i < count; i++) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => {});
    socket.write(bytes);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    if (!answer.includes(says)) throw new Error(`expected ${says}, got ${answer.toString()}`);
    socket.destroy();
  }
}

async function onStreams(port: number, kind: Kind, count: number): Promise<void> {
  const perConnection = kind.streams ?? count;
  for (let left = count; left > 0; left -= perConnection) {
    const client = rawHttp2(port);
    let stream = 1;
    for (let i = 0; i < Math.min(left, perConnection) && !client.isClosed(); i++, stream += 2) {
      const id = stream;
      client.write(kind.frames?.(id) ?? Buffer.alloc(0));
      if (kind.name !== 'opened and reset') await settled(client, id);
    }
    // Whatever was not waited for has been read when a PING is answered.
    client.send(frameTypes.ping, 0, 0, Buffer.alloc(8));
    await client.until(() => client.pongs() > 0 || client.goAway() !== undefined);
    client.destroy();
  }
}

function settled(client: RawHttp2, stream: number): Promise<boolean> {
  return client.until(() => {
    const outcome = client.streams.get(stream);
    return outcome?.ended === true || outcome?.reset !== undefined || client.goAway() !== undefined;
  });
}

/** @param from the address of the caller */
function run(port: number, kind: Kind, count: number, from?: string): Promise<unknown> {
  const each = Math.ceil(count / lanes);
  const turns = (kind.turns ?? [kind.bytes ?? '']).map((text) => Buffer.from(text, 'latin1'));
  const [bytes = Buffer.alloc(0)] = turns;
  let turn = 0;
  const next = (): Buffer => turns[turn++ % turns.length] ?? bytes;
  const status = /^[45]\d\d(?=[ ,])/.exec(kind.name)?.[0];
  const says = kind.says ?? `HTTP/1.1 ${status ?? 200}`;
  const lane = (): Promise<void> => {
    if (kind.way === 'HTTP/2') return onStreams(port, kind, each);
    return kind.way === 'one connection' ? onOne(port, next, each, says, from) : onNew(port, bytes, each, says);
  };
  return Promise.all(Array.from({ length: lanes }, lane));
}

/** Each kind has the attempts of a caller of its own, where the system has addresses for that. */
function callerOf(round: number, kind: number): string {
  return process.platform === 'linux' ? `127.0.${round}.${kind + 1}` : '127.0.0.1';
}

/** Measured so often, far apart: what counts is the one in the middle. The machine has other things to do. */
const rounds = 3;
/** So many kinds after which a plain request is measured again, since that is what all are compared with. */
const kindsPerPlain = 5;

function middleOf(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

/** Measures every kind of request: processor time, not time on a clock. */
export async function requestCosts(
  count: number,
): Promise<{ readonly costs: readonly Cost[]; readonly keptBytes: number }> {
  const server = new Server();
  try {
    await server.start();
    for (const { first = [] } of kinds) {
      for (const text of first) await onOne(server.port, () => Buffer.from(text, 'latin1'), 1, 'HTTP/1.1 200');
    }
    for (const [index, kind] of kinds.entries()) await run(server.port, kind, count, callerOf(0, index));
    const before = await server.ask('memory');
    const measured = new Map(kinds.map((kind): [Kind, number[]] => [kind, []]));
    let total = 0;
    const measure = async (kind: Kind, from: string): Promise<void> => {
      const at = await server.ask('cpu');
      await run(server.port, kind, count, from);
      measured.get(kind)?.push(((await server.ask('cpu')) - at) / count);
      total += count;
    };
    const plainOf = new Map(kinds.filter(({ plain }) => plain === true).map((kind) => [kind.way, kind]));
    for (let round = 1; round <= rounds; round++) {
      for (const [index, kind] of kinds.entries()) {
        const plain = plainOf.get(kind.way);
        if (plain !== undefined && index % kindsPerPlain === 0) await measure(plain, callerOf(round, index));
        if (kind !== plain) await measure(kind, callerOf(round, index));
      }
    }
    const keptBytes = ((await server.ask('memory')) - before) / total;
    const microsOf = (kind: Kind | undefined): number => middleOf((kind && measured.get(kind)) ?? []);
    const costs = kinds.map((kind): Cost => {
      const micros = microsOf(kind);
      return { name: `${kind.way}: ${kind.name}`, micros, ratio: micros / microsOf(plainOf.get(kind.way)) };
    });
    return { costs, keptBytes };
  } finally {
    server.stop();
  }
}

/** What a connection says that is then held open. */
const held: readonly (readonly [string, string])[] = [
  ['a plain request under way', request('/wait')],
  ['nothing', ''],
  ['half a head', 'GET / HTTP/1.1\r\nHost: web\r\nx-a: '],
  ['half a head of 15 KB', `GET / HTTP/1.1\r\nHost: web\r\nx-a: ${'a'.repeat(15_000)}`],
  ['half a body', `${request('/', 'Content-Length: 100000\r\n', 'POST')}${'x'.repeat(10_000)}`],
  ['a body that nobody reads', `${request('/wait', 'Content-Length: 1000000\r\n', 'POST')}${'x'.repeat(100_000)}`],
];

/** Memory of connections that are held open. */
export async function heldCosts(count: number): Promise<readonly HeldCost[]> {
  const costs: HeldCost[] = [];
  for (const [name, bytes] of held) {
    // A server for each: what one kind leaves in its pools must not be given to the next.
    const server = new Server();
    try {
      await server.start();
      const before = await server.ask('memory');
      const sockets: Socket[] = [];
      for (let i = 0; i < count; i++) {
        const socket = connect({ host: '127.0.0.1', port: server.port });
        socket.on('error', () => {});
        await once(socket, 'connect');
        if (bytes !== '') socket.write(bytes, 'latin1');
        sockets.push(socket);
      }
      await onNew(server.port, Buffer.from(request('/')), 20);
      const each = ((await server.ask('memory')) - before) / count;
      const sent = bytes.length;
      costs.push({ name, bytes: each, sent, ratio: each / ((costs[0]?.bytes ?? each) + sent) });
      for (const socket of sockets) socket.destroy();
    } finally {
      server.stop();
    }
  }
  return costs;
}
