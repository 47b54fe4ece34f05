import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { Lab } from '../../chaos/lab.ts';
import { frameServer, frameTypes } from '../../support/http2-frames.ts';
import {
  endHeaders,
  endStream,
  type Fields,
  frameBytes,
  kept,
  literals,
  moreFrameTypes,
  type RawHttp2,
  rawHttp2,
  settingsOf,
  uint32,
} from '../../support/http2-raw-client.ts';
import { quickCount } from './catalogue.ts';
import type { Layer, Outcome, Script, Target } from './layers.ts';
import { tlsOf } from './send.ts';
import { handlerRuns } from './ways.ts';

const get: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'web'],
];

function open(target: Target, settings: Readonly<Record<number, number>> = {}): RawHttp2 {
  return rawHttp2(target.port, target.way.speaks === 'h2' ? { tls: tlsOf(target), settings } : { settings });
}

/** Whether somebody else is served as if nothing had happened. */
async function servesOthers(target: Target): Promise<string | undefined> {
  const client = open(target);
  client.request(1, get);
  await client.until(() => client.streams.get(1)?.ended === true);
  client.destroy();
  const status = client.streams.get(1)?.status;
  return status === 200 ? undefined : `others are not served any more: ${status ?? 'no answer'}`;
}

/** An attack on one connection, that somebody else must not notice. */
const attack =
  (run: (client: RawHttp2, target: Target) => Promise<string | undefined>, settings?: Record<number, number>): Script =>
  async (target) => {
    const client = open(target, settings);
    const problem = (await run(client, target)) ?? (await servesOthers(target));
    client.destroy();
    return problem === undefined ? {} : { problem };
  };

