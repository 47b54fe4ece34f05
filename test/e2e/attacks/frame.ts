import { get } from 'node:http';
import { request } from 'undici';
import { Lab, type LabMesh } from '../../chaos/lab.ts';
import { httpServer, rawServer } from '../../chaos/servers.ts';
import { frameServer, frameTypes } from '../../support/http2-frames.ts';
import { endHeaders, frameBytes, literals } from '../../support/http2-raw-client.ts';
import { rawExchange } from '../../support/inbound.ts';
import { quickCount } from './catalogue.ts';
import { startServer } from './full-server.ts';
import type { Layer, Outcome, Script } from './layers.ts';
import { handlerRuns, type Seen } from './ways.ts';

/** One byte in each chunk. */
async function sendCrumbs(port: number, count: number): Promise<Outcome> {
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const [answer] = await rawExchange(port, `${head}${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`);
  if (answer?.status !== 200) return { status: answer?.status, problem: `answered ${answer?.status ?? 'nothing'}` };
  const { received } = JSON.parse(answer.body) as Seen;
  if (received !== count) return { status: 200, problem: `the application got ${received} bytes` };
  return { status: 200 };
}

/** The server may grow by this many times the body. */
const growth = 10;

/** In full size the server is a process of its own, whose memory is nobody else's. */
const crumbs: Script = async ({ full, plainPort, way }, input) => {
  if (!full) return sendCrumbs(plainPort, quickCount(input));
  const count = Number(input['n']);
  const server = await startServer(way.name);
  try {
    // Code and pools that any request would bring are there after the first.
    await sendCrumbs(server.port, quickCount(input));
    let [outcome, grown, ms]: [Outcome, number, number] = [{}, Number.POSITIVE_INFINITY, 0];
    // On a busy machine garbage waits for its collector, now and then: what is needed each time is the least of three.
    for (let turn = 0; turn < 3 && outcome.problem === undefined && grown > growth * count; turn++) {
      const before = await server.memory('settle');
      const began = performance.now();
      outcome = await sendCrumbs(server.port, count);
      ms = performance.now() - began;
      grown = Math.min(grown, (await server.memory('peak')) - before);
    }
    const figures = `${count} chunks in ${Math.round(ms)} ms; at most ${(grown / count).toFixed(1)} bytes a byte of the body`;
    const problem = grown <= growth * count ? undefined : `the process grew by ${grown} bytes`;
    return { ...outcome, figures, ...(problem === undefined ? {} : { problem }) };
  } finally {
    server.stop();
  }
};

/** What stands behind a request that is refused for its framing must not become a request of its own. */
const smuggled: Script = async ({ plainPort }) => {
  const chunked = 'Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  for (const first of [
    'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    `TRACE / HTTP/1.1\r\n${chunked}`,
  ]) {
    const runs = handlerRuns();
    const answers = await rawExchange(plainPort, `${first}GET / HTTP/1.1\r\nHost: a\r\n\r\n`, { answers: 2 });
    if ((answers[0]?.status ?? 0) < 400) return { problem: `${first}: answered ${answers[0]?.status ?? 'nothing'}` };
    if (handlerRuns() !== runs) return { problem: `${first}: the application has run` };
  }
  return {};
};

type Called = { readonly status: number; readonly text: string };
type Call = (mesh: LabMesh, options?: object) => Promise<Called>;

/** What can go wrong by what is asked for counts as refused; the failures of a service have a status. */
const refused = (error: unknown): Called => {
  const { code, message, status = 0 } = error as { code?: string; message: string; status?: number };
  return { status, text: `${code} ${message}` };
};

const byDispatcher: Call = async (mesh, options = {}) => {
  const reply = await request('http://shop/', { dispatcher: mesh.dispatcher, ...options });
  return { status: reply.statusCode, text: await reply.body.text() };
};

const byFetch: Call = async (mesh) => {
  const reply = await mesh.fetch('http://shop/');
  return { status: reply.status, text: await reply.text() };
};

/** The errors of node:http have the status that a sidecar would have answered. */
const byAgent: Call = (mesh, options = {}) =>
  new Promise((resolve, reject) => {
    const sent = get({ host: 'shop', port: 80, agent: mesh.agent as never, ...options }, (response) => {
      response.resume().on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: '' }));
    });
    sent.on('error', reject);
  });

/** Without what `undici.request` makes of a path. */
const bare: Call = (mesh, options = {}) =>
  new Promise((resolve, reject) => {
    mesh.dispatcher.dispatch({ origin: 'http://shop', path: '/', method: 'GET', ...options }, {
      onRequestStart() {},
      onResponseStart: (_controller: unknown, status: number) => resolve({ status, text: '' }),
      onResponseData() {},
      onResponseEnd() {},
      onResponseError: (_controller: unknown, error: Error) => reject(error),
    } as never);
  });

const ways = { 'mesh.dispatcher': byDispatcher, 'mesh.fetch': byFetch, 'mesh.agent': byAgent } as const;

