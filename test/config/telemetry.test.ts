import t from 'tap';
import { defaultTracingPolicy } from '../../src/model/tracing.ts';
import { good, problems } from './support.ts';
import { checkValidity, type ValidityCase } from './validity.ts';

const tracing = (text: string): string => `{tracing: [{${text}}]}`;
const override = (text: string): string => `{metrics: [{overrides: [{${text}}]}]}`;
const filter = (text: string): string => `{accessLogging: [{filter: {expression: ${JSON.stringify(text)}}}]}`;

const cases: readonly ValidityCase[] = [
  ['an empty one', '{}'],
  ['a selector', '{selector: {matchLabels: {app: a}}}'],
  ['a selector without labels (a warning of Istio)', '{selector: {}}'],
  ['a selector with a wildcard key', '{selector: {matchLabels: {"app*": a}}}', /the key must be a label name/],
  ['a target', '{targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: a}}'],
  [
    'a target of another kind',
    '{targetRef: {kind: Deployment, group: apps, name: a}}',
    /targetRef: must refer to a Service/,
  ],
  [
    'a target in another namespace',
    '{targetRef: {kind: Service, name: a, namespace: b}}',
    /targetRef\.namespace: must be empty/,
  ],
  ['a target without a name', '{targetRef: {kind: Service}}', /targetRef: needs the field name/],
  [
    'a selector and a target',
    '{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: a}}',
    /only one of selector and targetRef/,
  ],
  ['a provider', tracing('providers: [{name: zipkin}]')],
  ['a provider without a name', tracing('providers: [{}]'), /providers\[0\]: needs the field name/],
  [
    'a provider with an empty name',
    tracing('providers: [{name: ""}]'),
    /providers\[0\]\.name: must be a text that is not empty/,
  ],
  ['several tracers (a warning of Istio)', '{tracing: [{}, {}]}'],
  ['a sampling of 0.01', tracing('randomSamplingPercentage: 0.01')],
  ['a sampling of null', tracing('randomSamplingPercentage: null')],
  [
    'a sampling of 100.1',
    tracing('randomSamplingPercentage: 100.1'),
    /randomSamplingPercentage: must be a number from 0 to 100/,
  ],
  ['a sampling below 0', tracing('randomSamplingPercentage: -1'), /randomSamplingPercentage: must be a number/],
  [
    'custom tags',
    tracing(
      'customTags: {a: {literal: {value: b}}, c: {header: {name: d, defaultValue: e}}, f: {environment: {name: g}}}',
    ),
  ],
  ['a literal tag without a value', tracing('customTags: {a: {literal: {value: ""}}}'), /literal\.value: must be/],
  ['a header tag without a name', tracing('customTags: {a: {header: {}}}'), /header: needs the field name/],
  ['an environment tag without a name', tracing('customTags: {a: {environment: {name: ""}}}'), /environment\.name/],
  [
    'a tag of two sorts',
    tracing('customTags: {a: {literal: {value: b}, header: {name: c}}}'),
    /only one of literal and header/,
  ],
  [
    'a tag without a name',
    tracing('customTags: {"": {literal: {value: b}}}'),
    /customTags: has a tag with an empty name/,
  ],
  ['a tag of null', tracing('customTags: {a: null}'), /customTags\.a: must be a map/],
  ['a metric', override('match: {metric: REQUEST_COUNT, mode: CLIENT}, disabled: true')],
  ['a custom metric', override('match: {customMetric: a}')],
  ['an empty custom metric', override('match: {customMetric: ""}'), /customMetric: must be a text that is not empty/],
  [
    'both sorts of metric',
    override('match: {metric: ALL_METRICS, customMetric: a}'),
    /only one of metric and customMetric/,
  ],
  ['an unknown metric', override('match: {metric: REQUESTS}'), /metric: must be one of/],
  ['a tag to set', override('tagOverrides: {a: {operation: UPSERT, value: request.host}}')],
  [
    'a tag to set without a value',
    override('tagOverrides: {a: {operation: UPSERT}}'),
    /tagOverrides\.a: needs a value/,
  ],
  ['a tag to set by default without a value', override('tagOverrides: {a: {}}'), /tagOverrides\.a: needs a value/],
  ['a tag to remove', override('tagOverrides: {a: {operation: REMOVE}}')],
  [
    'a tag to remove with a value',
    override('tagOverrides: {a: {operation: REMOVE, value: b}}'),
    /value: cannot be set with the operation REMOVE/,
  ],
  ['a tag override of null', override('tagOverrides: {a: null}'), /tagOverrides\.a: must be a map/],
  ...['has(a.b)', 'has((a.b))', 'a.map(x, x + 1)', '!!a', '- -1 == 1', '[,]', 'has(a, b)', 'all(1)'].map(
    (text): ValidityCase => [
      `the expression ${text}`,
      `{accessLogging: [{filter: {expression: ${JSON.stringify(text)}}}]}`,
    ],
  ),
  ...[
    'has(a)',
    'has(a["b"])',
    'has(a.b())',
    'has(!a.b)',
    'has(a || b.c)',
    'a.exists(1, true)',
    'a.in',
    'a.?b',
    '!-a',
  ].map(
    (text): ValidityCase => [
      `the expression ${text}`,
      `{accessLogging: [{filter: {expression: ${JSON.stringify(text)}}}]}`,
      /expression: must be an expression/,
    ],
  ),
  ['an interval', '{metrics: [{reportingInterval: 15s}]}'],
  ['an interval that is no whole number of milliseconds', '{metrics: [{reportingInterval: 1ns1s}]}'],
  ['an interval of less than 1ms', '{metrics: [{reportingInterval: 999us}]}', /reportingInterval: must be a duration/],
  ['a name with a tab', '{metrics: [{providers: [{name: "a\\tb"}]}]}'],
  ['an interval that is none', '{metrics: [{reportingInterval: often}]}', /reportingInterval: must be a duration/],
  ['an access log', '{accessLogging: [{providers: [{name: envoy}], disabled: false, match: {mode: SERVER}}]}'],
  ['a filter', filter('response.code >= 400 || request.headers["x-a"] in ["b", \'c\']')],
  ['a filter with a call', filter('has(request.headers.a) && request.path.startsWith("/a") ? true : !false')],
  ['an empty filter', filter(''), /filter\.expression: must be an expression in CEL syntax/],
  ['a filter without an end', filter('response.code >='), /must be an expression in CEL syntax/],
  ['a filter with an assignment', filter('response.code = 200'), /must be an expression in CEL syntax/],
  ['a filter with an open parenthesis', filter('(a || b'), /must be an expression in CEL syntax/],
  ['an unknown field', '{traces: []}', /^spec\.traces: is not/],
];

