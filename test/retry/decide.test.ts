import t from 'tap';
import { MeshError, type MeshErrorCode } from '../../src/errors.ts';
import { defaultRetryPolicy, type RetryOn, type RetryPolicy, retryOnWords } from '../../src/model/route.ts';
import { compileRetryDecision, lowestRetriedStatus, neverSent, type TryOutcome } from '../../src/retry/decide.ts';

const policy = (retryOn: readonly RetryOn[], retriableStatusCodes: readonly number[] = []): RetryPolicy => ({
  ...defaultRetryPolicy,
  retryOn,
  retriableStatusCodes,
});
const response = (status: number, more: { readonly grpcStatus?: string; readonly rateLimited?: boolean } = {}) =>
  ({ kind: 'response', status, rateLimited: false, ...more }) satisfies TryOutcome;
const failure = (code: MeshErrorCode) => ({ kind: 'error', error: new MeshError(code, 'x') }) satisfies TryOutcome;

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
  'rate limited': response(503, { rateLimited: true }),
  'grpc 0': response(200, { grpcStatus: '0' }),
  'grpc 1': response(200, { grpcStatus: '1' }),
  'grpc 4': response(200, { grpcStatus: '4' }),
  'grpc 8': response(200, { grpcStatus: '8' }),
  'grpc 13': response(200, { grpcStatus: '13' }),
  'grpc 14': response(200, { grpcStatus: '14' }),
  connect: failure('ERR_MESH_CONNECT_FAILED'),
  tls: failure('ERR_MESH_TLS_FAILED'),
  identity: failure('ERR_MESH_PEER_IDENTITY'),
  reset: failure('ERR_MESH_UPSTREAM_RESET'),
  'try timeout': failure('ERR_MESH_TRY_TIMEOUT'),
};
const unreachable = ['connect', 'tls', 'identity'];
const broken = [...unreachable, 'reset', 'try timeout'];

const table: Readonly<Record<RetryOn, readonly string[]>> = {
  '5xx': ['500', '501', '502', '503', '504', '599', ...broken],
  'gateway-error': ['502', '503', '504', ...broken],
  reset: broken,
  'reset-before-request': unreachable,
  'connect-failure': unreachable,
  'envoy-ratelimited': ['rate limited'],
  'retriable-4xx': ['409'],
  // a word of HTTP/2
  'refused-stream': [],
  'retriable-status-codes': ['302', '429'],
  cancelled: ['grpc 1'],
  'deadline-exceeded': ['grpc 4'],
  internal: ['grpc 13'],
  'resource-exhausted': ['grpc 8'],
  unavailable: ['grpc 14'],
};

for (const word of retryOnWords) {
  t.test(`${word} means what it means in Envoy's router`, async (t) => {
    const decide = compileRetryDecision(policy([word], [302, 429]));
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
    t.notOk(decide({ kind: 'error', error }));
  }
});

t.test('the default policy of Istio does not retry what may have been done', async (t) => {
  const decide = compileRetryDecision(defaultRetryPolicy);
  t.same(
    Object.keys(outcomes).filter((name) => decide(outcomes[name] as TryOutcome)),
    ['grpc 1', 'grpc 14', 'connect', 'tls', 'identity'],
  );
});

t.test('the lowest status that can be retried', async (t) => {
  t.equal(lowestRetriedStatus(policy(['5xx'])), 400);
  t.equal(lowestRetriedStatus(policy(['5xx'], [200])), 400, 'the word is missing');
  t.equal(lowestRetriedStatus(policy(['retriable-status-codes'], [503, 202])), 202);
  t.equal(lowestRetriedStatus(policy(['retriable-status-codes'], [])), 400);
});

t.test('a request that never left is known by its error', async (t) => {
  for (const code of ['ERR_MESH_CONNECT_FAILED', 'ERR_MESH_TLS_FAILED', 'ERR_MESH_PEER_IDENTITY'] as const) {
    t.ok(neverSent(new MeshError(code, 'x')), code);
  }
  for (const code of ['ERR_MESH_UPSTREAM_RESET', 'ERR_MESH_TRY_TIMEOUT'] as const) {
    t.notOk(neverSent(new MeshError(code, 'x')), code);
  }
  t.notOk(neverSent(new Error('ECONNREFUSED')));
});
