import t from 'tap';
import { createHostTable } from '../../src/route/host-table.ts';
import { good, problems, resourceYaml, type TestCompileOptions } from './support.ts';
import { invalidities } from './validity.ts';

const service = (name: string, namespace: string, more = '', ports = '80'): string => {
  const list = ports.split(',').map((port) => `{number: ${port}, name: http-${port}, protocol: HTTP}`);
  return resourceYaml(
    'ServiceEntry',
    `${name}-${namespace}`,
    `{hosts: [${name}.${namespace}.svc.cluster.local], location: MESH_INTERNAL, resolution: STATIC,
      ports: [${list.join(', ')}], endpoints: [{address: 10.0.0.1}] ${more}}`,
    namespace,
  );
};
const external = (host: string, name: string, namespace: string, address: string): string =>
  resourceYaml(
    'ServiceEntry',
    name,
    `{hosts: ["${host}"], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: ${address}}]}`,
    namespace,
  );
const sidecar = (spec: string, namespace = 'shop', name = 'default'): string =>
  resourceYaml('Sidecar', name, `{${spec}}`, namespace);
const egress = (...hosts: readonly string[]): string => `egress: [{hosts: ${JSON.stringify(hosts)}}]`;
const route = (name: string, host: string, to: string, namespace = 'shop', more = ''): string =>
  resourceYaml(
    'VirtualService',
    name,
    `{hosts: ["${host}"], http: [{name: ${name}, route: [{destination: {host: ${to}}}]${more}}]}`,
    namespace,
  );

/** Hosts with port 80 that can be called, by their full names. */
const callable = (text: string, options?: TestCompileOptions): readonly string[] => {
  const { snapshot } = good(text, options);
  const names = [...snapshot.hosts.values()].map((host) =>
    host.name.replace(':80', '').replace('.svc.cluster.local', ''),
  );
  return [...new Set([...names, ...snapshot.wildcardHosts.map((host) => `*${host.suffix}`)])].sort();
};
const world = service('a', 'shop') + service('b', 'shop') + service('a', 'other') + service('c', 'third');
const everything = ['a.other', 'a.shop', 'b.shop', 'c.third'];

t.test('egress.hosts: which services can be called', async (t) => {
  const cases: readonly (readonly [hosts: readonly string[], expected: readonly string[]])[] = [
    [['*/*'], everything],
    [['./*'], ['a.shop', 'b.shop']],
    [['shop/*'], ['a.shop', 'b.shop']],
    [
      ['./*', 'third/*'],
      ['a.shop', 'b.shop', 'c.third'],
    ],
    [['~/*'], []],
    [['other/*'], ['a.other']],
    [['./a.shop.svc.cluster.local'], ['a.shop']],
    [['./A.Shop.svc.cluster.local'], ['a.shop']],
    [['*/a.shop.svc.cluster.local'], ['a.shop']],
    [['*/*.third.svc.cluster.local'], ['c.third']],
    [['*/*.svc.cluster.local'], everything],
    [['other/a.shop.svc.cluster.local'], []],
    [
      ['other/a.shop.svc.cluster.local', '*/*.shop.svc.cluster.local'],
      ['a.shop', 'b.shop'],
    ],
    [['nowhere/*'], []],
  ];
  for (const [hosts, expected] of cases) t.same(callable(world + sidecar(egress(...hosts))), expected, hosts.join(' '));
  t.same(callable(world), everything, 'without a Sidecar');
  t.same(callable(world + sidecar('outboundTrafficPolicy: {mode: ALLOW_ANY}')), everything, 'without egress');
});

t.test('what is not exported cannot be imported', async (t) => {
  const hidden = service('d', 'other', ', exportTo: ["."]') + service('e', 'other', ', exportTo: [shop]');
  t.same(callable(hidden + sidecar(egress('*/*', 'other/*'))), ['e.other']);
});

t.test('services with a wildcard name are imported by a wildcard that covers it', async (t) => {
  const wild = external('*.example.com', 'w', 'other', '10.0.0.1');
  t.same(callable(wild + sidecar(egress('*/*.com'))), ['*.example.com']);
  t.same(callable(wild + sidecar(egress('other/*.example.com'))), ['*.example.com']);
  t.same(callable(wild + sidecar(egress('*/a.example.com'))), []);
});

