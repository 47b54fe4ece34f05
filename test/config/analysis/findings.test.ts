import t from 'tap';
import { analyzeConfig } from '../../../src/config/analysis/analyze.ts';
import type { Finding } from '../../../src/config/analysis/finding.ts';
import { parseYaml } from '../../../src/config/yaml.ts';
import { web } from '../support.ts';

const groups: Readonly<Record<string, string>> = {
  VirtualService: 'networking.istio.io/v1',
  DestinationRule: 'networking.istio.io/v1',
  ServiceEntry: 'networking.istio.io/v1',
  Gateway: 'networking.istio.io/v1',
  EnvoyFilter: 'networking.istio.io/v1alpha3',
  Sidecar: 'networking.istio.io/v1',
  Telemetry: 'telemetry.istio.io/v1',
  PeerAuthentication: 'security.istio.io/v1',
  AuthorizationPolicy: 'security.istio.io/v1',
  RequestAuthentication: 'security.istio.io/v1',
  Service: 'v1',
  Pod: 'v1',
};

/** A resource of namespace `shop`; more metadata as YAML. */
const yaml = (kind: string, name: string, spec: string, more = ''): string =>
  `{apiVersion: ${groups[kind]}, kind: ${kind}, metadata: {name: ${name}, namespace: shop${more}}, spec: ${spec}}`;

function analyze(...resources: readonly string[]): readonly Finding[] {
  const { documents, problems } = parseYaml(resources.join('\n---\n'), 'mesh.yaml');
  return analyzeConfig(documents, { workload: web, problems }).findings;
}

/** Findings of `istioctl`'s codes, as `code resource field: message`. */
function found(...resources: readonly string[]): readonly string[] {
  return analyze(...resources)
    .filter(({ code }) => code.startsWith('IST'))
    .map(({ code, resource, field = '', message }) => `${code} ${resource} ${field}: ${message}`);
}

const reviews = yaml(
  'ServiceEntry',
  'reviews',
  '{hosts: [reviews.shop.svc.cluster.local], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.1, labels: {version: v1}}]}',
);
const ratings = yaml(
  'Service',
  'ratings',
  '{ports: [{port: 80, name: http}, {port: 81, name: grpc}], selector: {app: ratings}}',
);
const pod = (name: string, labels: string): string => yaml('Pod', name, '{}', `, labels: {${labels}}`);
const route = (http: string, more = ''): string =>
  yaml('VirtualService', 'routes', `{hosts: [reviews], http: [${http}]${more}}`);
const to = (destination: string): string => route(`{route: [{destination: {${destination}}}]}`);
const rule = (spec: string): string => yaml('DestinationRule', 'rule', `{host: reviews${spec}}`);
const gateway = (name: string, hosts: string, selector = 'istio: ingress'): string =>
  yaml(
    'Gateway',
    name,
    `{selector: {${selector}}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [${hosts}]}]}`,
  );
const filter = (text: string, priority = ''): string =>
  yaml('EnvoyFilter', 'filter', `{${priority}configPatches: [{${text}}]}`);
const tls = (mode: string, more = ''): string => rule(`, trafficPolicy: {tls: {mode: ${mode}${more}}}`);
const peers = (mode: string, more = '', name = 'peers'): string =>
  yaml('PeerAuthentication', name, `{mtls: {mode: ${mode}}${more}}`);