checkValidity(t, { apiVersion: 'telemetry.istio.io/v1', kind: 'Telemetry' }, cases);

const meshConfig = (spec: string): string => `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {${spec}}}\n---\n`;
const telemetry = (spec: string, namespace = 'shop', name = 'default'): string =>
  `{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: ${name}, namespace: ${namespace}}, spec: ${spec}}\n---\n`;
const tracingOf = (text: string) => good(text).snapshot.tracing;
const zipkin = '{name: zipkin, zipkin: {service: zipkin.istio-system.svc.cluster.local, port: 9411}}';

t.test('tracing: without a word the defaults of Istio count, and the snapshot says nothing', async (t) => {
  t.equal(tracingOf(''), undefined);
  t.match(defaultTracingPolicy.server, { enabled: true, samplingPercent: 1, byRequestId: true, istioTags: true });
});

t.test('tracing: the MeshConfig, where there is no Telemetry', async (t) => {
  const cases: readonly (readonly [text: string, expected: object])[] = [
    ['defaultConfig: {tracing: {sampling: 12.5}}', { enabled: true, samplingPercent: 12.5, maxPathLength: 256 }],
    ['defaultConfig: {tracing: {sampling: 0}}', { samplingPercent: 1 }],
    ['defaultConfig: {tracing: {sampling: 101}}', { samplingPercent: 1 }],
    [
      'defaultConfig: {tracing: {maxPathTagLength: 80, enableIstioTags: false}}',
      { maxPathLength: 80, istioTags: false },
    ],
    ['enableTracing: false', { enabled: false }],
    ['enableTracing: true', { enabled: true }],
    [
      'defaultConfig: {tracing: {zipkin: {address: "zipkin.istio-system:9411"}}}',
      { provider: { kind: 'zipkin', service: 'zipkin.istio-system', port: 9411, path: '/api/v2/spans' } },
    ],
    [
      'defaultConfig: {tracing: {customTags: {b: {header: {name: X-B}}, a: {literal: {value: "1"}}}}}',
      {
        customTags: [
          { kind: 'literal', name: 'a', value: '1' },
          { kind: 'header', name: 'b', header: 'x-b', fallback: '' },
        ],
      },
    ],
  ];
  for (const [text, expected] of cases) {
    const policy = tracingOf(meshConfig(text));
    t.match(policy?.server, expected, text);
    t.match(policy?.client, expected, text);
  }
});