t.test('short names and addresses follow what is imported', async (t) => {
  const { snapshot } = good(world + sidecar(egress('./a.shop.svc.cluster.local', 'other/*')));
  t.ok(snapshot.hosts.has('a:80'));
  t.ok(snapshot.hosts.has('a.other:80'));
  t.notOk(snapshot.hosts.has('b:80'));
  t.same([...snapshot.clusters.keys()].sort(), [
    'outbound|80||a.other.svc.cluster.local',
    'outbound|80||a.shop.svc.cluster.local',
  ]);
});

t.test('which Sidecar is for the workload', async (t) => {
  const only = (host: string, more = ''): string => `${egress(`*/${host}.svc.cluster.local`)}${more}`;
  const forWeb = ', workloadSelector: {labels: {app: web}}';
  const cases: readonly (readonly [name: string, text: string, expected: readonly string[]])[] = [
    ['of the namespace', sidecar(only('a.shop')), ['a.shop']],
    ['of another namespace', sidecar(only('a.shop'), 'other'), everything],
    ['of the root namespace', sidecar(only('a.shop'), 'istio-system'), ['a.shop']],
    ['namespace over root', sidecar(only('a.shop')) + sidecar(only('b.shop'), 'istio-system'), ['a.shop']],
    ['selector over namespace', sidecar(only('a.shop')) + sidecar(only('b.shop', forWeb), 'shop', 'z'), ['b.shop']],
    [
      'a selector that does not match leaves the root namespace its turn',
      sidecar(only('a.shop', ', workloadSelector: {labels: {app: api}}')) + sidecar(only('b.shop'), 'istio-system'),
      ['b.shop'],
    ],
    [
      'a selector in the root namespace is for workloads there',
      sidecar(only('a.shop', forWeb), 'istio-system'),
      everything,
    ],
    ['an empty selector selects everything', sidecar(only('a.shop', ', workloadSelector: {}')), ['a.shop']],
  ];
  for (const [name, text, expected] of cases) t.same(callable(world + text), expected, name);
  const rootIsElsewhere = `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {rootNamespace: root}}\n---\n`;
  t.same(callable(world + rootIsElsewhere + sidecar(only('a.shop'), 'root')), ['a.shop'], 'another root namespace');
  const inRoot = { workload: { namespace: 'istio-system' } };
  t.same(
    callable(world + sidecar(only('a.shop', forWeb), 'istio-system'), inRoot),
    ['a.shop'],
    'a workload of the root',
  );
});

t.test('of several Sidecars for one workload the oldest counts, and the others are reported', async (t) => {
  const dated = (text: string, time: string): string =>
    text.replace('metadata: {', `metadata: {creationTimestamp: "${time}", `);
  const young = dated(sidecar(egress('*/a.shop.svc.cluster.local'), 'shop', 'young'), '2026-02-01T00:00:00Z');
  const old = dated(sidecar(egress('*/b.shop.svc.cluster.local'), 'shop', 'old'), '2026-01-01T00:00:00Z');
  t.same(callable(world + young + old), ['b.shop']);
  t.match(good(world + young + old).remarks(), [
    /^Sidecar spec ignored \(warning\): Sidecar shop\/old \(0\.yaml:\d+:1\) is older and counts instead$/,
  ]);
});

t.test('a port belongs to the listener that names it', async (t) => {
  const ports =
    service('a', 'shop', '', '80,81') + service('b', 'shop', '', '80,81,82') + service('c', 'third', '', '81');
  const listen = `egress: [
    {port: {number: 81, protocol: HTTP, name: a}, hosts: ["third/*", "./a.shop.svc.cluster.local"]},
    {hosts: ["./b.shop.svc.cluster.local"]}]`;
  const { snapshot } = good(ports + sidecar(listen));
  const names = [...new Set([...snapshot.hosts.values()].map((host) => host.name.replace('.svc.cluster.local', '')))];
  t.same(names.sort(), ['a.shop:81', 'b.shop:80', 'b.shop:82', 'c.third:81']);
  const noRest = good(ports + sidecar('egress: [{port: {number: 81, protocol: HTTP}, hosts: ["*/*"]}]')).snapshot;
  t.same(
    [...new Set([...noRest.hosts.values()].map((host) => host.name.replace('.svc.cluster.local', '')))].sort(),
    ['a.shop:81', 'b.shop:81', 'c.third:81'],
    'without a listener for the rest there is no rest',
  );
  for (const listener of [
    'port: {number: 3128, protocol: HTTP_PROXY}',
    'port: {number: 0, protocol: HTTP}, bind: "unix:///a"',
  ]) {
    const { snapshot: all } = good(ports + sidecar(`egress: [{${listener}, hosts: ["./a.shop.svc.cluster.local"]}]`));
    t.ok(all.hosts.has('a:80') && all.hosts.has('a:81') && !all.hosts.has('b:80'), listener);
  }
});

