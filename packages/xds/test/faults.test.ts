import fc from 'fast-check';
import t from 'tap';
import { createPauses } from '../src/connection/pauses.ts';
import { type ResourceType, resourceTypes } from '../src/resources.ts';
import { type FakeStream, fakeControlPlane } from './support/fake-control-plane.ts';
import { plainCompiler, resource, runSource } from './support/running-source.ts';

const istio = (address: string) => ({ server: { address, tls: false as const } });
const portOf = (address: string): number => Number(address.split(':')[1]);

/** A stream on which everything that is asked for was answered once: cluster a with its endpoints, a route to it. */
async function warm(stream: FakeStream): Promise<void> {
  stream.send('clusters', { resources: [resource('clusters', 'a', { refs: ['a'] })] });
  stream.send('listeners', { resources: [resource('listeners', 'l', { refs: ['r'] })] });
  stream.send('endpoints', {});
  await stream.next('endpoints');
  stream.send('endpoints', { resources: [resource('endpoints', 'a')] });
  await stream.next('routes');
  stream.send('routes', { resources: [resource('routes', 'r', { refs: ['a'] })] });
}

t.test('CP-01, CP-11: away at the start: no configuration, a reason, and nothing is said not to exist', async (t) => {
  const gone = await fakeControlPlane(t);
  await gone.close();
  const { clock, lost, source, until, updates } = runSource(t, {
    profile: 'grpc',
    server: { address: gone.address, tls: false },
    services: ['a:80'],
  });
  await until('the message', () => lost.length === 1);
  t.match(lost[0], { code: 'ERR_MESH_CONTROL_PLANE', message: /is out of reach: UNAVAILABLE/ });
  t.match(lost[0]?.message, gone.address);
  for (let i = 0; i < 40; i++) await clock.advanceAsync(1_000);
  t.same([updates.length, lost.length], [0, 1]);
  t.match(source.status().types.listeners.resources, [{ name: 'a:80', state: 'REQUESTED' }]);
  const plane = await fakeControlPlane(t, { port: portOf(gone.address) });
  const back = plane.accept();
  let arrived = false;
  void back.then(() => (arrived = true));
  while (!arrived) {
    await clock.advanceAsync(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  (await back).send('listeners', { resources: [resource('listeners', 'a:80')] });
  await until('a snapshot', () => updates.length === 1);
});

t.test('CP-03: away later: what is in force stays, it is said once, and said again when it is back', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, lost, told, until, updates } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  await warm(stream);
  await until('a snapshot', () => updates.length === 1);
  await plane.close();
  await until('tries', () => {
    clock.advance(1_000);
    return lost.length === 1;
  });
  for (let i = 0; i < 600; i++) await clock.advanceAsync(1_000);
  t.same([updates.length, lost.length], [1, 1], 'ten minutes');
  const again = await fakeControlPlane(t, { port: portOf(plane.address) });
  let back: FakeStream | undefined;
  void again.accept().then((accepted) => (back = accepted));
  await until('the stream', () => {
    clock.advance(1_000);
    return back !== undefined;
  });
  back?.send('clusters', {});
  await until('the news', () => updates.length === 2);
  t.equal(told().length, 4, 'the same as before, which ends the alarm');
});

t.test(
  'CP-04: one that says something and goes away, again and again, is not asked more than once a second',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { clock, lost } = runSource(t, istio(plane.address));
    for (let second = 0; second < 20; second++) {
      const stream = await plane.accept();
      stream.send('clusters', {});
      await stream.next('clusters');
      await stream.next('clusters');
      stream.end();
      t.ok(plane.streams.length <= second + 1, `${plane.streams.length} streams in ${second} s`);
      await new Promise((resolve) => setImmediate(resolve));
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
      await clock.advanceAsync(1_000);
    }
    t.same(lost, []);
  },
);

