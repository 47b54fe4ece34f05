import t from 'tap';
import { MeshError, type MeshErrorCode } from '../../src/errors.ts';
import { defaultRetryPolicy, type RetryOn, type RetryPolicy, retryOnWords } from '../../src/model/route.ts';
import { compileRetryDecision, lowestRetriedStatus, type TryOutcome } from '../../src/retry/decide.ts';

const policy = (retryOn: readonly RetryOn[], retriableStatusCodes: readonly number[] = []): RetryPolicy => ({
  ...defaultRetryPolicy,
  retryOn,
  retriableStatusCodes,
});
const response = (status: number, headers: Readonly<Record<string, string>> = {}) =>
  ({ kind: 'response', status, headers }) satisfies TryOutcome;
const failure = (code: MeshErrorCode, sent = true) =>
  ({ kind: 'error', error: new MeshError(code, 'x'), sent }) satisfies TryOutcome;

/** Every outcome by name; a row of the table below lists those that its words retry. */
const outcomes: Readonly<Record<string, TryOutcome>> = {
  200: response(200),
  302: response(302),
  404: response(404),
  409: response(409),
  429: response(429),
  500: response(500),
  501: response(501),
  502: response(502),
  503: response(503),
  504: response(504),
  599: response(599),
  600: response(600),
  'rate limited': response(503, { 'x-envoy-ratelimited': 'true' }),
  'grpc 0': response(200, { 'grpc-status': '0' }),
  'grpc 1': response(200, { 'grpc-status': '1' }),
  'grpc 4': response(200, { 'grpc-status': '4' }),
  'grpc 8': response(200, { 'grpc-status': '8' }),
  'grpc 13': response(200, { 'grpc-status': '13' }),
  'grpc 14': response(200, { 'grpc-status': '14' }),
  401: response(401, { 'x-again': 'yes' }),
  403: response(403, { 'x-again': 'yes' }),
  '200 with header': response(200, { 'x-again': 'yes' }),
  '500 rate limited with header': response(500, { 'x-again': 'yes', 'x-envoy-ratelimited': 'true' }),
  '503 overloaded': response(503, { 'x-envoy-overloaded': 'true' }),
  connect: failure('ERR_MESH_CONNECT_FAILED', false),
  tls: failure('ERR_MESH_TLS_FAILED', false),
  identity: failure('ERR_MESH_PEER_IDENTITY', false),
  'connection lost while waiting for it': failure('ERR_MESH_UPSTREAM_RESET', false),
  'try timeout without a connection': failure('ERR_MESH_TRY_TIMEOUT', false),
  reset: failure('ERR_MESH_UPSTREAM_RESET'),
  'no HTTP': failure('ERR_MESH_UPSTREAM_PROTOCOL'),
  'stream refused': failure('ERR_MESH_STREAM_REFUSED'),
  'stream reset': failure('ERR_MESH_STREAM_RESET'),
  'try timeout': failure('ERR_MESH_TRY_TIMEOUT'),
};
const unreachable = ['connect', 'tls', 'identity', 'connection lost while waiting for it'];
const unsent = [...unreachable, 'try timeout without a connection'];
const broken = [...unsent, 'reset', 'no HTTP', 'stream refused', 'stream reset', 'try timeout'];

const table: Readonly<Record<RetryOn, readonly string[]>> = {
  '5xx': ['500', '501', '502', '503', '504', '599', '503 overloaded', ...broken],
  'gateway-error': ['502', '503', '504', '503 overloaded', ...broken],
  reset: broken,
  'reset-before-request': unsent,
  'connect-failure': unreachable,
  'envoy-ratelimited': ['rate limited', '500 rate limited with header'],
  'retriable-4xx': ['409'],
  'refused-stream': ['stream refused'],
  'retriable-status-codes': ['302', '429'],
  // 401 and 403 are final unless the policy names the code
  'retriable-headers': ['200 with header'],
  cancelled: ['grpc 1'],
  'deadline-exceeded': ['grpc 4'],
  internal: ['grpc 13'],
  'resource-exhausted': ['grpc 8'],
  unavailable: ['grpc 14'],
};

for (const word of retryOnWords) {
  t.test(`${word} means what it means in Envoy's router`, async (t) => {
    const decide = compileRetryDecision({
      ...policy([word], [302, 429]),
      retriableHeaders: [{ name: 'x-again', match: { kind: 'exact', value: 'yes' } }],
    });
    t.same(
      Object.keys(outcomes).filter((name) => decide(outcomes[name] as TryOutcome)),
      Object.keys(outcomes).filter((name) => table[word].includes(name)),
    );
  });
}

