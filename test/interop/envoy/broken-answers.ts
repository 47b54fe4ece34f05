import { type Answer, h2, http1, http2 } from './broken-servers.ts';

/** Under which policies a call is tried again: as a reset after the request was sent, as a refusal, as its status, not at all. */
type Tries = 'sent' | 'unsent' | 'status' | 'none';

/** What a server does, what an Envoy makes of it, and where inmesh differs. */
export interface BrokenAnswer {
  readonly name: string;
  readonly answer: Answer;
  /** Status, whether the response came to its end, and the flag of the access log. */
  readonly wanted: string;
  readonly tries: Tries;
  readonly ours?: string;
  /** A number: so many requests for each try, which are sent again without asking a policy. */
  readonly ourTries?: Tries | number;
}

const passed = '200 whole';
const broken = '502 whole UPE';
const ended = '503 whole UC';
const cut = '200 cut UPE';

type Texts = Readonly<Record<string, string | Answer>>;

/** Answers that have the same effect. */
function alike(
  wanted: string,
  tries: Tries,
  answers: Texts,
  differs: Pick<BrokenAnswer, 'ours' | 'ourTries'> = {},
): readonly BrokenAnswer[] {
  return Object.entries(answers).map(([name, given]) => ({
    name,
    answer: typeof given === 'string' ? http1(given) : given,
    wanted,
    tries,
    ...differs,
  }));
}

const head = 'HTTP/1.1 200 OK\r\n';
const empty = 'content-length: 0\r\n\r\n';
const ok = `${head}content-length: 2\r\n\r\nok`;
const chunked = `${head}transfer-encoding: chunked\r\n\r\n`;
const long = (bytes: number): string => `${head}a: ${'x'.repeat(bytes)}\r\n${empty}`;
const many = (count: number): string => `${head}${'a: b\r\n'.repeat(count)}${empty}`;
const hints = 'HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n';
const goOn = 'HTTP/1.1 100 Continue\r\n\r\n';

