import t from 'tap';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

const entry = (spec: string, name = 'a'): string => resourceYaml('ServiceEntry', name, `{${spec}}`);
const http = 'ports: [{number: 80, name: http, protocol: HTTP}]';
const internal = `hosts: [a.shop.svc.cluster.local], location: MESH_INTERNAL, ${http}`;

t.test('STATIC: endpoints with addresses, ports, labels, weights, localities and identities', async (t) => {
  const { endpoints, cluster } = good(
    entry(
      `hosts: [A.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC,
      ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}, {number: 81, name: admin, protocol: HTTP}],
      endpoints: [
        {address: 10.0.0.1, serviceAccount: a, labels: {app: a, version: v1}, weight: 3, locality: eu/eu-1/b},
        {address: "FD00::1", ports: {http: 9000, admin: 9001}, weight: 0}]`,
    ),
  );
  t.same(endpoints('a|80'), [
    {
      address: '10.0.0.1',
      port: 8_080,
      weight: 3,
      labels: { app: 'a', version: 'v1' },
      speaksMtls: true,
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/a',
      locality: 'eu/eu-1/b',
      workload: 'a-v1',
    },
    { address: 'fd00::1', port: 9_000, weight: 1, labels: {}, speaksMtls: false, locality: '', workload: 'a' },
  ]);
  t.match(endpoints('a|81'), [{ port: 81 }, { port: 9_001 }]);
  t.same(cluster('a|80')?.serverIdentities, ['spiffe://cluster.local/ns/shop/sa/a']);
});

t.test('mTLS: the label decides, without it a service account means that it is spoken', async (t) => {
  const speaks = (workload: string): boolean | undefined =>
    good(entry(`${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1, ${workload}}]`)).endpoints('a|80')[0]
      ?.speaksMtls;
  t.equal(speaks('serviceAccount: a'), true);
  t.equal(speaks('weight: 1'), false);
  t.equal(speaks('serviceAccount: ""'), false);
  t.equal(speaks('labels: {security.istio.io/tlsMode: istio}'), true);
  t.equal(speaks('serviceAccount: a, labels: {security.istio.io/tlsMode: disabled}'), false);
});

t.test('mTLS is not offered where a PeerAuthentication of the server turns it off', async (t) => {
  const service = entry(
    `${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1, serviceAccount: a, labels: {app: a}}, {address: 10.0.0.2, serviceAccount: a, ports: {http: 9000}, labels: {app: b}}]`,
  );
  const speaks = (policy: string): readonly boolean[] =>
    good(service + policy)
      .endpoints('a|80')
      .map((each) => each.speaksMtls);
  const peer = (spec: string, namespace?: string): string => resourceYaml('PeerAuthentication', 'p', spec, namespace);
  t.same(speaks(''), [true, true]);
  t.same(speaks(peer('{mtls: {mode: STRICT}}')), [true, true]);
  t.same(speaks(peer('{mtls: {mode: DISABLE}}')), [false, false]);
  t.same(speaks(peer('{mtls: {mode: DISABLE}}', 'istio-system')), [false, false]);
  t.same(speaks(peer('{mtls: {mode: DISABLE}}', 'other')), [true, true]);
  t.same(speaks(peer('{selector: {matchLabels: {app: a}}, mtls: {mode: DISABLE}}')), [false, true]);
  t.same(
    speaks(peer('{selector: {matchLabels: {app: b}}, portLevelMtls: {9000: {mode: DISABLE}}}')),
    [true, false],
    'by the port of the endpoint',
  );
});

t.test('a service outside of the mesh gets no automatic mTLS; this is the default', async (t) => {
  const tls = (location: string) =>
    good(
      entry(
        `hosts: [api.example.com], ${location} ${http}, resolution: STATIC, endpoints: [{address: 10.0.0.1, serviceAccount: a}]`,
      ),
    ).cluster('api.example.com|80')?.tls;
  t.equal(tls('location: MESH_EXTERNAL,'), 'disable');
  t.equal(tls(''), 'disable');
  t.equal(tls('location: MESH_INTERNAL,'), 'auto');
});