t.test('tracing: extension providers of both kinds, with what they say of paths, times and headers', async (t) => {
  const otlp = (how: string): string =>
    `{name: otel, opentelemetry: {service: monitoring/otel.example.com, port: 4318${how}}}`;
  const cases: readonly (readonly [text: string, expected: object])[] = [
    [
      zipkin,
      {
        kind: 'zipkin',
        service: 'zipkin.istio-system.svc.cluster.local',
        port: 9411,
        path: '/api/v2/spans',
        w3c: false,
      },
    ],
    [
      '{name: z, zipkin: {service: z.example.com, port: 1, path: /spans, timeout: 3s, headers: [{name: a, value: b}, {name: c, envName: D}], traceContextOption: USE_B3_WITH_W3C_PROPAGATION}}',
      {
        path: '/spans',
        timeoutMs: 3_000,
        headers: [
          { name: 'a', value: 'b' },
          { name: 'c', variable: 'D' },
        ],
        w3c: true,
      },
    ],
    [
      otlp(', http: {path: v1/traces, timeout: 5s}'),
      { kind: 'opentelemetry', protocol: 'http', path: '/v1/traces', timeoutMs: 5_000 },
    ],
    [otlp(', http: {}'), { protocol: 'http', path: '/v1/traces', service: 'otel.example.com' }],
    [
      otlp(', grpc: {timeout: 1s, initialMetadata: [{name: k, value: v}]}'),
      { protocol: 'grpc', timeoutMs: 1_000, headers: [{ name: 'k' }] },
    ],
    [otlp(''), { protocol: 'grpc' }],
  ];
  for (const [provider, expected] of cases) {
    const name = /name: (\w+)/.exec(provider)?.[1] ?? '';
    const text = meshConfig(`extensionProviders: [${provider}], defaultProviders: {tracing: [${name}]}`);
    t.match(tracingOf(text)?.client.provider, expected, provider);
  }
  const long = meshConfig(
    `extensionProviders: [{name: z, zipkin: {service: z.example.com, port: 1, maxTagLength: 42}}], defaultProviders: {tracing: [z]}`,
  );
  t.equal(tracingOf(long)?.server.maxPathLength, 42);
  t.match(
    problems(meshConfig('extensionProviders: [{name: z, zipkin: {service: "http://z", port: 1}}]')),
    /zipkin\.service: must be the host/,
  );
  t.match(
    problems(meshConfig('defaultConfig: {tracing: {zipkin: {address: nowhere}}}')),
    /zipkin\.address: must be host:port/,
  );
});