export const http1Answers: readonly BrokenAnswer[] = [
  ...alike(passed, 'none', {
    'nothing broken': http1(ok, 'stay'),
    'no reason': `HTTP/1.1 200\r\n${empty}`,
    'HTTP/1.0': 'HTTP/1.0 200 OK\r\n\r\nok',
    'a version that is not spoken, 2.0': `HTTP/2.0 200 OK\r\n${empty}`,
    '15 KiB of headers': long(15_000),
    '99 headers': many(98),
    'more body than announced': `${ok}okok`,
    'a second answer': http1(ok + ok, 'stay'),
    '103 and an answer': hints + ok,
    '102 and an answer': `HTTP/1.1 102 Processing\r\n\r\n${ok}`,
  }),
  ...alike('304 whole', 'none', { '304 with a body': 'HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok' }),
  ...alike('999 whole', 'none', { 'status 999': `HTTP/1.1 999 Odd\r\n${empty}` }),
  ...alike('600 whole', 'none', { 'status 600': `HTTP/1.1 600 Odd\r\n${empty}` }),
  ...alike('503 whole', 'status', { 'status 503': `HTTP/1.1 503 No\r\n${empty}` }),
  ...alike(broken, 'sent', {
    'both lengths': `${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    'two lengths that differ': `${head}content-length: 2\r\ncontent-length: 3\r\n\r\nok`,
    'two lengths that are equal': `${head}content-length: 2\r\ncontent-length: 2\r\n\r\nok`,
    'a length that is none': `${head}content-length: x\r\n\r\nok`,
    'a length below 0': `${head}content-length: -1\r\n\r\nok`,
    'a coding that is not chunked': `${head}transfer-encoding: gzip\r\n\r\nok`,
    'one coding in another': `${head}transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    'a TLS record': '\x16\x03\x01 this is not HTTP\r\n\r\n',
    'some text': 'nonsense',
    'some text, and no end': http1('nonsense', 'stay'),
    'the greeting of SSH': 'SSH-2.0-OpenSSH_9\r\n',
    'frames of HTTP/2': http1('\0\0\0\x04\0\0\0\0\0', 'stay'),
    'HTTP/0.9': 'hello\n',
    'letters for a status': `HTTP/1.1 OK 200\r\n${empty}`,
    'no status': `HTTP/1.1\r\n${empty}`,
    'a space in a name': `${head}a b: c\r\n${empty}`,
    'a space before the colon': `${head}a : c\r\n${empty}`,
    'no colon': `${head}abc\r\n${empty}`,
    'NUL in a value': `${head}a: b\0c\r\n${empty}`,
    'a control character in a value': `${head}a: b\x01c\r\n${empty}`,
    '100 KiB of headers': http1(long(100_000), 'stay'),
    '204 with a length': 'HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok',
    '204 in chunks': 'HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  }),
  ...alike(ended, 'sent', { 'no answer': '', 'a reset': http1('', 'reset') }),
  ...alike(cut, 'none', {
    'a chunk size that is none': http1(`${chunked}zz\r\nok\r\n0\r\n\r\n`, 'stay'),
    'a chunk size that is none, later': http1(`${chunked}2\r\nok\r\nzz\r\n`, 'stay'),
  }),
  // An Envoy lets these pass; here they are refused. (What comes of a status of 99 is no answer for Node's client either.)
  ...alike(
    'nothing',
    'none',
    {
      'status 99': `HTTP/1.1 99 Odd\r\n${empty}`,
      'status 099': `HTTP/1.1 099 Odd\r\n${empty}`,
      'status 1000': `HTTP/1.1 1000 Odd\r\n${empty}`,
    },
    { ours: broken, ourTries: 'sent' },
  ),
  ...alike(
    passed,
    'none',
    {
      'a version that there is not, 3.0': `HTTP/3.0 200 OK\r\n${empty}`,
      'a folded line': `${head}a: b\r\n c\r\n${empty}`,
      'CR alone': `${head}a: b\rc\r\n${empty}`,
      'LF alone': `HTTP/1.1 200 OK\na: b\ncontent-length: 0\n\n`,
      '50 KiB of headers': long(50_000),
      'three times 100, and an answer': goOn.repeat(3) + ok,
      'a thousand times 103, and an answer': hints.repeat(1_000) + ok,
    },
    { ours: broken, ourTries: 'sent' },
  ),
  ...alike(
    '101 whole',
    'none',
    {
      '101 that nobody asked for': http1(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n',
        'stay',
      ),
      '101 without a word': 'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    },
    { ours: broken, ourTries: 'sent' },
  ),
  // An Envoy forgets its retries with the first 1xx that it hands on.
  ...alike(
    ended,
    'none',
    {
      '100, and the end': goOn,
      'a thousand times 100, and the end': goOn.repeat(1_000),
      'a thousand times 103, and the end': hints.repeat(1_000),
    },
    { ours: broken, ourTries: 'sent' },
  ),
  ...alike(ended, 'none', { '103, and the end': hints }, { ourTries: 'sent' }),
  // The number of headers is not limited here, their size is (16 KiB).
  ...alike(broken, 'sent', { '150 headers': many(150) }, { ours: passed, ourTries: 'none' }),
  // Of a connection that ends too early it is not known here whether anything had come.
  ...alike(
    broken,
    'sent',
    {
      'the end in the status line': 'HTTP/1.1 2',
      'the end in the head': `${head}a: b`,
      'a reset in the head': http1(`${head}a: b`, 'reset'),
    },
    { ours: ended },
  ),
  ...alike(
    cut,
    'none',
    {
      'less body than announced': `${head}content-length: 10\r\n\r\nok`,
      'the end in a chunk': `${chunked}5\r\nok`,
      'no last chunk': `${chunked}2\r\nok\r\n`,
      'a reset in the body': http1(`${head}content-length: 10\r\n\r\nok`, 'reset'),
    },
    { ours: '200 cut UC' },
  ),
];

const status = (value: string) => [':status', value] as const;
const good = status('200');
const begun = [h2.headers([good]), h2.data('o')];
const reset = '503 whole UR';
const resets = (codes: readonly number[], before: readonly Buffer[]): Texts =>
  Object.fromEntries(
    codes.map((code) => [
      `reset with ${code}${before.length > 0 ? ' in the body' : ''}`,
      http2([...before, h2.reset(code)]),
    ]),
  );
const headOf = (...fields: readonly (readonly [string, string])[]): Answer => http2([h2.headers(fields, true)]);

export const http2Answers: readonly BrokenAnswer[] = [
  ...alike(passed, 'none', {
    'nothing broken': http2([h2.headers([good]), h2.data('ok', true)]),
    '100 and an answer': http2([h2.headers([status('100')]), h2.headers([good]), h2.data('ok', true)]),
    '103 and an answer': http2([h2.headers([status('103')]), h2.headers([good]), h2.data('ok', true)]),
  }),
  ...alike('999 whole', 'none', { 'status 999': headOf(status('999')) }),
  ...alike(reset, 'sent', resets([0, 2, 3, 5, 8, 9, 11, 13], [])),
  ...alike(broken, 'sent', {
    ...resets([1], []),
    'no status': headOf(['a', 'b']),
    'two statuses': headOf(good, good),
    'status 99': headOf(status('99')),
    'status 1000': headOf(status('1000')),
    'letters for a status': headOf(status('abc')),
    'an empty status': headOf(status('')),
    '101': headOf(status('101')),
    '100 that ends the stream': headOf(status('100')),
    'upper case in a name': headOf(good, ['Abc', 'd']),
    'a header of connections': headOf(good, ['connection', 'close']),
    'a transfer-encoding': headOf(good, ['transfer-encoding', 'chunked']),
    'a pseudo header that there is not': headOf(good, [':x', 'y']),
    'a pseudo header of requests': headOf(good, [':path', '/']),
    'the status behind a header': headOf(['a', 'b'], good),
    'two lengths': http2([h2.headers([good, ['content-length', '1'], ['content-length', '2']]), h2.data('ok', true)]),
    'a length that is none': http2([h2.headers([good, ['content-length', 'x']]), h2.data('ok', true)]),
    'a block that cannot be read': http2([h2.block(Buffer.alloc(9, 255))]),
    'an answer of HTTP/1.1': http2([Buffer.from(`HTTP/1.1 400 Bad Request\r\n${empty}`)], 'close'),
    'a body before the head': http2([h2.data('ok', true)]),
    'a window of 0': http2([h2.window(0)]),
    'a push': http2([h2.push()]),
    'a stream of its own': http2([h2.stray()]),
    '50 KiB of headers': http2([
      h2.headers([good, ...Array.from({ length: 10 }, (_, i) => [`a${i}`, 'x'.repeat(5_000)] as const)], true),
    ]),
  }),
  ...alike(ended, 'sent', {
    'no answer': http2([], 'close'),
    'a reset connection': http2([], 'reset'),
    'the end in a frame': http2([h2.headers([good]).subarray(0, 12)], 'close'),
    'a farewell, and the end': http2([h2.goaway(1, 0)], 'close'),
    'a farewell with an error, and the end': http2([h2.goaway(1, 1)], 'close'),
  }),
  ...alike('200 cut UR', 'none', resets([0, 2, 8, 11], begun)),
  ...alike('200 cut UC', 'none', { 'the end in the body': http2(begun, 'close') }),
  ...alike(cut, 'none', {
    ...resets([1], begun),
    'less body than announced': http2([h2.headers([good, ['content-length', '10']]), h2.data('ok', true)]),
    'more body than announced': http2([h2.headers([good, ['content-length', '1']]), h2.data('ok', true)]),
    'a status in the trailers': http2([...begun, h2.headers([good], true)]),
    'trailers that end nothing': http2([...begun, h2.headers([['a', 'b']])]),
  }),
  ...alike(
    '204 whole UPE',
    'none',
    { '204 with a body': http2([h2.headers([status('204')]), h2.data('ok', true)]) },
    { ours: '204 cut UPE' },
  ),
  // What a server has not looked at is sent again here before any policy is asked.
  ...alike(reset, 'unsent', resets([7], []), { ourTries: 2 }),
  ...alike(
    reset,
    'unsent',
    {
      'a farewell that leaves the request out': http2([h2.goaway(0, 0)], 'close'),
      'the same with an error': http2([h2.goaway(0, 1)], 'close'),
    },
    { ourTries: 6 },
  ),
  // Node's reader leaves headers out that are not valid.
  ...alike(
    broken,
    'sent',
    {
      'a space in a name': headOf(good, ['a b', 'd']),
      'CR in a value': headOf(good, ['a', 'b\rc']),
      'NUL in a value': headOf(good, ['a', 'b\0c']),
    },
    { ours: passed, ourTries: 'none' },
  ),
];