t.test('DNS: endpoints with names, or the host itself', async (t) => {
  const dns = (more: string) =>
    good(
      entry(
        `hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}] ${more}`,
      ),
    ).cluster('api.example.com|80')?.discovery;
  t.match(dns(''), { kind: 'dns', endpoints: [{ address: 'api.example.com', port: 8_080, weight: 1 }] });
  t.match(dns(', endpoints: [{address: A.example.com}, {address: 10.0.0.1}]'), {
    kind: 'dns',
    endpoints: [{ address: 'a.example.com' }, { address: '10.0.0.1' }],
  });
  const robin = good(entry(`hosts: [api.example.com], resolution: DNS_ROUND_ROBIN, ${http}`)).cluster(
    'api.example.com|80',
  );
  t.match(robin?.discovery, { kind: 'dns', use: 'first', endpoints: [{ address: 'api.example.com' }] });
});

t.test('with NONE a targetPort replaces the port that the caller named', async (t) => {
  const discovery = (port: string) =>
    good(entry(`hosts: [a.example.com], ports: [{number: 80, name: http, ${port}}]`)).cluster('a.example.com|80')
      ?.discovery;
  t.same(discovery('targetPort: 8080'), { kind: 'original', port: 8_080 });
  t.same(discovery('targetPort: 80'), { kind: 'original' });
});