/** What is said of some resources: nothing, or one finding for each pattern, in this order. */
const cases: readonly (readonly [what: string, resources: readonly string[], findings: readonly RegExp[]])[] = [
  ['a destination that is there', [reviews, to('host: reviews')], []],
  ['a destination by its full name', [reviews, to('host: reviews.shop.svc.cluster.local')], []],
  [
    'a destination below a wildcard',
    [
      yaml(
        'ServiceEntry',
        'all',
        '{hosts: ["*.example.com"], ports: [{number: 80, name: a, protocol: HTTP}], resolution: NONE}',
      ),
      to('host: a.b.example.com'),
    ],
    [],
  ],
  [
    'a destination that is not there',
    [reviews, to('host: review')],
    [
      /^IST0101 VirtualService shop\/routes spec\.http\[0\]\.route\[0\]\.destination\.host: no Service or ServiceEntry has the host review$/,
    ],
  ],
  [
    'a destination that is exported to others',
    [reviews.replace('resolution:', 'exportTo: [other], resolution:'), to('host: reviews')],
    [/^IST0101 .*destination\.host/],
  ],
  [
    'a destination that is exported to the own namespace',
    [reviews.replace('resolution:', 'exportTo: [.], resolution:'), to('host: reviews')],
    [],
  ],
  [
    'a mirror that is not there',
    [reviews, route('{route: [{destination: {host: reviews}}], mirror: {host: shadow}}')],
    [/^IST0101 .* spec\.http\[0\]\.mirror\.host: no Service/],
  ],
  [
    'mirrors that are not there',
    [reviews, route('{route: [{destination: {host: reviews}}], mirrors: [{destination: {host: shadow}}]}')],
    [/^IST0101 .* spec\.http\[0\]\.mirrors\[0\]\.destination\.host/],
  ],
  [
    'a tcp destination that is not there',
    [reviews, yaml('VirtualService', 'routes', '{hosts: [reviews], tcp: [{route: [{destination: {host: nobody}}]}]}')],
    [/^IST0101 .* spec\.tcp\[0\]\.route\[0\]\.destination\.host/],
  ],
  ['a port that is there', [reviews, to('host: reviews, port: {number: 80}')], []],
  [
    'a port that is not there',
    [reviews, to('host: reviews, port: {number: 81}')],
    [/^IST0101 .*destination\.port\.number: reviews has no port 81, only 80$/],
  ],
  ['a service with several ports and a port', [ratings, to('host: ratings, port: {number: 81}')], []],
  [
    'a service with several ports and none',
    [ratings, to('host: ratings')],
    [/^IST0112 .*route\[0\]\.destination: ratings has the ports 80, 81/],
  ],
  [
    'a subset that is there',
    [reviews, rule(', subsets: [{name: v1, labels: {version: v1}}]'), to('host: reviews, subset: v1')],
    [],
  ],
  [
    'a subset of a wildcard rule',
    [
      reviews,
      yaml(
        'DestinationRule',
        'all',
        '{host: "*.shop.svc.cluster.local", subsets: [{name: v1, labels: {version: v1}}]}',
      ),
      to('host: reviews, subset: v1'),
    ],
    [],
  ],
  [
    'a subset that is not there',
    [reviews, rule(', subsets: [{name: v1, labels: {version: v1}}]'), to('host: reviews, subset: v2')],
    [/^IST0101 .*destination\.subset: no DestinationRule has the subset v2 for reviews$/],
  ],
  [
    'a gateway that is there',
    [
      reviews,
      gateway('public', '"*"'),
      route('{route: [{destination: {host: reviews}}]}', ', gateways: [public, mesh]'),
    ],
    [],
  ],
  [
    'a gateway that is not there',
    [reviews, route('{route: [{destination: {host: reviews}}]}', ', gateways: [other/public]')],
    [/^IST0101 .* spec\.gateways\[0\]: there is no Gateway other\/public$/],
  ],
  [
    'a gateway without the host',
    [
      reviews,
      gateway('public', 'a.example.com'),
      route('{route: [{destination: {host: reviews}}]}', ', gateways: [shop/public]'),
    ],
    [/^IST0132 .* spec\.gateways\[0\]: Gateway shop\/public serves none of the hosts reviews$/],
  ],
  [
    'a gateway for other namespaces',
    [
      reviews,
      gateway('public', '"other/*"'),
      route('{route: [{destination: {host: reviews}}]}', ', gateways: [public]'),
    ],
    [/^IST0132/],
  ],
  [
    'two VirtualServices for one host',
    [
      reviews,
      to('host: reviews'),
      to('host: reviews')
        .replace('name: routes', 'name: more')
        .replace('[reviews]', '[reviews.shop.svc.cluster.local]'),
    ],
    [
      /^IST0109 VirtualService shop\/routes spec\.hosts\[0\]: VirtualService shop\/more is for the host/,
      /^IST0109 VirtualService shop\/more spec\.hosts\[0\]/,
    ],
  ],
  [
    'two VirtualServices for one host, one of them for a gateway',
    [
      reviews,
      gateway('public', '"*"'),
      to('host: reviews'),
      route('{route: [{destination: {host: reviews}}]}', ', gateways: [public]').replace('name: routes', 'name: more'),
    ],
    [],
  ],
  [
    'two VirtualServices for one host, exported to different namespaces',
    [
      reviews,
      route('{route: [{destination: {host: reviews}}]}', ', exportTo: [a]'),
      route('{route: [{destination: {host: reviews}}]}', ', exportTo: [b]').replace('name: routes', 'name: more'),
    ],
    [],
  ],
  [
    'a rule behind one for everything',
    [
      reviews,
      route(
        '{route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}',
      ),
    ],
    [/^IST0130 .* spec\.http\[1\]: is never reached/],
  ],
  [
    'a condition that is there twice',
    [
      reviews,
      route(
        '{match: [{uri: {prefix: /a}}], route: [{destination: {host: reviews}}]}, {match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}], route: [{destination: {host: reviews}}]}',
      ),
    ],
    [/^IST0131 .* spec\.http\[1\]\.match\[0\]: is never reached/],
  ],
  [
    'a rule for a host of nobody',
    [rule('').replace('host: reviews', 'host: revews')],
    [/^IST0174 DestinationRule shop\/rule spec\.host: no Service or ServiceEntry has the host revews$/],
  ],
  ['a rule for a wildcard', [rule('').replace('host: reviews', 'host: "*.example.com"')], []],
  [
    'a subset without workloads',
    [reviews, rule(', subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]')],
    [/^IST0173 .* spec\.subsets\[1\]: the subset v2 selects no workload of reviews/],
  ],
  [
    'a subset of a service with pods',
    [
      ratings,
      pod('a', 'app: ratings, version: v1'),
      yaml(
        'DestinationRule',
        'rule',
        '{host: ratings, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}',
      ),
    ],
    [/^IST0173 .* spec\.subsets\[1\]/],
  ],
  [
    'a subset of a service without pods in the files',
    [ratings, yaml('DestinationRule', 'rule', '{host: ratings, subsets: [{name: v2, labels: {version: v2}}]}')],
    [],
  ],
  [
    'plaintext where mTLS is wanted',
    [reviews, tls('DISABLE'), peers('STRICT')],
    [/^IST0113 DestinationRule shop\/rule spec\.trafficPolicy\.tls\.mode: DISABLE does not reach .* says STRICT$/],
  ],
  [
    'plaintext where mTLS is wanted in the whole mesh',
    [reviews, tls('DISABLE'), peers('STRICT').replace('namespace: shop', 'namespace: istio-system')],
    [/^IST0113/],
  ],
  [
    'plaintext where a nearer policy allows it',
    [
      reviews,
      tls('DISABLE'),
      peers('STRICT').replace('namespace: shop', 'namespace: istio-system'),
      peers('PERMISSIVE'),
    ],
    [],
  ],
  [
    'mTLS where it is disabled',
    [reviews, tls('ISTIO_MUTUAL'), peers('DISABLE')],
    [/^IST0113 .*: ISTIO_MUTUAL does not reach .* says DISABLE$/],
  ],
  ['mTLS where it is wanted', [reviews, tls('ISTIO_MUTUAL'), peers('STRICT')], []],
  [
    'a policy for workloads of the service',
    [
      ratings,
      yaml('DestinationRule', 'rule', '{host: ratings, trafficPolicy: {tls: {mode: DISABLE}}}'),
      peers('STRICT', ', selector: {matchLabels: {app: ratings}}'),
    ],
    [/^IST0113/],
  ],
  [
    'TLS that verifies nobody',
    [reviews, tls('SIMPLE')],
    [/^IST0128 .* spec\.trafficPolicy\.tls: SIMPLE without caCertificates/],
  ],
  ['TLS that verifies', [reviews, tls('SIMPLE', ', caCertificates: /a')], []],
  [
    'TLS of a port that verifies nobody',
    [reviews, rule(', trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}]}')],
    [/^IST0129 .* spec\.trafficPolicy\.portLevelSettings\[0\]\.tls/],
  ],
  [
    'gateways with the same host',
    [gateway('a', 'a.example.com'), gateway('b', '"*.example.com"')],
    [/^IST0145 Gateway shop\/a spec\.servers\[0\]: Gateway shop\/b has the same/, /^IST0145 Gateway shop\/b/],
  ],
  ['gateways with different hosts', [gateway('a', 'a.example.com'), gateway('b', 'b.example.com')], []],
  ['gateways with different selectors', [gateway('a', '"*"'), gateway('b', '"*"', 'istio: other')], []],
  ['gateways for different namespaces', [gateway('a', '"x/*"'), gateway('b', '"y/*"')], []],
  [
    'two Telemetry resources without a selector',
    [yaml('Telemetry', 'a', '{}'), yaml('Telemetry', 'b', '{}')],
    [
      /^IST0160 Telemetry shop\/a metadata\.name: Telemetry shop\/b has no selector either/,
      /^IST0160 Telemetry shop\/b/,
    ],
  ],
  [
    'Telemetry resources of two namespaces',
    [yaml('Telemetry', 'a', '{}'), yaml('Telemetry', 'b', '{}').replace('shop', 'other')],
    [],
  ],
  [
    'two Telemetry resources with one selector',
    [
      yaml('Telemetry', 'a', '{selector: {matchLabels: {a: b}}}'),
      yaml('Telemetry', 'b', '{selector: {matchLabels: {a: b}}}'),
    ],
    [/^IST0159 Telemetry shop\/a spec\.selector/, /^IST0159 Telemetry shop\/b/],
  ],
  [
    'two Telemetry resources that a pod has both',
    [
      pod('p', 'a: b, c: d'),
      yaml('Telemetry', 'a', '{selector: {matchLabels: {a: b}}}'),
      yaml('Telemetry', 'b', '{selector: {matchLabels: {c: d}}}'),
    ],
    [/^IST0159/, /^IST0159/],
  ],
  [
    'two Sidecars without a selector',
    [yaml('Sidecar', 'a', '{egress: [{hosts: ["./*"]}]}'), yaml('Sidecar', 'b', '{egress: [{hosts: ["./*"]}]}')],
    [/^IST0111 Sidecar shop\/a/, /^IST0111 Sidecar shop\/b/],
  ],
  [
    'two Sidecars with one selector',
    [
      yaml('Sidecar', 'a', '{workloadSelector: {labels: {a: b}}, egress: [{hosts: ["./*"]}]}'),
      yaml('Sidecar', 'b', '{workloadSelector: {labels: {a: b}}, egress: [{hosts: ["./*"]}]}'),
    ],
    [/^IST0110 Sidecar shop\/a spec\.workloadSelector/, /^IST0110/],
  ],
  [
    'a policy for nobody',
    [pod('p', 'app: other'), yaml('AuthorizationPolicy', 'a', '{selector: {matchLabels: {app: nobody}}}')],
    [/^IST0127 AuthorizationPolicy shop\/a spec\.selector: selects none of the workloads in these files: app=nobody$/],
  ],
  [
    'a policy for a pod',
    [pod('p', 'app: api'), yaml('AuthorizationPolicy', 'a', '{selector: {matchLabels: {app: api}}}')],
    [],
  ],
  [
    'a policy for the process itself',
    [pod('p', 'app: other'), yaml('AuthorizationPolicy', 'a', '{selector: {matchLabels: {app: web}}}')],
    [],
  ],
  [
    'a policy where no workload is described',
    [yaml('AuthorizationPolicy', 'a', '{selector: {matchLabels: {app: nobody}}}')],
    [],
  ],
  [
    'an EnvoyFilter with a relative operation',
    [filter('applyTo: HTTP_FILTER, patch: {operation: INSERT_BEFORE, value: {}}')],
    [/^IST0151 .* spec\.configPatches\[0\]\.patch\.operation/],
  ],
  [
    'an EnvoyFilter with a priority',
    [filter('applyTo: HTTP_FILTER, patch: {operation: INSERT_BEFORE, value: {}}', 'priority: 1, ')],
    [],
  ],
  ['REPLACE of a cluster', [filter('applyTo: CLUSTER, patch: {operation: REPLACE, value: {}}')], [/^IST0152/]],
  ['ADD of a route', [filter('applyTo: HTTP_ROUTE, patch: {operation: ADD, value: {}}')], [/^IST0153/]],
  [
    'REMOVE of a route configuration',
    [filter('applyTo: ROUTE_CONFIGURATION, patch: {operation: REMOVE}')],
    [/^IST0154/],
  ],
  [
    'a relative operation for one version',
    [filter('applyTo: HTTP_FILTER, match: {proxy: {proxyVersion: "^1.2"}}, patch: {operation: MERGE, value: {}}')],
    [/^IST0155/],
  ],
  [
    'port names with a protocol',
    [
      yaml(
        'Service',
        'a',
        '{ports: [{port: 80, name: http-web}, {port: 81, name: grpc}, {port: 82, name: grpc-web-a}, {port: 83, name: x, appProtocol: tcp}, {port: 84, name: x2, appProtocol: kubernetes.io/h2c}]}',
      ),
    ],
    [],
  ],
  [
    'a port name without a protocol',
    [yaml('Service', 'a', '{ports: [{port: 80, name: web}, {port: 81, name: x-grpc}]}')],
    [
      /^IST0118 Service shop\/a spec\.ports\[0\]: the name "web" of port 80/,
      /^IST0118 .* spec\.ports\[1\]: the name "x-grpc" of port 81/,
    ],
  ],
  ['a UDP port', [yaml('Service', 'a', '{ports: [{port: 53, name: dns, protocol: UDP}]}')], []],
  [
    'a TCP port of an ExternalName service',
    [yaml('Service', 'a', '{type: ExternalName, externalName: a.b, ports: [{port: 80, name: tcp}]}')],
    [/^IST0150/],
  ],
  [
    'TCP below a wildcard',
    [
      yaml(
        'ServiceEntry',
        'a',
        '{hosts: ["*.example.com"], ports: [{number: 5432, name: db, protocol: TCP}], resolution: NONE}',
      ),
    ],
    [/^IST0134 ServiceEntry shop\/a spec\.ports\[0\]/],
  ],
  [
    'TCP that Istio gives an address',
    [
      yaml(
        'ServiceEntry',
        'a',
        '{hosts: [a.example.com], ports: [{number: 5432, name: db, protocol: TCP}], resolution: DNS}',
      ),
    ],
    [],
  ],
  [
    'a DENY rule of HTTP attributes',
    [yaml('AuthorizationPolicy', 'a', '{action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}')],
    [/^IST0133 .* spec\.rules\[0\]: denies everything at TCP ports/],
  ],
  [
    'a DENY rule with ports',
    [yaml('AuthorizationPolicy', 'a', '{action: DENY, rules: [{to: [{operation: {methods: [PUT], ports: ["80"]}}]}]}')],
    [],
  ],
  [
    'a DENY rule of namespaces',
    [yaml('AuthorizationPolicy', 'a', '{action: DENY, rules: [{from: [{source: {namespaces: [a]}}]}]}')],
    [],
  ],
  [
    'an empty selector',
    [yaml('AuthorizationPolicy', 'a', '{selector: {}}')],
    [/^IST0133 .* spec\.selector: has no labels/],
  ],
  [
    'a redirect of TLS',
    [
      yaml(
        'Gateway',
        'a',
        '{servers: [{port: {number: 443, name: a, protocol: TLS}, hosts: ["*"], tls: {mode: PASSTHROUGH, httpsRedirect: true}}]}',
      ),
    ],
    [/^IST0133 .*tls\.httpsRedirect: is for HTTP servers only/],
  ],
  [
    'certificates of PASSTHROUGH',
    [
      yaml(
        'Gateway',
        'a',
        '{servers: [{port: {number: 443, name: a, protocol: TLS}, hosts: ["*"], tls: {mode: PASSTHROUGH, credentialName: b}}]}',
      ),
    ],
    [/^IST0133 .*tls: has certificates/],
  ],
  [
    'several tracers',
    [yaml('Telemetry', 'a', '{tracing: [{}, {providers: [{name: a}, {name: b}]}]}')],
    [/^IST0133 .* spec\.tracing: has several/, /^IST0133 .* spec\.tracing\[1\]\.providers/],
  ],
  [
    'a deprecated field',
    [reviews, rule(', trafficPolicy: {outlierDetection: {consecutiveErrors: 5}}')],
    [/^IST0002 .* spec\.trafficPolicy\.outlierDetection\.consecutiveErrors: is deprecated: write consecutive5xxErrors/],
  ],
  [
    'a deprecated value',
    [reviews, rule(', trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}')],
    [/^IST0002 .* spec\.trafficPolicy\.loadBalancer\.simple: is deprecated: write LEAST_REQUEST/],
  ],
  [
    'an annotation that is known',
    [
      yaml(
        'PeerAuthentication',
        'a',
        '{}',
        ', annotations: {galley.istio.io/analyze-suppress: IST0101, example.com/a: b, note: c}',
      ),
    ],
    [],
  ],
  [
    'an annotation that is not known',
    [yaml('PeerAuthentication', 'a', '{}', ', annotations: {galley.istio.io/analyze-supress: a}')],
    [
      /^IST0108 .* metadata\.annotations\["galley\.istio\.io\/analyze-supress"\]: .* \(did you mean galley\.istio\.io\/analyze-suppress\?\)$/,
    ],
  ],
  [
    'an annotation at the wrong place',
    [yaml('PeerAuthentication', 'a', '{}', ', annotations: {sidecar.istio.io/inject: "true"}')],
    [/^IST0107 .*: is only for Pod/],
  ],
  [
    'an annotation that is deprecated',
    [yaml('Pod', 'a', '{}', ', annotations: {sidecar.istio.io/discoveryAddress: a}')],
    [/^IST0135/],
  ],
  [
    'an annotation with a wrong value',
    [yaml('Pod', 'a', '{}', ', annotations: {sidecar.istio.io/inject: maybe}')],
    [/^IST0125/],
  ],
];