t.test('each listener has rules of its own', async (t) => {
  const rules =
    route('mine', 'c.third.svc.cluster.local', 'a') + route('theirs', 'c.third.svc.cluster.local', 'c', 'third');
  const text = service('a', 'shop', '', '80,81') + service('c', 'third', '', '80,81') + rules;
  const listen = (first: string, rest: string): string =>
    `egress: [{port: {number: 81, protocol: HTTP}, hosts: ["third/*", "${first}"]}, {hosts: ["third/*", "${rest}"]}]`;
  const of = (spec: string): unknown[] => {
    const { routes } = good(text + sidecar(spec));
    return [81, 80].map((port) => routes(`c.third:${port}`)[0]?.name);
  };
  t.same(of(listen('~/*', '~/*')), ['theirs', 'theirs']);
  t.same(of(listen('./*', '~/*')), ['mine', 'theirs']);
  t.same(of(listen('~/*', './*')), ['theirs', 'mine']);
});

t.test('which VirtualServices are imported', async (t) => {
  const of = (hosts: readonly string[], rule: string): string | undefined =>
    good(world + rule + sidecar(egress(...hosts))).routes('a.shop:80')[0]?.name;
  const here = 'a.shop.svc.cluster.local';
  t.equal(of(['./*'], route('r', 'a', 'b')), 'r', 'of the own namespace');
  t.equal(of(['./*'], route('r', here, here, 'other')), 'default', 'of a namespace that is not imported');
  t.equal(of(['./*', 'other/*'], route('r', here, here, 'other')), 'r', 'of one that is');
  t.equal(of(['./*', `other/${here}`], route('r', here, here, 'other')), 'r', 'by its host');
  t.equal(
    of([`*/${here}`], route('r', '*.shop.svc.cluster.local', here, 'other')),
    'r',
    'a wildcard for an imported host',
  );
  t.equal(
    of(['./*', 'other/*.third.svc.cluster.local'], route('r', here, here, 'other')),
    'default',
    'not by another host',
  );
});

t.test('destinations of imported rules can be reached, though not called by name', async (t) => {
  const rule = route('r', 'a', 'c.third.svc.cluster.local');
  const { snapshot, routes, cluster, remarks } = good(world + rule + sidecar(egress('./*')));
  t.same(routes('a:80')[0]?.destinations, [{ cluster: 'outbound|80||c.third.svc.cluster.local', weight: 1 }]);
  t.ok(cluster('c.third.svc.cluster.local|80'));
  t.notOk(snapshot.hosts.has('c.third:80'));
  t.same(remarks(), []);
  const elsewhere = route('r', 'a', 'c.third.svc.cluster.local', 'shop', ', match: [{sourceNamespace: other}]');
  t.notOk(good(world + elsewhere + sidecar(egress('./*'))).cluster('c.third.svc.cluster.local|80'));
});

t.test('a destination is the service of the own namespace, else of the first by the alphabet', async (t) => {
  const shared =
    external('x.example.com', 'x2', 'second', '10.0.0.2') + external('x.example.com', 'x1', 'first', '10.0.0.1');
  const rule = route('r', 'a', 'x.example.com');
  const addresses = (text: string): readonly string[] =>
    good(world + rule + text + sidecar(egress('./*')))
      .endpoints('x.example.com|80')
      .map((each) => each.address);
  t.same(addresses(shared), ['10.0.0.1']);
  t.same(addresses(shared + external('x.example.com', 'x3', 'shop', '10.0.0.3')), ['10.0.0.3']);
  t.same(
    good(world + rule + shared + sidecar(egress('./*', 'second/*')))
      .endpoints('x.example.com|80')
      .map((each) => each.address),
    ['10.0.0.2'],
    'but what is imported by name counts',
  );
});

