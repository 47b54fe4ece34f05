import t from 'tap';
import { good as compiled } from './support.ts';

/** What is said of one namespace that describes services of another has tests of its own. */
function good(yaml: string) {
  const result = compiled(yaml);
  return { ...result, remarks: () => result.remarks().filter((text) => !text.includes('is also for callers')) };
}

const entry = (namespace: string, address: string, more = '', metadata = ''): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${namespace}, namespace: ${namespace}${metadata}}
spec: {hosts: [x.front.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: ${address}}]${more}}
---
`;
const kubernetes = `
apiVersion: v1
kind: Service
metadata: {name: x, namespace: front, creationTimestamp: "2026-01-09T00:00:00Z"}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: x-1, namespace: front, labels: {kubernetes.io/service-name: x}}
addressType: IPv4
ports: [{name: http, port: 80}]
endpoints: [{addresses: [10.0.0.9]}]
---
`;
const created = (day: number): string => `, creationTimestamp: "2026-01-0${day}T00:00:00Z"`;

/** [what, YAML, addresses that the service then has] */
const cases: readonly (readonly [what: string, yaml: string, addresses: readonly string[]])[] = [
  [
    'the own namespace',
    entry('b', '10.0.0.1', '', created(1)) + entry('shop', '10.0.0.2', '', created(2)),
    ['10.0.0.2'],
  ],
  ['the own namespace, before a Kubernetes Service', kubernetes + entry('shop', '10.0.0.2'), ['10.0.0.2']],
  ['a Kubernetes Service, before an older entry', entry('b', '10.0.0.1', '', created(1)) + kubernetes, ['10.0.0.9']],
  ['the older entry', entry('b', '10.0.0.1', '', created(2)) + entry('c', '10.0.0.2', '', created(1)), ['10.0.0.2']],
  ['what is exported', entry('b', '10.0.0.1', ', exportTo: ["."]') + entry('c', '10.0.0.2'), ['10.0.0.2']],
  ['nobody, when none is exported', entry('b', '10.0.0.1', ', exportTo: [c]'), []],
];

for (const [what, yaml, addresses] of cases) {
  t.test(`of several descriptions of one host wins ${what}`, async (t) => {
    const { endpoints } = good(yaml);
    t.same(
      endpoints('x.front.svc.cluster.local|80').map((endpoint) => endpoint.address),
      addresses,
    );
  });
}

t.test('the description that has no effect is in the report, with the one that has', async (t) => {
  const { remarks } = good(entry('b', '10.0.0.1', '', created(1)) + kubernetes + entry('front', '10.0.0.2'));
  t.same(remarks(), [
    'ServiceEntry spec.hosts ignored (warning): x.front.svc.cluster.local is already described by Service front/x (0.yaml:8:1)',
    'ServiceEntry spec.hosts ignored (warning): x.front.svc.cluster.local is already described by Service front/x (0.yaml:8:1); its endpoints and subjectAltNames are added',
  ]);
});

const port81 = (yaml: string): string => yaml.replace('number: 80', 'number: 81').replace('name: b,', 'name: b2,');
const merges: readonly (readonly [what: string, second: string, ports: number, remark: RegExp | undefined])[] = [
  ['ports are added', port81(entry('b', '10.0.0.2')), 2, undefined],
  ['not with other labels', port81(entry('b', '10.0.0.2', '', ', labels: {a: b}')), 1, /its ports are not added/],
  ['not with another exportTo', port81(entry('b', '10.0.0.2', ', exportTo: ["*"]')), 1, /its ports are not added/],
  [
    'not with another resolution',
    port81(entry('b', '10.0.0.2')).replace('STATIC', 'DNS'),
    1,
    /is already described by ServiceEntry b\/b \(0\.yaml:2:1\)$/,
  ],
];

for (const [what, second, ports, remark] of merges) {
  t.test(`two entries of one namespace: ${what}`, async (t) => {
    const { snapshot, remarks } = good(entry('b', '10.0.0.1') + second);
    t.equal([...snapshot.hosts.keys()].filter((name) => name.startsWith('x.front.svc.cluster.local:')).length, ports);
    if (remark === undefined) t.same(remarks(), []);
    else t.match(remarks(), [remark]);
  });
}