t.test('tracing: Telemetries of root, namespace and workload are merged field by field', async (t) => {
  const root = telemetry(
    '{tracing: [{randomSamplingPercentage: 5, customTags: {a: {literal: {value: root}}}}]}',
    'istio-system',
  );
  const own = telemetry(
    '{tracing: [{customTags: {b: {environment: {name: B, defaultValue: x}}}, providers: [{name: zipkin}]}]}',
  );
  const selects = telemetry(
    '{selector: {matchLabels: {app: web}}, tracing: [{match: {mode: CLIENT}, randomSamplingPercentage: 0, disableContextPropagation: true}, {match: {mode: SERVER}, disableSpanReporting: true, useRequestIdForTraceSampling: false, enableIstioTags: false}]}',
    'shop',
    'web',
  );
  const other = telemetry(
    '{selector: {matchLabels: {app: other}}, tracing: [{randomSamplingPercentage: 99}]}',
    'shop',
    'other',
  );
  const mesh = meshConfig(`extensionProviders: [${zipkin}], defaultConfig: {tracing: {sampling: 50}}`);
  t.match(tracingOf(mesh + root)?.server, { samplingPercent: 5, customTags: [{ name: 'a' }] });
  t.match(tracingOf(mesh + root + own)?.server, {
    samplingPercent: 5,
    customTags: [{ name: 'b' }],
    provider: { name: 'zipkin' },
  });
  t.match(tracingOf(mesh + own)?.server, { samplingPercent: 50 });
  const all = tracingOf(mesh + root + own + selects + other);
  t.match(all?.client, { enabled: true, samplingPercent: 0, propagate: false, byRequestId: true, istioTags: true });
  t.match(all?.server, { enabled: false, samplingPercent: 5, propagate: true, byRequestId: false, istioTags: false });
  t.equal(tracingOf(telemetry('{metrics: [{}]}')), undefined, 'one that says nothing of traces');
});

t.test('tracing: what has no effect is reported', async (t) => {
  const remarks = (text: string): string => good(text).remarks().join('\n');
  t.match(remarks(telemetry('{tracing: [{providers: [{name: nobody}]}]}')), /no extension provider nobody/);
  t.match(
    remarks(
      meshConfig(`extensionProviders: [${zipkin}]`) +
        telemetry('{tracing: [{providers: [{name: zipkin}, {name: b}]}]}'),
    ),
    /only the first counts: zipkin/,
  );
  t.match(
    remarks(telemetry('{tracing: [{customTags: {who: {header: {name: Authorization}}}}]}')),
    /authorization is not shown to those who read traces/,
  );
  t.match(
    remarks(telemetry('{tracing: [{customTags: {who: {header: {name: X-Auth-Token}}}}]}')),
    /x-auth-token is not shown to those who read traces/,
  );
  t.match(
    remarks(telemetry('{tracing: [{customTags: {who: {environment: {name: DB_PASSWORD, defaultValue: x}}}}]}')),
    /DB_PASSWORD is not shown to those who read traces/,
  );
  t.match(
    remarks(telemetry('{targetRefs: [{kind: Service, name: a}], tracing: [{}]}')),
    /is for gateways and waypoints/,
  );
  t.match(
    remarks(telemetry('{tracing: [{}]}') + telemetry('{tracing: [{}]}', 'shop', 'second')),
    /default is older and counts/,
  );
  const secret = tracingOf(telemetry('{tracing: [{customTags: {who: {header: {name: Cookie}}}}]}'));
  t.same(secret?.server.customTags, []);
});

const logged = (text: string, side: 'client' | 'server') =>
  good(text).snapshot.accessLog?.[side].map(({ filter, name }) => (filter === undefined ? name : `${name}: ${filter}`));
const files =
  'extensionProviders: [{name: a, envoyFileAccessLog: {path: /dev/stdout}}, {name: b, envoyFileAccessLog: {path: /dev/stderr}}, {name: trace, zipkin: {service: z.example.com, port: 1}}, {name: als, envoyHttpAls: {service: a.example.com, port: 1}}]';
const logging = (entries: string, namespace?: string, name?: string): string =>
  telemetry(`{accessLogging: [${entries}]}`, namespace, name);

