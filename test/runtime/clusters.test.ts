import t from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { createClusters } from '../../src/runtime/clusters.ts';
import type { EndpointHooks } from '../../src/runtime/endpoint.ts';
import { noNames } from '../support/resolver.ts';
import { cluster, endpoint, snapshot } from '../support/snapshot.ts';

function setup() {
  const tlsHosts: (string | undefined)[] = [];
  const closed: string[] = [];
  const clusters = createClusters((tlsHost) => {
    tlsHosts.push(tlsHost);
    return {
      clock: systemClock,
      random: seededRandom(1),
      names: noNames,
      hooks: ({ name }) =>
        ({
          open: () => ({ close: async () => void closed.push(`${name} ${tlsHost ?? ''}`.trim()) }),
          series: () => ({ labels: {}, record: () => {} }),
        }) as unknown as EndpointHooks,
      healthChanged: () => {},
    };
  });
  return { closed, clusters, tlsHosts };
}
const a = cluster('a', [endpoint(1)]);
const b = cluster('b', [endpoint(2)]);
const names = (all: Iterable<{ readonly cluster: { readonly host: string } }>): string[] =>
  [...all].map((state) => state.cluster.host);

t.test('a cluster comes to life when it is first called', async (t) => {
  const { clusters } = setup();
  t.equal(clusters.get(a.name), undefined, 'no configuration yet');
  clusters.reconcile(snapshot({}, [a, b]));
  t.same(names(clusters.all()), []);
  const state = clusters.get(a.name);
  t.equal(state?.cluster, a);
  t.equal(clusters.get(a.name), state);
  t.equal(clusters.get('outbound|80||other'), undefined);
  t.same(names(clusters.all()), ['a']);
});

t.test('connections on which the application speaks TLS are apart, for each name', async (t) => {
  const { clusters, tlsHosts } = setup();
  clusters.reconcile(snapshot({}, [a]));
  const states = [clusters.get(a.name), clusters.getForTls(a.name, 'x'), clusters.getForTls(a.name, 'y')];
  t.equal(new Set(states).size, 3);
  t.equal(clusters.getForTls(a.name, 'x'), states[1]);
  t.same(tlsHosts, [undefined, 'x', 'y']);
  t.equal(clusters.getForTls('other', 'x'), undefined);
});

t.test('a zone-aware cluster follows who else calls, also when it does not change itself', async (t) => {
  const { clusters } = setup();
  const places = ['x', 'x', 'y', 'y', 'y', 'y'].map((locality, i) => endpoint(i + 1, { locality }));
  const zoned = cluster('z', places, { localities: { kind: 'zones', own: 'x', minClusterSize: 1 } });
  const found = (): string => {
    const picks = Array.from({ length: 200 }, () => clusters.get(zoned.name)?.pick(undefined)?.endpoint.locality);
    return [...new Set(picks)].sort().join(' ');
  };
  clusters.reconcile(snapshot({}, [zoned]));
  t.equal(found(), 'x y', 'nobody knows');
  clusters.reconcile(snapshot({}, [zoned], { callers: { x: 1, y: 5 } }));
  t.equal(found(), 'x', 'the own locality can carry what comes from there');
  clusters.reconcile(snapshot({}, [zoned], { callers: { x: 4, y: 1 } }));
  t.equal(found(), 'x y');
});

t.test('an unchanged cluster is not touched, a changed one is updated in place', async (t) => {
  const { clusters } = setup();
  clusters.reconcile(snapshot({}, [a, b]));
  const [one, two, tls] = [clusters.get(a.name), clusters.get(b.name), clusters.getForTls(b.name, 'x')];
  const changed = cluster('b', [endpoint(3)]);
  clusters.reconcile(snapshot({}, [a, changed]));
  t.equal(clusters.get(a.name), one);
  t.equal(one?.revision, 0);
  t.equal(clusters.get(b.name), two);
  t.equal(two?.cluster, changed);
  t.same(
    two?.endpoints.map(({ name }) => name),
    ['127.0.0.1:3'],
  );
  t.equal(tls?.cluster, changed, 'for TLS too');
});

t.test('a cluster that is gone drains; under its old name a new one may come', async (t) => {
  const { closed, clusters } = setup();
  clusters.reconcile(snapshot({}, [a, b]));
  const old = clusters.get(a.name);
  old?.endpoints[0]?.dispatcher('');
  clusters.reconcile(snapshot({}, [b]));
  t.equal(clusters.get(a.name), undefined);
  t.same(closed, [a.name]);
  clusters.reconcile(snapshot({}, [a, b]));
  t.not(clusters.get(a.name), old);
});

t.test('of very many TLS hosts those are forgotten that nobody has called for long', async (t) => {
  const { clusters, tlsHosts } = setup();
  clusters.reconcile(snapshot({}, [a]));
  const own = clusters.get(a.name);
  const first = clusters.getForTls(a.name, 'first');
  const busy = clusters.getForTls(a.name, 'busy');
  const [endpoint_] = busy?.endpoints ?? [];
  if (endpoint_ !== undefined) endpoint_.inFlight++;
  clusters.getForTls(a.name, 'once');
  for (let i = 0; i < 5_000; i++) {
    clusters.getForTls(a.name, `host ${i}`);
    if (i % 100 === 0) clusters.getForTls(a.name, 'first');
  }
  t.ok([...clusters.all()].length <= 1_002, 'not five thousand');
  t.equal(clusters.get(a.name), own);
  t.equal(clusters.getForTls(a.name, 'busy'), busy, 'something is under way');
  t.equal(clusters.getForTls(a.name, 'first'), first, 'it is called again and again');
  const made = tlsHosts.length;
  clusters.getForTls(a.name, 'host 4999');
  t.equal(tlsHosts.length, made, 'it was called lately');
  clusters.getForTls(a.name, 'once');
  t.equal(tlsHosts.length, made + 1, 'it was not');
  clusters.reconcile(snapshot({}, []));
  t.same([...clusters.all()], []);
  await clusters.close();
});

t.test('closing closes all of them', async (t) => {
  const { closed, clusters } = setup();
  clusters.reconcile(snapshot({}, [a, b]));
  clusters.get(a.name)?.endpoints[0]?.dispatcher('');
  clusters.getForTls(b.name, 'x')?.endpoints[0]?.dispatcher('');
  await clusters.close();
  t.same(closed.sort(), [a.name, `${b.name} x`]);
  t.same(names(clusters.all()), []);
});
