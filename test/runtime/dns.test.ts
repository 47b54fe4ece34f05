import t from 'tap';
import type { Endpoint } from '../../src/model/cluster.ts';
import { watchNames } from '../../src/runtime/dns.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { endpoint } from '../support/snapshot.ts';

type Answer = readonly string[] | Error;

/** A resolver whose answers a test changes, and what came of them. */
function setup(endpoints: readonly Endpoint[], answers: Record<string, Answer>) {
  const clock = fakeClock();
  const asked: string[] = [];
  const results: string[][] = [];
  const watch = watchNames({
    endpoints,
    clock,
    random: () => 0.5,
    resolved: (found) => results.push(found.map(({ address, port }) => `${address} ${port}`)),
    resolve: async (name) => {
      asked.push(name);
      const answer = answers[name] ?? [];
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { answers, asked, clock, results, watch };
}
const named = (address: string, port = 80): Endpoint => endpoint(port, { address });
const servfail = Object.assign(new Error('queryA ESERVFAIL'), { code: 'ESERVFAIL' });

t.test('a name becomes one endpoint for each of its addresses', async (t) => {
  const { results, watch } = setup([named('a'), named('b', 81)], { a: ['10.0.0.1', '10.0.0.2'], b: ['10.0.0.3'] });
  await watch.warming();
  t.same(results, [['10.0.0.1 80', '10.0.0.2 80', '10.0.0.3 81']]);
  watch.close();
});

t.test('addresses stay as they are and are not asked for', async (t) => {
  const { asked, results, watch } = setup([named('10.0.0.9'), named('::1'), named('a')], { a: ['10.0.0.1'] });
  await watch.warming();
  t.same(results, [['10.0.0.9 80', '::1 80', '10.0.0.1 80']]);
  t.same(asked, ['a']);
  watch.close();
});

t.test('a name is asked for once, and one address is one endpoint', async (t) => {
  const { asked, results, watch } = setup([named('a'), named('a', 81), named('b')], {
    a: ['10.0.0.1'],
    b: ['10.0.0.1'],
  });
  await watch.warming();
  t.same(asked, ['a', 'b']);
  t.same(results, [['10.0.0.1 80', '10.0.0.1 81']]);
  watch.close();
});

t.test('the rest of the endpoint goes with each address', async (t) => {
  const found: Endpoint[] = [];
  const watch = watchNames({
    endpoints: [endpoint(80, { address: 'a', weight: 7, labels: { version: 'v1' } })],
    clock: fakeClock(),
    random: () => 0,
    resolved: (endpoints) => found.push(...endpoints),
    resolve: async () => ['10.0.0.1', '10.0.0.2'],
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

t.test('a change is seen at the next refresh, every 30 s (EP-23)', async (t) => {
  const { answers, clock, results, watch } = setup([named('a')], { a: ['10.0.0.1'] });
  await watch.warming();
  answers['a'] = ['10.0.0.2'];
  await clock.advanceAsync(29_999);
  t.equal(results.length, 1);
  await clock.advanceAsync(1);
  t.same(results.at(-1), ['10.0.0.2 80']);
  await clock.advanceAsync(30_000);
  t.equal(results.length, 3);
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

t.test('the resolver of the system is the default', async (t) => {
  const found: string[] = [];
  const watch = watchNames({
    endpoints: [named('localhost')],
    clock: fakeClock(),
    random: () => 0,
    resolved: (endpoints) => found.push(...endpoints.map(({ address }) => address)),
  });
  await watch.warming();
  t.same(found, ['127.0.0.1']);
  watch.close();
});
