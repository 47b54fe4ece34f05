import { runInNewContext } from 'node:vm';
import t from 'tap';
import { MeshError } from '../../src/errors.ts';
import { type JsonLoggerOptions, jsonLogger } from '../../src/lib/json-logger.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** A logger, and what it wrote. */
function recording(level?: JsonLoggerOptions['level']) {
  const lines: string[] = [];
  const clock = fakeClock(Date.UTC(2030, 0, 2, 3, 4, 5, 6));
  const logger = jsonLogger({
    clock,
    ...(level === undefined ? {} : { level }),
    write: (line) => {
      lines.push(line);
    },
  });
  return { logger, lines, last: (): Record<string, unknown> => JSON.parse(lines.at(-1) as string) };
}

t.test('a message is one line of JSON with time, level and fields', async (t) => {
  const { logger, lines } = recording();
  logger.warn({ cluster: 'reviews', tries: 2 }, 'first\nsecond');
  t.same(lines, [
    '{"time":"2030-01-02T03:04:05.006Z","level":"warn","message":"first\\nsecond","cluster":"reviews","tries":2}\n',
  ]);
});

t.test('the level decides what is written; what is not costs nothing', async (t) => {
  const order = ['debug', 'info', 'warn', 'error'] as const;
  for (const [i, level] of [...order, 'silent' as const].entries()) {
    const { logger, lines } = recording(level);
    for (const of of order) logger[of]({}, of);
    t.equal(lines.length, 4 - i, level);
    for (const of of order.slice(0, i)) t.equal(logger[of], silentLogger[of]);
  }
  const standard = recording();
  standard.logger.info({}, 'no');
  standard.logger.warn({}, 'yes');
  t.equal(standard.lines.length, 1);
});

t.test('errors are written with code, fields and causes, without stacks', async (t) => {
  const { logger, last } = recording();
  const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  logger.error({ error: new MeshError('ERR_MESH_CONNECT_FAILED', 'no connection', { cause, cluster: 'c' }) }, 'failed');
  t.same(last()['error'], {
    name: 'MeshError',
    message: 'no connection',
    code: 'ERR_MESH_CONNECT_FAILED',
    status: 503,
    flag: 'UF',
    cluster: 'c',
    cause: { name: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
  });
  logger.warn({ error: runInNewContext('Object.assign(new Error("gone"), { code: "ENOENT" })') }, 'x');
  t.match(last()['error'], { message: 'gone', code: 'ENOENT' }, 'errors of another context');
});

t.test('OBS-004 secrets are not written, by name or by form', async (t) => {
  const { logger, lines } = recording();
  const hidden = 'zXcVbN12345';
  const names = ['token', 'caToken', 'ca_token', 'Authorization', 'proxy-authorization', 'set-cookie', 'cookie'];
  names.push(
    'password',
    'passwd',
    'clientSecret',
    'privateKey',
    'private_key',
    'privateKeyPem',
    'apiKey',
    'credentials',
  );
  for (const name of names) logger.warn({ [name]: hidden, nested: [{ [name]: { value: hidden } }] }, 'm');
  const texts = [
    `-----BEGIN PRIVATE KEY-----\n${hidden}\n-----END PRIVATE KEY-----`,
    `-----BEGIN EC PRIVATE KEY-----\n${hidden}`,
    `authorization: Bearer ${hidden}`,
    `Basic ${hidden}==`,
    `eyJhbGciOiJFUzI1NiJ9.${hidden}.${hidden}`,
  ];
  for (const text of texts) {
    logger.warn({ text, error: new Error(text) }, text);
  }
  t.notMatch(lines.join(''), new RegExp(hidden));
  t.equal(lines.length, names.length + texts.length);
});

t.test('what only sounds like a secret is written', async (t) => {
  const { logger, last } = recording();
  logger.warn({ authorizationPolicy: 'shop/allow', hasToken: true, tokens: 3, bearer: 'none' }, 'm');
  t.match(last(), { authorizationPolicy: 'shop/allow', hasToken: true, tokens: 3, bearer: 'none' });
});

t.test('nothing that a field holds makes it throw or write without end', async (t) => {
  const { logger, last, lines } = recording();
  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  const nasty = {
    cycle,
    big: 12n,
    symbol: Symbol('s'),
    call: function named() {},
    bytes: new Uint8Array(7),
    date: new Date(0),
    badDate: new Date(Number.NaN),
    map: new Map([['k', 1]]),
    set: new Set(['v']),
    nothing: undefined,
    missing: null,
    infinite: Number.POSITIVE_INFINITY,
    long: 'x'.repeat(10_000),
    many: Array.from({ length: 1_000 }, (_, i) => i),
    getter: {
      get broken() {
        throw new Error('no');
      },
    },
    json: {
      toJSON() {
        throw new Error('not called');
      },
    },
    thrower: new Proxy(
      {},
      {
        ownKeys() {
          throw 'text';
        },
      },
    ),
  };
  logger.warn(nasty, 'm');
  t.match(last(), {
    big: '12',
    symbol: 'Symbol(s)',
    call: '[function named]',
    bytes: '[7 bytes]',
    date: '1970-01-01T00:00:00.000Z',
    badDate: null,
    map: { k: 1 },
    set: ['v'],
    missing: null,
    infinite: null,
    getter: '[unreadable: no]',
    thrower: '[unreadable: it throws]',
  });
  t.equal((last()['many'] as unknown[]).length, 100);
  t.ok((last()['long'] as string).length < 5_000);
  t.match(lines.at(-1), /\[deeper\]/);
  logger.warn(undefined as unknown as object, undefined as unknown as string);
  t.match(last(), { message: 'undefined' });
});

t.test('by default it writes to stderr', async (t) => {
  const written = t.intercept(process, 'stderr', {
    value: { write: (line: string) => lines.push(line) },
    configurable: true,
  });
  const lines: string[] = [];
  jsonLogger({ clock: fakeClock() }).error({}, 'here');
  written.restore();
  t.match(lines, [/"message":"here"/]);
});
