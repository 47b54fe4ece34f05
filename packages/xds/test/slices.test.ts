// What is large is read in slices: requests are served in between, and nobody sees half of it.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { readEndpoints } from '../src/compile/endpoints.ts';
import { outboundClusters } from '../src/compile/outbound-clusters.ts';
import { type Any, pack } from '../src/proto/any.ts';
import { clusterLoadAssignmentSchema, endpointSchema, type LbEndpoint } from '../src/proto/envoy/endpoint.ts';
import { encode, type Input } from '../src/proto/schema.ts';
import { createCache } from '../src/protocol/cache.ts';
import type { ResourceSet } from '../src/resources.ts';
import { atOnce, createTurns, type Steps } from '../src/turns.ts';
import { istioCluster, istioContext, resourceSet } from './support/envoy.ts';
import { fakeControlPlane } from './support/fake-control-plane.ts';
import { plainCompiler, resource, runSource } from './support/running-source.ts';

/** Each look at it takes a millisecond. Short waits end with what is waiting anyway. */
function slowClock() {
  let ms = 0;
  const clock = fakeClock();
  return {
    ...clock,
    now: () => (ms += 1),
    after(delayMs: number, action: () => void) {
      if (delayMs > 200) return clock.after(delayMs, action);
      const waiting = setImmediate(action);
      return () => clearImmediate(waiting);
    },
  };
}

t.test('work is done in order, in slices, and what it found is told in the same slice', async (t) => {
  const told: string[] = [];
  const waiting: (() => void)[] = [];
  const clock = { ...slowClock(), afterIo: (action: () => void) => void waiting.push(action) };
  const turns = createTurns(clock, () => told.push('idle'));
  function* count(name: string, steps: number): Steps<string> {
    for (let i = 0; i < steps; i++) {
      told.push(`${name}${i}`);
      yield;
    }
    if (name === 'c') throw new Error('broken');
    return name;
  }
  const run = (name: string, steps: number): void =>
    turns.run(
      count(name, steps),
      (result) => void told.push(`done ${result}`),
      (error) => void told.push(`failed ${(error as Error).message}`),
    );
  run('a', 7);
  t.equal(turns.busy(), true);
  run('b', 1);
  run('c', 1);
  t.same(told, ['a0', 'a1', 'a2', 'a3'], 'no more than a slice');
  while (waiting.length > 0) waiting.shift()?.();
  t.same(told.slice(4), ['a4', 'a5', 'a6', 'done a', 'b0', 'done b', 'c0', 'failed broken', 'idle']);
  t.equal(turns.busy(), false);
  told.length = 0;
  run('d', 1);
  t.same(told, ['d0', 'done d', 'idle'], 'what is short is done at once');
  run('f', 1);
  run('g', 1);
  t.same(told.slice(3), ['f0', 'done f', 'idle'], 'but not one after the other without an end');
  t.equal(turns.busy(), true);
  while (waiting.length > 0) waiting.shift()?.();
  t.equal(told.at(-2), 'done g');
  run('e', 9);
  turns.close();
  while (waiting.length > 0) waiting.shift()?.();
  t.notOk(told.includes('done e'), 'nothing goes on after the end');
});

const lbEndpoint = (address: string, more: Input<LbEndpoint> = {}): Input<LbEndpoint> => ({
  endpoint: { address: { socket_address: { address, port_value: 80 } } },
  ...more,
});
const assignment = (list: readonly Input<LbEndpoint>[], priority = 0): Any =>
  pack(clusterLoadAssignmentSchema, { cluster_name: 's', endpoints: [{ lb_endpoints: list, priority }] });

