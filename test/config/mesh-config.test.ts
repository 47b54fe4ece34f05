import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { meshConfigDocument } from '../../src/config/istio-mesh-config.ts';
import { describeProblem } from '../../src/config/problem.ts';
import { defaultRetryPolicy } from '../../src/model/route.ts';
import { makeAuthority } from '../support/certificates.ts';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions, web } from './support.ts';

const mesh = (spec: string): string => `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {${spec}}}\n---\n`;
const configMap = (text: string, name = 'istio'): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: istio-system}\ndata:\n  mesh: |\n${text.replace(/^/gm, '    ')}\n---\n`;
const operator = (spec: string): string =>
  `{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, spec: {profile: default, meshConfig: {${spec}}}}\n---\n`;
const registryOnly = 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}';
const policyOf = (text: string, options?: TestCompileOptions): string => good(text, options).snapshot.outboundPolicy;

t.test('a MeshConfig is a document of our own, a ConfigMap of Istio, or part of an IstioOperator', async (t) => {
  const forms: readonly (readonly [name: string, text: string])[] = [
    ['without metadata', mesh(registryOnly)],
    ['with a name', `{apiVersion: inmesh.dev/v1, kind: MeshConfig, metadata: {name: mesh}, spec: {${registryOnly}}}`],
    ['ConfigMap', configMap('outboundTrafficPolicy:\n  mode: REGISTRY_ONLY')],
    ['ConfigMap of a revision', configMap(registryOnly, 'istio-canary')],
    ['ConfigMap with the names of the protobuf', configMap('outbound_traffic_policy: {mode: REGISTRY_ONLY}')],
    ['IstioOperator', operator(registryOnly)],
    [
      'IstioOperator without a name',
      `{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, metadata: {namespace: a}, spec: {meshConfig: {${registryOnly}}}}`,
    ],
    [
      'ConfigMap in a List',
      `{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: istio}, data: {mesh: "${registryOnly}"}}]}`,
    ],
  ];
  for (const [name, text] of forms) t.equal(policyOf(text), 'REGISTRY_ONLY', name);
  t.equal(policyOf(''), 'ALLOW_ANY', 'none at all');
});

t.test('other ConfigMaps mean nothing, whatever they hold', async (t) => {
  for (const text of [
    configMap(registryOnly, 'app'),
    '{apiVersion: v1, kind: ConfigMap, metadata: {name: istio}, data: {meshNetworks: "a: [b"}}',
    '{apiVersion: v1, kind: ConfigMap, metadata: {name: istio}}',
    `${configMap('a: [b', 'app')}${configMap('a: b', 'app')}`,
  ]) {
    const { snapshot, remarks } = good(text);
    t.equal(snapshot.outboundPolicy, 'ALLOW_ANY');
    t.ok(remarks().every((remark) => remark === 'ConfigMap ignored: ConfigMap has no meaning for a mesh'));
  }
});

t.test('one document counts, the others are reported', async (t) => {
  const allow = 'outboundTrafficPolicy: {mode: ALLOW_ANY}';
  const winners: readonly (readonly [name: string, text: string])[] = [
    ['our own before a ConfigMap', configMap(allow) + mesh(registryOnly)],
    ['the ConfigMap istio before that of a revision', configMap(allow, 'istio-a') + configMap(registryOnly)],
    ['a ConfigMap before an operator', operator(allow) + configMap(registryOnly)],
  ];
  for (const [name, text] of winners) {
    const { snapshot, remarks } = good(text);
    t.equal(snapshot.outboundPolicy, 'REGISTRY_ONLY', name);
    t.ok(
      remarks().some((remark) => /\(warning\): .* holds the settings of the mesh$/.test(remark)),
      remarks().join('\n'),
    );
  }
});

t.test('what the options say goes before the document, and the report says so', async (t) => {
  const { snapshot, remarks } = good(mesh(`${registryOnly}, trustDomain: td1`), { outboundPolicy: 'ALLOW_ANY' });
  t.equal(snapshot.outboundPolicy, 'ALLOW_ANY');
  t.match(
    remarks(),
    [
      'MeshConfig spec.trustDomain approximated',
      'MeshConfig spec.outboundTrafficPolicy.mode ignored (warning): the settings of this process say ALLOW_ANY',
      'MeshConfig spec.trustDomain ignored (warning): the settings of this process say cluster.local',
    ].map((text) => new RegExp(text.replace(/[().[\]]/g, '\\$&'))),
  );
  t.same(good(mesh(registryOnly), { outboundPolicy: 'REGISTRY_ONLY' }).remarks(), [], 'they agree');
});

t.test('problems in the text of a ConfigMap have a place in the file', async (t) => {
  const [problem = ''] = problems(configMap('enableTracing: true\nconnectTimeout: 5\n'));
  t.match(problem, /^0\.yaml:7:\d+: ConfigMap istio-system\/istio: data\.mesh\.connectTimeout: must be a duration/);
  t.match(problems(configMap('a: [b')), [
    /^0\.yaml:5:\d+: ConfigMap istio-system\/istio: data\.mesh: .*\(line 2 of the text\)/,
  ]);
  t.match(problems(configMap('a: b\n--- \nc: d')), [/data\.mesh: must be one YAML document/]);
  t.match(problems(configMap('- a')), [/data\.mesh: must be a map of fields/]);
});

t.test('unknown fields: refused in our own document, reported in those of Istio', async (t) => {
  t.match(problems(mesh('outboundTraficPolicy: {}')), [
    /spec\.outboundTraficPolicy: .*did you mean outboundTrafficPolicy/,
  ]);
  t.same(good(configMap('mixerCheckServer: a')).remarks(), [
    'ConfigMap data.mesh.mixerCheckServer ignored (warning): is not a field that is known here',
  ]);
  t.match(problems(configMap('outboundTrafficPolicy: {mod: ALLOW_ANY}')), [/mod: is not a known field/]);
});

t.test('values that Istio refuses are refused', async (t) => {
  const bad: readonly (readonly [spec: string, message: RegExp])[] = [
    ['connectTimeout: 0s', /spec\.connectTimeout: must be a duration/],
    ['connectTimeout: 61m', /spec\.connectTimeout: must be at most 1h, got "61m"/],
    ['trustDomain: Example.org', /spec\.trustDomain: must be a trust domain/],
    ['trustDomain: ""', /spec\.trustDomain: must be a trust domain/],
    ['trustDomainAliases: [a_b]', /spec\.trustDomainAliases\[0\]: must be a trust domain/],
    ['outboundTrafficPolicy: {mode: DENY}', /mode: must be one of REGISTRY_ONLY, ALLOW_ANY/],
    ['pathNormalization: {normalization: ALL}', /normalization: must be one of DEFAULT, NONE, BASE/],
    ['rootNamespace: Istio_System', /spec\.rootNamespace: must be a namespace/],
    ['enableAutoMtls: maybe', /spec\.enableAutoMtls: must be true or false/],
    [
      'defaultConfig: {proxyHeaders: {forwardedClientCert: FORWARD}}',
      /forwardedClientCert: must be one of UNDEFINED, SANITIZE, FORWARD_ONLY/,
    ],
    [
      'defaultConfig: {proxyHeaders: {setCurrentClientCertDetails: {sans: true}}}',
      /setCurrentClientCertDetails\.sans: is not a field/,
    ],
    ['accessLogEncoding: XML', /accessLogEncoding: must be one of TEXT, JSON/],
    ['proxyListenPort: 65536', /proxyListenPort: must be an integer from 0 to 65535/],
    ['extensionProviders: [{prometheus: {}}]', /extensionProviders\[0\]: needs the field name/],
    [
      'localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}',
      /localityLbSetting: may have only one of distribute and failover/,
    ],
    [
      'localityLbSetting: {distribute: [{from: a, to: {b: 60, c: 39}}]}',
      /to: must have weights with a sum of 100, got 99/,
    ],
    ['localityLbSetting: {failover: [{from: a, to: a}]}', /failover\[0\]: must lead from one region to another/],
  ];
  for (const [spec, message] of bad) t.match(problems(mesh(spec)), [message], spec);
});

t.test('a large MeshConfig as installations have it is accepted, field by field in the report', async (t) => {
  const { remarks } = good(
    configMap(`
