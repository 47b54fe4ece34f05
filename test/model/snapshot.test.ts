import t from 'tap';
import { shareUnchanged } from '../../src/model/snapshot.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';

const build = (changes: { readonly timeoutMs?: number; readonly port?: number } = {}) => {
  const a = cluster('a', [endpoint(changes.port ?? 1)]);
  const b = cluster('b', [endpoint(2)]);
  const policy = changes.timeoutMs === undefined ? {} : { timeoutMs: changes.timeoutMs };
  const base = snapshot({ a: [route(a.name, policy), route(b.name, { name: 'second' })], b: [route(b.name)] }, [a, b]);
  const hosts = new Map(base.hosts);
  hosts.set('a.default:80', base.hosts.get('a:80') as never);
  const wild = { name: '*.w:80', routes: [route(b.name)] };
  return { ...base, hosts, wildcardHosts: [{ suffix: '.w', port: 80, virtualHost: wild }] };
};

t.test('the first snapshot is taken as it is', async (t) => {
  const first = build();
  t.equal(shareUnchanged(undefined, first), first);
});

t.test('nothing changed: every part keeps its identity, the version does not', async (t) => {
  const first = build();
  const next = shareUnchanged(first, { ...build(), version: '2' });
  t.equal(next.version, '2');
  for (const [name, each] of first.clusters) t.equal(next.clusters.get(name), each, name);
  for (const [name, each] of first.hosts) t.equal(next.hosts.get(name), each, name);
  t.equal(next.wildcardHosts[0]?.virtualHost, first.wildcardHosts[0]?.virtualHost);
  t.equal(next.inbound, first.inbound);
});

t.test('only what changed is new', async (t) => {
  const first = build();
  const next = shareUnchanged(first, build({ port: 9 }));
  t.not(next.clusters.get('outbound|80||a'), first.clusters.get('outbound|80||a'));
  t.equal(next.clusters.get('outbound|80||b'), first.clusters.get('outbound|80||b'));
  t.equal(next.hosts.get('a:80'), first.hosts.get('a:80'), 'its route did not change');
});

t.test('a changed host keeps its routes that did not change', async (t) => {
  const first = build();
  const next = shareUnchanged(first, build({ timeoutMs: 5 }));
  const [before, after] = [first.hosts.get('a:80'), next.hosts.get('a:80')];
  t.not(after, before);
  t.not(after?.routes[0], before?.routes[0]);
  t.equal(after?.routes[1], before?.routes[1]);
});

t.test('names of one host share one object, before and after', async (t) => {
  const first = build();
  const next = shareUnchanged(first, build({ timeoutMs: 5 }));
  t.equal(next.hosts.get('a:80'), next.hosts.get('a.default:80'));
});

t.test('a new name of an old host finds the old object', async (t) => {
  const first = build();
  const fresh = build();
  const named = new Map([['new:80', fresh.hosts.get('a:80') as never], ...fresh.hosts]);
  const next = shareUnchanged(first, { ...fresh, hosts: named });
  t.equal(next.hosts.get('new:80'), first.hosts.get('a:80'));
  t.equal(next.hosts.get('a:80'), first.hosts.get('a:80'));
});

t.test('what was removed is gone', async (t) => {
  const next = shareUnchanged(build(), snapshot({}, []));
  t.equal(next.hosts.size + next.clusters.size + next.wildcardHosts.length, 0);
});
