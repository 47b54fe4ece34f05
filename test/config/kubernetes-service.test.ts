import t from 'tap';
import { good, problems, resourceYaml } from './support.ts';

const service = (spec: string, name = 'a', metadata = ''): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop ${metadata}}
spec: {${spec}}
---
`;
const slice = (
  endpoints: string,
  ports = '[{name: http, port: 8080, protocol: TCP}]',
  more = 'addressType: IPv4',
  name = 'a-1',
): string => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}, namespace: shop, labels: {kubernetes.io/service-name: a}}
${more}
ports: ${ports}
endpoints: [${endpoints}]
---
`;
const http = 'ports: [{name: http, port: 80, targetPort: web}], clusterIP: 10.96.0.1';

t.test('a Service is called by its names and its cluster IP, and has the endpoints of its slices', async (t) => {
  const { snapshot, endpoints, cluster } = good(
    service(http) + slice('{addresses: [10.0.0.1]}, {addresses: [10.0.0.2]}'),
  );
  t.same([...snapshot.hosts.keys()].sort(), [
    '10.96.0.1:80',
    'a.shop.svc.cluster.local:80',
    'a.shop.svc:80',
    'a.shop:80',
    'a:80',
  ]);
  t.same(endpoints('a|80'), [
    { address: '10.0.0.1', port: 8_080, weight: 1, labels: {}, speaksMtls: false, locality: '', workload: '' },
    { address: '10.0.0.2', port: 8_080, weight: 1, labels: {}, speaksMtls: false, locality: '', workload: '' },
  ]);
  t.match(cluster('a|80'), { tls: 'auto', protocol: 'http', serverIdentities: [] });
});

t.test('only endpoints that are ready count; absent means ready', async (t) => {
  const ready =
    '{addresses: [10.0.0.1], conditions: {ready: true}}, {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.0.0.3], conditions: {}}';
  const { endpoints } = good(service(http) + slice(ready));
  t.same(
    endpoints('a|80').map((endpoint) => endpoint.address),
    ['10.0.0.1', '10.0.0.3'],
  );
});

t.test('ports are matched by name; a slice without that port has no endpoints for it', async (t) => {
  const two = service('ports: [{name: http, port: 80}, {name: admin, port: 81}]');
  const { endpoints } = good(
    two +
      slice('{addresses: [10.0.0.1]}') +
      slice('{addresses: [10.0.0.2]}', '[{name: http, port: 1}, {name: admin, port: 2}]', undefined, 'a-2'),
  );
  t.match(endpoints('a|80'), [
    { address: '10.0.0.1', port: 8_080 },
    { address: '10.0.0.2', port: 1 },
  ]);
  t.match(endpoints('a|81'), [{ address: '10.0.0.2', port: 2 }]);
  t.equal(endpoints('a|81').length, 1);
  const unnamed = good(service('ports: [{port: 80}]') + slice('{addresses: [10.0.0.1]}', '[{name: "", port: 8080}]'));
  t.match(unnamed.endpoints('a|80'), [{ port: 8_080 }]);
});

t.test('an address that is in two slices is one endpoint', async (t) => {
  const { endpoints } = good(
    service(http) + slice('{addresses: [10.0.0.1]}') + slice('{addresses: [10.0.0.1]}', undefined, undefined, 'a-2'),
  );
  t.equal(endpoints('a|80').length, 1);
});