accessLogFile: /dev/stdout
accessLogFormat: ""
accessLogEncoding: JSON
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  holdApplicationUntilProxyStarts: true
  proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}
  tracing: {sampling: 10, zipkin: {address: "zipkin:9411"}}
  futureField: 1
defaultProviders: {metrics: [prometheus]}
enablePrometheusMerge: true
enableTracing: true
extensionProviders: [{name: otel, opentelemetry: {service: a, port: 4317}}]
discoverySelectors: [{matchLabels: {env: prod}}]
localityLbSetting: {enabled: true, failover: [{from: a, to: b}]}
meshMTLS: {minProtocolVersion: TLSV1_3}
rootNamespace: istio-system
tcpKeepalive: {time: 10s}
trustDomain: cluster.local
`),
  );
  for (const remark of remarks()) t.match(remark, /ConfigMap data\.mesh\.\S+ (ignored|approximated): \S/, remark);
  t.equal(remarks().length, 10);
});

t.test('connectTimeout is that of clusters whose DestinationRule has none', async (t) => {
  const rule = (spec: string): string =>
    resourceYaml('DestinationRule', 'r', `{host: reviews, trafficPolicy: {connectionPool: {tcp: {${spec}}}}}`);
  const of = (text: string): number | undefined =>
    good(serviceYaml() + text).cluster('reviews|80')?.limits.connectTimeoutMs;
  t.equal(of(''), 10_000);
  t.equal(of(mesh('connectTimeout: 3s')), 3_000);
  t.equal(of(mesh('connectTimeout: 3s') + rule('maxConnections: 1')), 3_000);
  t.equal(of(mesh('connectTimeout: 3s') + rule('connectTimeout: 1s')), 1_000);
});

t.test('enableAutoMtls: false leaves mutual TLS to the rules that ask for it', async (t) => {
  const rule = resourceYaml('DestinationRule', 'r', '{host: reviews, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}');
  const of = (text: string) => good(serviceYaml() + text).cluster('reviews|80')?.tls;
  t.equal(of(''), 'auto');
  t.equal(of(mesh('enableAutoMtls: true')), 'auto');
  t.equal(of(mesh('enableAutoMtls: false')), 'disable');
  t.equal(of(mesh('enableAutoMtls: false') + rule), 'mutual');
});

t.test('defaultHttpRetryPolicy is that of routes without retries, with and without a VirtualService', async (t) => {
  const service = (http: string): string =>
    serviceYaml() + resourceYaml('VirtualService', 'r', `{hosts: [reviews], http: [${http}]}`);
  const route = 'route: [{destination: {host: reviews}}]';
  const retryOf = (text: string): unknown => good(text).routes('reviews:80')[0]?.retry;
  const policy = mesh('defaultHttpRetryPolicy: {attempts: 5, retryOn: "503,reset", backoff: 1s, perTryTimeout: 2s}');
  const expected = {
    attempts: 5,
    retryOn: ['reset', 'retriable-status-codes'],
    retriableStatusCodes: [503],
    backoffBaseMs: 1_000,
    perTryTimeoutMs: 2_000,
  };
  t.same(retryOf(serviceYaml()), defaultRetryPolicy);
  t.same(retryOf(serviceYaml() + policy), expected, 'no VirtualService');
  t.same(retryOf(service(`{${route}}`) + policy), expected, 'a route without retries');
  t.match(retryOf(service(`{${route}, retries: {attempts: 1}}`) + policy), {
    attempts: 1,
    retryOn: defaultRetryPolicy.retryOn,
  });
  t.equal(retryOf(service(`{${route}, retries: {attempts: 0}}`) + policy), undefined);
  t.equal(retryOf(serviceYaml() + mesh('defaultHttpRetryPolicy: {attempts: 0}')), undefined);
  t.equal(retryOf(service(`{${route}}`) + mesh('defaultHttpRetryPolicy: {attempts: 0}')), undefined);
  t.match(retryOf(serviceYaml() + mesh('defaultHttpRetryPolicy: {attempts: 3}')), { attempts: 3, backoffBaseMs: 25 });
  t.same(good(mesh('defaultHttpRetryPolicy: {retryOn: "503"}')).remarks(), [
    'MeshConfig spec.defaultHttpRetryPolicy enforced (warning): without attempts there are no retries',
  ]);
  t.match(good(mesh('defaultHttpRetryPolicy: {attempts: 1, retryOn: sometimes}')).remarks(), [
    /retryOn ignored \(warning\)/,
  ]);
});

t.test('rootNamespace moves what holds for the whole mesh', async (t) => {
  const peer = resourceYaml('PeerAuthentication', 'p', '{mtls: {mode: STRICT}}', 'root');
  const authorization = resourceYaml('AuthorizationPolicy', 'a', '{}', 'root');
  const rule = resourceYaml(
    'DestinationRule',
    'r',
    '{host: "*.svc.cluster.local", trafficPolicy: {loadBalancer: {simple: RANDOM}}}',
    'root',
  );
  const of = (text: string): unknown[] => {
    const { snapshot, cluster } = good(serviceYaml() + peer + authorization + rule + text);
    return [snapshot.inbound.mtls.mode, snapshot.inbound.authorization.length, cluster('reviews|80')?.balance];
  };
  t.same(of(''), ['PERMISSIVE', 0, 'LEAST_REQUEST']);
  t.same(of(mesh('rootNamespace: root')), ['STRICT', 1, 'RANDOM']);
  t.same(of(mesh('rootNamespace: ""')), ['PERMISSIVE', 0, 'LEAST_REQUEST'], 'empty means the default');
  t.same(of(mesh('rootNamespace: other')), ['PERMISSIVE', 0, 'LEAST_REQUEST']);
});

t.test('pathNormalization is part of the inbound policy', async (t) => {
  const of = (value: string): unknown =>
    good(mesh(`pathNormalization: {normalization: ${value}}`)).snapshot.inbound.pathNormalization;
  t.equal(of('DEFAULT'), undefined);
  t.equal(of('BASE'), undefined);
  for (const value of ['NONE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES']) t.equal(of(value), value);
  t.equal(good(mesh('pathNormalization: {}')).snapshot.inbound.pathNormalization, undefined);
});

t.test('what is told of client certificates is part of the inbound policy', async (t) => {
  const of = (headers: string): unknown =>
    good(mesh(`defaultConfig: {proxyHeaders: {${headers}}}`)).snapshot.inbound.forwardClientCert;
  const details = { subject: true, uri: true, dns: true, cert: false, chain: false };
  for (const same of ['', 'forwardedClientCert: UNDEFINED', 'forwardedClientCert: SANITIZE_SET']) {
    t.equal(of(same), undefined, same);
  }
  for (const mode of ['SANITIZE', 'FORWARD_ONLY', 'APPEND_FORWARD', 'ALWAYS_FORWARD_ONLY']) {
    t.same(of(`forwardedClientCert: ${mode}`), { mode, details });
  }
  t.same(of('setCurrentClientCertDetails: {dns: false, cert: true}'), {
    mode: 'SANITIZE_SET',
    details: { ...details, dns: false, cert: true },
  });
  const remarks = (spec: string): readonly string[] => good(mesh(`defaultConfig: {${spec}}`)).remarks();
  t.match(
    remarks('proxyHeaders: {forwardedClientCert: ALWAYS_FORWARD_ONLY}').filter((each) => each.includes('warning')),
    [/proxyHeaders\.forwardedClientCert enforced \(warning\): whoever reaches a port that takes plaintext/],
  );
  const gateway = 'gatewayTopology: {forwardClientCertDetails: APPEND_FORWARD}';
  t.equal(good(mesh(`defaultConfig: {${gateway}}`)).snapshot.inbound.forwardClientCert, undefined);
  t.match(remarks(gateway), [/gatewayTopology\.forwardClientCertDetails ignored: for gateways, in Istio too/]);
});

t.test('the trust domain of the document counts where nobody chose one', async (t) => {
  const policy = resourceYaml(
    'AuthorizationPolicy',
    'a',
    '{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}',
  );
  const of = (text: string, trustDomainIsDefault: boolean): unknown[] => {
    const { snapshot, cluster } = good(serviceYaml() + policy + text, { trustDomainIsDefault });
    const principals = snapshot.inbound.authorization[0]?.rules[0]?.from[0]?.principals?.map(
      (match) => 'value' in match && match.value,
    );
    return [cluster('reviews|80')?.serverIdentities, cluster('reviews|80')?.trustDomains, principals];
  };
  const id = (domain: string): string => `spiffe://${domain}/ns/shop/sa/reviews`;
  t.same(of('', true), [[id('cluster.local')], undefined, ['cluster.local/ns/shop/sa/web']]);
  t.same(of(mesh('trustDomain: td1'), true), [[id('td1')], ['td1'], ['td1/ns/shop/sa/web']]);
  t.match(of(mesh('trustDomain: td1'), false), [[id('cluster.local')], undefined, ['cluster.local/ns/shop/sa/web']]);
});