t.test('access logs: who logs what, merged as Istio merges it', async (t) => {
  const mesh = meshConfig(files);
  const withDefault = meshConfig(`${files}, defaultProviders: {accessLogging: [a]}`);
  const legacy = meshConfig(`${files}, accessLogFile: /dev/stdout`);
  const cases: readonly (readonly [what: string, text: string, client: unknown, server: unknown])[] = [
    ['nobody says anything', mesh, undefined, undefined],
    ['the default provider', withDefault, ['a'], ['a']],
    ['the log of the mesh', legacy, [''], ['']],
    ['the built-in provider', mesh + logging('{providers: [{name: envoy}]}'), ['envoy'], ['envoy']],
    ['names in any case', mesh + logging('{providers: [{name: ENVOY}]}'), ['envoy'], ['envoy']],
    ['without a provider there is none', mesh + logging('{}'), undefined, undefined],
    ['without a provider the default counts', withDefault + logging('{match: {mode: SERVER}}'), [''].slice(1), ['a']],
    [
      'providers of the namespace replace those of the root',
      mesh + logging('{providers: [{name: a}]}', 'istio-system') + logging('{providers: [{name: b}]}'),
      ['b'],
      ['b'],
    ],
    ['several at once', mesh + logging('{providers: [{name: b}, {name: a}]}'), ['a', 'b'], ['a', 'b']],
    [
      'one side each',
      mesh +
        logging('{providers: [{name: a}], match: {mode: CLIENT}}, {providers: [{name: b}], match: {mode: SERVER}}'),
      ['a'],
      ['b'],
    ],
    [
      'disabled goes before the log of the mesh',
      legacy + logging('{providers: [{name: a}], disabled: true}'),
      undefined,
      undefined,
    ],
    [
      'disabled below',
      mesh + logging('{providers: [{name: a}]}', 'istio-system') + logging('{disabled: true, match: {mode: CLIENT}}'),
      [],
      ['a'],
    ],
    [
      'switched on again below',
      mesh + logging('{providers: [{name: a}], disabled: true}', 'istio-system') + logging('{disabled: false}'),
      ['a'],
      ['a'],
    ],
    [
      'a provider that nobody knows leaves the log of the mesh',
      legacy + logging('{providers: [{name: nobody}]}'),
      [''],
      [''],
    ],
    ['so does one of traces', legacy + logging('{providers: [{name: trace}]}'), [''], ['']],
    ['one that is a service does not', legacy + logging('{providers: [{name: als}]}'), undefined, undefined],
    [
      'a side without a word has the log of the mesh',
      legacy + logging('{providers: [{name: a}], match: {mode: SERVER}}'),
      [''],
      ['a'],
    ],
    [
      'filters',
      mesh + logging('{providers: [{name: a}], filter: {expression: "response.code >= 400"}}'),
      ['a: response.code >= 400'],
      ['a: response.code >= 400'],
    ],
    [
      'the filter of the provider that is named last',
      mesh +
        logging('{providers: [{name: a}], filter: {expression: "response.code >= 400"}}', 'istio-system') +
        logging('{providers: [{name: a}]}'),
      ['a'],
      ['a'],
    ],
    [
      'a filter without a provider is for nobody',
      mesh +
        logging('{providers: [{name: a}]}', 'istio-system') +
        logging('{filter: {expression: "response.code >= 500"}}'),
      ['a'],
      ['a'],
    ],
    [
      'a workload, the oldest first',
      mesh +
        telemetry('{selector: {matchLabels: {app: web}}, accessLogging: [{providers: [{name: b}]}]}', 'shop', 'web') +
        logging('{providers: [{name: a}]}'),
      ['b'],
      ['b'],
    ],
    [
      'another workload',
      mesh +
        telemetry('{selector: {matchLabels: {app: other}}, accessLogging: [{providers: [{name: b}]}]}', 'shop', 'o') +
        logging('{providers: [{name: a}]}'),
      ['a'],
      ['a'],
    ],
  ];
  for (const [what, text, client, server] of cases) {
    t.same([logged(text, 'client'), logged(text, 'server')], [client, server], what);
  }
});