t.test('an endpoint whose bytes stay the same stays the same object, also as a cluster has it', async (t) => {
  const list = Array.from({ length: 100 }, (_, i) => lbEndpoint(`10.0.0.${i}`));
  const before = assignment(list);
  const changes: Readonly<Record<string, { readonly next: Any; readonly kept: number }>> = {
    'the same': { next: assignment([...list]), kept: 100 },
    'one in the middle': {
      next: assignment(list.with(50, lbEndpoint('10.0.0.50', { load_balancing_weight: 7 }))),
      kept: 99,
    },
    'one less': { next: assignment(list.toSpliced(10, 1)), kept: 99 },
    'one more': { next: assignment([lbEndpoint('10.0.1.1'), ...list]), kept: 100 },
    'another order': { next: assignment([...list].reverse()), kept: 100 },
    'another priority': { next: assignment(list, 1), kept: 0 },
    none: { next: assignment([]), kept: 0 },
  };
  const clusterOf = (any: Any) => {
    const set = { ...resourceSet({ clusters: [istioCluster('s')] }), endpoints: new Map([['s', any]]) };
    const hosts = { hashKeys: new Map(), httpClusters: new Set<string>() };
    const discovery = outboundClusters(set, istioContext, hosts as never).clusters.get('s')?.discovery;
    return discovery?.kind === 'static' ? discovery.endpoints : [];
  };
  const first = new Set(readEndpoints(before).value.endpoints);
  const made = new Set(clusterOf(before));
  for (const [what, { kept, next }] of Object.entries(changes)) {
    atOnce(readEndpoints.steps(next, before));
    t.equal(readEndpoints(next).value.endpoints.filter((each) => first.has(each)).length, kept, what);
    t.equal(clusterOf(next).filter((each) => made.has(each)).length, kept, `${what}, in the cluster`);
    const fresh = readEndpoints({ ...next }).value;
    t.same(readEndpoints(next).value.endpoints, fresh.endpoints, `${what}: the same as read anew`);
  }
});

t.test('whatever changes from one version to the next, it is read as if there had been none before', async (t) => {
  const one = fc.record({ address: fc.integer({ min: 1, max: 8 }), kind: fc.integer({ min: 0, max: 5 }) });
  const version = fc.array(fc.array(one, { maxLength: 6 }), { maxLength: 3 });
  const packed = (groups: readonly (readonly { readonly address: number; readonly kind: number }[])[]): Any =>
    pack(clusterLoadAssignmentSchema, {
      cluster_name: 's',
      named_endpoints: new Map([
        ['n', { address: { socket_address: { address: '10.9.9.9', port_value: groups.length + 1 } } }],
      ]) as never,
      endpoints: groups.map((list, i) => ({
        locality: { region: `r${i % 2}` },
        lb_endpoints: list.map(({ address, kind }): Input<LbEndpoint> => {
          const plain = lbEndpoint(`10.0.0.${address}`);
          if (kind === 1) return { ...plain, health_status: 'UNHEALTHY' };
          if (kind === 2) return { ...plain, health_status: 'DEGRADED' };
          if (kind === 3) return { endpoint_name: 'n' };
          if (kind === 4) return { ...plain, endpoint: { ...plain.endpoint, health_check_config: { port_value: 9 } } };
          return plain;
        }),
      })),
    });
  fc.assert(
    fc.property(fc.array(version, { minLength: 2, maxLength: 4 }), (versions) => {
      let before: Any | undefined;
      for (const groups of versions) {
        const any = packed(groups);
        atOnce(readEndpoints.steps(any, before));
        const { ignored, value } = readEndpoints(any);
        const fresh = readEndpoints({ ...any });
        const shown = ({ endpoints, name, remarks, weights }: typeof value) => ({ endpoints, name, remarks, weights });
        t.strictSame(shown(value), shown(fresh.value));
        t.strictSame(ignored, fresh.ignored);
        before = any;
      }
    }),
    { numRuns: 100 },
  );
});

t.test('fields of endpoints that nobody reads are told of with each version that has them', async (t) => {
  const hostname = 3;
  const withHostname = (): Any => {
    const endpoint = Buffer.from(encode(endpointSchema, lbEndpoint('10.0.0.1').endpoint ?? {}));
    const out = new BinaryWriter();
    out.tag(1, WireType.LengthDelimited).bytes(Buffer.concat([endpoint, Buffer.from([(hostname << 3) | 2, 1, 0x61])]));
    const group = new BinaryWriter();
    group.tag(2, WireType.LengthDelimited).bytes(out.finish());
    const all = new BinaryWriter();
    all.tag(1, WireType.LengthDelimited).string('s').tag(2, WireType.LengthDelimited).bytes(group.finish());
    return { type_url: assignment([]).type_url, value: all.finish() };
  };
  const [one, two] = [withHostname(), withHostname()];
  t.same(readEndpoints(one).ignored, ['endpoints[].lb_endpoints[].endpoint.hostname']);
  atOnce(readEndpoints.steps(two, one));
  t.equal(readEndpoints(two).value.endpoints[0], readEndpoints(one).value.endpoints[0]);
  t.same(readEndpoints(two).ignored, readEndpoints(one).ignored);
});

