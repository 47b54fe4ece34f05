import { status } from '@grpc/grpc-js';
import t from 'tap';
import { fakeControlPlane } from '../support/fake-control-plane.ts';
import { resource, runSource } from '../support/running-source.ts';

const istio = (address: string) => ({ server: { address, tls: false as const } });

t.test('a stream begins with who asks and with everything, and names follow what is mentioned', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  const clusters = await stream.next('clusters');
  const listeners = await stream.next('listeners');
  t.match(clusters.delta.node, { id: 'sidecar~10.0.0.1~web.shop~shop.svc.cluster.local', cluster: 'web.shop' });
  t.equal(listeners.delta.node, undefined, 'the node comes with the first request of a stream only');
  for (const { delta } of [clusters, listeners]) {
    t.match(delta, { resource_names_subscribe: [], resource_names_unsubscribe: [], response_nonce: '' });
    t.equal(delta.initial_resource_versions?.size, 0);
  }
  const nonce = stream.send('clusters', { resources: [resource('clusters', 'a', { refs: ['a'] })] });
  const answer = await stream.next('clusters');
  t.match(answer.delta, { response_nonce: nonce, error_detail: undefined, resource_names_subscribe: [] });
  t.match((await stream.next('endpoints')).delta, { resource_names_subscribe: ['a'], response_nonce: '' });
  stream.send('listeners', { resources: [resource('listeners', '0.0.0.0_80', { refs: ['80'] })] });
  await stream.next('listeners');
  t.match((await stream.next('routes')).delta, { resource_names_subscribe: ['80'], response_nonce: '' });
  t.equal(updates.length, 0, 'nothing is published before everything is there');
  stream.send('endpoints', { resources: [resource('endpoints', 'a')] });
  await stream.next('endpoints');
  stream.send('routes', { resources: [resource('routes', '80', { refs: ['a'] })] });
  await until('a snapshot', () => updates.length === 1);
  t.same(told(), ['clusters a', 'endpoints a', 'listeners 0.0.0.0_80', 'routes 80']);
  t.equal(plane.streams.length, 1);
});

t.test('answers carry no changes; names come and go in requests of their own, without a nonce', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  stream.send('listeners', { resources: [] });
  stream.send('clusters', { resources: [resource('clusters', 'a', { refs: ['a'] })] });
  stream.send('endpoints', { resources: [resource('endpoints', 'early')] });
  t.match((await stream.next('endpoints')).delta, { resource_names_subscribe: ['a'] });
  stream.send('endpoints', { resources: [resource('endpoints', 'a')] });
  await until('the first', () => updates.length === 1);
  stream.send('clusters', { resources: [resource('clusters', 'b', { refs: ['b'] })], removed: ['a'] });
  t.equal((await stream.next('endpoints')).delta.response_nonce, 'n4', 'the answer');
  t.match((await stream.next('endpoints')).delta, {
    resource_names_subscribe: ['b'],
    resource_names_unsubscribe: [],
    response_nonce: '',
  });
  t.same(
    told(),
    ['clusters a', 'endpoints a'],
    'what was before stays, with all that it needs, until the new is there',
  );
  stream.send('endpoints', { resources: [resource('endpoints', 'b')] });
  await until('the second', () => updates.length === 2);
  t.same(told(), ['clusters b', 'endpoints a', 'endpoints b']);
  await stream.next('endpoints');
  t.match((await stream.next('endpoints')).delta, {
    resource_names_subscribe: [],
    resource_names_unsubscribe: ['a'],
    response_nonce: '',
  });
  const answers = stream.said.filter(({ delta }) => delta.response_nonce !== '');
  for (const { delta } of answers) t.match(delta, { resource_names_subscribe: [], resource_names_unsubscribe: [] });
});

