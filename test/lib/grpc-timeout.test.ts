import t from 'tap';
import { grpcTimeout, grpcTimeoutMs } from '../../src/lib/grpc-timeout.ts';

t.test('a grpc-timeout is read in each of its units', async (t) => {
  for (const [text, ms] of [
    ['1H', 3_600_000],
    ['2M', 120_000],
    ['3S', 3_000],
    ['4m', 4],
    ['5000u', 5],
    ['6000000n', 6],
    ['99999999m', 99_999_999],
    ['0m', 0],
    ['m', Infinity],
    ['', Infinity],
    ['100000000m', Infinity],
    ['1.5S', Infinity],
    ['-1S', Infinity],
    ['1s', Infinity],
    [undefined, Infinity],
  ] as const) {
    t.equal(grpcTimeoutMs(text), ms, `${text}`);
  }
});

t.test('it is written in the finest unit that holds it, and never longer than it is', async (t) => {
  for (const [ms, text] of [
    [1_500, '1500m'],
    [0.2, '1m'],
    [99_999_999, '99999999m'],
    [100_000_999, '100000S'],
    [1e13, '99999999M'],
  ] as const) {
    t.equal(grpcTimeout(ms), text, `${ms}`);
  }
});