t.test(
  'CP-06: a thousand bad responses among good ones: each is refused with its reason, the good ones count',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { source, told, until, updates } = runSource(t, istio(plane.address));
    const stream = await plane.accept();
    await warm(stream);
    await until('a snapshot', () => updates.length === 1);
    const before = stream.said.length;
    for (let i = 0; i < 1_000; i++) {
      stream.send('clusters', { resources: [resource('clusters', `bad-${i}`, { bad: `x${i}` })] });
      if (i % 10 === 0) stream.send('endpoints', { resources: [resource('endpoints', 'a', { text: `${i}` })] });
    }
    await until('all answers', () => stream.said.length === before + 1_100);
    const answers = stream.said.slice(before).filter(({ type }) => type === 'clusters');
    t.equal(answers.filter(({ delta }, i) => delta.error_detail?.message?.includes(`"x${i}"`)).length, 1_000);
    await until('the last good one', () => told().includes('endpoints a: 990'));
    for (let i = 1_000; i < 3_000; i++) {
      stream.send('clusters', { resources: [resource('clusters', `bad-${i}`, { bad: `x${i}` })] });
    }
    await until('all answers', () => stream.said.length === before + 3_100);
    t.ok(source.status().types.clusters.resources.length <= 1_001, 'names that are made up do not fill the memory');
  },
);

t.test('CP-07: no endpoints are what was said: honoured', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  await warm(stream);
  await until('a snapshot', () => updates.length === 1);
  stream.send('endpoints', { resources: [resource('endpoints', 'a', { text: 'none' })] });
  await until('the next', () => told().includes('endpoints a: none'));
  t.equal(updates.length, 2);
});

t.test(
  'CP-09: a route to a cluster that comes after it: held until the cluster and its endpoints are there',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { told, until, updates } = runSource(t, istio(plane.address));
    const stream = await plane.accept();
    await warm(stream);
    await until('a snapshot', () => updates.length === 1);
    stream.send('routes', { resources: [resource('routes', 'r', { refs: ['b'] })] });
    await stream.next('routes');
    await stream.next('routes');
    stream.send('clusters', { resources: [resource('clusters', 'b', { refs: ['b'] })] });
    while ((await stream.next('endpoints')).delta.resource_names_subscribe?.[0] !== 'b');
    t.equal(updates.length, 1);
    stream.send('endpoints', { resources: [resource('endpoints', 'a', { text: 'moved' })] });
    await until('endpoints of what is in force, which do not wait', () => updates.length === 2);
    t.same(told(), ['clusters a', 'endpoints a: moved', 'listeners l', 'routes r']);
    stream.send('endpoints', { resources: [resource('endpoints', 'b')] });
    await until('all of it', () => updates.length === 3);
    t.ok(told().includes('clusters b') && told().includes('endpoints b'));
  },
);

t.test(
  'CP-08, CP-10: a cluster that is deleted while a route leads to it stays until the route goes, or five seconds',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { clock, told, until, updates } = runSource(t, istio(plane.address));
    const stream = await plane.accept();
    await warm(stream);
    await until('a snapshot', () => updates.length === 1);
    stream.send('clusters', { resources: [resource('clusters', 'b')], removed: ['a'] });
    while ((await stream.next('clusters')).delta.response_nonce !== 'n6');
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    t.equal(updates.length, 1);
    stream.send('routes', { resources: [resource('routes', 'r', { refs: ['b'] })] });
    await until('both as one', () => updates.length === 2);
    t.same(
      told().filter((one) => one.startsWith('clusters')),
      ['clusters b'],
    );
    stream.send('clusters', { removed: ['b'] });
    while ((await stream.next('clusters')).delta.response_nonce !== 'n8');
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    t.equal(updates.length, 2);
    await clock.advanceAsync(5_000);
    await until('the deletion', () => updates.length === 3);
    t.same(
      told().filter((one) => one.startsWith('clusters')),
      [],
    );
  },
);