t.test('a new stream says what is held, also what has no version, and nothing is lost in between', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, lost, told, until, updates } = runSource(t, istio(plane.address));
  const first = await plane.accept();
  first.send('clusters', { resources: [resource('clusters', 'a', { refs: ['a'] })], version: '7' });
  first.send('listeners', { resources: [resource('listeners', 'l')], version: '' });
  await first.next('endpoints');
  first.send('endpoints', { resources: [resource('endpoints', 'a')], version: '3' });
  await until('a snapshot', () => updates.length === 1);
  await clock.advanceAsync(60_000);
  first.end();
  const second = await plane.accept();
  const [clusters, endpoints, listeners] = [
    await second.next('clusters'),
    await second.next('endpoints'),
    await second.next('listeners'),
  ];
  t.same([...(clusters.delta.initial_resource_versions ?? [])], [['a', '7']]);
  t.ok(clusters.delta.node);
  t.same([...(listeners.delta.initial_resource_versions ?? [])], [['l', '']]);
  t.same([...(endpoints.delta.initial_resource_versions ?? [])], [['a', '3']]);
  t.match(endpoints.delta, { resource_names_subscribe: ['a'], response_nonce: '' });
  second.send('clusters', { removed: ['nobody'] });
  await second.next('clusters');
  t.same(told(), ['clusters a', 'endpoints a', 'listeners l']);
  t.same([updates.length, lost.length], [1, 0], 'a stream that had answers and ends is no trouble');
});

t.test('what is removed is gone; what never was is known not to be', async (t) => {
  const plane = await fakeControlPlane(t);
  const { source, told, until, updates } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  stream.send('listeners', { resources: [] });
  stream.send('clusters', {
    resources: [resource('clusters', 'a', { refs: ['a'] }), resource('clusters', 'b', { refs: ['b'] })],
  });
  await stream.next('endpoints');
  stream.send('endpoints', { resources: [resource('endpoints', 'a')], removed: ['b'] });
  await until('a snapshot', () => updates.length === 1);
  t.same(told(), ['clusters a', 'clusters b', 'endpoints a']);
  t.match(source.status().types.endpoints.resources, [
    { name: 'a', state: 'ACKED' },
    { name: 'b', state: 'DOES_NOT_EXIST' },
  ]);
  stream.send('endpoints', { removed: ['a'] });
  await until('the next', () => updates.length === 2);
  t.same(told(), ['clusters a', 'clusters b']);
});

t.test('a resource that calls itself otherwise than its wrapper is refused', async (t) => {
  const plane = await fakeControlPlane(t);
  const { rejected, until } = runSource(t, istio(plane.address));
  const stream = await plane.accept();
  await stream.next('clusters');
  stream.send('clusters', { wrapped: [{ name: 'a', resource: resource('clusters', 'b') }] });
  const { delta } = await stream.next('clusters');
  t.equal(delta.error_detail?.code, status.INVALID_ARGUMENT);
  t.match(delta.error_detail?.message, /Cluster "a": the resource calls itself "b"/);
  await until('the problem', () => rejected.length === 1);
});

t.test(
  'with several control planes: the second when the first is away, the first again as soon as it answers',
  async (t) => {
    const second = await fakeControlPlane(t);
    const gone = await fakeControlPlane(t);
    await gone.close();
    const port = Number(gone.address.split(':')[1]);
    const tls = false as const;
    const { clock, lost, source, told, until, updates } = runSource(t, {
      server: [gone.address, second.address].map((address) => ({ address, tls })),
    });
    const helper = await second.accept();
    t.equal((await helper.next('clusters')).delta.initial_resource_versions?.size, 0);
    helper.send('listeners', { resources: [] });
    helper.send('clusters', {
      resources: [resource('clusters', 'second'), resource('clusters', 'both', { text: '2' })],
      version: '2',
    });
    await until('what the second says', () => updates.length === 1);
    t.same(told(), ['clusters both: 2', 'clusters second']);
    t.match(source.status(), { active: second.address, servers: [{ state: 'waiting' }, { state: 'connected' }] });
    const first = await fakeControlPlane(t, { port });
    await clock.advanceAsync(5_000);
    const preferred = await first.accept();
    const asked = await preferred.next('clusters');
    t.equal(asked.delta.initial_resource_versions?.size, 0, 'versions of another mean nothing to it');
    preferred.send('clusters', { resources: [resource('clusters', 'both', { text: '1' })], version: '1' });
    preferred.send('listeners', { resources: [] });
    await until('what the first says', () => told().includes('clusters both: 1'));
    t.same(told(), ['clusters both: 1'], 'what only the second had is gone');
    t.match(source.status(), { active: first.address, servers: [{ state: 'connected' }, { state: 'idle' }] });
    t.same(lost, [], 'there always was one (CP-16)');
  },
);