t.test('trustDomainAliases: servers may prove any of the names, and policies mean all of them', async (t) => {
  const aliases = mesh('trustDomain: td1, trustDomainAliases: [td2, td3, td1]');
  const from = (source: string): unknown => {
    const { snapshot } = good(
      aliases + resourceYaml('AuthorizationPolicy', 'a', `{rules: [{from: [{source: {${source}}}]}]}`),
      {
        trustDomainIsDefault: true,
      },
    );
    return snapshot.inbound.authorization[0]?.rules[0]?.from[0];
  };
  const all = (kind: string, rest: string): unknown =>
    ['td1', 'td2', 'td3'].map((domain) => ({ kind, value: `${domain}/${rest}` }));
  t.same(from('principals: [td2/ns/a/sa/b]'), { principals: all('exact', 'ns/a/sa/b') });
  t.same(from('principals: [td1/ns/a/*]'), { principals: all('prefix', 'ns/a/') });
  t.same(from('principals: [cluster.local/ns/a/sa/b]'), { principals: all('exact', 'ns/a/sa/b') });
  t.same(from('notPrincipals: [td3/ns/a/sa/b]'), { notPrincipals: all('exact', 'ns/a/sa/b') });
  t.same(from('principals: [other/ns/a/sa/b]'), { principals: [{ kind: 'exact', value: 'other/ns/a/sa/b' }] });
  t.same(from('principals: ["*/ns/a/sa/b"]'), { principals: [{ kind: 'suffix', value: '/ns/a/sa/b' }] });
  t.same(from('principals: ["*"]'), { principals: [{ kind: 'present' }] });
  const { cluster, endpoints } = good(serviceYaml() + aliases, { trustDomainIsDefault: true });
  t.same(
    cluster('reviews|80')?.serverIdentities,
    ['td1', 'td2', 'td3'].map((domain) => `spiffe://${domain}/ns/shop/sa/reviews`),
  );
  t.same(cluster('reviews|80')?.trustDomains, ['td1', 'td2', 'td3']);
  t.same(
    endpoints('reviews|80').map((endpoint) => endpoint.spiffeId),
    [undefined, undefined],
  );
});