t.test('mistakes in several listeners are said once', async (t) => {
  const rule = route('r', 'a', 'nobody');
  const listen = 'egress: [{port: {number: 80, protocol: HTTP}, hosts: ["./*"]}, {hosts: ["./*"]}]';
  t.same(
    good(world + rule + sidecar(listen))
      .remarks()
      .filter((remark) => remark.startsWith('VirtualService')),
    [
      'VirtualService spec.http[0].route[0].destination.host enforced (warning): no service has the host nobody.shop.svc.cluster.local: calls answer 503',
    ],
  );
});

t.test('outboundTrafficPolicy: option over Sidecar over MeshConfig', async (t) => {
  const mesh = (mode: string): string =>
    `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {outboundTrafficPolicy: {mode: ${mode}}}}\n---\n`;
  const of = (text: string, options?: TestCompileOptions): string => good(text, options).snapshot.outboundPolicy;
  t.equal(of(sidecar('outboundTrafficPolicy: {mode: REGISTRY_ONLY}')), 'REGISTRY_ONLY');
  t.equal(of(sidecar('outboundTrafficPolicy: {}')), 'REGISTRY_ONLY', 'the default of the protobuf');
  t.equal(of(sidecar('outboundTrafficPolicy: {mode: ALLOW_ANY}') + mesh('REGISTRY_ONLY')), 'ALLOW_ANY');
  t.equal(of(sidecar(egress('*/*')) + mesh('REGISTRY_ONLY')), 'REGISTRY_ONLY');
  t.equal(of(sidecar('outboundTrafficPolicy: {mode: REGISTRY_ONLY}', 'other')), 'ALLOW_ANY');
  const option = { outboundPolicy: 'ALLOW_ANY' } as const;
  t.equal(of(sidecar('outboundTrafficPolicy: {mode: REGISTRY_ONLY}'), option), 'ALLOW_ANY');
  t.same(good(sidecar('outboundTrafficPolicy: {mode: REGISTRY_ONLY}'), option).remarks(), [
    'Sidecar spec.outboundTrafficPolicy ignored (warning): the settings of this process say ALLOW_ANY',
  ]);
});

t.test('egressProxy: the cluster through which unknown hosts are called', async (t) => {
  const proxy = (destination: string, more = ''): string =>
    sidecar(`outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {${destination}}}${more}`);
  const rule = resourceYaml(
    'DestinationRule',
    'a',
    '{host: a.shop.svc.cluster.local, subsets: [{name: edge, labels: {tier: edge}}]}',
  );
  const a = 'host: a.shop.svc.cluster.local, port: {number: 80}';
  const cases: readonly (readonly [name: string, text: string, cluster: string, note?: RegExp])[] = [
    ['a service', proxy(a), 'outbound|80||a.shop.svc.cluster.local'],
    ['a subset', rule + proxy(`${a}, subset: edge`), 'outbound|80|edge|a.shop.svc.cluster.local'],
    ['no such subset', proxy(`${a}, subset: edge`), 'outbound|80|edge|a.shop.svc.cluster.local', /defines subset edge/],
    ['no such port', proxy(a.replace('80', '81')), 'outbound|81||a.shop.svc.cluster.local', /has no port 81/],
    ['a short name is not completed', proxy('host: a, port: {number: 80}'), 'outbound|80||a', /has the host a: calls/],
    ['one that is imported', proxy(a, `, ${egress('./*')}`), 'outbound|80||a.shop.svc.cluster.local'],
    [
      'one that is not imported',
      proxy(a, `, ${egress('./b.shop.svc.cluster.local')}`),
      'outbound|80||a.shop.svc.cluster.local',
      /no service that this workload may call has the host/,
    ],
  ];
  for (const [name, text, cluster, note] of cases) {
    const { remarks, snapshot } = good(world + text);
    t.equal(snapshot.outboundPolicy, 'ALLOW_ANY', name);
    t.equal(snapshot.egressProxy, cluster, name);
    t.equal(snapshot.clusters.has(cluster), note === undefined, `${name}: there is a cluster`);
    t.equal(
      remarks().some((remark) => note?.test(remark) ?? false),
      note !== undefined,
      `${name}: ${remarks().join()}`,
    );
    const target = createHostTable(snapshot).find('http://api.example.com:8080');
    t.match(target, {
      kind: 'host',
      // Policies see the host that was asked for.
      name: 'api.example.com:8080',
      matcher: { always: { route: { destinations: [{ cluster, weight: 1 }] } } },
    });
  }
  const { snapshot } = good(world + proxy(a), { outboundPolicy: 'REGISTRY_ONLY' });
  t.same(
    createHostTable(snapshot).find('http://api.example.com'),
    { kind: 'refused' },
    'refused by the process itself',
  );
  t.same(createHostTable(snapshot).connection('api.example.com', 443, undefined), { kind: 'refused' });
});