for (const [what, resources, patterns] of cases) {
  t.test(
    `${what}: ${patterns.length === 0 ? 'nothing is said' : patterns.map(({ source }) => source.slice(1, 8)).join(', ')}`,
    async (t) => {
      const all = found(...resources);
      t.equal(all.length, patterns.length, all.join('\n'));
      patterns.forEach((pattern, index) => void t.match(all[index], pattern));
    },
  );
}

t.test('a resource suppresses codes that it names, or all', async (t) => {
  const suppressing = (codes: string): string =>
    to('host: nobody').replace(
      'namespace: shop',
      `namespace: shop, annotations: {galley.istio.io/analyze-suppress: "${codes}"}`,
    );
  t.equal(found(suppressing('IST0108')).length, 1);
  t.same(found(suppressing('IST0108, IST0101')), []);
  t.same(found(suppressing('*')), []);
});

t.test('a finding has its place, class, severity, value and link', async (t) => {
  const [finding] = analyze(reviews, to('host: nobody'));
  t.match(finding, {
    code: 'IST0101',
    name: 'ReferencedResourceNotFound',
    class: 'analysis',
    severity: 'error',
    resource: 'VirtualService shop/routes',
    file: 'mesh.yaml',
    line: 3,
    column: Number,
    field: 'spec.http[0].route[0].destination.host',
    value: '"nobody"',
    link: 'docs/reference/analysis.md#ist0101',
  });
});