t.test('trustDomainAliases and caCertificates: what the snapshot says of trust', async (t) => {
  const authority = makeAuthority();
  const pem = JSON.stringify(authority.rootPem);
  const trustOf = (spec: string, options?: TestCompileOptions): unknown => good(mesh(spec), options).snapshot.trust;
  const anchor = { pem: authority.rootPem, trustDomains: [] };
  const byDefault = { trustDomainIsDefault: true };
  t.equal(trustOf('trustDomain: td1'), undefined);
  t.same(trustOf('trustDomainAliases: [td2]', byDefault), { aliases: ['td2'], anchors: [] });
  t.same(trustOf('trustDomain: td1, trustDomainAliases: [td2]', byDefault), {
    trustDomain: 'td1',
    aliases: ['td2'],
    anchors: [],
  });
  t.same(trustOf('trustDomainAliases: [td2]'), { trustDomain: 'cluster.local', aliases: ['td2'], anchors: [] });
  t.same(trustOf(`caCertificates: [{pem: ${pem}}]`, byDefault), { aliases: [], anchors: [anchor] });
  t.same(trustOf(`caCertificates: [{pem: ${pem}, trustDomains: [td3]}]`, byDefault), {
    aliases: [],
    anchors: [{ ...anchor, trustDomains: ['td3'] }],
  });
  const second = makeAuthority({ name: 'second' });
  for (const written of [
    `  ${authority.rootPem}\n said by somebody \n${second.rootPem}`,
    authority.rootPem.trimEnd() + second.rootPem.trimEnd(),
  ]) {
    t.match(
      trustOf(`caCertificates: [{pem: ${JSON.stringify(written)}}]`),
      { anchors: [{ pem: authority.rootPem + second.rootPem }] },
      'one below the other',
    );
  }
  const both = good(mesh('trustDomainAliases: [td2]')).snapshot;
  t.equal(
    good(mesh('trustDomainAliases: [td2]'), { previous: both }).snapshot.trust,
    both.trust,
    'stays the same object',
  );

  const unused = good(mesh(`caCertificates: [{pem: ${pem}, certSigners: [a]}, {spiffeBundleUrl: "https://x"}]`));
  t.equal(unused.snapshot.trust, undefined);
  t.match(unused.remarks().join('\n'), /caCertificates\[0\]\.pem.*roots for certain signers are not used/);
  t.match(unused.remarks().join('\n'), /caCertificates\[1\]\.spiffeBundleUrl.*come from the identity source/);

  const leaf = JSON.stringify(authority.issue('spiffe://cluster.local/ns/shop/sa/web').certificateChainPem);
  const broken = JSON.stringify('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  for (const [spec, why] of [
    ['{pem: nonsense}', /caCertificates\[0\]\.pem: must be certificates of authorities: there is no certificate in it/],
    [`{pem: ${leaf}}`, /certificate 1 is not that of an authority/],
    [`{pem: ${broken}}`, /certificate 1 cannot be read/],
    [`{pem: ${JSON.stringify(`${authority.rootPem}-----BEGIN X-----`)}}`, /there is something else in it/],
    [`{pem: ${JSON.stringify(authority.rootPem.repeat(65))}}`, /there are 65 in it, 64 are allowed/],
    [`{pem: ${pem}, spiffeBundleUrl: "https://x"}`, /pem.*spiffeBundleUrl/],
    [`{pem: ${pem}, trustDomains: [A_b]}`, /trustDomains\[0\]: must be a trust domain/],
  ] as const) {
    t.match(problems(mesh(`caCertificates: [${spec}]`)).join('\n'), why, spec.slice(0, 100));
  }
});

