import { frameTypes } from '../../support/http2-frames.ts';
import {
  endHeaders,
  endStream,
  type Fields,
  frameBytes,
  kept,
  literals,
  moreFrameTypes,
  settingsOf,
  uint32,
} from '../../support/http2-raw-client.ts';
import type { Dice } from './dice.ts';
import type { Sources } from './http1-bytes.ts';

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const methods = [
  'GET',
  'POST',
  'POST',
  'HEAD',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'get',
  'FOO',
  '',
  'PUT',
  'QUERY',
] as const;
const paths = [
  '/',
  '/',
  '/admin',
  '/trailers',
  '/trailers',
  '/hints',
  '/early',
  '/test.Echo/Unary',
  '/test.Echo/Chat',
  '/test.Echo/Collect',
  '/test.Echo/Repeat',
  '/test.Echo/None',
  '/ADMIN',
  '/a%00',
  '/\u00e9',
  '/a b',
  '*',
  '',
  'admin',
  'http://web/x',
  '//x',
  '/x?access_token=a.b.c',
  '/%zz',
  '/a\x7f',
] as const;
const authorities = ['web', 'web', 'web', 'secret.example', '', 'user@web', 'a,b', '[::1]:80', 'a\u00ff'] as const;
const schemes = ['http', 'http', 'https', 'foo', '', 'HTTP'] as const;
const names = [
  'content-type',
  'content-length',
  'te',
  'host',
  'cookie',
  'cookie',
  'authorization',
  'x-token',
  'x-role',
  'x-forwarded-for',
  'x-forwarded-client-cert',
  'origin',
  'access-control-request-method',
  'expect',
  'trailer',
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
  'traceparent',
  'connection',
  'upgrade',
  'http2-settings',
  'transfer-encoding',
  'X-Upper',
  'x a',
  '',
  ':protocol',
  ':path',
  ':status',
  '__proto__',
  'constructor',
  'x-bin',
  'a-bin',
  'endpoint-load-metrics-format',
  'content-encoding',
  'etag',
  'priority',
  'x-user',
  'date',
  'user-agent',
  'x-request-id',
] as const;
const values = [
  'application/grpc',
  'application/grpc',
  'application/grpc+json',
  'application/json',
  'text/plain',
  '0',
  '5',
  '-1',
  'trailers',
  'gzip',
  'identity',
  'deflate',
  'web',
  'guest',
  '100-continue',
  '1m',
  '1S',
  '',
  'a\r\nb',
  'a\0b',
  '\u00ff',
  'websocket',
  'x-t',
  'a=b',
  'session=a.b.c',
  'u=0, i',
  '10.9.0.1',
  'https://a.example',
  'GET',
  'AAMAAABk',
  'close',
  'TEXT',
  '\u007f',
  ' a ',
  'x'.repeat(1_000),
] as const;

function fields(dice: Dice, { token }: Sources): Fields {
  const grpc = dice.chance(0.35);
  if (dice.chance(0.6)) {
    const more: Fields = dice.chance(0.2) ? [['authorization', `Bearer ${token}`]] : [];
    const path = dice.pick(
      grpc
        ? ['/test.Echo/Unary', '/test.Echo/Chat', '/test.Echo/Collect', '/test.Echo/Repeat']
        : ['/', '/trailers', '/hints', '/early', '/asked', '/x?a=b'],
    );
    const kind: Fields = grpc
      ? [
          ['content-type', 'application/grpc'],
          ['te', 'trailers'],
        ]
      : [];
    return [
      [':method', grpc || dice.chance(0.6) ? 'POST' : 'GET'],
      [':scheme', 'http'],
      [':path', path],
      [':authority', 'web'],
      ...kind,
      ...more,
    ];
  }
  const list: (readonly [string, string])[] = [];
  if (dice.chance(0.97)) list.push([':method', grpc ? 'POST' : dice.pick(methods)]);
  if (dice.chance(0.97)) list.push([':scheme', dice.pick(schemes)]);
  if (dice.chance(0.97)) list.push([':path', dice.pick(paths)]);
  if (dice.chance(0.95)) list.push([':authority', dice.pick(authorities)]);
  if (dice.chance(0.05)) list.push([':protocol', 'websocket']);
  if (grpc) list.push(['content-type', 'application/grpc'], ['te', 'trailers']);
  list.push(
    ...dice.several(
      5,
      () =>
        [
          dice.pick(names),
          dice.chance(0.1) ? dice.pick([token, `Bearer ${token}`, `session=${token}`]) : dice.pick(values),
        ] as const,
    ),
  );
  if (dice.chance(0.03)) list.reverse();
  return list;
}

