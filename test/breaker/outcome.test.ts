import t from 'tap';
import { createJudge } from '../../src/breaker/outcome.ts';
import { MeshError, type MeshErrorCode } from '../../src/errors.ts';
import type { BreakerFailures } from '../../src/model/breaker.ts';

const all: BreakerFailures = { errors: true, timeouts: true };
const coded = (code: string): Error => Object.assign(new Error(code), { code });

t.test('statuses', async (t) => {
  const cases: readonly (readonly [number, BreakerFailures, string])[] = [
    [200, all, 'success'],
    [404, all, 'success'],
    [429, all, 'success'],
    [499, all, 'success'],
    [500, all, 'failure'],
    [503, all, 'failure'],
    [599, all, 'failure'],
    [503, { ...all, statuses: [429, 503] }, 'failure'],
    [429, { ...all, statuses: [429, 503] }, 'failure'],
    [500, { ...all, statuses: [429, 503] }, 'success'],
    [500, { ...all, statuses: [] }, 'success'],
  ];
  for (const [status, failures, outcome] of cases) {
    t.equal(createJudge(failures).ofStatus(status), outcome, `${status} with ${JSON.stringify(failures)}`);
  }
});

t.test('errors of the mesh: what did not come from the destination says nothing', async (t) => {
  const error: readonly MeshErrorCode[] = [
    'ERR_MESH_CONNECT_FAILED',
    'ERR_MESH_TLS_FAILED',
    'ERR_MESH_PEER_IDENTITY',
    'ERR_MESH_UPSTREAM_RESET',
    'ERR_MESH_UPSTREAM_PROTOCOL',
    'ERR_MESH_STREAM_REFUSED',
    'ERR_MESH_STREAM_RESET',
    'ERR_MESH_NO_HEALTHY_ENDPOINT',
  ];
  const late: readonly MeshErrorCode[] = ['ERR_MESH_TRY_TIMEOUT', 'ERR_MESH_TIMEOUT'];
  const neutral: readonly MeshErrorCode[] = [
    'ERR_MESH_OVERFLOW',
    'ERR_MESH_FAULT',
    'ERR_MESH_FORBIDDEN',
    'ERR_MESH_DEADLINE_EXPIRED',
    'ERR_MESH_NO_IDENTITY',
    'ERR_MESH_CLOSED',
    'ERR_MESH_UNSUPPORTED',
    'ERR_MESH_CIRCUIT_OPEN',
  ];
  for (const [codes, expected] of [
    [error, ['failure', 'neutral', 'failure']],
    [late, ['failure', 'failure', 'neutral']],
    [neutral, ['neutral', 'neutral', 'neutral']],
  ] as const) {
    for (const code of codes) {
      const given = [all, { ...all, errors: false }, { ...all, timeouts: false }].map((failures) =>
        createJudge(failures).ofError(new MeshError(code, code)),
      );
      t.same(given, expected, code);
    }
  }
});

t.test('errors of destinations that are reached at their own address', async (t) => {
  const judge = createJudge(all);
  for (const code of [
    'ECONNREFUSED',
    'ENOTFOUND',
    'UND_ERR_CONNECT_TIMEOUT',
    'UND_ERR_SOCKET',
    'UND_ERR_HEADERS_TIMEOUT',
  ]) {
    t.equal(judge.ofError(coded(code)), 'failure', code);
  }
  t.equal(createJudge({ ...all, timeouts: false }).ofError(coded('UND_ERR_HEADERS_TIMEOUT')), 'neutral');
  t.equal(judge.ofError(coded('UND_ERR_INVALID_ARG')), 'neutral', 'what the application asked for was wrong');
  t.equal(judge.ofError(new Error('of the application')), 'neutral');
  t.equal(judge.ofError(undefined), 'neutral');
});