t.test('a Pod gives its endpoint labels, identity and the name of its workload', async (t) => {
  const pod = (name: string, metadata: string, spec = ''): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, ${metadata}}
spec: {containers: [], nodeName: n1 ${spec}}
status: {podIP: 10.0.0.1}
---
`;
  const yaml =
    service(http) +
    slice(
      ['one', 'two', 'three', 'four']
        .map(
          (name, i) =>
            `{addresses: [10.0.0.${i + 1}], nodeName: n1, zone: z, targetRef: {kind: Pod, name: ${name}, namespace: shop, uid: u}}`,
        )
        .join(', '),
    ) +
    pod(
      'one',
      'labels: {app: a, version: v1, pod-template-hash: abc, security.istio.io/tlsMode: istio, istio-locality: eu.eu-1.b}, ownerReferences: [{kind: ReplicaSet, name: a-v1-abc, controller: true}]',
      ', serviceAccountName: a-sa',
    ) +
    pod('two', 'labels: {app: a}, ownerReferences: [{kind: StatefulSet, name: a-set, controller: true}]') +
    pod('three', 'labels: {app: a, version: v3}');
  const { endpoints, cluster } = good(yaml);
  t.match(endpoints('a|80'), [
    {
      speaksMtls: true,
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/a-sa',
      workload: 'a-v1',
      locality: 'eu/eu-1/b',
      labels: { version: 'v1' },
    },
    { speaksMtls: false, spiffeId: 'spiffe://cluster.local/ns/shop/sa/default', workload: 'a-set' },
    { workload: 'a-v3' },
    { workload: '', labels: {} },
  ]);
  t.notOk('spiffeId' in (endpoints('a|80')[3] ?? {}));
  t.same(cluster('a|80')?.serverIdentities, [
    'spiffe://cluster.local/ns/shop/sa/a-sa',
    'spiffe://cluster.local/ns/shop/sa/default',
  ]);
});

t.test(
  'the place of a Pod is that of the labels that Kubernetes copies from its node, unless it says otherwise',
  async (t) => {
    const locality = (labels: string): string | undefined =>
      good(
        service(http) +
          slice('{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}') +
          `
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop, labels: {${labels}}}
spec: {containers: []}
`,
      ).endpoints('a|80')[0]?.locality;
    t.equal(locality('topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1'), 'eu/eu-1');
    t.equal(
      locality('topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1, topology.istio.io/subzone: r7'),
      'eu/eu-1/r7',
    );
    t.equal(locality('topology.kubernetes.io/region: eu, istio-locality: us.us-1'), 'us/us-1');
    t.equal(locality('app: a'), '');
  },
);

t.test('trafficDistribution of a Service prefers the own zone or node', async (t) => {
  const priorities = (more: string, annotation = ''): string => {
    const pods = ['eu.1', 'eu.1', 'eu.2', 'us.1'].map(
      (place, i) => `