t.test('ingress listeners and inbound limits are in the report', async (t) => {
  const { remarks } = good(
    sidecar(
      `ingress: [{port: {number: 9080, protocol: HTTP, name: http}, bind: 0.0.0.0, captureMode: NONE, defaultEndpoint: "127.0.0.1:8080",
        connectionPool: {http: {http2MaxRequests: 5, maxRetries: 3}}}], inboundConnectionPool: {tcp: {maxConnections: 10, connectTimeout: 1s}}`,
    ),
  );
  t.same(
    remarks().map((remark) => remark.replace(/:.*/, '')),
    [
      'Sidecar spec.ingress[0].port.number approximated',
      'Sidecar spec.ingress[0].port.protocol approximated',
      'Sidecar spec.ingress[0].port.name ignored',
      'Sidecar spec.ingress[0].bind ignored',
      'Sidecar spec.ingress[0].captureMode ignored',
      'Sidecar spec.ingress[0].defaultEndpoint ignored',
      'Sidecar spec.ingress[0].connectionPool.http.maxRetries ignored',
      'Sidecar spec.inboundConnectionPool.tcp.connectTimeout ignored',
    ],
  );
});

t.test('inboundConnectionPool, and that of an ingress listener in its place', async (t) => {
  const none = Number.POSITIVE_INFINITY;
  const pool = (maxConnections: number, maxPendingRequests: number, maxRequests: number) => ({
    maxConnections,
    maxPendingRequests,
    maxRequests,
  });
  const others = (text: string): unknown => good(sidecar(`inboundConnectionPool: ${text}`)).snapshot.inbound.pools;
  t.same(others('{tcp: {maxConnections: 10}}'), { ports: new Map(), others: pool(10, none, none) });
  t.same(others('{http: {http1MaxPendingRequests: 1, http2MaxRequests: 2}}'), {
    ports: new Map(),
    others: pool(none, 1, 2),
  });
  t.equal(others('{http: {http2MaxRequests: 0, maxRetries: 1}}'), undefined, 'no limits');
  const both =
    'inboundConnectionPool: {tcp: {maxConnections: 10}}, ingress: [{port: {number: 9080, protocol: HTTP, name: http}, connectionPool: {http: {http2MaxRequests: 5}}}, {port: {number: 9081, protocol: HTTP, name: other}}]';
  const { snapshot } = good(sidecar(both));
  t.same(
    snapshot.inbound.pools,
    { ports: new Map([[9080, pool(none, none, 5)]]), others: pool(10, none, none) },
    'whole pools, not fields',
  );
  t.equal(good(sidecar(both, 'other')).snapshot.inbound.pools, undefined, 'of another namespace');
});

t.test('TLS of an ingress listener is refused where it would count', async (t) => {
  const spec =
    'ingress: [{port: {number: 443, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}]';
  const off = resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: DISABLE}}');
  t.match(problems(sidecar(spec) + off), [/spec\.ingress\[0\]\.tls: is refused: inmesh does not serve TLS/]);
  t.same(problems(sidecar(spec)), []);
  t.same(problems(sidecar(spec, 'other') + off), [], 'not for this workload');
});

t.test('what Istio accepts and inmesh does not carry out is valid, and refused', async (t) => {
  for (const host of ['~other/*', '~*/*', '~./a.b']) {
    const yaml = sidecar(`egress: [{hosts: ["*/*", "${host}"]}]`);
    t.same(invalidities(yaml), [], host);
    t.match(problems(yaml), [/hosts\[1\]: is refused: hosts cannot be excluded here/], host);
  }
});