t.test('words add up', async (t) => {
  const decide = compileRetryDecision(policy(['gateway-error', 'retriable-status-codes', 'unavailable'], [429]));
  for (const name of ['503', '429', 'grpc 14', 'connect']) t.ok(decide(outcomes[name] as TryOutcome), name);
  for (const name of ['500', '409', 'grpc 1']) t.notOk(decide(outcomes[name] as TryOutcome), name);
});

t.test('retriable status codes without the word mean nothing', async (t) => {
  t.notOk(compileRetryDecision(policy(['connect-failure'], [503]))(response(503)));
});

t.test('"slow down" is not tried again, whatever the status says, unless asked for', async (t) => {
  t.notOk(compileRetryDecision(policy(['5xx', 'gateway-error']))(outcomes['rate limited'] as TryOutcome));
  t.ok(compileRetryDecision(policy(['5xx', 'envoy-ratelimited']))(outcomes['rate limited'] as TryOutcome));
});

t.test('no attempts, no retry', async (t) => {
  for (const attempts of [0, -1]) {
    const decide = compileRetryDecision({ ...policy([...retryOnWords]), attempts });
    for (const [name, outcome] of Object.entries(outcomes)) t.notOk(decide(outcome), name);
  }
});

t.test('what another try cannot better is never tried again', async (t) => {
  const decide = compileRetryDecision(policy([...retryOnWords]));
  const hopeless: readonly MeshErrorCode[] = [
    'ERR_MESH_NO_HEALTHY_ENDPOINT',
    'ERR_MESH_OVERFLOW',
    'ERR_MESH_TIMEOUT',
    'ERR_MESH_DEADLINE_EXPIRED',
    'ERR_MESH_NO_IDENTITY',
    'ERR_MESH_NO_ROUTE',
    'ERR_MESH_CLOSED',
  ];
  for (const code of hopeless) t.notOk(decide(failure(code)), code);
});

t.test('errors of the application are not the business of retries', async (t) => {
  const decide = compileRetryDecision(policy([...retryOnWords]));
  for (const error of [new Error('mine'), new TypeError('bad header'), undefined, null, 'text']) {
    t.notOk(decide({ kind: 'error', error, sent: false }));
  }
});

t.test('the default policy of Istio does not retry what may have been done', async (t) => {
  const decide = compileRetryDecision(defaultRetryPolicy);
  t.same(
    Object.keys(outcomes).filter((name) => decide(outcomes[name] as TryOutcome)),
    ['grpc 1', 'grpc 14', ...unreachable, 'stream refused'],
  );
});

t.test('the lowest status that can be retried', async (t) => {
  t.equal(lowestRetriedStatus(policy(['5xx'])), 400);
  t.equal(lowestRetriedStatus(policy(['5xx'], [200])), 400, 'the word is missing');
  t.equal(lowestRetriedStatus(policy(['retriable-status-codes'], [503, 202])), 202);
  t.equal(lowestRetriedStatus(policy(['retriable-status-codes'], [])), 400);
});

t.test('401 and 403 are retried if the policy names them', async (t) => {
  const decide = compileRetryDecision(policy(['retriable-status-codes'], [403]));
  t.ok(decide(response(403)));
  t.notOk(decide(response(401)));
  t.notOk(compileRetryDecision(policy(['5xx', 'retriable-4xx', 'gateway-error']))(response(401)));
});

t.test('retriable headers: any of the matches, every value of a header, nothing without the word', async (t) => {
  const retriableHeaders = [
    { name: 'x-a', match: { kind: 'present' } },
    { name: 'x-b', match: { kind: 'prefix', value: 'try' } },
  ] as const;
  const decide = compileRetryDecision({ ...policy(['retriable-headers']), retriableHeaders });
  t.ok(decide(response(200, { 'x-a': '' })));
  t.ok(decide(response(200, { 'x-b': 'try later' })));
  t.ok(decide({ kind: 'response', status: 200, headers: { 'x-b': ['try', 'no'] } }));
  t.notOk(decide(response(200, { 'x-b': 'no' })));
  t.notOk(compileRetryDecision({ ...policy(['5xx']), retriableHeaders })(response(200, { 'x-a': '' })));
  t.equal(lowestRetriedStatus({ ...policy(['retriable-headers']), retriableHeaders }), 0);
  t.equal(lowestRetriedStatus(policy(['retriable-headers'])), 400, 'nothing names a header');
});