t.test('what a code explains is not said again without one', async (t) => {
  const places = analyze(reviews, to('host: nobody')).map(({ field }) => field);
  t.equal(places.filter((field) => field === 'spec.http[0].route[0].destination.host').length, 1);
});

t.test('what a mesh says of itself has a code too', async (t) => {
  const findings = analyze(
    yaml('AuthorizationPolicy', 'a', '{rules: [{from: [{source: {principals: ["*/sa/web"]}}]}]}'),
    gateway('a', '"*"'),
  );
  t.match(findings, [
    { code: 'INMESH0005', severity: 'warning', field: 'spec.rules[0].from[0].source.principals[0]' },
    { code: 'INMESH0004', severity: 'info', resource: 'Gateway shop/a' },
  ]);
});

t.test('an invalid resource does not hide what is said of others', async (t) => {
  const findings = found(peers('NEVER'), reviews, to('host: nobody'));
  t.match(findings, [/^IST0106 PeerAuthentication/, /^IST0101 VirtualService/]);
});

const jwt = (rule: string, more = ''): string => yaml('RequestAuthentication', 'jwt', `{jwtRules: [{${rule}}]${more}}`);
const allow = (rule: string, more = ''): string => yaml('AuthorizationPolicy', 'policy', `{rules: [{${rule}}]${more}}`);
const anyToken = 'from: [{source: {requestPrincipals: ["*"]}}]';
const optional = /^INMESH0008 RequestAuthentication shop\/jwt spec\.jwtRules: requests without a token pass/;