t.test('a selector takes pods too, at the ports that their containers name', async (t) => {
  const pod = (
    name: string,
    more: string,
    spec = '{containers: [{name: c, ports: [{name: http, containerPort: 9000}]}]}',
  ) =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop, labels: {app: a}}\nspec: ${spec}\nstatus: {${more}}\n---\n`;
  const selecting = entry(`${internal}, resolution: STATIC, workloadSelector: {labels: {app: a}}`);
  const { endpoints } = good([
    selecting,
    pod('ready', 'podIP: 10.0.0.1, phase: Running, conditions: [{type: Ready, status: "True"}]'),
    pod('plain', 'podIP: 10.0.0.2', '{serviceAccountName: plain}'),
    pod('unready', 'podIP: 10.0.0.3, conditions: [{type: Ready, status: "False"}]'),
    pod('done', 'podIP: 10.0.0.4, phase: Succeeded'),
    pod('pending', 'phase: Pending'),
    pod('gone', 'podIP: 10.0.0.5').replace('labels:', 'deletionTimestamp: "2026-01-01T00:00:00Z", labels:'),
    pod('elsewhere', 'podIP: 10.0.0.6').replace('namespace: shop', 'namespace: other'),
  ]);
  t.match(endpoints('a|80'), [
    { address: '10.0.0.1', port: 9_000, spiffeId: 'spiffe://cluster.local/ns/shop/sa/default' },
    { address: '10.0.0.2', port: 80, spiffeId: 'spiffe://cluster.local/ns/shop/sa/plain' },
  ]);
  t.equal(endpoints('a|80').length, 2);
});

t.test('a selector without labels takes every workload of the namespace', async (t) => {
  const { endpoints, remarks } = good([
    entry(`${internal}, resolution: STATIC, workloadSelector: {}`),
    resourceYaml('WorkloadEntry', 'vm', '{address: 10.0.0.1}'),
  ]);
  t.equal(endpoints('a|80').length, 1);
  t.match(remarks(), [/workloadSelector enforced \(warning\): has no label: it selects every workload/]);
});

t.test('the locality of a workload is its field, or one of the labels that Istio knows', async (t) => {
  const locality = (spec: string): string | undefined =>
    good(entry(`${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1, ${spec}}]`)).endpoints('a|80')[0]
      ?.locality;
  t.equal(locality('locality: eu/eu-1, labels: {istio-locality: us.us-1}'), 'eu/eu-1');
  t.equal(locality('labels: {istio-locality: us.us-1.a}'), 'us/us-1/a');
  t.equal(locality('labels: {istio-locality: us, topology.istio.io/locality: eu.eu-1}'), 'eu/eu-1');
});

t.test('NONE, the default, and DYNAMIC_DNS use the address that the caller named', async (t) => {
  for (const resolution of ['', 'resolution: NONE,', 'resolution: DYNAMIC_DNS,']) {
    const { snapshot } = good(entry(`hosts: ["*.example.com"], ${resolution} ${http}`));
    t.match(snapshot.wildcardHosts, [{ suffix: '.example.com', port: 80, virtualHost: { name: '*.example.com:80' } }]);
    t.same(snapshot.clusters.get('outbound|80||*.example.com')?.discovery, { kind: 'original' });
  }
});

t.test('every host is a service of its own, with the same endpoints; addresses are names too', async (t) => {
  const { snapshot } = good(
    entry(
      `hosts: [a.example.com, b.example.com], addresses: [10.1.1.1, "0:0::1", 10.2.0.0/16, 10.3.0.1/32, "FD00::1/128"], ${http}, resolution: STATIC, endpoints: [{address: 10.0.0.1}]`,
    ),
  );
  t.same([...snapshot.hosts.keys()].sort(), [
    '10.1.1.1:80',
    '10.3.0.1:80',
    '[::1]:80',
    '[fd00::1]:80',
    'a.example.com:80',
    'b.example.com:80',
  ]);
  t.equal(snapshot.clusters.size, 2);
});

t.test('a workload selector takes WorkloadEntries of its namespace', async (t) => {
  const workload = (name: string, spec: string, more = ''): string =>
    resourceYaml('WorkloadEntry', name, `{${spec}}`).replace(`{name: ${name},`, `{name: ${name}, ${more}`);
  const selecting = entry(
    'hosts: [a.shop.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], workloadSelector: {labels: {app: a}}',
  );
  const { endpoints, remarks } = good([
    selecting,
    workload('one', 'address: 10.0.0.1, labels: {app: a}, serviceAccount: one, ports: {http: 9000}'),
    workload('two', 'address: 10.0.0.2, labels: {app: b}', 'labels: {app: a, version: v2}, '),
    workload('three', 'address: 10.0.0.3, labels: {app: b}'),
    workload('four', 'address: 10.0.0.4, labels: {app: a}').replace('namespace: shop', 'namespace: other'),
    workload('five', 'address: five.example.com, labels: {app: a}'),
  ]);
  t.match(endpoints('a|80'), [
    { address: '10.0.0.1', port: 9_000, workload: 'a', spiffeId: 'spiffe://cluster.local/ns/shop/sa/one' },
    { address: '10.0.0.2', port: 8_080, workload: 'a-v2', labels: { app: 'a', version: 'v2' } },
  ]);
  t.equal(endpoints('a|80').length, 2);
  t.match(remarks(), [
    /WorkloadEntry spec\.address ignored \(warning\): is left out of ServiceEntry a: its resolution STATIC needs an IP address/,
  ]);
  const dns = good([
    selecting.replace('STATIC', 'DNS'),
    workload('five', 'address: five.example.com, labels: {app: a}'),
  ]);
  t.match(dns.endpoints('a|80'), [{ address: 'five.example.com' }]);
});

t.test('a selector that selects nobody has no endpoints; DNS does not ask for the host instead', async (t) => {
  const { endpoints, cluster } = good(entry(`${internal}, resolution: DNS, workloadSelector: {labels: {app: a}}`));
  t.same(endpoints('a|80'), []);
  t.equal(cluster('a|80')?.discovery.kind, 'dns');
});

t.test('subjectAltNames are identities beside those of the service accounts', async (t) => {
  const names = (location: string, sans: string): readonly string[] | undefined =>
    good(
      entry(
        `hosts: [a.example.com], location: ${location}, ${http}, resolution: STATIC, endpoints: [{address: 10.0.0.1, serviceAccount: a}], subjectAltNames: [${sans}]`,
      ),
    ).cluster('a.example.com|80')?.serverIdentities;
  t.same(names('MESH_INTERNAL', '"spiffe://other/ns/x/sa/y"'), [
    'spiffe://cluster.local/ns/shop/sa/a',
    'spiffe://other/ns/x/sa/y',
  ]);
  t.same(names('MESH_EXTERNAL', 'a.example.com'), ['a.example.com', 'spiffe://cluster.local/ns/shop/sa/a']);
});

t.test('protocols: those of Istio in any case; what is absent is HTTP', async (t) => {
  const protocol = (text: string): string | undefined =>
    good(entry(`hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: any ${text}}]`)).cluster(
      'a.example.com|80',
    )?.protocol;
  const cases = {
    '': 'http',
    ', protocol: ""': 'http',
    ', protocol: HTTP': 'http',
    ', protocol: http2': 'http2',
    ', protocol: GRPC': 'grpc',
    ', protocol: GRPC-Web': 'grpc',
    ', protocol: HTTPS': 'https',
    ', protocol: TLS': 'tls',
    ', protocol: TCP': 'tcp',
    ', protocol: MONGO': 'tcp',
  };
  for (const [text, expected] of Object.entries(cases)) t.equal(protocol(text), expected, text);
  t.match(problems(entry('hosts: [a.b], ports: [{number: 80, name: a, protocol: HTPP}]')), [
    /spec\.ports\[0\]\.protocol: must be one of HTTP, .*, got "HTPP"/,
  ]);
});

t.test('routes and retries are for HTTP ports only', async (t) => {
  const { routes } = good(
    entry(
      'hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: a, protocol: TCP}, {number: 81, name: b, protocol: HTTP}]',
    ) +
      resourceYaml(
        'VirtualService',
        'v',
        '{hosts: [a.example.com], http: [{timeout: 1s, route: [{destination: {host: a.example.com}}]}]}',
      ),
  );
  t.notOk('retry' in (routes('a.example.com:80')[0] ?? {}));
  t.equal(routes('a.example.com:80')[0]?.name, 'default');
  t.equal(routes('a.example.com:81')[0]?.timeoutMs, 1_000);
});

t.test('what cannot be reached or carried is left out and reported', async (t) => {
  const { remarks, endpoints } = good(
    entry(
      `hosts: [a], location: MESH_INTERNAL, resolution: STATIC, addresses: [10.2.0.0/16],
      ports: [{number: 80, name: http, protocol: HTTP}, {number: 53, name: dns, protocol: UDP}],
      endpoints: [{network: other}, {address: 10.0.0.1}]`,
    ) +
      entry(`hosts: [b.example.com], resolution: STATIC, ${http}, endpoints: [{address: "unix:///a.sock"}]`, 'b') +
      entry('hosts: [empty.example.com]', 'empty'),
  );
  t.equal(endpoints('a|80').length, 0, 'because the host is not the long name');
  t.match(endpoints('b.example.com|80'), [{ address: 'unix:///a.sock' }]);
  t.same(remarks(), [
    'ServiceEntry spec.endpoints[0].network approximated: an address is called directly, whatever its network; an entry without an address is left out',
    'ServiceEntry spec.hosts[0] enforced (warning): is not expanded: other resources that say a mean a.shop.svc.<cluster domain>',
    'ServiceEntry spec.ports[1] ignored (warning): UDP is not carried',
    'ServiceEntry spec.addresses[0] ignored (warning): an address range is not a name that an HTTP client can call',
    'ServiceEntry spec.endpoints[0] ignored (warning): is behind the gateway of another network, which cannot be called here',
    'ServiceEntry spec ignored (warning): has no ports, so nothing can be called',
  ]);
});

const refusals: readonly (readonly [what: string, spec: string, message: RegExp])[] = [
  ['the host *', `hosts: ["*"], ${http}`, /spec\.hosts\[0\]: must be a host name or \*\.<domain>, got "\*"/],
  ['no hosts', `hosts: [], ${http}`, /spec\.hosts: must be a list with at least one entry/],
  [
    'a port number twice',
    'hosts: [a.b], ports: [{number: 80, name: a}, {number: 80, name: b}]',
    /spec\.ports\[1\]\.number: is there twice, got 80/,
  ],
  [
    'a port name twice',
    'hosts: [a.b], ports: [{number: 80, name: a}, {number: 81, name: a}]',
    /spec\.ports\[1\]\.name: is there twice, got "a"/,
  ],
  [
    'an address that is none',
    `hosts: [a.b], ${http}, addresses: [a]`,
    /spec\.addresses\[0\]: must be an IP address or a range/,
  ],
  [
    'a range with DNS',
    `hosts: [a.b], ${http}, resolution: DNS, addresses: [10.0.0.0/8]`,
    /spec\.addresses\[0\]: a range needs resolution STATIC or NONE/,
  ],
  [
    'an endpoint without an address',
    `${internal}, resolution: STATIC, endpoints: [{weight: 1}]`,
    /spec\.endpoints\[0\]: needs the field address/,
  ],
  [
    'a name with STATIC',
    `${internal}, resolution: STATIC, endpoints: [{address: a.b}]`,
    /spec\.endpoints\[0\]\.address: must be an IP address, because resolution is STATIC, got "a\.b"/,
  ],
  [
    'an address with a port',
    `${internal}, resolution: DNS, endpoints: [{address: "a.b:80"}]`,
    /spec\.endpoints\[0\]\.address: must be an IP address or a DNS name, without a port/,
  ],
  [
    'a port that the entry does not have',
    `${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {grpc: 1}}]`,
    /spec\.endpoints\[0\]\.ports\.grpc: is not the name of a port of this ServiceEntry/,
  ],
  [
    'endpoints with NONE',
    `${internal}, endpoints: [{address: 10.0.0.1}]`,
    /spec\.endpoints: must be absent when resolution is NONE/,
  ],
  [
    'two endpoints with DNS_ROUND_ROBIN',
    `${internal}, resolution: DNS_ROUND_ROBIN, endpoints: [{address: a.b}, {address: b.c}]`,
    /may have only one entry when resolution is DNS_ROUND_ROBIN/,
  ],
  [
    'a wildcard that DNS cannot ask for',
    `hosts: ["*.b"], resolution: DNS, ${http}`,
    /spec\.hosts\[0\]: must be a full name when DNS has no endpoints/,
  ],
  [
    'endpoints and a selector',
    `${internal}, resolution: STATIC, endpoints: [], workloadSelector: {labels: {a: b}}`,
    /spec: may have only one of endpoints and workloadSelector/,
  ],
  [
    'a service account that is none',
    `${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1, serviceAccount: "a/b"}]`,
    /serviceAccount: is refused: it is not the name of a service account, got "a\/b"/,
  ],
];

for (const [what, spec, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    t.match(problems(entry(spec)).join('\n'), message);
  });
}

t.test('entries for the same host in one namespace add up; in others the nearest counts', async (t) => {
  const more = serviceYaml()
    .replace('name: reviews,', 'name: more,')
    .replaceAll('10.0.0.', '10.0.1.')
    .replace('number: 80', 'number: 81');
  const both = good([serviceYaml(), more]);
  t.match(both.endpoints('reviews|80'), [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
  t.equal(both.endpoints('reviews|80').length, 2, 'endpoints serve the ports of their own entry');
  t.match(both.endpoints('reviews|81'), [{ address: '10.0.1.1' }, { address: '10.0.1.2' }]);
  const same = good([serviceYaml(), more.replace('number: 81', 'number: 80')]);
  t.equal(same.endpoints('reviews|80').length, 4);
  const foreign = serviceYaml().replace('namespace: shop', 'namespace: other').replaceAll('10.0.0.', '10.0.1.');
  const near = good([foreign, serviceYaml()]);
  t.match(near.endpoints('reviews|80'), [{ address: '10.0.0.1' }, { address: '10.0.0.2' }]);
  t.match(near.remarks(), [
    /ServiceEntry spec\.hosts\[0\] enforced \(warning\): is also for callers of other namespaces/,
    /ServiceEntry spec\.hosts ignored \(warning\): reviews\.shop\.svc\.cluster\.local is already described by ServiceEntry shop\/reviews \(1\.yaml:2:1\)/,
  ]);
});

t.test('a service that is not exported to the namespace does not exist there', async (t) => {
  const yaml = (exportTo: string): string =>
    entry(`${internal}, resolution: STATIC, endpoints: [{address: 10.0.0.1}], exportTo: [${exportTo}]`);
  const seen = (exportTo: string, namespace: string): boolean =>
    good(yaml(exportTo), { workload: { namespace } }).snapshot.hosts.size > 0;
  t.ok(seen('"."', 'shop'));
  t.notOk(seen('"."', 'front'));
  t.ok(seen('front', 'front'));
  t.ok(seen('"*"', 'front'));
  t.notOk(seen('"~"', 'shop'));
});
