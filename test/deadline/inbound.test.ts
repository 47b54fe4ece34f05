import t from 'tap';
import { callerTimeoutMs } from '../../src/deadline/inbound.ts';

const none = Number.POSITIVE_INFINITY;

t.test('x-envoy-expected-rq-timeout-ms is whole milliseconds', async (t) => {
  const table: readonly (readonly [string | undefined, number])[] = [
    [undefined, none],
    ['0', 0],
    ['250', 250],
    ['2147483647', 2_147_483_647],
    ['2147483648', none],
    ['99999999999999999999', none],
    ['', none],
    ['-1', none],
    ['1e3', none],
    ['1.5', none],
    [' 5', none],
    ['5, 6', none],
    ['x', none],
  ];
  for (const [text, ms] of table) t.equal(callerTimeoutMs(text, undefined), ms, String(text));
});

t.test('grpc-timeout is at most eight digits and a unit', async (t) => {
  const table: readonly (readonly [string, number])[] = [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['4m', 4],
    ['5000u', 5],
    ['6000000n', 6],
    ['0n', 0],
    ['99999999m', 99_999_999],
    ['99999999H', none],
    ['123456789m', none],
    ['1x', none],
    ['-1S', none],
    ['S', none],
    ['10', none],
    ['1'.repeat(10_000), none],
    ['', none],
  ];
  for (const [text, ms] of table) t.equal(callerTimeoutMs(undefined, text), ms, text.slice(0, 20));
});

t.test('the shorter one counts: a caller may only shorten', async (t) => {
  t.equal(callerTimeoutMs('100', '50m'), 50);
  t.equal(callerTimeoutMs('20', '50m'), 20);
  t.equal(callerTimeoutMs('nonsense', '50m'), 50);
});