/** What is said of tokens: nothing, or one finding for each pattern. */
const tokenCases: typeof cases = [
  ['an issuer that can be asked', [jwt('issuer: "https://a.example/"'), allow(anyToken)], []],
  ['one on this host', [jwt('issuer: "http://localhost:3000"'), allow(anyToken)], []],
  [
    'one over http',
    [jwt('issuer: "http://a.example"'), allow(anyToken)],
    [/^INMESH0006 .* spec\.jwtRules\[0\]\.issuer: all of its tokens are refused: .* it is an http URL$/],
  ],
  ['one that is no URL', [jwt('issuer: accounts.example'), allow(anyToken)], [/^INMESH0006 .*no https URL/]],
  ['one that is no URL, with a URL for keys', [jwt('issuer: me, jwksUri: "https://a.example/k"'), allow(anyToken)], []],
  ['one that is no URL, with keys', [jwt(`issuer: me, jwks: '{"keys":[]}'`), allow(anyToken)], []],
  [
    'keys over http',
    [jwt('issuer: me, jwksUri: "http://a.example/k"'), allow(anyToken)],
    [/^INMESH0007 .* spec\.jwtRules\[0\]\.jwksUri: whoever is on the way/],
  ],
  [
    'JWT-081 keys of a metadata service',
    [jwt('issuer: me, jwksUri: "http://169.254.169.254/k"'), allow(anyToken)],
    [/^INMESH0006 .* spec\.jwtRules\[0\]\.jwksUri: all of its tokens are refused: nothing is fetched from link-local/],
  ],
  ['keys over http on this host', [jwt('issuer: me, jwksUri: "http://127.0.0.1:3000/k"'), allow(anyToken)], []],
  ['keys over http of a service', [reviews, jwt('issuer: me, jwksUri: "http://reviews.shop/k"'), allow(anyToken)], []],
  ['JWT-003 tokens that nobody must have', [jwt('issuer: "https://a.example"')], [optional]],
  [
    'a policy that does not look at tokens',
    [jwt('issuer: "https://a.example"'), allow('from: [{source: {principals: ["*"]}}]')],
    [optional],
  ],
  [
    'a policy for other workloads',
    [
      jwt('issuer: "https://a.example"', ', selector: {matchLabels: {app: web}}'),
      allow(anyToken, ', selector: {matchLabels: {app: api}}'),
    ],
    [optional],
  ],
  [
    'a policy for some of them',
    [
      jwt('issuer: "https://a.example"', ', selector: {matchLabels: {app: web}}'),
      allow(anyToken, ', selector: {matchLabels: {version: v1}}'),
    ],
    [],
  ],
  [
    'a policy of the mesh',
    [jwt('issuer: "https://a.example"'), allow(anyToken).replace('namespace: shop', 'namespace: istio-system')],
    [],
  ],
  [
    'a policy of another namespace',
    [jwt('issuer: "https://a.example"'), allow(anyToken).replace('namespace: shop', 'namespace: other')],
    [optional],
  ],
  [
    'a policy that denies those without',
    [jwt('issuer: "https://a.example"'), allow('from: [{source: {notRequestPrincipals: ["*"]}}]', ', action: DENY')],
    [],
  ],
  [
    'a condition on claims',
    [jwt('issuer: "https://a.example"'), allow('when: [{key: "request.auth.claims[groups]", values: [admin]}]')],
    [],
  ],
  ['no rules at all', [yaml('RequestAuthentication', 'jwt', '{}')], []],
];

t.test('tokens: where their keys come from, and whether anybody must have one', async (t) => {
  for (const [what, resources, patterns] of tokenCases) {
    const said = analyze(...resources)
      .filter(({ code }) => /^INMESH000[678]$/.test(code))
      .map(({ code, resource, field = '', message }) => `${code} ${resource} ${field}: ${message}`);
    t.equal(said.length, patterns.length, `${what}: ${said.join('\n')}`);
    for (const [index, pattern] of patterns.entries()) t.match(said[index], pattern, what);
  }
});