t.test('a large response is in force as a whole, the next one after it, and both are answered in order', async (t) => {
  const plane = await fakeControlPlane(t);
  const running = runSource(t, { server: { address: plane.address, tls: false }, clock: slowClock() });
  const stream = await plane.accept();
  const names = Array.from({ length: 300 }, (_, i) => `c${i}`);
  const all = (text: string) => names.map((name) => resource('clusters', name, { text }));
  stream.send('listeners', {});
  stream.send('clusters', { resources: all('1') });
  await running.until('a snapshot', () => running.updates.length === 1);
  const second = stream.send('clusters', { resources: [...all('2'), resource('clusters', 'bad', { bad: 'x' })] });
  const third = stream.send('clusters', { resources: all('3') });
  await running.until('the last', () => running.told().includes('clusters c299: 3'));
  for (const snapshot of running.updates as readonly { readonly told?: readonly string[] }[]) {
    const texts = new Set((snapshot.told ?? []).map((line) => line.split(': ')[1]));
    t.equal(texts.size, 1, 'nothing of two responses together');
  }
  await running.until('both answers', () => stream.said.some(({ delta }) => delta.response_nonce === third));
  const answers = stream.said.filter(({ delta }) => [second, third].includes(delta.response_nonce ?? ''));
  t.match(
    answers.map(({ delta }) => [delta.response_nonce, delta.error_detail?.message]),
    [
      [second, /"bad"/],
      [third, undefined],
    ],
  );
});

t.test('what is prepared in slices is what is compiled then, also when a response was being read', async (t) => {
  const plane = await fakeControlPlane(t);
  let prepared: ResourceSet | undefined;
  let late = 0;
  const running = runSource(
    t,
    { server: { address: plane.address, tls: false }, clock: slowClock() },
    {
      ...plainCompiler,
      *prepare(set) {
        prepared = set;
        yield;
      },
      compile(set, context, version) {
        if (set.clusters !== prepared?.clusters || set.listeners !== prepared.listeners) late++;
        return plainCompiler.compile(set, context, version);
      },
    },
  );
  const stream = await plane.accept();
  for (let round = 0; round < 3; round++) {
    stream.send('listeners', { resources: [resource('listeners', 'l', { text: `${round}` })] });
    const resources = Array.from({ length: 200 }, (_, i) => resource('clusters', `c${i}`, { text: `${round}` }));
    stream.send('clusters', { resources });
    await running.until('all of it', () => running.told().includes(`clusters c199: ${round}`));
  }
  t.equal(late, 0);
});

t.test('a refusal that was to be said later is not said of the response that is being read', async (t) => {
  const plane = await fakeControlPlane(t);
  const clock = slowClock();
  const server = { address: plane.address, tls: false as const };
  const running = runSource(t, { server, protocol: 'sotw', clock });
  const stream = await plane.accept();
  const answered = (nonce: string) => stream.said.filter(({ sotw }) => sotw.response_nonce === nonce);
  const bad = () => stream.send('clusters', { resources: [resource('clusters', 'x', { bad: 'y' })] });
  const first = bad();
  await running.until('the first answer', () => answered(first).length === 1);
  const pending = clock.pending();
  bad();
  await running.until('a pause', () => clock.pending() > pending);
  const resources = Array.from({ length: 2_000 }, (_, i) => resource('clusters', `c${i}`));
  const good = stream.send('clusters', { resources });
  await running.until('its beginning', () => running.source.status().types.clusters.nonce === good);
  clock.advance(10_000);
  await running.until('its answer', () => running.source.status().types.clusters.resources.length === 2_000);
  await running.until('the word', () => answered(good).length > 0);
  t.same(
    answered(good).map(({ sotw }) => sotw.error_detail),
    [undefined],
  );
});