t.test("what Istio's webhook accepts", async (t) => {
  const ingress = (text: string): string => `ingress: [{port: {number: 443, protocol: HTTPS}, ${text}}]`;
  const accepted = [
    ingress('tls: {mode: SIMPLE, serverCertificate: a, privateKey: b, insecureSkipVerify: true}'),
    ingress('bind: "fe80::1%eth0"'),
    ...['[127.0.0.1]:80', '[]:80', ':+80', ':0000080'].map((text) => ingress(`defaultEndpoint: "${text}"`)),
    'egress: [{port: {protocol: HTTP}, bind: "unix://@a", hosts: ["*/*"]}]',
    'inboundConnectionPool: {tcp: {idleTimeout: 500us}}',
    'inboundConnectionPool: {http: {http2KeepAlive: {interval: 1s, timeout: 1s}}}',
  ];
  for (const spec of accepted) t.same(invalidities(sidecar(spec)), [], spec);
});

t.test("mistakes that Istio's webhook refuses", async (t) => {
  const listener = (text: string): string => `egress: [{${text}}]`;
  const ingress = (text: string): string => `ingress: [{port: {number: 80, protocol: HTTP}, ${text}}]`;
  const tls = (text: string): string => `ingress: [{port: {number: 443, protocol: HTTPS}, tls: {${text}}}]`;
  const pair = 'serverCertificate: a, privateKey: b';
  const bad: readonly (readonly [spec: string, message: RegExp])[] = [
    ['', /spec: must have egress, ingress, outboundTrafficPolicy or inboundConnectionPool/],
    ['workloadSelector: {labels: {app: web}}', /spec: must have egress/],
    [
      `workloadSelector: {labels: {"a*": b}}, ${egress('*/*')}`,
      /labels\["a\*"\]: the key must be a label name without \*/,
    ],
    [
      `workloadSelector: {labels: {a: "b*"}}, ${egress('*/*')}`,
      /labels\.a: must be a label value of at most 63 characters without \*/,
    ],
    [listener('hosts: []'), /egress\[0\]\.hosts: must be a list with at least one entry/],
    [listener('port: {number: 80}'), /egress\[0\]: needs the field hosts/],
    [egress('reviews'), /hosts\[0\]: must be <namespace>\/<host>, got "reviews"/],
    [egress('./reviews'), /hosts\[0\]: must have a full host name/],
    [egress('~a_b/*'), /hosts\[0\]: must begin with a namespace/],
    [egress('~~/*'), /hosts\[0\]: must begin with a namespace/],
    [egress('~a/reviews'), /hosts\[0\]: must have a full host name/],
    [egress('/*'), /hosts\[0\]: must begin with a namespace/],
    [egress('a.b/*'), /hosts\[0\]: must begin with a namespace/],
    [egress('a/'), /hosts\[0\]: must have a full host name/],
    [egress('a/*b.com'), /hosts\[0\]: must have a host name, \*\.<domain> or \*/],
    [egress('a/b.*.com'), /hosts\[0\]: must have a host name/],
    [egress('a/b.c/d'), /hosts\[0\]: must have a host name/],
    [egress('a/10.0.0.1'), /hosts\[0\]: must have a host name/],
    ['egress: [{hosts: ["*/*"]}, {hosts: ["*/*"]}]', /egress\[0\]: must be the last listener/],
    ['egress: [{hosts: ["*/*"]}, {port: {number: 1}, hosts: ["*/*"]}]', /egress\[0\]: must be the last listener/],
    [
      'egress: [{port: {number: 1}, hosts: ["*/*"]}, {port: {number: 1}, hosts: ["*/*"]}]',
      /egress\[1\]\.port\.number: is there twice, got 1/,
    ],
    [listener('port: {number: 65536}, hosts: ["*/*"]'), /number: must be an integer from 0 to 65535/],
    [listener('port: {number: 80, protocol: FTP}, hosts: ["*/*"]'), /protocol: must be one of HTTP/],
    [listener('port: {number: 80, protocol: HBONE}, hosts: ["*/*"]'), /protocol: must be one of HTTP/],
    [listener('port: {number: 80, name: a_b}, hosts: ["*/*"]'), /name: must be the name of a port/],
    [listener('port: {number: 80, targetPort: 1}, hosts: ["*/*"]'), /targetPort: has no effect in a Sidecar/],
    [listener('port: {number: 80}, bind: localhost, hosts: ["*/*"]'), /bind: must be an IP address/],
    [listener('port: {number: 80}, captureMode: ALL, hosts: ["*/*"]'), /captureMode: must be one of DEFAULT/],
    [listener('port: {number: 0}, hosts: ["*/*"]'), /bind: must be unix:\/\/<path>/],
    [listener('port: {number: 0}, bind: "unix://a", hosts: ["*/*"]'), /bind: must be unix:\/\/<path>/],
    [
      listener('port: {number: 0}, bind: "unix:///a", captureMode: IPTABLES, hosts: ["*/*"]'),
      /captureMode: must be DEFAULT or NONE/,
    ],
    ['ingress: [{bind: 1.2.3.4}]', /ingress\[0\]: needs the field port/],
    ['ingress: [{port: {number: 0}}]', /ingress\[0\]\.port\.number: must be an integer from 1/],
    ['ingress: [{port: {number: 1}}, {port: {number: 1}}]', /ingress\[1\]\.port\.number: is there twice/],
    [ingress('bind: web'), /bind: must be an IP address/],
    [ingress('defaultEndpoint: "10.0.0.1:80"'), /defaultEndpoint: must be 127\.0\.0\.1:<port>/],
    [ingress('defaultEndpoint: "127.0.0.1"'), /defaultEndpoint: must be/],
    [ingress('defaultEndpoint: "127.0.0.1:0"'), /defaultEndpoint: must be/],
    [ingress('defaultEndpoint: ":-80"'), /defaultEndpoint: must be/],
    [ingress('defaultEndpoint: "::1:80"'), /defaultEndpoint: must be/],
    [ingress('defaultEndpoint: "unix://a"'), /defaultEndpoint: must be/],
    [ingress(`tls: {mode: SIMPLE, ${pair}}`), /tls: needs a port with protocol HTTPS or TLS/],
    [tls(`mode: ISTIO_MUTUAL, ${pair}`), /tls\.mode: is not possible in a Sidecar/],
    [tls('mode: SIMPLE, privateKey: b'), /tls: needs the field serverCertificate for SIMPLE/],
    [tls('mode: SIMPLE, serverCertificate: b'), /tls: needs the field privateKey for SIMPLE/],
    [tls(`mode: MUTUAL, ${pair}`), /tls: needs the field caCertificates for MUTUAL/],
    [tls(`mode: SIMPLE, ${pair}, caCrl: c`), /tls\.caCrl: must be absent for SIMPLE, got "c"/],
    [tls(`mode: SIMPLE, ${pair}, httpsRedirect: true`), /tls\.httpsRedirect: is not possible/],
    [tls(`mode: SIMPLE, ${pair}, credentialName: a`), /tls\.credentialName: is not possible/],
    [tls(`mode: SIMPLE, ${pair}, subjectAltNames: [a]`), /tls\.subjectAltNames: is not possible/],
    ['inboundConnectionPool: {}', /inboundConnectionPool: must have at least one of tcp and http/],
    [ingress('connectionPool: {}'), /connectionPool: must have at least one of tcp and http/],
    [
      'inboundConnectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}',
      /http\.useClientProtocol: must not be true when h2UpgradePolicy is UPGRADE/,
    ],
    [ingress('connectionPool: {http: {http2KeepAlive: {timeout: 1s}}}'), /http2KeepAlive: needs the field interval/],
    ['inboundConnectionPool: {http: {http2KeepAlive: {interval: 1s}}}', /http2KeepAlive: needs the field timeout/],
    [
      `workloadSelector: {labels: {a: ${'b'.repeat(64)}}}, ${egress('*/*')}`,
      /labels\.a: must be a label value of at most 63 characters/,
    ],
    [
      'outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b, subset: "-", port: {number: 1}}}',
      /egressProxy\.subset: must be the name of a subset/,
    ],
    ['outboundTrafficPolicy: {mode: SOME}', /mode: must be one of REGISTRY_ONLY, ALLOW_ANY/],
    ['outboundTrafficPolicy: {egressProxy: {host: a.b, port: {number: 1}}}', /egressProxy: needs the mode ALLOW_ANY/],
    [
      'outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: "*", port: {number: 1}}}',
      /egressProxy\.host: must be a host name/,
    ],
    ['outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b}}', /egressProxy: needs the field port/],
  ];
  for (const [spec, message] of bad) t.match(problems(sidecar(spec)), [message], spec);
});

