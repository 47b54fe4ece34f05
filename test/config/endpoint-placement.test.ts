import t from 'tap';
import type { Workload } from '../../src/model/workload.ts';
import { good, resourceYaml } from './support.ts';

/** One service with an endpoint for each locality, called after it: `eu/1/a` at 10.0.0.1, and so on. */
function service(localities: readonly string[], more: readonly string[] = []): string {
  const endpoints = localities.map(
    (locality, index) => `{address: 10.0.0.${index + 1}, locality: "${locality}"${more[index] ?? ''}}`,
  );
  return resourceYaml(
    'ServiceEntry',
    'reviews',
    `{hosts: [reviews.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [${endpoints.join(', ')}]}`,
  );
}

const rule = (policy: string): string =>
  resourceYaml('DestinationRule', 'reviews', `{host: reviews, trafficPolicy: {${policy}}}`);
const locality = (text: string, outlier = 'outlierDetection: {}, '): string =>
  rule(`${outlier}loadBalancer: {localityLbSetting: {${text}}}`);
const zones = (text: string): string => rule(`loadBalancer: {zoneAwareLbSetting: {${text}}}`);
const mesh = (text: string): string => `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '${JSON.stringify(parse(text))}'}
---
`;
/** `{a: {b: true}}` of YAML flow style, which JSON is as well once it has its quotes. */
const parse = (text: string): object => JSON.parse(text);

const here: Partial<Workload> = { locality: 'eu/1/a' };

/** Priorities of the endpoints in their order; `-` for one that is left out. */
function prioritiesOf(yaml: string, count: number, workload: Partial<Workload> = here): string {
  const found = good(yaml, { workload }).endpoints('reviews|80');
  const of = new Map(found.map(({ address, priority = 0 }) => [address, priority]));
  return Array.from({ length: count }, (_, index) => of.get(`10.0.0.${index + 1}`) ?? '-').join(' ');
}

const weightsOf = (yaml: string, workload: Partial<Workload> = here): unknown => {
  const localities = good(yaml, { workload }).cluster('reviews|80')?.localities;
  return localities?.kind === 'weighted'
    ? localities.weights.map(({ priority, locality: name, weight }) => `${priority} ${name} ${weight}`)
    : localities;
};

const places = ['eu/1/a', 'eu/1/b', 'eu/2/a', 'us/1/a', 'asia/1/a'];

const failovers: readonly (readonly [what: string, yaml: string, expected: string, own?: Partial<Workload>])[] = [
  ['without outlier detection nothing fails over', '', '0 0 0 0 0'],
  ['not even where localityLbSetting is there', locality('enabled: true', ''), '0 0 0 0 0'],
  ['with outlier detection what is near comes first, as MeshConfig has it', rule('outlierDetection: {}'), '0 1 2 3 3'],
  ['an empty setting means the same', locality(''), '0 1 2 3 3'],
  ['enabled: false turns it off', locality('enabled: false'), '0 0 0 0 0'],
  [
    'enabled: false of the mesh as well',
    mesh('{"localityLbSetting":{"enabled":false}}') + rule('outlierDetection: {}'),
    '0 0 0 0 0',
  ],
  [
    'a rule goes before the mesh',
    mesh('{"localityLbSetting":{"enabled":false}}') + locality('enabled: true'),
    '0 1 2 3 3',
  ],
  ['a region fails over to another one, the others are last', locality('failover: [{from: eu, to: us}]'), '0 1 2 3 4'],
  [
    'the first failover of the own region counts',
    locality('failover: [{from: eu, to: us}, {from: eu, to: asia}]'),
    '0 1 2 3 4',
  ],
  ['a failover of another region changes nothing', locality('failover: [{from: us, to: asia}]'), '0 1 2 3 3'],
  ['priorities have no gaps', locality(''), '1 1 1 0 1', { locality: 'us/1/a' }],
  ['who only knows its region prefers that', locality(''), '1 1 1 0 1', { locality: 'us' }],
  ['who is nowhere prefers nobody, if nobody is nowhere', locality(''), '0 0 0 0 0', {}],
  ['the own locality may come from labels', locality(''), '0 1 2 3 3', { labels: { 'istio-locality': 'eu.1.a' } }],
  [
    'or from those that Kubernetes gives to pods',
    locality(''),
    '0 0 1 2 2',
    {
      labels: {
        'topology.kubernetes.io/region': 'eu',
        'topology.kubernetes.io/zone': '1',
        'topology.istio.io/subzone': 'x',
      },
    },
  ],
  [
    'topology labels are those of the locality',
    locality('failoverPriority: [topology.kubernetes.io/region, topology.kubernetes.io/zone]'),
    '0 0 1 2 2',
  ],
  [
    'the order of labels counts: the second does not without the first',
    locality('failoverPriority: [topology.istio.io/subzone, topology.kubernetes.io/region]'),
    '0 2 0 1 1',
  ],
  [
    'a value stands in for the own one',
    locality('failoverPriority: ["topology.kubernetes.io/region=us"]'),
    '1 1 1 0 1',
  ],
  [
    'who has no labels at all compares nothing',
    locality('failoverPriority: ["topology.kubernetes.io/region=us"]'),
    '0 0 0 0 0',
    { labels: {} },
  ],
  [
    'with failover the regions come after the labels',
    locality('failoverPriority: ["version=v1"], failover: [{from: eu, to: us}]'),
    '0 1 2 3 4',
  ],
  ['zones: the own region first, whatever the zone, without outlier detection', zones(''), '0 0 0 1 1'],
  ['zones: regions in the order of failover', zones('failover: [{from: eu, to: asia}]'), '0 0 0 2 1'],
  [
    'zones: enabled: false leaves nothing, not even what the mesh says',
    mesh('{"localityLbSetting":{"enabled":true}}') +
      rule('outlierDetection: {}, loadBalancer: {zoneAwareLbSetting: {enabled: false}}'),
    '0 0 0 0 0',
  ],
  [
    'zones of the mesh go before its localities',
    mesh('{"zoneAwareLbSetting":{},"localityLbSetting":{}}') + rule('outlierDetection: {}'),
    '0 0 0 1 1',
  ],
  [
    'zones of the mesh that are off leave its localities',
    mesh('{"zoneAwareLbSetting":{"enabled":false}}') + rule('outlierDetection: {}'),
    '0 1 2 3 3',
  ],
  ['localities of a rule go before zones of the mesh', mesh('{"zoneAwareLbSetting":{}}') + locality(''), '0 1 2 3 3'],
];

