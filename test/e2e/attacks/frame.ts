import { request } from 'undici';
import { Lab, type LabMesh } from '../../chaos/lab.ts';
import { httpServer, rawServer } from '../../chaos/servers.ts';
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
    await sendCrumbs(server.port, count);
    const before = await server.memory('settle');
    const began = performance.now();
    const outcome = await sendCrumbs(server.port, count);
    const ms = performance.now() - began;
    const grown = (await server.memory('peak')) - before;
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

type Call = (mesh: LabMesh, options?: object) => Promise<{ readonly status: number; readonly text: string }>;

const call: Call = async (mesh, options = {}) => {
  const reply = await request('http://shop/', { dispatcher: mesh.dispatcher, ...options });
  return { status: reply.statusCode, text: await reply.body.text() };
};

/** A service that answers every request with these bytes. */
function answering(
  bytes: string | ((connection: number) => string),
  judge: (mesh: LabMesh, accepted: () => number) => Promise<string | undefined>,
): () => Promise<Outcome> {
  return async () => {
    const lab = new Lab('quick');
    try {
      const server = await rawServer(lab, (socket, connection) => {
        socket.on('data', () => void socket.write(typeof bytes === 'string' ? bytes : bytes(connection)));
      });
      const mesh = await lab.mesh({ endpoints: [server.port], retries: { attempts: 0 } });
      const problem = await judge(mesh, server.accepted);
      return problem === undefined ? {} : { problem };
    } finally {
      await lab.close();
    }
  };
}

/** Calls that must fail before anything of them is on the wire, or arrive without the hostile part. */
function refusing(
  attempts: readonly object[],
  allowed: (url: string, headers: object) => boolean,
): () => Promise<Outcome> {
  return async () => {
    const lab = new Lab('quick');
    const arrived: string[] = [];
    try {
      const server = await httpServer(lab, (incoming, outgoing) => {
        if (!allowed(incoming.url ?? '', incoming.headers))
          arrived.push(`${incoming.url} ${incoming.rawHeaders.join()}`);
        outgoing.end('ok');
      });
      const mesh = await lab.mesh({ endpoints: [server.port], retries: { attempts: 0 } });
      for (const attempt of attempts) {
        const outcome = await call(mesh, attempt).then(
          ({ status }) => status,
          () => 'refused',
        );
        if (arrived.length > 0)
          return { problem: `${JSON.stringify(attempt)} arrived as ${arrived.join('; ')} (${outcome})` };
      }
      return {};
    } finally {
      await lab.close();
    }
  };
}

export const frameLayer: Layer = {
  name: 'frame',
  scripts: { 'FRAME-015': crumbs, 'FRAME-137': smuggled },
  alone: {
    'FRAME-018': answering(
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      async (mesh, accepted) => {
        for (let i = 1; i <= 2; i++) {
          const { status, text } = await call(mesh).catch(() => ({ status: 599, text: '' }));
          if (status !== 502) return `not 502: ${status} ${text}`;
          if (accepted() !== i) return 'the connection was used again';
        }
        return undefined;
      },
    ),
    'FRAME-020': answering(
      () =>
        `${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(10_000)}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
      async (mesh) => {
        const { status } = await call(mesh).catch(() => ({ status: 599 }));
        return status === 502 ? undefined : `10,000 informational responses, then ${status}`;
      },
    ),
    'FRAME-021': refusing(
      [
        { headers: { 'x-a': '1\r\nX-Admin: 1' } },
        { headers: { 'x-a': '1\nX-Admin: 1' } },
        { headers: ['x-a', '1\r\nX-Admin: 1'] },
        { headers: { 'x-a\r\nx-admin': '1' } },
        { headers: { 'x-a': '1\0' } },
      ],
      () => false,
    ),
    'FRAME-022': refusing(
      [
        { method: 'POST', body: 'abc', headers: ['Content-Length', '3', 'content-length', '4'] },
        { method: 'POST', body: 'abc', headers: ['Content-Length', '3', 'Transfer-Encoding', 'chunked'] },
      ],
      () => false,
    ),
    'FRAME-023': refusing(
      [
        { path: '//evil.example/x' },
        { path: 'http://evil.example/x' },
        { path: '/x y' },
        { path: '/x\r\nHost: evil.example\r\n' },
        { path: 'evil' },
      ],
      // A path that only looks like another host stays a path of the service that is called.
      (url, headers) => url.startsWith('/') && (headers as { host?: string }).host === 'shop',
    ),
  },
};
