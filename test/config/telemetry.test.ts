import t from 'tap';
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
