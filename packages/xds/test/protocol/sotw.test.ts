import { status } from '@grpc/grpc-js';
import t from 'tap';
import { fakeControlPlane } from '../support/fake-control-plane.ts';
import { resource, runSource } from '../support/running-source.ts';

const grpc = (address: string, services: readonly string[] = ['a:80']) => ({
  profile: 'grpc' as const,
  server: { address, tls: false as const },
  services,
  node: { id: 'web-1' },
});

t.test('the chain of names: listeners, routes, clusters, endpoints; whole before it is used', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates } = runSource(t, grpc(plane.address));
  const stream = await plane.accept();
  const first = await stream.next('listeners');
  t.match(first.sotw, { resource_names: ['a:80'], version_info: '', response_nonce: '', node: { id: 'web-1' } });
  t.equal(stream.said.length, 1, 'a first request without names would ask for everything');
  stream.send('listeners', { resources: [resource('listeners', 'a:80', { refs: ['r'] })], version: '1' });
  t.match((await stream.next('listeners')).sotw, { version_info: '1', response_nonce: 'n1', resource_names: ['a:80'] });
  const routes = await stream.next('routes');
  t.match(routes.sotw, { resource_names: ['r'], version_info: '', response_nonce: '', node: undefined });
  stream.send('routes', { resources: [resource('routes', 'r', { refs: ['x', 'y'] })] });
  t.match((await stream.next('clusters')).sotw, { resource_names: ['x', 'y'] });
  stream.send('clusters', {
    resources: [resource('clusters', 'x', { refs: ['x'] }), resource('clusters', 'y', { refs: ['y'] })],
  });
  t.match((await stream.next('endpoints')).sotw, { resource_names: ['x', 'y'] });
  stream.send('endpoints', { resources: [resource('endpoints', 'x')] });
  await stream.next('endpoints');
  t.equal(updates.length, 0);
  stream.send('endpoints', { resources: [resource('endpoints', 'y')] });
  await until('a snapshot', () => updates.length === 1);
  t.equal(told().length, 6, 'what a later response of endpoints does not have stays');
});

t.test('version and nonce are of their type; the version outlives the stream, the nonce does not', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, lost, source, until, updates } = runSource(t, grpc(plane.address));
  const first = await plane.accept();
  first.send('listeners', { resources: [resource('listeners', 'a:80', { refs: ['r'] })], version: 'L' });
  await first.next('routes');
  first.send('routes', { resources: [resource('routes', 'r')], version: 'R' });
  await until('a snapshot', () => updates.length === 1);
  t.match(source.status().types, { listeners: { version: 'L', nonce: 'n1' }, routes: { version: 'R', nonce: 'n2' } });
  await clock.advanceAsync(5_000);
  first.end(status.UNAVAILABLE, 'restarting');
  const second = await plane.accept();
  const again = await second.next('listeners');
  t.match(again.sotw, { version_info: 'L', response_nonce: '', resource_names: ['a:80'] });
  t.ok(again.sotw.node, 'each stream says who asks');
  t.match((await second.next('routes')).sotw, {
    version_info: 'R',
    response_nonce: '',
    resource_names: ['r'],
    node: undefined,
  });
  t.same([lost.length, updates.length], [0, 1]);
});

t.test('a refusal names all that is bad, keeps the version of before, and the good ones are used (A46)', async (t) => {
  const plane = await fakeControlPlane(t);
  const { rejected, source, told, until, updates } = runSource(
    t,
    grpc(plane.address, ['a:80', 'b:80', 'c:80', 'd:80']),
  );
  const stream = await plane.accept();
  const all = (text: string) => ['a:80', 'b:80', 'c:80', 'd:80'].map((name) => resource('listeners', name, { text }));
  stream.send('listeners', { resources: all('1'), version: '1' });
  await stream.next('listeners');
  await stream.next('listeners');
  await until('the first', () => updates.length === 1);
  const [, , good, other] = all('2');
  const bad = resource('listeners', 'a:80', { bad: 'x' });
  const foreign = { ...resource('clusters', 'b:80') };
  const garbled = { type_url: bad.type_url, value: Uint8Array.of(0x0a, 0x7f, 0x01) };
  stream.send('listeners', { resources: [bad, foreign, good, other, garbled, other] as never, version: '2' });
  const { sotw } = await stream.next('listeners');
  t.match(sotw, { version_info: '1', response_nonce: 'n2' });
  t.equal(sotw.error_detail?.code, status.INVALID_ARGUMENT);
  const message = sotw.error_detail?.message ?? '';
  t.match(message, /Listener "a:80": bad: expected nothing, got "x"/);
  t.match(
    message,
    /Listener "b:80": expected a envoy\.config\.listener\.v3\.Listener, got "type\.googleapis\.com\/envoy\.config\.cluster/,
  );
  t.match(message, /Listener "d:80": the name comes twice in one response/);
  t.match(message, /Listener "": the bytes cannot be read/);
  await until('the second', () => updates.length === 2);
  t.same(told(), ['listeners a:80: 1', 'listeners b:80: 1', 'listeners c:80: 2', 'listeners d:80: 1']);
  t.equal(rejected.length, 1);
  t.match(rejected[0]?.[0], { at: { kind: 'Listener', name: '' } });
  t.same(
    source
      .status()
      .types.listeners.resources.map(({ name, state }) => `${name} ${state}`)
      .sort(),
    ['a:80 NACKED', 'b:80 NACKED', 'c:80 ACKED', 'd:80 NACKED'],
  );
  stream.send('listeners', { resources: all('3'), version: '3' });
  t.match((await stream.next('listeners')).sotw, { version_info: '3', error_detail: undefined });
});