t.test('CP-13: the same refusal again is answered later and later, and told once', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, rejected, until } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  await stream.next('clusters');
  const bad = (): string => stream.send('clusters', { resources: [resource('clusters', 'a', { bad: 'x' })] });
  const answers = (): number => stream.said.filter(({ delta }) => delta.error_detail !== undefined).length;
  bad();
  await until('the first answer', () => answers() === 1);
  for (const [pause, count] of [
    [500, 2],
    [1_000, 3],
    [2_000, 4],
  ] as const) {
    const before = clock.pending();
    const nonce = bad();
    await until('a pause', () => clock.pending() > before);
    await clock.advanceAsync(pause - 1);
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
    t.equal(answers(), count - 1, `nothing before ${pause} ms`);
    await clock.advanceAsync(1);
    await until('the answer', () => answers() === count);
    t.equal(stream.said.at(-1)?.delta.response_nonce, nonce);
  }
  t.equal(rejected.length, 1);
});

t.test(
  'CP-14: many updates that arrive together are one snapshot; what did not change is not read again',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { told, until, updates } = runSource(t, istio(plane.address));
    const stream = await plane.accept();
    await warm(stream);
    await until('a snapshot', () => updates.length === 1);
    const reads = plainCompiler.reads.count;
    for (let i = 0; i < 2_000; i++) {
      stream.send('endpoints', { resources: [resource('endpoints', 'a', { text: `${i >> 1}` })] });
    }
    await until('the last', () => told().includes('endpoints a: 999'));
    t.ok(updates.length < 1_000, `${updates.length} snapshots of 2,000 responses`);
    t.equal(plainCompiler.reads.count - reads, 1_000, 'every other one is the same as before');
  },
);

t.test('CP-15: whatever the order, no snapshot mentions what it does not have', async (t) => {
  const orders = fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(orders, async (order) => {
      const plane = await fakeControlPlane(t);
      const running = runSource(t, istio(plane.address));
      const stream = await plane.accept();
      await warm(stream);
      await running.until('a snapshot', () => running.updates.length === 1);
      const steps: readonly (() => void)[] = [
        () => stream.send('clusters', { resources: [resource('clusters', 'b', { refs: ['b'] })] }),
        () => stream.send('clusters', { removed: ['a'] }),
        () => stream.send('routes', { resources: [resource('routes', 'r', { refs: ['b'] })] }),
        () => stream.send('endpoints', { resources: [resource('endpoints', 'b')] }),
        () => stream.send('endpoints', { removed: ['a'] }),
        () => stream.send('listeners', { resources: [resource('listeners', 'l', { refs: ['r'], text: '2' })] }),
      ];
      for (const index of order) {
        steps[index]?.();
        await new Promise((resolve) => setImmediate(resolve));
      }
      // An endpoint that came before anybody had asked for it is sent again, as control planes do.
      await running.until('the question', () =>
        stream.said.some(({ delta }) => delta.resource_names_subscribe?.includes('b')),
      );
      stream.send('endpoints', { resources: [resource('endpoints', 'b')] });
      const complete = (): boolean =>
        running.told().includes('listeners l: 2') && running.told().includes('endpoints b');
      await running.until('all of it', () => complete() && running.told().includes('clusters b'));
      for (const snapshot of running.updates as readonly { readonly told?: readonly string[] }[]) {
        const has = (name: string): boolean => snapshot.told?.includes(name) === true;
        if (!has('clusters a') && !has('clusters b')) return false;
        if (has('clusters b') && !has('endpoints b')) return false;
      }
      await running.stop();
      return true;
    }),
    { numRuns: 12 },
  );
});

t.test('CP-17: a thousand clients that lost their control plane at the same moment come back spread', async (t) => {
  let seed = 7;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const starts: number[] = [];
  for (let client = 0; client < 1_000; client++) {
    const pauses = createPauses(random);
    for (let at = pauses.next(true); at < 60_000; at += pauses.next(false)) starts.push(at);
  }
  // While it is away the tries become fewer: each stretch is measured by itself.
  for (const [from, to] of [
    [500, 1_500],
    [10_000, 30_000],
    [30_000, 60_000],
  ] as const) {
    const width = (to - from) / 10;
    const counts = Array.from(
      { length: 10 },
      (_, i) => starts.filter((at) => at >= from + i * width && at < from + (i + 1) * width).length,
    );
    const average = counts.reduce((sum, count) => sum + count, 0) / 10;
    t.ok(Math.max(...counts) < 2 * average, `${from} to ${to} ms: ${counts.join(' ')}`);
  }
  const pauses = createPauses(() => 0.5);
  t.same(
    Array.from({ length: 4 }, () => pauses.next(false)),
    [1_000, 1_600, 2_560, 4_096],
  );
  for (let i = 0; i < 20; i++) pauses.next(false);
  t.equal(pauses.next(false), 30_000);
  t.equal(pauses.next(true), 1_000);
});