/** A service that answers every request with these bytes; whoever calls it must be told 502, and not over the same connection again. */
function answering(bytes: string): () => Promise<Outcome> {
  return async () => {
    const lab = new Lab('quick');
    try {
      const server = await rawServer(lab, (socket) => {
        socket.on('data', () => void socket.write(bytes));
      });
      const mesh = await lab.mesh({ endpoints: [server.port], retries: { attempts: 0 } });
      let calls = 0;
      for (const [name, call] of Object.entries(ways)) {
        for (let i = 0; i < 2; i++) {
          const { status, text } = await call(mesh).catch(refused);
          if (status !== 502) return { status, problem: `${name}: ${status} ${text}` };
          if (server.accepted() !== ++calls) return { problem: `${name}: the connection was used again` };
        }
      }
      return { status: 502, figures: Object.keys(ways).join(', ') };
    } finally {
      await lab.close();
    }
  };
}

/** The same by frames: a hundred and three, ten thousand times. */
async function informedByFrames(): Promise<Outcome> {
  const lab = new Lab('quick');
  try {
    const hints = literals([[':status', '103']]);
    const server = await frameServer(lab as never, ({ socket }, stream) => {
      const flood = Array.from({ length: 10_000 }, () => frameBytes(frameTypes.headers, endHeaders, stream, hints));
      socket.write(
        Buffer.concat([...flood, frameBytes(frameTypes.headers, endHeaders | 1, stream, Buffer.from([0x88]))]),
      );
    });
    const mesh = await lab.mesh({ endpoints: [server.port], protocol: 'http2', retries: { attempts: 0 } });
    const { status, text } = await byDispatcher(mesh).catch(refused);
    return status === 502 ? { status } : { status, problem: `over HTTP/2: ${status} ${text}` };
  } finally {
    await lab.close();
  }
}

interface Attempt {
  readonly call?: Call;
  readonly options: object;
  /** It is what it seems, and arrives at the service that was called as this path. */
  readonly arrives?: string;
}

/** Calls that must fail before anything of them is on the wire, but for those that only seem to be hostile. */
function refusing(attempts: readonly Attempt[]): () => Promise<Outcome> {
  return async () => {
    const lab = new Lab('quick');
    const arrived: string[] = [];
    try {
      const server = await httpServer(lab, (incoming, outgoing) => {
        arrived.push(`${incoming.url} of ${incoming.headers.host}`);
        outgoing.end('ok');
      });
      const mesh = await lab.mesh({ endpoints: [server.port], retries: { attempts: 0 } });
      for (const { arrives, call = byDispatcher, options } of attempts) {
        const { status } = await Promise.resolve()
          .then(() => call(mesh, options))
          .catch(refused);
        const seen = arrived.splice(0).join('; ');
        const wanted = arrives === undefined ? '' : `${arrives} of shop`;
        if (seen !== wanted)
          return { problem: `${JSON.stringify(options)} arrived as ${JSON.stringify(seen)} (${status})` };
        if (arrives === undefined && status === 200) return { problem: `${JSON.stringify(options)} was answered` };
      }
      return {};
    } finally {
      await lab.close();
    }
  };
}

const withLineBreaks: readonly object[] = [
  { headers: { 'x-a': '1\r\nX-Admin: 1' } },
  { headers: { 'x-a': '1\nX-Admin: 1' } },
  { headers: { 'x-a\r\nx-admin': '1' } },
  { headers: { 'x-a': '1\0' } },
];

export const frameLayer: Layer = {
  name: 'frame',
  scripts: { 'FRAME-015': crumbs, 'FRAME-137': smuggled },
  alone: {
    'FRAME-018': answering(
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    ),
    'FRAME-020': async () => {
      const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(10_000);
      const outcome = await answering(`${hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`)();
      return outcome.problem === undefined ? { ...outcome, ...(await informedByFrames()) } : outcome;
    },
    'FRAME-021': refusing([
      ...withLineBreaks.map((options) => ({ options })),
      ...withLineBreaks.map((options) => ({ options, call: byAgent })),
      { options: { headers: ['x-a', '1\r\nX-Admin: 1'] } },
    ]),
    'FRAME-022': refusing([
      { options: { method: 'POST', body: 'abc', headers: ['Content-Length', '3', 'content-length', '4'] } },
      { options: { method: 'POST', body: 'abc', headers: ['Content-Length', '3', 'content-length', '3'] } },
      { options: { method: 'POST', body: 'abc', headers: ['Content-Length', '3', 'Transfer-Encoding', 'chunked'] } },
    ]),
    'FRAME-023': refusing(
      [bare, byAgent].flatMap((call): readonly Attempt[] => [
        { call, options: { path: 'http://evil.example/x' } },
        { call, options: { path: '/x y' } },
        { call, options: { path: '/x\r\nHost: evil.example\r\n' } },
        { call, options: { path: 'evil' } },
        // A host in a reference (RFC 3986 section 4.2); in a request it is a path of the service that is called.
        { call, options: { path: '//evil.example/x' }, arrives: '//evil.example/x' },
      ]),
    ),
  },
};