t.test('endpoints get the priorities that istiod would give them', async (t) => {
  for (const [what, yaml, expected, own = here] of failovers) {
    t.equal(prioritiesOf(service(places) + yaml, places.length, own), expected, what);
  }
});

t.test('labels of the workload and of endpoints decide, and where they are equal the priority is', async (t) => {
  const labels = ['a: x, b: y', 'a: x', 'b: y', '', 'a: other, b: y'].map((each) => `, labels: {${each}}`);
  const of = (priority: string, own: Workload['labels']) =>
    prioritiesOf(service(['', '', '', '', ''], labels) + locality(`failoverPriority: [${priority}]`), 5, {
      labels: own,
    });
  t.equal(of('a, b', { a: 'x', b: 'y' }), '0 1 2 2 2');
  t.equal(of('a, b', { b: 'y' }), '2 2 0 1 2', 'absent is like absent');
  t.equal(of('a, "b="', { a: 'x' }), '1 0 2 2 2', 'an empty value asks for absence');
  t.equal(of('"a=x", b', { b: 'y' }), '0 1 2 2 2');
  t.equal(of('"a=x=y"', { a: 'x' }), '0 0 1 1 1', 'as in Istio, a second = makes a label of it');
});

t.test('the network of an endpoint is a label too', async (t) => {
  const yaml = service(['', '', ''], [', network: n1', ', network: n2', ', labels: {topology.istio.io/network: n1}']);
  const by = locality('failoverPriority: [topology.istio.io/network]');
  t.equal(prioritiesOf(yaml + by, 3, { labels: { 'topology.istio.io/network': 'n1' } }), '0 1 0');
});

t.test('who asks for priorities in any detail gets localities by the weights of their endpoints', async (t) => {
  const yaml = service(['eu/1/a', 'eu/1/a', 'us/1/a', 'asia'], [', weight: 2', ', weight: 3', '', ', weight: 7']);
  t.equal(weightsOf(yaml + locality('')), undefined);
  t.same(weightsOf(yaml + locality('failover: [{from: eu, to: us}]')), ['0 eu/1/a 5', '1 us/1/a 1', '2 asia 7']);
  t.same(weightsOf(yaml + locality('failoverPriority: [topology.kubernetes.io/region]')), [
    '0 eu/1/a 5',
    '1 us/1/a 1',
    '1 asia 7',
  ]);
  t.equal(weightsOf(yaml + locality('failover: [{from: eu, to: us}]', '')), undefined);
});