/** Writes a flood at the pace at which the other side reads, until it is over or the connection ends. */
async function flood(client: RawHttp2, count: number, bytesOf: (index: number) => Uint8Array): Promise<void> {
  for (let i = 0; i < count && !client.isClosed() && client.goAway() === undefined; ) {
    const batch: Uint8Array[] = [];
    for (let j = 0; j < 500 && i < count; j++) batch.push(bytesOf(i++));
    if (!client.write(Buffer.concat(batch))) {
      await Promise.race([new Promise((resolve) => client.socket.once('drain', resolve)), client.closed]);
    } else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The connection must end: by GOAWAY, or closed. */
async function mustEnd(client: RawHttp2): Promise<string | undefined> {
  const ended = (): boolean => client.isClosed() || client.goAway() !== undefined;
  return (await client.until(ended)) ? undefined : 'the connection goes on';
}

/** A stream must be refused: reset, answered with an error, or its connection ended. */
async function mustRefuse(client: RawHttp2, stream = 1): Promise<string | undefined> {
  const runs = handlerRuns();
  const settled = (): boolean => {
    const outcome = client.streams.get(stream);
    return client.goAway() !== undefined || outcome?.ended === true || outcome?.reset !== undefined;
  };
  if (!(await client.until(settled)) && !client.isClosed()) return 'the stream is neither refused nor answered';
  const status = client.streams.get(stream)?.status;
  if (status !== undefined && status < 400) return `it was answered ${status}`;
  return handlerRuns() === runs ? undefined : 'the application has run';
}

/** Streams of a client are odd. */
const id = (index: number): number => index * 2 + 1;
const cancel = uint32(8);
const headersFrame = (stream: number, block: Uint8Array, flags = endStream | endHeaders): Buffer =>
  frameBytes(frameTypes.headers, flags, stream, block);

/** A header block in HEADERS and as many CONTINUATION frames as it takes. */
function inFrames(stream: number, block: Buffer): Buffer {
  const size = 16_384;
  const parts: Buffer[] = [];
  for (let at = 0; at < block.length; at += size) parts.push(block.subarray(at, at + size));
  return Buffer.concat(
    parts.map((part, i) => {
      const last = i === parts.length - 1 ? endHeaders : 0;
      return i === 0
        ? headersFrame(stream, part, endStream | last)
        : frameBytes(moreFrameTypes.continuation, last, stream, part);
    }),
  );
}

/** At most so many handlers may run because of a flood that is cut off. */
const fewRuns = 2_000;

async function boundedRuns(run: () => Promise<string | undefined>): Promise<string | undefined> {
  const before = handlerRuns();
  const problem = await run();
  const ran = handlerRuns() - before;
  return problem ?? (ran > fewRuns ? `${ran} handlers ran` : undefined);
}

const block = literals(get);
const grpcBlock = literals([[':method', 'POST'], ...get.slice(1), ['content-type', 'application/grpc']]);
const withField = (name: string, value: string): Fields => [...get, [name, value]];

/** Opens streams and cancels each at once; the number of those that were written before the connection ended. */
export async function rapidReset(client: RawHttp2, count: number): Promise<number> {
  let written = 0;
  await flood(client, count, (i) => {
    written = i + 1;
    return Buffer.concat([headersFrame(id(i), block), frameBytes(frameTypes.rst, 0, id(i), cancel)]);
  });
  return written;
}

const scripts: Readonly<Record<string, Script>> = {
  'HOST-016': attack(async (client) => {
    client.request(1, [...get, [':authority', 'other']]);
    return mustRefuse(client);
  }),
  'H2-001': attack((client) =>
    boundedRuns(async () => {
      await rapidReset(client, 100_000);
      return mustEnd(client);
    }),
  ),
  'H2-108': attack((client) =>
    boundedRuns(async () => {
      await flood(client, 100_000, (i) =>
        Buffer.concat([headersFrame(id(i), grpcBlock, endHeaders), frameBytes(frameTypes.rst, 0, id(i), cancel)]),
      );
      return mustEnd(client);
    }),
  ),
  'H2-109': attack(async (client) => {
    // Before anything of it is read: what opens a stream and what resets it come in one piece.
    const heads = ['CONNECT', 'BREW', 'get', 'TRACE', 'GET', 'POST'].map((method) =>
      literals(get.map(([name, value]) => [name, name === ':method' ? method : value] as const)),
    );
    const connect = literals([
      [':method', 'CONNECT'],
      [':authority', 'web:80'],
    ]);
    const frames = [...heads, connect, grpcBlock].map((block, i) =>
      Buffer.concat([headersFrame(id(i), block), frameBytes(frameTypes.rst, 0, id(i), cancel)]),
    );
    client.write(Buffer.concat([...frames, headersFrame(id(100), block)]));
    await client.until(() => client.streams.get(id(100))?.ended === true);
    return client.streams.get(id(100))?.ended === true ? undefined : 'the next request is not answered';
  }),
  'H2-004': attack(async (client) => {
    const bomb = Buffer.concat([block, kept('x-bomb', 'a'.repeat(4_000)), Buffer.alloc(10_000, 0xbe)]);
    client.write(inFrames(1, bomb));
    return mustRefuse(client);
  }),
  'H2-005': attack(async (client) => {
    const crumbs: Fields = Array.from({ length: 10_000 }, (_, i) => ['cookie', `c${i}=1`] as const);
    client.write(inFrames(1, literals([...get, ...crumbs])));
    return mustRefuse(client);
  }),
  'H2-007': attack(async (client) => {
    // Who does not read lets the answers pile up.
    client.socket.pause();
    await flood(client, 100_000, () => frameBytes(frameTypes.ping, 0, 0, Buffer.alloc(8)));
    client.socket.resume();
    return mustEnd(client);
  }),
  'H2-009': attack(async (client) => {
    const priority = Buffer.concat([uint32(0), Buffer.from([16])]);
    await flood(client, 100_000, (i) => frameBytes(moreFrameTypes.priority, 0, id(i % 1_000), priority));
    if (client.isClosed() || client.goAway() !== undefined) return undefined;
    client.request(5_001, get);
    await client.until(() => client.streams.get(5_001)?.ended === true);
    return client.streams.get(5_001)?.status === 200 ? undefined : 'the next request is not answered';
  }),
  'H2-011': attack(
    (client) =>
      boundedRuns(async () => {
        const large = literals(get.map(([name, value]) => [name, name === ':path' ? '/large' : value]));
        for (let i = 0; i < 1_000; i++) client.write(headersFrame(id(i), large));
        const refused = (): number => [...client.streams.values()].filter(({ reset }) => reset !== undefined).length;
        await client.until(() => refused() >= 900 || client.goAway() !== undefined);
        return client.goAway() !== undefined || client.isClosed() || refused() >= 900
          ? undefined
          : `only ${refused()} of 1,000 streams were refused`;
      }),
    { 4: 0 },
  ),
  'H2-012': async (target, input) => {
    const count = target.full ? Number(input['n']) : quickCount(input);
    for (let i = 0; i < count; i++) {
      const client = open(target);
      client.send(frameTypes.window, 0, 0, uint32(0x7f_ff_ff_ff));
      client.send(frameTypes.window, 0, 0, uint32(0x7f_ff_ff_ff));
      const problem = await mustEnd(client);
      client.destroy();
      if (problem !== undefined) return { problem };
    }
    const problem = await servesOthers(target);
    return problem === undefined ? {} : { problem };
  },
  'H2-013': attack(async (client) => {
    // Index 127 of a table that has nothing there.
    client.write(headersFrame(1, Buffer.from([0xff, 0x00])));
    return mustEnd(client);
  }),
  'H2-018': async (target): Promise<Outcome> => {
    for (const [name, value] of [
      ['connection', 'close'],
      ['transfer-encoding', 'chunked'],
      ['upgrade', 'websocket'],
      ['keep-alive', 'timeout=5'],
      ['proxy-connection', 'close'],
      ['te', 'gzip'],
    ] as const) {
      const client = open(target);
      client.request(1, withField(name, value));
      const problem = await mustRefuse(client);
      client.destroy();
      if (problem !== undefined) return { problem: `${name}: ${problem}` };
    }
    return {};
  },
  'H2-021': attack(async (client) => {
    client.write(headersFrame(1, grpcBlock, endHeaders));
    const before = process.memoryUsage();
    client.send(frameTypes.data, endStream, 1, Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
    await client.until(() => client.streams.get(1)?.ended === true);
    const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers;
    return grown < 16 * 1_048_576 ? undefined : `${grown} bytes were allocated`;
  }),
  'H2-023': async (target): Promise<Outcome> => {
    for (const value of ['-1S', '1x', '1'.repeat(10_240), '99999999999H', '', '1e9S', 'NaNS']) {
      const client = open(target);
      client.request(1, withField('grpc-timeout', value));
      await client.until(() => client.streams.get(1)?.ended === true || client.streams.get(1)?.reset !== undefined);
      const outcome = client.streams.get(1);
      client.destroy();
      const settled = outcome?.status !== undefined || outcome?.reset !== undefined;
      if (!settled) return { problem: `${value.slice(0, 12)}: no answer` };
    }
    return {};
  },
  'H2-024': async (target): Promise<Outcome> => {
    const keys: Fields = Array.from({ length: 10_000 }, (_, i) => [`k${i}`, 'v'] as const);
    for (const fields of [[...get, ...keys], withField('x-bin', 'a'.repeat(1_048_576))]) {
      const client = open(target);
      client.write(inFrames(1, literals(fields)));
      const problem = await mustRefuse(client);
      client.destroy();
      if (problem !== undefined) return { problem };
    }
    return {};
  },
  // Beyond the catalogue.
  'H2-101': attack((client) =>
    boundedRuns(async () => {
      // Streams that the server resets, because of what the client does to them: WINDOW_UPDATE of 0.
      await flood(client, 100_000, (i) =>
        Buffer.concat([headersFrame(id(i), block), frameBytes(frameTypes.window, 0, id(i), uint32(0))]),
      );
      return mustEnd(client);
    }),
  ),
  'H2-102': attack(async (client) => {
    const field = literals([['x-a', 'b']]);
    client.write(headersFrame(1, block, endStream));
    await flood(client, 100_000, () => frameBytes(moreFrameTypes.continuation, 0, 1, field));
    return mustEnd(client);
  }),
  'H2-103': attack(async (client) => {
    client.socket.pause();
    await flood(client, 100_000, () => frameBytes(frameTypes.settings, 0, 0, settingsOf({ 4: 65_535 })));
    client.socket.resume();
    return mustEnd(client);
  }),
  'H2-104': attack(async (client) => {
    // Frames that carry nothing, on a stream that never ends.
    client.write(headersFrame(1, literals([[':method', 'POST'], ...get.slice(1)]), endHeaders));
    await flood(client, 100_000, () => frameBytes(frameTypes.data, 0, 1));
    if (client.isClosed() || client.goAway() !== undefined) return undefined;
    client.send(frameTypes.data, endStream, 1);
    await client.until(() => client.streams.get(1)?.ended === true);
    return client.streams.get(1)?.status === 200 ? undefined : 'the request is not answered in the end';
  }),
  'H2-107': attack(async (client) => {
    await flood(client, 100_000, () => frameBytes(frameTypes.window, 0, 0, uint32(1)));
    client.request(1, get);
    await client.until(() => client.streams.get(1)?.ended === true);
    return client.streams.get(1)?.status === 200 ? undefined : 'the next request is not answered';
  }),
  'H2-105': async (target): Promise<Outcome> => {
    const bad: readonly Fields[] = [
      [...get.filter(([name]) => name !== ':path')],
      [...get.filter(([name]) => name !== ':method')],
      get.map(([name, value]) => [name, name === ':path' ? '' : value]),
      get.map(([name, value]) => [name, name === ':path' ? 'http://web/admin' : value]),
      withField('X-Upper', '1'),
      withField(':status', '200'),
      [['x-a', 'b'], ...get],
      get.map(([name, value]) => [name, name === ':method' ? 'GET /admin HTTP/1.1\r\nx:' : value]),
      get.map(([name, value]) => [name, name === ':path' ? '/ HTTP/1.1\r\nhost: x\r\n\r\nGET /admin' : value]),
      withField('content-length', '5'),
    ];
    for (const [i, fields] of bad.entries()) {
      const client = open(target);
      client.request(1, fields);
      const problem = await mustRefuse(client);
      client.destroy();
      if (problem !== undefined) return { problem: `${i}: ${JSON.stringify(fields.at(-1))}: ${problem}` };
    }
    return {};
  },
};

/** Frames that no client library would send. */
export const h2Layer: Layer = {
  name: 'h2',
  heavy: true,
  scripts,
  alone: {
    'H2-015': async () => {
      const lab = new Lab('quick');
      try {
        const good = createServer((_request, response) => void response.end('ok')).listen(0, '127.0.0.1');
        await once(good, 'listening');
        lab.teardown(() => good.close());
        const hostile = await frameServer(lab as never, (connection) => {
          connection.settings(0);
          connection.goAway(0);
        });
        const { port } = good.address() as AddressInfo;
        const mesh = await lab.mesh({ endpoints: [hostile.port, port], protocol: 'http2' });
        for (let i = 0; i < 12; i++) {
          const reply = await request('http://shop/', { dispatcher: mesh.dispatcher });
          const text = await reply.body.text();
          if (reply.statusCode !== 200) return { problem: `call ${i}: ${reply.statusCode} ${text}` };
        }
        return hostile.accepted() > 0 ? {} : { problem: 'the hostile server was never asked' };
      } finally {
        await lab.close();
      }
    },
  },
};
/** Scripts that cases of other layers need. */
export const h2Scripts: Readonly<Record<string, Script>> = scripts;