t.test('what Istio accepts is accepted', async (t) => {
  const fine: readonly string[] = [
    egress('*/*'),
    egress('./*', 'istio-system/*', '~/a.b'),
    egress('ns/*.example.com', 'ns/reviews.example.com.'),
    'egress: [{port: {number: 80, protocol: grpc-web}, hosts: ["*/*"]}, {port: {number: 81}, hosts: ["*/*"]}, {hosts: ["*/*"]}]',
    'egress: [{port: {number: 3306, protocol: MYSQL, name: egressmysql}, captureMode: NONE, bind: 127.0.0.1, hosts: ["*/mysql.foo.com"]}]',
    'ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: "unix:///var/run/a.sock"}]',
    'ingress: [{port: {number: 80}, defaultEndpoint: "[::1]:8080"}, {port: {number: 81}, defaultEndpoint: ":8080"}]',
    'ingress: [{port: {number: 443, protocol: HTTPS}, tls: {mode: MUTUAL, serverCertificate: a, privateKey: b, caCertificates: c}}]',
    'outboundTrafficPolicy: {mode: ALLOW_ANY}',
    'inboundConnectionPool: {http: {http1MaxPendingRequests: 1024, http2MaxRequests: 1024}}',
  ];
  for (const spec of fine) t.same(problems(sidecar(spec)), [], spec);
});

