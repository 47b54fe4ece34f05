import { AsyncLocalStorage } from 'node:async_hooks';
import t from 'tap';
import { createNameResolver, type DnsAnswer } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** A resolver whose questions a test sees and whose answers it changes. */
function setup(first: Partial<DnsAnswer> | Error = {}, random = 0.5) {
  const clock = fakeClock();
  const asked: string[] = [];
  const server = { answer: first };
  const ask = async (name: string): Promise<DnsAnswer> => {
    asked.push(name);
    if (server.answer instanceof Error) throw server.answer;
    return { addresses: ['10.0.0.1'], ...server.answer };
  };
  const resolver = createNameResolver({ ask, clock, random: () => random });
  return { asked, clock, resolver, server };
}
const nothing = (): void => {};

t.test('asks again when the time to live is over', async (t) => {
  for (const [ttlMs, refreshMs] of [
    [60_000, 60_000],
    [5_000, 5_000],
    [300, 1_000],
    [0, 5_000],
    [86_400_000, 3_600_000],
    [undefined, 30_000],
  ] as const) {
    const { asked, clock, resolver } = setup(ttlMs === undefined ? {} : { ttlMs });
    await resolver.watch('a', nothing).first;
    await clock.advanceAsync(refreshMs - 1);
    t.equal(asked.length, 1, `${ttlMs}`);
    await clock.advanceAsync(1);
    t.equal(asked.length, 2, `${ttlMs}`);
    resolver.close();
  }
});

t.test(
  'what has no time to live is asked for as often as the mesh says, and not more than once a second',
  async (t) => {
    for (const [configured, ttlMs, wanted] of [
      [10_000, undefined, 10_000],
      [10_000, 60_000, 60_000],
      [1, undefined, 1_000],
      [undefined, undefined, 30_000],
    ] as const) {
      const clock = fakeClock();
      let asked = 0;
      const resolver = createNameResolver({
        ask: async () => {
          asked++;
          return { addresses: ['10.0.0.1'], ...(ttlMs === undefined ? {} : { ttlMs }) };
        },
        clock,
        random: () => 0.5,
        refreshMs: () => configured,
      });
      await resolver.watch('a', nothing).first;
      await clock.advanceAsync(wanted - 1);
      t.equal(asked, 1, `${configured} ${ttlMs}`);
      await clock.advanceAsync(1);
      t.equal(asked, 2, `${configured} ${ttlMs}`);
      resolver.close();
    }
  },
);

t.test('refreshes are spread by ten percent to both sides', async (t) => {
  for (const [random, refreshMs] of [
    [0, 9_000],
    [1, 11_000],
  ] as const) {
    const { asked, clock, resolver } = setup({ ttlMs: 10_000 }, random);
    await resolver.watch('a', nothing).first;
    await clock.advanceAsync(refreshMs - 1);
    t.equal(asked.length, 1);
    await clock.advanceAsync(1);
    t.equal(asked.length, 2);
    resolver.close();
  }
});

t.test('a name is asked for once, whoever needs it', async (t) => {
  const { asked, resolver } = setup();
  const watches = Array.from({ length: 100 }, () => resolver.watch('a', nothing));
  await Promise.all(watches.map(({ first }) => first));
  t.same(asked, ['a']);
  t.same(watches[99]?.addresses, ['10.0.0.1']);
  const late = resolver.watch('a', nothing);
  t.equal(late.first, undefined, 'known already');
  t.same(late.addresses, ['10.0.0.1']);
  t.same(asked, ['a']);
  resolver.close();
});

t.test('failures are remembered: the pauses grow, nobody asks in between, the last answer stays', async (t) => {
  const { asked, clock, resolver, server } = setup();
  const watch = resolver.watch('a', nothing);
  await watch.first;
  server.answer = new Error('ESERVFAIL');
  await clock.advanceAsync(30_000);
  t.equal(asked.length, 2);
  for (const pauseMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const before = asked.length;
    await clock.advanceAsync(pauseMs - 1);
    t.equal(resolver.watch('a', nothing).first, undefined);
    t.equal(asked.length, before, `pause of ${pauseMs}`);
    await clock.advanceAsync(1);
    t.equal(asked.length, before + 1, `pause of ${pauseMs}`);
  }
  t.same(watch.addresses, ['10.0.0.1']);
  server.answer = { addresses: [] };
  await clock.advanceAsync(30_000);
  t.same(watch.addresses, ['10.0.0.1'], 'no addresses are a failure too');
  server.answer = { addresses: ['10.0.0.2'], ttlMs: 7_000 };
  await clock.advanceAsync(30_000);
  t.same(watch.addresses, ['10.0.0.2']);
  const before = asked.length;
  await clock.advanceAsync(7_000);
  t.equal(asked.length, before + 1);
  resolver.close();
});

t.test('only changes are told, and the order of an answer is none', async (t) => {
  const { clock, resolver, server } = setup({ addresses: ['10.0.0.1', '10.0.0.2'] });
  let told = 0;
  const watch = resolver.watch('a', () => void told++);
  await watch.first;
  t.equal(told, 1);
  server.answer = { addresses: ['10.0.0.2', '10.0.0.1'] };
  await clock.advanceAsync(30_000);
  t.equal(told, 1);
  server.answer = { addresses: ['10.0.0.2'] };
  await clock.advanceAsync(30_000);
  t.equal(told, 2);
  resolver.close();
});

t.test('at most sixteen questions at a time', async (t) => {
  const clock = fakeClock();
  const open: (() => void)[] = [];
  let most = 0;
  let asking = 0;
  const resolver = createNameResolver({
    ask: () =>
      new Promise((resolve) => {
        most = Math.max(most, ++asking);
        open.push(() => {
          asking--;
          resolve({ addresses: ['10.0.0.1'] });
        });
      }),
    clock,
    random: () => 0.5,
  });
  const watches = Array.from({ length: 100 }, (_, i) => resolver.watch(`name-${i}`, nothing));
  watches[99]?.release();
  const all = Promise.all(watches.map(({ first }) => first));
  for (let answered = 0; answered < 99; answered++) {
    open.shift()?.();
    await clock.advanceAsync(0);
  }
  await all;
  t.equal(most, 16);
  t.equal(open.length, 0, 'the one that was given up in the queue was never asked for');
  resolver.close();
});

t.test('a name that nobody watches any more is forgotten; so is everything on close', async (t) => {
  const { asked, clock, resolver } = setup();
  const first = resolver.watch('a', nothing);
  const second = resolver.watch('a', nothing);
  await first.first;
  first.release();
  first.release();
  t.equal(clock.pending(), 1);
  second.release();
  t.equal(clock.pending(), 0);
  const unanswered = resolver.watch('b', () => t.fail('released'));
  unanswered.release();
  await unanswered.first;
  await clock.advanceAsync(60_000);
  t.same(asked, ['a', 'b']);

  const last = resolver.watch('c', () => t.fail('closed'));
  resolver.close();
  await last.first;
  await clock.advanceAsync(60_000);
  t.equal(clock.pending(), 0);
});

t.test('names are asked for outside of the call that needed them first', async (t) => {
  const calls = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const clock = fakeClock();
  const names = createNameResolver({
    clock,
    random: () => 0.5,
    ask: async () => {
      seen.push(calls.getStore());
      return { addresses: ['10.0.0.1'] };
    },
  });
  calls.run('a call', () => names.watch('a.example', () => {}));
  await clock.advanceAsync(60_000);
  t.ok(seen.length > 1);
  t.same(new Set(seen), new Set([undefined]));
  names.close();
});
