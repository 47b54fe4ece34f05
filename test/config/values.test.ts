import t from 'tap';
import {
  canonicalAddress,
  durationMs,
  isCidr,
  isDnsLabel,
  isHostName,
  isIpAddress,
  isWildcardHostName,
  parseDurationMs,
  selects,
} from '../../src/config/values.ts';
import { editDistance, suggest } from '../../src/lib/suggest.ts';

t.test('durations are read in the notation of Go', async (t) => {
  const cases: readonly (readonly [string, number | undefined])[] = [
    ['1s', 1_000],
    ['250ms', 250],
    ['1.5s', 1_500],
    ['.5s', 500],
    ['1.s', 1_000],
    ['1h30m', 5_400_000],
    ['1h1m1s1ms', 3_661_001],
    ['1.001s', 1_001],
    ['1000us', 1],
    ['1000µs', 1],
    ['2000000ns', 2],
    ['0', 0],
    ['0s', 0],
    ['-1s', -1_000],
    ['+1s', 1_000],
    // Istio wants whole milliseconds.
    ['1500us', undefined],
    ['1ns', undefined],
    ['', undefined],
    ['-', undefined],
    ['1', undefined],
    ['ten', undefined],
    ['1 s', undefined],
    ['1s ', undefined],
    ['1d', undefined],
    ['1S', undefined],
    ['1e3s', undefined],
    ['1e400s', undefined],
    ['.s', undefined],
    ['NaNs', undefined],
    ['99999999999999h', undefined],
  ];
  for (const [text, expected] of cases) t.equal(parseDurationMs(text), expected, JSON.stringify(text));
  t.equal(durationMs(undefined), undefined);
});

t.test('host names, wildcards and labels', async (t) => {
  for (const host of ['a', 'reviews', 'a.b-c.example', 'my_service.local', 'x'.repeat(63)])
    t.ok(isHostName(host), host);
  for (const host of ['', '.', 'a.', '.a', 'a..b', '-a', 'a-', 'a b', 'a/b', 'a:80', '*', 'x'.repeat(64), 'é.fr']) {
    t.notOk(isHostName(host), host);
  }
  t.notOk(isHostName(Array(60).fill('abcde').join('.')), 'longer than 255');
  for (const host of ['*.example.com', 'example.com']) t.ok(isWildcardHostName(host), host);
  for (const host of ['*', '*.', 'a.*', '*example.com', '*.*.com']) t.notOk(isWildcardHostName(host), host);
  t.ok(isDnsLabel('a-b'));
  t.notOk(isDnsLabel('a.b'));
});

t.test('addresses and ranges', async (t) => {
  for (const address of ['10.0.0.1', '::1', 'fe80::1', '::ffff:10.0.0.1']) t.ok(isIpAddress(address), address);
  for (const address of ['10.0.0', '10.0.0.256', '010.0.0.1', '[::1]', 'fe80::1%eth0', 'localhost']) {
    t.notOk(isIpAddress(address), address);
  }
  for (const range of ['10.0.0.0/8', '::/0', '10.0.0.1/32', 'fd00::/128']) t.ok(isCidr(range), range);
  for (const range of ['10.0.0.0', '10.0.0.0/33', '::/129', 'a/8', '10.0.0.0/8/8', '10.0.0.0/-1'])
    t.notOk(isCidr(range), range);
  t.equal(canonicalAddress('0:0:0:0:0:0:0:1'), '::1');
  t.equal(canonicalAddress('FD00::0:1'), 'fd00::1');
  t.equal(canonicalAddress('10.0.0.1'), '10.0.0.1');
});

t.test('a selector wants all of its labels, and takes no inherited property for one', async (t) => {
  t.ok(selects({}, {}));
  t.ok(selects({ app: 'a' }, { app: 'a', version: 'v1' }));
  t.notOk(selects({ app: 'a' }, { app: 'b' }));
  t.notOk(selects({ app: 'a', version: 'v1' }, { app: 'a' }));
  t.notOk(selects({ toString: 'x' }, {}));
});

t.test('suggestions are made for near words only', async (t) => {
  t.equal(editDistance('kitten', 'sitting'), 3);
  t.equal(suggest('timout', ['timeout', 'retries']), 'timeout');
  t.equal(suggest('Timeout', ['timeout', 'retries']), 'timeout');
  t.equal(suggest('per_try_timeout', ['perTryTimeout', 'attempts']), 'perTryTimeout');
  t.equal(suggest('STRCT', ['STRICT', 'DISABLE']), 'STRICT');
  t.equal(suggest('banana', ['timeout', 'retries']), undefined);
  t.equal(suggest('x', ['to', 'from']), undefined);
  t.equal(suggest('x'.repeat(1_000), ['timeout']), undefined);
});