t.test('warnings of what is odd', async (t) => {
  const of = (spec: string): readonly string[] => good(sidecar(spec)).remarks();
  t.match(of(egress('./*', './*')), [/hosts\[1\] enforced \(warning\): is there twice, or covered by another entry/]);
  t.match(of(egress('./*', 'shop/a.b')), [/hosts\[1\] enforced \(warning\): is there twice/]);
  t.match(of(egress('*/*', 'a/b.c')), [/hosts enforced \(warning\): \*\/\* covers everything/]);
  t.match(of(`workloadSelector: {}, ${egress('./*')}`), [/workloadSelector enforced \(warning\): has no labels/]);
  t.same(of(egress('./a.b', './c.d', 'x/*')), []);
});

t.test('rules that others delegate to lead to their destinations, whatever is imported', async (t) => {
  const root = resourceYaml(
    'VirtualService',
    'root',
    '{hosts: [a], http: [{delegate: {name: leaf, namespace: other}}]}',
  );
  const leaf = resourceYaml(
    'VirtualService',
    'leaf',
    '{http: [{name: leaf, route: [{destination: {host: c.third.svc.cluster.local}}]}]}',
    'other',
  );
  const { routes, cluster } = good(world + root + leaf + sidecar(egress('./*')));
  t.same(routes('a:80')[0]?.destinations, [{ cluster: 'outbound|80||c.third.svc.cluster.local', weight: 1 }]);
  t.ok(cluster('c.third.svc.cluster.local|80'));
});

t.test('tcp and tls rules lead to their destinations too', async (t) => {
  const raw = resourceYaml(
    'ServiceEntry',
    'raw',
    '{hosts: [raw.shop.svc.cluster.local], resolution: STATIC, location: MESH_INTERNAL, ports: [{number: 9000, name: tcp, protocol: TCP}], endpoints: [{address: 10.0.0.9}]}',
  );
  const far = raw.replaceAll('raw', 'far').replaceAll('shop', 'third');
  const rule = resourceYaml(
    'VirtualService',
    'r',
    '{hosts: [raw], tcp: [{route: [{destination: {host: far.third.svc.cluster.local, port: {number: 9000}}}]}]}',
  );
  t.ok(good(raw + far + rule + sidecar(egress('./*'))).cluster('far.third.svc.cluster.local|9000'));
  t.notOk(good(raw + far + sidecar(egress('./*'))).cluster('far.third.svc.cluster.local|9000'));
});