t.test('a MeshConfig that a program holds is read as Istio reads it', async (t) => {
  const of = (value: object): string => {
    const result = compile([meshConfigDocument(value)], { workload: web });
    return result.ok ? result.snapshot.outboundPolicy : result.problems.map(describeProblem).join('\n');
  };
  t.equal(of({}), 'ALLOW_ANY');
  t.equal(of({ outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' }, somethingNew: [1] }), 'REGISTRY_ONLY');
  t.equal(of({ outbound_traffic_policy: { mode: 'REGISTRY_ONLY' } }), 'REGISTRY_ONLY');
  t.match(
    of({ connectTimeout: 'soon' }),
    /ConfigMap istio-system\/istio: data\.mesh\.connectTimeout: must be a duration/,
  );
});

t.test('tcpKeepalive is that of clusters whose DestinationRule has none', async (t) => {
  const settings = mesh('tcpKeepalive: {time: 10s, probes: 3}');
  const of = (text: string) => good(serviceYaml() + text).cluster('reviews|80')?.limits.tcpKeepalive;
  const rule = (policy: string): string =>
    resourceYaml('DestinationRule', 'r', `{host: reviews, trafficPolicy: {${policy}}}`);
  t.same(of(''), undefined);
  t.same(of(settings), { timeMs: 10_000, probes: 3 });
  t.same(of(settings + rule('connectionPool: {tcp: {tcpKeepalive: {time: 1s}}}')), { timeMs: 1_000 });
});

t.test('meshMTLS is for connections that are taken, tlsDefaults for calls with TLS of another kind', async (t) => {
  const [first, second] = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES256-GCM-SHA384'];
  const rule = (mode: string): string =>
    resourceYaml('DestinationRule', 'r', `{host: reviews, trafficPolicy: {tls: {mode: ${mode}}}}`);
  const of = (spec: string, mode = 'SIMPLE') => {
    const { cluster, snapshot } = good(serviceYaml() + rule(mode) + mesh(spec));
    return { inbound: snapshot.inbound.tls?.others, outbound: cluster('reviews|80')?.tlsParameters };
  };
  const table: readonly (readonly [spec: string, inbound: unknown, outbound: unknown])[] = [
    ['', undefined, undefined],
    ['meshMTLS: {}, tlsDefaults: {}', undefined, undefined],
    ['meshMTLS: {minProtocolVersion: TLS_AUTO}', undefined, undefined],
    ['meshMTLS: {minProtocolVersion: TLSV1_2, cipherSuites: [], ecdhCurves: []}', undefined, undefined],
    ['meshMTLS: {minProtocolVersion: TLSV1_3}', { minVersion: 'TLSv1.3' }, undefined],
    [`meshMTLS: {cipherSuites: [${first}, ${second}, ${first}]}`, { cipherSuites: [first, second] }, undefined],
    [`meshMTLS: {cipherSuites: [AES128-SHA, "[${first}|${second}]"]}`, { cipherSuites: [first, second] }, undefined],
    ['meshMTLS: {ecdhCurves: [P-384, X25519, P-384]}', { curves: ['P-384', 'X25519'] }, undefined],
    ['tlsDefaults: {minProtocolVersion: TLSV1_3}', undefined, undefined],
    [
      `tlsDefaults: {ecdhCurves: [P-256], cipherSuites: [${first}, AES128-SHA]}`,
      undefined,
      { curves: ['P-256'], cipherSuites: [first, 'AES128-SHA'] },
    ],
  ];
  for (const [spec, inbound, outbound] of table) t.same(of(spec), { inbound, outbound }, spec);
  for (const mode of ['DISABLE', 'ISTIO_MUTUAL']) {
    t.equal(of('tlsDefaults: {ecdhCurves: [P-256]}', mode).outbound, undefined, mode);
  }
  t.match(good(mesh(`meshMTLS: {minProtocolVersion: TLSV1_3, cipherSuites: [${first}]}`)).remarks(), [
    /spec\.meshMTLS\.cipherSuites ignored \(warning\): .*TLS 1\.2, which is not spoken/,
  ]);
});

t.test('versions, suites and curves of TLS that are not known are refused, with place, field and value', async (t) => {
  const bad: readonly (readonly [spec: string, message: RegExp])[] = [
    [
      'meshMTLS: {minProtocolVersion: TLSV1_1}',
      /meshMTLS\.minProtocolVersion: must be one of TLS_AUTO, TLSV1_2, TLSV1_3.*TLSV1_1/,
    ],
    [
      'meshMTLS: {cipherSuites: [AES128-SHA]}',
      /^0\.yaml:1:\d+: .*meshMTLS\.cipherSuites\[0\]: must have a suite with forward secrecy/,
    ],
    [
      'meshMTLS: {cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, FOO]}',
      /meshMTLS\.cipherSuites\[1\]: must be a cipher suite that is known here: .*FOO/,
    ],
    ['meshMTLS: {cipherSuites: [ALL]}', /meshMTLS\.cipherSuites\[0\]: must be a cipher suite/],
    ['meshMTLS: {cipherSuites: [""]}', /meshMTLS\.cipherSuites\[0\]: must be a cipher suite/],
    ['meshMTLS: {cipherSuites: ["[AES128-SHA|FOO]"]}', /meshMTLS\.cipherSuites\[0\]: must be a cipher suite/],
    [
      'meshMTLS: {cipherSuites: [TLS_AES_128_GCM_SHA256]}',
      /cipherSuites\[0\]: must be a suite of TLS 1\.2: those of TLS 1\.3 are always spoken/,
    ],
    [
      'meshMTLS: {ecdhCurves: [P-512]}',
      /meshMTLS\.ecdhCurves\[0\]: must be a curve that is known here: X25519, .*P-512/,
    ],
    ['tlsDefaults: {ecdhCurves: [P-256, X25519Kyber768Draft00]}', /tlsDefaults\.ecdhCurves\[1\]: must be a curve/],
    ['tlsDefaults: {cipherSuites: [DES-CBC3-SHA]}', /tlsDefaults\.cipherSuites\[0\]: must be a cipher suite/],
  ];
  for (const [spec, message] of bad) t.match(problems(mesh(spec)), [message], spec);
});