t.test(
  'listeners and clusters that a response does not have any more are gone; those that never were are not yet',
  async (t) => {
    const plane = await fakeControlPlane(t);
    const { clock, source, told, until, updates } = runSource(t, grpc(plane.address, ['a:80', 'b:80']));
    const stream = await plane.accept();
    const states = () => source.status().types.listeners.resources.map(({ state }) => state);
    stream.send('listeners', { resources: [resource('listeners', 'a:80')] });
    await stream.next('listeners');
    await stream.next('listeners');
    t.same(states(), ['ACKED', 'REQUESTED'], 'it may have left before the name arrived');
    await clock.advanceAsync(15_000);
    await until('a snapshot', () => updates.length === 1);
    t.same(states(), ['ACKED', 'TIMEOUT']);
    stream.send('listeners', { resources: [resource('listeners', 'b:80')] });
    await until('the next', () => updates.length === 2);
    t.same(told(), ['listeners b:80'], 'late is not too late (CP-12)');
    t.same(states(), ['DOES_NOT_EXIST', 'ACKED']);
  },
);

t.test('a wrapper around a resource is taken off; a heartbeat renews, and what is not renewed is gone', async (t) => {
  const plane = await fakeControlPlane(t);
  const { clock, told, until, updates } = runSource(t, grpc(plane.address));
  const stream = await plane.accept();
  const inner = resource('listeners', 'a:80', { text: '1' });
  stream.send('listeners', { wrapped: [{ name: 'a:80', version: '1', ttl: 10_000, resource: inner }], version: '1' });
  await until('a snapshot', () => updates.length === 1);
  t.same(told(), ['listeners a:80: 1']);
  await stream.next('listeners');
  await stream.next('listeners');
  await clock.advanceAsync(9_000);
  stream.send('listeners', { wrapped: [{ name: 'a:80', version: '1', ttl: 10_000 }], version: '1' });
  t.match((await stream.next('listeners')).sotw, { response_nonce: 'n2', error_detail: undefined }, 'never refused');
  await clock.advanceAsync(9_000);
  t.equal(updates.length, 1);
  await clock.advanceAsync(2_000);
  await until('its end', () => updates.length === 2);
  t.same(told(), []);
});

t.test('what a control plane says of resources that it does not send is believed', async (t) => {
  const plane = await fakeControlPlane(t);
  const { source, told, until, updates } = runSource(t, grpc(plane.address, ['a:80', 'b:80']));
  const stream = await plane.accept();
  const error = (name: string, code: number) => ({
    resource_name: { name },
    error_detail: { code, message: `no ${name}`, details: [] },
  });
  stream.send('listeners', { resources: [resource('listeners', 'a:80')], errors: [error('b:80', status.NOT_FOUND)] });
  await until('a snapshot without a wait', () => updates.length === 1);
  t.match(source.status().types.listeners.resources[1], { name: 'b:80', state: 'RECEIVED_ERROR', error: 'no b:80' });
  stream.send('listeners', { resources: [resource('listeners', 'a:80')], errors: [error('a:80', status.INTERNAL)] });
  await until('the error', () => source.status().types.listeners.resources[0]?.state === 'RECEIVED_ERROR');
  t.same(told(), ['listeners a:80'], 'trouble over there is no reason to drop what is held');
  stream.send('listeners', {
    resources: [resource('listeners', 'a:80')],
    errors: [error('a:80', status.PERMISSION_DENIED)],
  });
  await until('the end', () => updates.length === 2);
  t.same(told(), []);
});

t.test('with deletions: ignore what is taken away stays', async (t) => {
  const plane = await fakeControlPlane(t);
  const { told, until, updates } = runSource(t, { ...grpc(plane.address, ['a:80', 'b:80']), deletions: 'ignore' });
  const stream = await plane.accept();
  stream.send('listeners', { resources: [resource('listeners', 'a:80'), resource('listeners', 'b:80')] });
  await until('a snapshot', () => updates.length === 1);
  stream.send('listeners', { resources: [resource('listeners', 'b:80', { text: '2' })] });
  await until('the next', () => updates.length === 2);
  t.same(told(), ['listeners a:80', 'listeners b:80: 2']);
});

t.test('a type that nobody asked for, and bytes that are no response', async (t) => {
  const plane = await fakeControlPlane(t);
  const { lost, source, until } = runSource(t, grpc(plane.address));
  const stream = await plane.accept();
  await stream.next('listeners');
  stream.send('clusters', { resources: [resource('clusters', 'x')] });
  stream.send('listeners', { resources: [] });
  t.match((await stream.next('listeners')).sotw, { response_nonce: 'n2' });
  t.same(source.status().types.clusters.resources, []);
  stream.sendRaw(Uint8Array.of(0xff, 0xff));
  await until('the end of the stream', () => source.status().servers[0]?.problem !== undefined);
  t.match(source.status().servers[0]?.problem, /sent what cannot be read/);
  t.same(lost, [], 'it had said something before');
});