function message(dice: Dice): Buffer {
  const body = Buffer.from(dice.pick(['', 'a', 'hello', 'x'.repeat(300), '\x1f\x8b\x08\x00']));
  const head = Buffer.alloc(5);
  head[0] = dice.pick([0, 0, 0, 0, 1, 2, 255]);
  head.writeUInt32BE(dice.chance(0.9) ? body.length : dice.pick([0, 1, 0xffffffff, 5_000_000, 0x7fffffff]), 1);
  return Buffer.concat([head, body]);
}

const trailerNames = [
  'x-t',
  'te',
  'te',
  'etag',
  'etag',
  'content-type',
  'content-length',
  'grpc-status',
  ':path',
  'x-bin',
  'date',
  'location',
  'host',
  'upgrade',
  'cookie',
] as const;
const trailerValues = ['a', 'gzip', 'trailers', '1', '\u00ff', ''] as const;

/** Frames of a connection, good ones and others, in whatever order. */
export function http2Bytes(dice: Dice, sources: Sources): readonly Buffer[] {
  const frames: Buffer[] = [preface];
  if (dice.chance(0.98)) {
    const settings = dice.chance(0.3)
      ? { [dice.pick([1, 2, 3, 4, 5, 6, 8, 99])]: dice.pick([0, 1, 100, 65_535, 0x7f_ff_ff_ff]) }
      : {};
    frames.push(frameBytes(frameTypes.settings, 0, 0, settingsOf(settings)));
  }
  let last = -1;
  const streams: number[] = [];
  for (let i = 1 + dice.below(12); i > 0; i--) {
    const known = streams.length > 0 ? dice.pick(streams) : 1;
    switch (dice.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        last += dice.chance(0.98) ? 2 : dice.pick([0, 1, 4, -2]);
        last = Math.max(-1, last);
        const id = Math.max(0, last);
        streams.push(id);
        const block = dice.chance(0.03)
          ? Buffer.concat([literals(fields(dice, sources)), kept('x-k', 'v'), Buffer.from([0xbe])])
          : literals(fields(dice, sources));
        const ends = dice.chance(0.5) ? endStream : 0;
        if (dice.chance(0.1)) {
          const cut = dice.below(block.length);
          frames.push(frameBytes(frameTypes.headers, ends, id, block.subarray(0, cut)));
          frames.push(
            frameBytes(moreFrameTypes.continuation, dice.chance(0.9) ? endHeaders : 0, id, block.subarray(cut)),
          );
        } else frames.push(frameBytes(frameTypes.headers, ends | endHeaders, id, block));
        break;
      }
      case 4:
      case 5:
        frames.push(
          frameBytes(
            frameTypes.data,
            dice.chance(0.4) ? endStream : 0,
            known,
            dice.chance(0.7) ? message(dice) : Buffer.alloc(dice.below(3_000), 0x61),
          ),
        );
        break;
      case 6:
        frames.push(frameBytes(frameTypes.rst, 0, known, uint32(dice.pick([0, 1, 2, 5, 7, 8, 11, 999]))));
        break;
      case 7: {
        const list = [
          [dice.pick(trailerNames), dice.pick(trailerValues)],
          ...dice.several(2, () => [dice.pick(trailerNames), dice.pick(trailerValues)] as const),
        ] as Fields;
        frames.push(
          frameBytes(frameTypes.headers, endHeaders | (dice.chance(0.95) ? endStream : 0), known, literals(list)),
        );
        break;
      }
      case 8:
        frames.push(
          frameBytes(
            frameTypes.window,
            0,
            dice.chance(0.5) ? 0 : known,
            uint32(dice.pick([0, 1, 65_535, 0x7f_ff_ff_ff])),
          ),
        );
        break;
      case 9:
        frames.push(frameBytes(frameTypes.ping, dice.below(2), 0, Buffer.alloc(dice.chance(0.95) ? 8 : 7)));
        break;
      case 10:
        frames.push(
          dice.pick([
            frameBytes(frameTypes.goaway, 0, 0, Buffer.alloc(8)),
            frameBytes(moreFrameTypes.priority, 0, known, Buffer.concat([uint32(dice.below(5)), Buffer.from([1])])),
            frameBytes(
              moreFrameTypes.pushPromise,
              endHeaders,
              known,
              Buffer.concat([uint32(2), literals([[':method', 'GET']])]),
            ),
            frameBytes(frameTypes.settings, dice.below(2), 0, settingsOf({ [dice.below(9)]: dice.below(100_000) })),
            frameBytes(dice.below(256), dice.below(256), known, Buffer.alloc(dice.below(20))),
          ]),
        );
        break;
      default:
        frames.push(
          frameBytes(
            frameTypes.headers,
            endHeaders | endStream,
            (last += 2),
            literals([
              [':method', 'GET'],
              [':scheme', 'http'],
              [':path', '/'],
              [':authority', 'web'],
            ]),
          ),
        );
        streams.push(Math.max(0, last));
    }
  }
  return frames;
}