t.test('bounds: more resources than there may be are refused as a whole, larger messages end the stream', async (t) => {
  const plane = await fakeControlPlane(t);
  const { rejected, source, until } = runSource(t, {
    ...istio(plane.address),
    maxResources: 3,
    maxMessageBytes: 10_000,
  });
  const stream = await plane.accept();
  await stream.next('clusters');
  stream.send('clusters', { resources: [1, 2, 3, 4].map((i) => resource('clusters', `c${i}`)) });
  t.match((await stream.next('clusters')).delta.error_detail?.message, /expected 3 resources at most, got 4/);
  await until('the word', () => rejected.length === 1);
  stream.send('clusters', { resources: [1, 2].map((i) => resource('clusters', `c${i}`)) });
  await stream.next('clusters');
  stream.send('clusters', { resources: [3, 4].map((i) => resource('clusters', `c${i}`)) });
  t.match((await stream.next('clusters')).delta.error_detail?.message, /"c4": there are 3 resources/);
  t.same(
    source.status().types.clusters.resources.map(({ name }) => name),
    ['c1', 'c2', 'c3', 'c4'],
  );
  stream.send('clusters', { resources: [resource('clusters', 'c1', { text: 'x'.repeat(20_000) })] });
  await until('the end', () => source.status().servers[0]?.problem !== undefined);
  t.match(source.status().servers[0]?.problem, /RESOURCE_EXHAUSTED/);
  const long = [...Array(500).keys()].map((i) => ({
    type: resourceTypes[0] as ResourceType,
    resource: `r${i}`,
    field: 'f',
    message: 'm'.repeat(50),
  }));
  const { nackOf } = await import('../src/protocol/nack.ts');
  const text = nackOf(long)?.message ?? '';
  t.ok(text.length < 8_300 && / and \d+ more$/.test(text), 'what the control plane is told is bounded, too');
});

t.test('while what callers must prove is refused and never was known, there is no configuration', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates, rejected } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  stream.send('clusters', {});
  stream.send('listeners', {
    resources: [resource('listeners', 'virtualInbound', { bad: 'x' }), resource('listeners', 'l')],
  });
  await until('the problem', () => rejected.length === 1);
  t.equal(updates.length, 0);
  stream.send('listeners', { resources: [resource('listeners', 'virtualInbound', { text: '1' })] });
  await until('a snapshot', () => updates.length === 1);
  stream.send('listeners', {
    resources: [resource('listeners', 'virtualInbound', { bad: 'x' }), resource('listeners', 'm')],
  });
  await until('the next', () => updates.length === 2);
  t.same(told(), ['listeners l', 'listeners m', 'listeners virtualInbound: 1'], 'the last good one stays in force');
});

t.test(
  'what nobody thought of when the compiler was written ends neither the process nor what is in force',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { told, until, updates, rejected } = runSource(t, istio(plane.address), {
      ...plainCompiler,
      compile(set, context, version) {
        if (set.clusters.has('bomb')) throw new Error('no such thing');
        return plainCompiler.compile(set, context, version);
      },
    });
    const stream = await plane.accept();
    await warm(stream);
    await until('a snapshot', () => updates.length === 1);
    stream.send('clusters', { resources: [resource('clusters', 'bomb')] });
    await until('the problem', () => rejected.length === 1);
    t.match(rejected[0], [{ message: /no such thing/ }]);
    stream.send('clusters', { resources: [resource('clusters', 'b')], removed: ['bomb'] });
    await until('the next', () => updates.length === 2);
    t.ok(told().includes('clusters b'));
  },
);