apiVersion: v1
kind: Pod
metadata: {name: p${i}, namespace: shop, labels: {istio-locality: ${place}}}
spec: {containers: []}
---
`,
    );
    const yaml =
      service(`${http}${more}`).replace('metadata: {', `metadata: {annotations: {${annotation}}, `) +
      slice(
        pods
          .map((_, i) => `{addresses: [10.0.0.${i}], nodeName: n${i}, targetRef: {kind: Pod, name: p${i}}}`)
          .join(', '),
      ) +
      pods.join('');
    const workload = { locality: 'eu/1', labels: { 'kubernetes.io/hostname': 'n1' } };
    const { endpoints } = good(yaml, { workload });
    return endpoints('a|80')
      .map(({ priority = 0 }) => priority)
      .join(' ');
  };
  const annotated = (value: string): string => `networking.istio.io/traffic-distribution: ${value}`;
  for (const [more, annotation, expected] of [
    ['', '', '0 0 0 0'],
    [', trafficDistribution: PreferClose', '', '0 0 1 2'],
    [', trafficDistribution: PreferSameZone', '', '0 0 1 2'],
    [', trafficDistribution: PreferSameNode', '', '1 0 2 3'],
    [', trafficDistribution: preferclose', '', '0 0 0 0'],
    ['', annotated('preferclose'), '0 0 1 2'],
    [', trafficDistribution: PreferSameNode', annotated('PreferClose'), '1 0 2 3'],
    [', trafficDistribution: Other', annotated('PreferClose'), '0 0 1 2'],
  ] as const) {
    t.equal(priorities(more, annotation), expected, `${more} ${annotation}`);
  }
});

t.test('protocols come from appProtocol, then from the name of the port', async (t) => {
  const protocol = (port: string): string | undefined => {
    const { snapshot } = good(service(`ports: [{${port}}]`));
    return [...snapshot.clusters.values()][0]?.protocol;
  };
  const cases: readonly (readonly [port: string, expected: string | undefined])[] = [
    ['port: 80', 'http'],
    ['port: 80, name: web', 'http'],
    ['port: 80, name: http', 'http'],
    ['port: 80, name: HTTP2-web', 'http2'],
    ['port: 80, name: grpc', 'grpc'],
    ['port: 80, name: grpc-web', 'grpc'],
    ['port: 80, name: grpc-web-x', 'grpc'],
    ['port: 443, name: https-a', 'https'],
    ['port: 443, name: tls', 'tls'],
    ['port: 9000, name: tcp-thing', 'tcp'],
    ['port: 6379, name: redis', 'tcp'],
    ['port: 3306', 'tcp'],
    ['port: 27017, name: db', 'tcp'],
    ['port: 3306, name: http', 'http'],
    ['port: 80, name: tcp, appProtocol: http', 'http'],
    ['port: 80, name: http, appProtocol: kubernetes.io/h2c', 'http2'],
    ['port: 80, appProtocol: kubernetes.io/ws', 'http'],
    ['port: 80, appProtocol: kubernetes.io/wss', 'https'],
    ['port: 80, appProtocol: example.com/thing', 'http'],
    ['port: 53, protocol: UDP', undefined],
    ['port: 80, protocol: SCTP', undefined],
    ['port: 80, name: udp-x', undefined],
  ];
  for (const [port, expected] of cases) t.equal(protocol(port), expected, port);
});

t.test('headless: balanced over its endpoints, without an address of its own', async (t) => {
  const { snapshot, endpoints } = good(
    service('clusterIP: None, ports: [{name: http, port: 80}]') + slice('{addresses: [10.0.0.1]}'),
  );
  t.same([...snapshot.hosts.keys()].sort(), ['a.shop.svc.cluster.local:80', 'a.shop.svc:80', 'a.shop:80', 'a:80']);
  t.equal(endpoints('a|80').length, 1);
});

t.test('two stacks: all cluster IPs are names', async (t) => {
  const { snapshot } = good(
    service('clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, "fd00:0::1"], ports: [{name: http, port: 80}]'),
  );
  t.ok(snapshot.hosts.has('10.96.0.1:80') && snapshot.hosts.has('[fd00::1]:80'));
});

t.test('ExternalName: the name is resolved, without mTLS', async (t) => {
  const { cluster } = good(
    service('type: ExternalName, externalName: Db.Example.com, ports: [{name: http, port: 80}]'),
  );
  t.match(cluster('a|80'), {
    tls: 'disable',
    discovery: { kind: 'dns', endpoints: [{ address: 'db.example.com', port: 80 }] },
  });
  t.match(problems(service('type: ExternalName')), [/spec\.externalName: must be a DNS name, got ""/]);
});

t.test('a selector takes WorkloadEntries of its namespace beside the slices', async (t) => {
  const vm = resourceYaml(
    'WorkloadEntry',
    'vm',
    '{address: 10.0.9.1, labels: {app: a}, serviceAccount: vm, ports: {web: 7000}}',
  );
  const { endpoints } = good(service(`${http}, selector: {app: a}`) + slice('{addresses: [10.0.0.1]}') + vm);
  t.match(endpoints('a|80'), [{ address: '10.0.0.1' }, { address: '10.0.9.1', port: 7_000, speaksMtls: true }]);
  t.equal(good(service(`${http}, selector: {app: b}`) + vm).endpoints('a|80').length, 0);
  t.equal(good(service(`${http}, selector: {}`) + vm).endpoints('a|80').length, 0);
});

const workload = (spec: string): string => resourceYaml('WorkloadEntry', 'vm', `{labels: {app: a}, ${spec}}`);
const targets: readonly (readonly [what: string, port: string, workload: string, expected: number | undefined])[] = [
  ['a number is the target', 'targetPort: 8080', 'address: 10.0.9.1', 8_080],
  ['the name of the port goes before it', 'targetPort: 8080', 'address: 10.0.9.1, ports: {http: 7000}', 7_000],
  ['without a target it is the port itself', '', 'address: 10.0.9.1', 80],
  ['a target by name is a port of the workload', 'targetPort: web', 'address: 10.0.9.1, ports: {web: 7000}', 7_000],
  ['which must be there', 'targetPort: web', 'address: 10.0.9.1, ports: {http: 7000}', undefined],
  ['a workload with a DNS name is not for Services', '', 'address: a.example.com', undefined],
];
for (const [what, port, spec, expected] of targets) {
  t.test(`the port of a selected WorkloadEntry: ${what}`, async (t) => {
    const ports = `ports: [{name: http, port: 80, ${port}}]`;
    const { endpoints } = good(service(`${ports}, selector: {app: a}`) + workload(spec));
    t.equal(endpoints('a|80')[0]?.port, expected);
  });
}

t.test('annotations add accounts to those that a Service may prove', async (t) => {
  const yaml = service(
    http,
    'a',
    ', annotations: {alpha.istio.io/kubernetes-serviceaccounts: "b, c", alpha.istio.io/canonical-serviceaccounts: "x/y"}',
  );
  t.same(good(yaml).cluster('a|80')?.serverIdentities, [
    'spiffe://cluster.local/ns/shop/sa/b',
    'spiffe://cluster.local/ns/shop/sa/c',
    'spiffe://x/y',
  ]);
});

t.test('an ExternalName of a service of the mesh is another name of it', async (t) => {
  const alias = (name: string, target: string): string => service(`type: ExternalName, externalName: ${target}`, name);
  const { snapshot, cluster } = good(
    service(http) + alias('b', 'A.shop.svc.cluster.local.') + alias('c', 'b.shop.svc.cluster.local'),
  );
  const target = snapshot.hosts.get('a:80');
  t.equal(snapshot.hosts.get('b:80'), target);
  t.equal(snapshot.hosts.get('c.shop.svc.cluster.local:80'), target, 'through another name');
  t.equal(cluster('b|80'), undefined);
  const circle = good(alias('b', 'c.shop.svc.cluster.local') + alias('c', 'b.shop.svc.cluster.local'));
  t.equal(circle.snapshot.hosts.size, 0, 'names of each other are no service');
});

t.test('a Service goes before a ServiceEntry for the same host, and their endpoints add up', async (t) => {
  const entry = resourceYaml(
    'ServiceEntry',
    'a',
    '{hosts: [a.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: TCP}], endpoints: [{address: 10.0.9.1}]}',
  );
  const { endpoints, cluster } = good(entry + service(http) + slice('{addresses: [10.0.0.1]}'));
  t.equal(cluster('a|80')?.protocol, 'http');
  t.same(
    endpoints('a|80').map((endpoint) => endpoint.address),
    ['10.0.0.1', '10.0.9.1'],
  );
  const named = entry
    .replace('address: 10.0.9.1', 'address: a.b')
    .replace('STATIC', 'DNS, subjectAltNames: ["spiffe://x/a"]');
  const mixed = good(service(http) + slice('{addresses: [10.0.0.1]}') + named);
  t.equal(mixed.endpoints('a|80').length, 1, 'endpoints of another resolution are not added');
  t.same(mixed.cluster('a|80')?.serverIdentities, ['spiffe://x/a']);
});

t.test('exportTo is an annotation of a Service', async (t) => {
  const yaml = service(http, 'a', ', annotations: {networking.istio.io/exportTo: "., front"}');
  t.ok(good(yaml, { workload: { namespace: 'front' } }).snapshot.hosts.size > 0);
  t.equal(good(yaml, { workload: { namespace: 'back' } }).snapshot.hosts.size, 0);
});

t.test('slices that belong to nobody, or hold names, are in the report', async (t) => {
  const { remarks } = good(
    slice('{addresses: [10.0.0.1]}').replace('kubernetes.io/service-name: a', 'x: y') +
      slice('{addresses: [a.b]}', '[]', 'addressType: FQDN', 'a-2'),
  );
  t.same(remarks(), [
    'EndpointSlice metadata.labels ignored (warning): has no label kubernetes.io/service-name',
    'EndpointSlice addressType ignored (warning): slices of names are left out',
  ]);
});

t.test('mistakes are refused', async (t) => {
  t.match(problems(service('ports: [{port: 80}, {port: 81}]')), [
    /spec\.ports\[0\]: needs the field name/,
    /spec\.ports\[1\]/,
  ]);
  t.match(problems(service(http) + slice('{addresses: [a.b]}')), [
    /endpoints\[0\]\.addresses\[0\]: must be an IP address, got "a\.b"/,
  ]);
  t.match(problems(slice('{adresses: []}')), [
    /endpoints\[0\]\.adresses: is not a known field \(did you mean addresses\?\)/,
    /needs the field addresses/,
  ]);
  t.match(problems(service('ports: [{port: 0}]')), [
    /spec\.ports\[0\]\.port: must be an integer from 1 to 65535, got 0/,
  ]);
});
