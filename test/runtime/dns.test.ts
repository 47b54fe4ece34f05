import t from 'tap';
import type { Endpoint } from '../../src/model/cluster.ts';
import { watchNames } from '../../src/runtime/dns.ts';
import { createNameResolver } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { endpoint } from '../support/snapshot.ts';

type Answer = readonly string[] | Error;

/** Names whose answers a test changes, and what came of them. */
function setup(endpoints: readonly Endpoint[], answers: Record<string, Answer>) {
  const clock = fakeClock();
  const results: string[][] = [];
  const resolver = createNameResolver({
    ask: async (name) => {
      const answer = answers[name] ?? [];
      if (answer instanceof Error) throw answer;
      return { addresses: answer };
    },
    clock,
    random: () => 0.5,
  });
  const resolved = (found: readonly Endpoint[]): void => {
    results.push(found.map(({ address, port }) => `${address} ${port}`));
  };
  const watch = watchNames({ endpoints, resolver, resolved });
  return { answers, clock, resolver, results, watch };
}
const named = (address: string, port = 80): Endpoint => endpoint(port, { address });
const servfail = Object.assign(new Error('queryA ESERVFAIL'), { code: 'ESERVFAIL' });

t.test('a name becomes one endpoint for each of its addresses', async (t) => {
  const { results, watch } = setup([named('a'), named('b', 81)], { a: ['10.0.0.1', '10.0.0.2'], b: ['10.0.0.3'] });
  await watch.warming();
  t.same(results, [['10.0.0.1 80', '10.0.0.2 80', '10.0.0.3 81']]);
  watch.close();
});

t.test('addresses stay as they are', async (t) => {
  const { results, watch } = setup([named('10.0.0.9'), named('::1'), named('a')], { a: ['10.0.0.1'] });
  await watch.warming();
  t.same(results, [['10.0.0.9 80', '::1 80', '10.0.0.1 80']]);
  watch.close();
});

t.test('one address and port is one endpoint, whatever its names', async (t) => {
  const { results, watch } = setup([named('a'), named('a', 81), named('b')], {
    a: ['10.0.0.1'],
    b: ['10.0.0.1'],
  });
  await watch.warming();
  t.same(results, [['10.0.0.1 80', '10.0.0.1 81']]);
  watch.close();
});

t.test('the rest of the endpoint goes with each address', async (t) => {
  const found: Endpoint[] = [];
  const resolver = createNameResolver({
    ask: async () => ({ addresses: ['10.0.0.1', '10.0.0.2'] }),
    clock: fakeClock(),
    random: () => 0,
  });
  const watch = watchNames({
    endpoints: [endpoint(80, { address: 'a', weight: 7, labels: { version: 'v1' } })],
    resolver,
    resolved: (endpoints) => found.push(...endpoints),
  });
  await watch.warming();
  t.match(found, [
    { address: '10.0.0.1', weight: 7, labels: { version: 'v1' } },
    { address: '10.0.0.2', weight: 7, labels: { version: 'v1' } },
  ]);
  watch.close();
});

t.test('IPv4 where there is any, else IPv6 (EP-26)', async (t) => {
  const { results, watch } = setup([named('both'), named('six')], {
    both: ['::1', '127.0.0.1'],
    six: ['fd00::1', 'fd00::2'],
  });
  await watch.warming();
  t.same(results, [['127.0.0.1 80', 'fd00::1 80', 'fd00::2 80']]);
  watch.close();
});

t.test('a name in both families: its IPv6 addresses stand by', async (t) => {
  const found: Endpoint[][] = [];
  const answers = [['::1', '10.0.0.1', '10.0.0.2', '::2', '10.0.0.3'], ['10.0.0.1', '::3'], ['10.0.0.1']];
  const clock = fakeClock();
  const resolver = createNameResolver({
    ask: async () => ({ addresses: answers.shift() ?? [] }),
    clock,
    random: () => 0.5,
  });
  const watch = watchNames({ endpoints: [named('a')], resolver, resolved: (endpoints) => found.push([...endpoints]) });
  await watch.warming();
  for (let i = 0; i < 2; i++) await clock.advanceAsync(30_000);
  t.same(
    found.map((endpoints) => endpoints.map(({ address, otherFamily }) => [address, otherFamily])),
    [
      [
        ['10.0.0.1', '::1'],
        ['10.0.0.2', '::2'],
        ['10.0.0.3', '::1'],
      ],
      [['10.0.0.1', '::3']],
      [['10.0.0.1', undefined]],
    ],
  );
  watch.close();
});

t.test('a change is seen at the next refresh, and nothing is done without one (EP-23)', async (t) => {
  const { answers, clock, results, watch } = setup([named('a')], { a: ['10.0.0.1'] });
  await watch.warming();
  answers['a'] = ['10.0.0.2'];
  await clock.advanceAsync(30_000);
  t.same(results, [['10.0.0.1 80'], ['10.0.0.2 80']]);
  await clock.advanceAsync(60_000);
  t.equal(results.length, 2);
  watch.close();
});

t.test('a failure or an empty answer keeps the last good one, and asks again soon (EP-24)', async (t) => {
  for (const bad of [servfail, []]) {
    const { answers, clock, results, watch } = setup([named('a')], { a: ['10.0.0.1'] });
    await watch.warming();
    answers['a'] = bad;
    await clock.advanceAsync(30_000);
    t.same(results.at(-1), ['10.0.0.1 80']);
    answers['a'] = ['10.0.0.2'];
    await clock.advanceAsync(1_000);
    t.same(results.at(-1), ['10.0.0.2 80']);
    watch.close();
  }
});

t.test('a name that fails from the start gives nothing, the others work', async (t) => {
  const { answers, clock, results, watch } = setup([named('bad'), named('a')], { bad: servfail, a: ['10.0.0.1'] });
  await watch.warming();
  t.same(results.at(-1), ['10.0.0.1 80']);
  answers['bad'] = ['10.0.0.2'];
  await clock.advanceAsync(1_000);
  t.same(results.at(-1), ['10.0.0.2 80', '10.0.0.1 80']);
  watch.close();
});

t.test('ten thousand addresses are capped (EP-25)', async (t) => {
  const many = Array.from({ length: 10_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const { results, watch } = setup([named('a')], { a: many });
  await watch.warming();
  t.equal(results[0]?.length, 1_000);
  watch.close();
});

t.test('warming ends with the first answer', async (t) => {
  const { watch } = setup([named('a')], { a: ['10.0.0.1'] });
  t.ok(watch.warming());
  await watch.warming();
  t.equal(watch.warming(), undefined);
  watch.close();
});

t.test('closed: no answer is taken, nothing is asked again', async (t) => {
  const { clock, results, watch } = setup([named('a')], { a: ['10.0.0.1'] });
  const first = watch.warming();
  watch.close();
  await first;
  t.same(results, []);
  t.equal(clock.pending(), 0);

  const second = setup([named('a')], { a: ['10.0.0.1'] });
  await second.watch.warming();
  second.watch.close();
  t.equal(second.clock.pending(), 0);
});