t.test('access logs: what providers say of files and formats', async (t) => {
  const sink = (provider: string, more = '') =>
    good(
      meshConfig(`extensionProviders: [{name: x, envoyFileAccessLog: ${provider}}]${more}`) +
        logging('{providers: [{name: x}]}'),
    ).snapshot.accessLog?.client[0];
  t.same(sink('{}'), { name: 'x', to: 'stdout', encoding: 'text' });
  t.same(sink('{path: /var/log/a.log, omitEmptyValues: true}'), {
    name: 'x',
    to: '/var/log/a.log',
    encoding: 'text',
    omitEmpty: true,
  });
  t.match(sink('{path: /dev/stderr, logFormat: {text: "%PROTOCOL%"}}'), {
    to: 'stderr',
    encoding: 'text',
    format: '%PROTOCOL%',
  });
  t.match(sink('{path: /dev/stdout, logFormat: {labels: {a: "%PROTOCOL%", b: {c: ["%DURATION%"], d: 1}}}}'), {
    encoding: 'json',
    format: { b: { c: ['%DURATION%'], d: 1 } },
  });
  t.same(sink('{path: /dev/stdout, logFormat: {labels: {}}}'), { name: 'x', to: 'stdout', encoding: 'json' });
  const builtIn = (more: string) =>
    good(meshConfig(more) + logging('{providers: [{name: envoy}]}')).snapshot.accessLog?.client[0];
  t.match(
    builtIn('accessLogEncoding: JSON'),
    { encoding: 'json', to: 'stdout' },
    'the built-in one looks like the log of the mesh',
  );
  t.match(
    builtIn(
      'extensionProviders: [{name: envoy, envoyFileAccessLog: {path: /dev/stderr, omitEmptyValues: true}}], accessLogEncoding: JSON',
    ),
    { encoding: 'text', to: 'stderr' },
  );
  t.match(
    problems(meshConfig('extensionProviders: [{name: x, envoyFileAccessLog: {logFormat: {text: a, labels: {}}}}]')),
    /only one of text and labels/,
  );
});

const overridesOf = (text: string) => {
  const { metricOverrides } = good(text).snapshot;
  const plain = (side: 'client' | 'server') => {
    const { disabled, metrics } = metricOverrides?.[side] ?? { disabled: false, metrics: new Map() };
    if (disabled) return 'disabled';
    return Object.fromEntries(
      [...metrics].map(([name, each]) => [name, each.disabled ? 'disabled' : Object.fromEntries(each.tags)]),
    );
  };
  return [plain('client'), plain('server')];
};
const metric = (overrides: string, namespace?: string, more = ''): string =>
  telemetry(`{metrics: [{overrides: [${overrides}]${more}}]}`, namespace);