t.test('what an earlier process kept counts for no control plane, and waits for none', async (t) => {
  const clock = fakeClock();
  let changes = 0;
  const cache = createCache({
    clock,
    readers: plainCompiler.readers,
    changed: () => void changes++,
    missingMs: 15_000,
    maxResources: 10,
    ignoreDeletion: false,
  });
  const nothing = { wildcard: false, names: new Set<string>() };
  const watches = { listeners: nothing, clusters: nothing, routes: nothing, endpoints: nothing };
  cache.watch({ ...watches, listeners: { wildcard: false, names: new Set(['a', 'b']) } });
  cache.requested();
  cache.setVersion('listeners', '7');
  const kept = { ...resourceSet({}), listeners: new Map([['a', resource('listeners', 'a')]]) };
  cache.restore(kept);
  t.equal(cache.version('listeners'), '', 'it is asked for anew');
  const heartbeat = (name: string) =>
    atOnce(
      cache.receive({
        type: 'listeners',
        resources: [{ name, version: '', resource: undefined, ttlMs: 60_000 }],
        removed: [],
        complete: false,
        errors: [],
        version: '8',
      }),
    );
  heartbeat('b');
  clock.advance(20_000);
  const states = () => Object.fromEntries(cache.status('listeners').map(({ name, state }) => [name, state]));
  t.same(states(), { a: 'ACKED', b: 'TIMEOUT' }, 'a heartbeat for what is not there is no news of it');
  const bad = { name: 'a', version: '9', resource: resource('listeners', 'a', { bad: 'x' }), ttlMs: undefined };
  const update = { type: 'listeners', removed: [], complete: false, errors: [], version: '9' } as const;
  t.equal(atOnce(cache.receive({ ...update, resources: [bad] })).length, 1);
  heartbeat('a');
  t.equal(states()['a'], 'NACKED', 'nor is one for what is refused');
  t.equal(cache.problems().length, 1);
  cache.close();
  t.equal(clock.pending(), 0);
});

t.test('a source that ends while it reads takes nothing more into force', async (t) => {
  const plane = await fakeControlPlane(t);
  const running = runSource(t, { server: { address: plane.address, tls: false }, clock: slowClock() });
  const stream = await plane.accept();
  stream.send('listeners', {});
  stream.send('clusters', { resources: Array.from({ length: 500 }, (_, i) => resource('clusters', `c${i}`)) });
  await running.until('a beginning', () => running.source.status().types.listeners.version !== '');
  await running.stop();
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(running.updates.length, 0);
});

t.test('a snapshot that took long is followed by a rest: what changes meanwhile becomes one', async (t) => {
  const plane = await fakeControlPlane(t);
  let took = 30;
  const clock = fakeClock();
  const running = runSource(
    t,
    { server: { address: plane.address, tls: false }, clock },
    {
      ...plainCompiler,
      compile(set, context, version) {
        clock.advance(took);
        return plainCompiler.compile(set, context, version);
      },
    },
  );
  const stream = await plane.accept();
  stream.send('listeners', {});
  stream.send('clusters', { resources: [resource('clusters', 'a', { text: '0' })] });
  await running.until('a snapshot', () => running.updates.length === 1);
  const settle = async () => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  await settle();
  const before = clock.now();
  for (let i = 1; i <= 5; i++) {
    const nonce = stream.send('clusters', { resources: [resource('clusters', 'a', { text: `${i}` })] });
    await running.until('its answer', () => stream.said.some(({ delta }) => delta.response_nonce === nonce));
  }
  await settle();
  const published = running.updates.length;
  t.ok(published <= 2, 'answered at once, published later');
  took = 0;
  clock.advance(4 * 30);
  await running.until('the last', () => running.told().includes('clusters a: 5'));
  t.equal(running.updates.length, published + (published === 2 ? 0 : 1));
  t.ok(clock.now() - before >= 4 * 30);
});