const distributions: readonly (readonly [
  what: string,
  setting: string,
  priorities: string,
  weights: unknown,
  own?: string,
])[] = [
  ['whole localities', '{from: "eu/1/*", to: {"eu/1/a": 80, "us/*": 20}}', '0 - - 0 -', ['0 eu/1/a 80', '0 us/1/a 20']],
  [
    'a wildcard shares by the weights of endpoints',
    '{from: "eu/1/*", to: {"eu/*": 90, "us/*": 10}}',
    '0 0 0 0 -',
    ['0 eu/1/a 30', '0 eu/1/b 30', '0 eu/2/a 30', '0 us/1/a 10'],
  ],
  [
    'parts of a percent are rounded up',
    '{from: "*", to: {"eu/*": 80, "us/*": 20}}',
    '0 0 0 0 -',
    ['0 eu/1/a 27', '0 eu/1/b 27', '0 eu/2/a 27', '0 us/1/a 20'],
  ],
  ['a region alone means all of it', '{from: eu, to: {us: 100}}', '- - - 0 -', ['0 us/1/a 100']],
  [
    'the first rule for the own locality counts',
    '{from: "us/*", to: {us: 100}}, {from: "eu/1/a", to: {asia: 100}}, {from: "eu/2/*", to: {eu: 100}}',
    '- - - - 0',
    ['0 asia/1/a 100'],
  ],
  [
    'no rule for the own locality: weights of endpoints',
    '{from: "us/*", to: {us: 100}}',
    '0 0 0 0 0',
    places.map((place) => `0 ${place} 1`),
  ],
  [
    '* is everybody, who knows nothing of itself too',
    '{from: "*", to: {"us/*": 100}}',
    '- - - 0 -',
    ['0 us/1/a 100'],
    '',
  ],
  ['nobody is where all traffic shall go', '{from: "*", to: {mars: 100}}', '- - - - -', []],
];

t.test('distribute gives weights to localities, and leaves out the others', async (t) => {
  for (const [what, setting, priorities, weights, own = 'eu/1/a'] of distributions) {
    for (const outlier of ['', 'outlierDetection: {}, ']) {
      const yaml = service(places) + locality(`distribute: [${setting}]`, outlier);
      t.equal(prioritiesOf(yaml, places.length, { locality: own }), priorities, what);
      t.same(weightsOf(yaml, { locality: own }), weights, what);
    }
  }
});

t.test(
  'what a service says of its traffic counts where its rule says nothing, also without outlier detection',
  async (t) => {
    const annotated = (value: string): string =>
      service(places).replace(
        'metadata: {',
        `metadata: {annotations: {networking.istio.io/traffic-distribution: ${value}}, `,
      );
    t.equal(prioritiesOf(annotated('PreferClose'), 5), '0 0 1 2 2');
    t.equal(prioritiesOf(annotated('prefersamezone'), 5), '0 0 1 2 2');
    t.equal(prioritiesOf(annotated('PreferSameNode'), 5), '0 1 2 3 3');
    t.equal(prioritiesOf(annotated('Whatever'), 5), '0 0 0 0 0');
    t.equal(prioritiesOf(mesh('{"zoneAwareLbSetting":{}}') + annotated('PreferClose'), 5), '0 0 1 2 2');
    t.equal(prioritiesOf(annotated('PreferClose') + locality('enabled: false', ''), 5), '0 0 0 0 0');
    t.equal(prioritiesOf(annotated('PreferClose') + zones(''), 5), '0 0 0 1 1');
  },
);

t.test('zones know the own locality, and how many endpoints it takes', async (t) => {
  const of = (text: string): unknown =>
    good(service(places) + text, { workload: here }).cluster('reviews|80')?.localities;
  t.same(of(zones('')), { kind: 'zones', own: 'eu/1/a', minClusterSize: 6 });
  t.same(of(zones('minClusterSize: 2')), { kind: 'zones', own: 'eu/1/a', minClusterSize: 2 });
});

t.test('zones: callers are the endpoints of the own workload in the own region, each address once', async (t) => {
  const own = resourceYaml(
    'ServiceEntry',
    'web',
    `{hosts: [web.shop.svc.cluster.local, other.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [${[
      '{address: 10.1.0.1, locality: eu/1/a, labels: {app: web, version: v1}}',
      '{address: 10.1.0.2, locality: eu/2/a, labels: {app: web, version: v1}}',
      '{address: 10.1.0.3, locality: eu/2/a, labels: {app: web, version: v1}}',
      '{address: 10.1.0.4, locality: us/2/a, labels: {app: web, version: v1}}',
      '{address: 10.1.0.5, locality: eu/2/a, labels: {app: web, version: v2}}',
      '{address: 10.1.0.6, locality: eu/2/a, labels: {app: web, version: v1, pod-template-hash: x}}',
    ].join(', ')}]}`,
  );
  t.same(good(own + service(places) + zones(''), { workload: here }).snapshot.callers, { 'eu/1/a': 1, 'eu/2/a': 2 });
  t.same(good(own + mesh('{"zoneAwareLbSetting":{}}'), { workload: here }).snapshot.callers, {
    'eu/1/a': 1,
    'eu/2/a': 2,
  });
  t.notOk('callers' in good(own + service(places) + locality(''), { workload: here }).snapshot, 'nobody wants to know');
});