t.test('metrics: overrides, merged as Istio merges them', async (t) => {
  const host = 'tagOverrides: {host: {value: request.host}}';
  const cases: readonly (readonly [what: string, text: string, client: unknown, server: unknown])[] = [
    ['nobody says anything', '', {}, {}],
    [
      'one metric of one side',
      metric('{match: {metric: REQUEST_COUNT, mode: CLIENT}, disabled: true}'),
      { requests_total: 'disabled' },
      {},
    ],
    [
      'a tag for one metric',
      metric(`{match: {metric: REQUEST_COUNT}, ${host}}`),
      { requests_total: { host: 'request.host' } },
      { requests_total: { host: 'request.host' } },
    ],
    ['all metrics are disabled', metric('{match: {metric: ALL_METRICS}, disabled: true}'), 'disabled', 'disabled'],
    ['so they are without a match', metric('{disabled: true}'), 'disabled', 'disabled'],
    ['one side of all', metric('{match: {mode: SERVER}, disabled: true}'), {}, 'disabled'],
    [
      'whatever follows switches them on again',
      metric('{disabled: true}', 'istio-system') +
        metric('{match: {metric: REQUEST_SIZE, mode: CLIENT}, disabled: false}'),
      {},
      'disabled',
    ],
    [
      'tag by tag, the last word counts',
      metric(
        `{match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {host: {value: request.host}, b: {value: "'x'"}}}`,
        'istio-system',
      ) + metric('{match: {metric: REQUEST_COUNT}, tagOverrides: {host: {operation: REMOVE}}}'),
      { requests_total: { host: undefined, b: "'x'" } },
      { requests_total: { host: undefined } },
    ],
    [
      'a standard metric by its name',
      metric('{match: {customMetric: request_bytes, mode: CLIENT}, disabled: true}'),
      { request_bytes: 'disabled' },
      {},
    ],
    ['a metric that there is not', metric('{match: {customMetric: mine}, disabled: true}'), {}, {}],
    [
      'a provider of another kind',
      telemetry(`{metrics: [{providers: [{name: stackdriver}], overrides: [{${host}}]}]}`),
      {},
      {},
    ],
    [
      'a provider that is replaced below',
      telemetry('{metrics: [{providers: [{name: other}], overrides: [{disabled: true}]}]}', 'istio-system') +
        meshConfig('extensionProviders: [{name: other, prometheus: {}}]') +
        metric(
          '{match: {metric: REQUEST_COUNT, mode: CLIENT}, disabled: true}',
          undefined,
          ', providers: [{name: prometheus}]',
        ),
      { requests_total: 'disabled' },
      {},
    ],
    [
      'names of tags as Envoy writes them',
      metric(
        '{match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {"a.b-c": {value: request.host}, "1x": {value: request.host}}}',
      ),
      { requests_total: { a_b_c: 'request.host', _1x: 'request.host' } },
      {},
    ],
  ];
  for (const [what, text, client, server] of cases) t.same(overridesOf(text), [client, server], what);
  const [all] = overridesOf(metric('{tagOverrides: {destination_port: {value: "string(destination.port)"}}}'));
  t.equal(Object.keys(all as object).length, 10, 'no match: all metrics');
});

t.test('expressions that cannot be evaluated are refused by name, and what has no effect is reported', async (t) => {
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    [
      logging('{filter: {expression: "xds.node.id == \'a\'"}, providers: [{name: envoy}]}'),
      /accessLogging\[0\]\.filter\.expression: does not know xds\.node\.id/,
    ],
    [logging('{filter: {expression: "response.code"}}'), /must be true or false, and is of type int/],
    [logging('{filter: {expression: "string(response.code) == \'200\'"}}'), /does not know the function string/],
    [
      metric('{tagOverrides: {a: {value: "upstream_peer.labels[\'app\'].value"}}}'),
      /tagOverrides\.a\.value: does not know upstream_peer/,
    ],
    [metric('{tagOverrides: {a: {value: request.headers}}}'), /is a strings, and no value of a label/],
    [metric('{tagOverrides: {a: {value: plain}}}'), /does not know plain/],
  ];
  for (const [text, message] of cases) t.match(problems(text).join('\n'), message, text);
  const other =
    '{selector: {matchLabels: {app: other}}, accessLogging: [{filter: {expression: "xds.node.id == \'a\'"}}]}';
  t.same(problems(telemetry(other)), [], 'those of other workloads are nobody here');
  const remarks = (text: string): string => good(text).remarks().join('\n');
  t.match(
    remarks(meshConfig(files) + logging('{providers: [{name: als}, {name: nobody}]}')),
    /als is not written to from here[\s\S]*no extension provider nobody/,
  );
  t.match(remarks(metric('{match: {customMetric: mine}}')), /no metric of this name/);
  t.match(remarks(metric('{tagOverrides: {le: {value: request.host}}}')), /no name of a label/);
  t.match(remarks(metric('{}', undefined, ', reportingInterval: 5s')), /reportingInterval ignored/);
  t.match(
    remarks(telemetry('{metrics: [{providers: [{name: zipkin}]}]}')),
    /no extension provider zipkin of kind prometheus/,
  );
});
