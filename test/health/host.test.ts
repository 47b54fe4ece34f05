import t from 'tap';
import {
  type HealthHost,
  type HealthResult,
  newHealthHost,
  nextCheckMs,
  takeResult,
  uncheckedHost,
  withJitter,
} from '../../src/health/host.ts';
import { verdictOf } from '../../src/health/verdict.ts';
import { healthPolicy } from '../support/health-policy.ts';

const pass: HealthResult = { kind: 'pass' };
const silent: HealthResult = { kind: 'fail', reason: 'network', problem: 'reset' };
const bad: HealthResult = { kind: 'fail', reason: 'answer', problem: 'status 500' };
const retriable: HealthResult = { ...bad, retriable: true };
const out: HealthResult = { ...bad, excluded: true };
const results = { pass, silent, bad, retriable, out };
type Word = keyof typeof results;

/** `+` healthy, `-` not; `x` excluded; then the transition. */
function run(host: HealthHost, words: readonly Word[], changes: Parameters<typeof healthPolicy>[0] = {}): string[] {
  const policy = healthPolicy({ unhealthyThreshold: 3, healthyThreshold: 2, ...changes });
  return words.map((word) => {
    const transition = takeResult(host, results[word], policy);
    return `${host.healthy ? '+' : '-'}${host.excluded ? 'x' : ''} ${transition}`;
  });
}

t.test('an endpoint that was never checked is not healthy; the first pass decides', async (t) => {
  const policy = healthPolicy({ ignoreNew: true });
  t.match(uncheckedHost(policy), { healthy: false, first: true, excluded: true });
  t.match(uncheckedHost({ ...policy, ignoreNew: false }), { healthy: false, excluded: false });
  t.same(run(uncheckedHost(policy), ['pass']), ['+ changed']);
  t.same(run(uncheckedHost(policy), ['silent', 'pass', 'pass']), ['- changed', '- pending', '+ changed']);
  t.same(run(uncheckedHost({ ...policy, ignoreNew: false }), ['bad', 'pass', 'pass']), [
    '- unchanged',
    '- pending',
    '+ changed',
  ]);
});

t.test('silence counts towards the threshold, a bad answer at once', async (t) => {
  const rows: readonly (readonly [string, readonly Word[], readonly string[]])[] = [
    ['three in a row', ['silent', 'silent', 'silent'], ['+ pending', '+ pending', '- changed']],
    [
      'a pass breaks the row',
      ['silent', 'silent', 'pass', 'silent'],
      ['+ pending', '+ pending', '+ unchanged', '+ pending'],
    ],
    ['a bad answer', ['bad', 'bad'], ['- changed', '- unchanged']],
    [
      'retriable answers are like silence',
      ['retriable', 'silent', 'retriable'],
      ['+ pending', '+ pending', '- changed'],
    ],
    ['a bad answer after silence', ['silent', 'bad'], ['+ pending', '- changed']],
    ['two passes bring it back', ['bad', 'pass', 'pass'], ['- changed', '- pending', '+ changed']],
    [
      'in a row',
      ['bad', 'pass', 'silent', 'pass', 'pass'],
      ['- changed', '- pending', '- unchanged', '- pending', '+ changed'],
    ],
  ];
  for (const [name, words, expected] of rows) t.same(run(newHealthHost(), words), expected, name);
  t.same(run(newHealthHost(), ['silent'], { unhealthyThreshold: 1 }), ['- changed']);
});

t.test('who asks to be left alone is excluded until it is healthy again', async (t) => {
  t.same(run(newHealthHost(), ['out', 'bad', 'pass', 'pass']), [
    '-x changed',
    '-x unchanged',
    '-x pending',
    '+ changed',
  ]);
  t.same(run(newHealthHost(), ['bad', 'out']), ['- changed', '-x changed']);
});

t.test('the last problem is known', async (t) => {
  const host = newHealthHost();
  run(host, ['silent']);
  t.equal(host.problem, 'reset');
  run(host, ['pass']);
  t.equal(host.problem, undefined);
});

t.test('the wait for the next check', async (t) => {
  const policy = healthPolicy({
    intervalMs: 1,
    unhealthyIntervalMs: 2,
    unhealthyEdgeIntervalMs: 3,
    healthyEdgeIntervalMs: 4,
  });
  const never = (): number => 0;
  t.equal(nextCheckMs(true, 'unchanged', policy, never), 1);
  t.equal(nextCheckMs(true, 'changed', policy, never), 1);
  t.equal(nextCheckMs(false, 'unchanged', policy, never), 2);
  t.equal(nextCheckMs(false, 'changed', policy, never), 2);
  t.equal(nextCheckMs(false, 'pending', policy, never), 3);
  t.equal(nextCheckMs(true, 'pending', policy, never), 4);
  t.equal(
    withJitter(1_000, 100, 10, () => 0.5),
    1_100,
  );
  t.equal(withJitter(0, 0, 0, never), 1, 'never none at all');
});

t.test('what an answer says', async (t) => {
  const http = {
    kind: 'http',
    method: 'GET',
    path: '/',
    host: 'a',
    headers: [],
    expected: [
      { from: 200, to: 204 },
      { from: 404, to: 404 },
    ],
    retriable: [{ from: 503, to: 599 }],
  } as const;
  const status = (code: number, wantsOut = false) => verdictOf(http, { kind: 'http', status: code, wantsOut });
  for (const good of [200, 204, 404]) t.equal(status(good).kind, 'pass');
  t.match(status(205), { kind: 'fail', reason: 'answer', problem: 'status 205', retriable: false, excluded: false });
  t.match(status(503), { retriable: true });
  t.match(status(500, true), { excluded: true });
  t.equal(status(200, true).kind, 'pass', 'the status decides, as in Envoy');
  t.match(verdictOf(http, { kind: 'error', message: 'reset' }), { kind: 'fail', reason: 'network', problem: 'reset' });
  t.equal(verdictOf({ kind: 'tcp' }, { kind: 'connected' }).kind, 'pass');
  t.equal(verdictOf({ kind: 'grpc' }, { kind: 'grpc', serving: true, message: 'SERVING' }).kind, 'pass');
  t.match(verdictOf({ kind: 'grpc' }, { kind: 'grpc', serving: false, message: 'NOT_SERVING' }), {
    reason: 'answer',
    problem: 'NOT_SERVING',
  });
});
