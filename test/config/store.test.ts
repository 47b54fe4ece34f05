import t from 'tap';
import { documentOf, formatPath } from '../../src/config/document.ts';
import { staticSource } from '../../src/config/static-source.ts';
import { createConfigStore } from '../../src/config/store.ts';
import { good, serviceYaml, web } from './support.ts';

const first = good(serviceYaml('a'));
const second = good([serviceYaml('a'), serviceYaml('b')]);

t.test('a new store has nothing and is not ready', async (t) => {
  const store = createConfigStore();
  t.equal(store.current(), undefined);
  t.same(store.report(), { entries: [] });
  t.same(store.problems(), []);
  t.equal(store.lostReason(), undefined);
  store.sink.reject([{ message: 'bad' }]);
  t.equal(await Promise.race([store.ready.then(() => 'ready'), Promise.resolve('not ready')]), 'not ready');
});

t.test('an update is in force, and ends what was wrong before', async (t) => {
  const store = createConfigStore();
  store.sink.lost(new Error('gone'));
  store.sink.reject([{ message: 'bad' }]);
  t.equal(store.lostReason(), undefined, 'it could be reached to be rejected');
  store.sink.update(first.snapshot, first.report);
  await store.ready;
  t.equal(store.current(), first.snapshot);
  t.equal(store.report(), first.report);
  t.same(store.problems(), []);
});

t.test('bad and lost configuration leaves the last good one in force', async (t) => {
  const store = createConfigStore();
  store.sink.update(first.snapshot, first.report);
  store.sink.reject([{ message: 'bad' }]);
  store.sink.lost(new Error('gone'));
  t.equal(store.current(), first.snapshot);
  t.same(store.problems(), [{ message: 'bad' }]);
  t.match(store.lostReason(), { message: 'gone' });
});

t.test('what did not change keeps its identity', async (t) => {
  const store = createConfigStore();
  store.sink.update(first.snapshot, first.report);
  const host = store.current()?.hosts.get('a:80');
  store.sink.update(second.snapshot, second.report);
  t.not(second.snapshot.hosts.get('a:80'), host);
  t.equal(store.current()?.hosts.get('a:80'), host);
});

t.test('subscribers hear everything after the store has changed, until they end it', async (t) => {
  const store = createConfigStore();
  const heard: string[] = [];
  const end = store.subscribe({
    update: (snapshot) => void heard.push(snapshot === store.current() ? 'update' : 'too early'),
    reject: (problems) => void heard.push(problems === store.problems() ? 'reject' : 'too early'),
    lost: (reason) => void heard.push(reason === store.lostReason() ? 'lost' : 'too early'),
  });
  const endNothing = store.subscribe({});
  store.sink.update(first.snapshot, first.report);
  store.sink.reject([{ message: 'bad' }]);
  store.sink.lost(new Error('gone'));
  end();
  endNothing();
  store.sink.update(second.snapshot, second.report);
  t.same(heard, ['update', 'reject', 'lost']);
});

t.test('a static source gives its snapshot once, from text or from objects', async (t) => {
  const store = createConfigStore();
  const source = staticSource(serviceYaml('a'), { workload: web });
  await source.run(store.sink, new AbortController().signal);
  t.equal(source.name, 'static');
  t.ok(store.current()?.hosts.has('a:80'));
  const entry = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'c' },
    spec: { hosts: ['c.example.com'], resolution: 'DNS', ports: [{ number: 80, name: 'http' }] },
  };
  await staticSource([entry], { workload: web, outboundPolicy: 'REGISTRY_ONLY' }).run(
    store.sink,
    new AbortController().signal,
  );
  t.ok(store.current()?.hosts.has('c.example.com:80'));
  t.equal(store.current()?.outboundPolicy, 'REGISTRY_ONLY');
});

t.test('a static source is for the workload of the mesh that runs it, where it names none', async (t) => {
  const store = createConfigStore();
  const signal = new AbortController().signal;
  const mesh = { workload: { ...web, namespace: 'elsewhere' }, credentials: () => undefined };
  await staticSource(serviceYaml('a'), { outboundPolicy: 'REGISTRY_ONLY' }).run(store.sink, signal, mesh);
  t.ok(store.current()?.hosts.has('a.shop:80'));
  t.notOk(store.current()?.hosts.has('a:80'), 'a short name is for its own namespace');
  t.equal(store.current()?.outboundPolicy, 'REGISTRY_ONLY');
  await t.rejects(staticSource([]).run(store.sink, signal), { code: 'ERR_MESH_OPTION_INVALID', message: /workload/ });
});

t.test('a static source rejects what is bad, and says nothing once it is over', async (t) => {
  const store = createConfigStore();
  await staticSource('a: [', { workload: web }).run(store.sink, new AbortController().signal);
  t.match(store.problems(), [{ at: { line: 1 } }, {}].slice(0, store.problems().length));
  t.ok(store.problems().length > 0);
  await staticSource([{ kind: 'Service' }], { workload: web }).run(store.sink, new AbortController().signal);
  t.match(store.problems(), [{ field: 'apiVersion' }]);
  await staticSource(serviceYaml(), { workload: web }).run(store.sink, AbortSignal.abort());
  t.equal(store.current(), undefined);
});

t.test('paths are written as people read them', async (t) => {
  t.equal(formatPath([]), '');
  t.equal(formatPath(['spec', 'http', 0, 'match', 1, 'headers', 'end-user']), 'spec.http[0].match[1].headers.end-user');
  t.equal(formatPath(['metadata', 'annotations', 'istio.io/dry-run']), 'metadata.annotations["istio.io/dry-run"]');
  t.equal(documentOf({}).locate([]), undefined);
});
