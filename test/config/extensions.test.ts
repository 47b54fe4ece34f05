import t from 'tap';
import { checkValidity, type ValidityCase } from './validity.ts';

const sum = '1ef0c9a92b0420cf25f7fe5d481b231464bc88f486ca3b9c83ed5cc21d2f6210';
const wasm = (text: string): string => `{url: "oci://images/a:1", ${text}}`;
const url = (text: string): string => `{url: ${JSON.stringify(text)}}`;
const env = (...each: readonly string[]): string => wasm(`vmConfig: {env: [${each}]}`);

const plugins: readonly ValidityCase[] = [
  ...['oci://a/b:1', 'file:///a.wasm', 'http://a', 'https://a/b?c=d', 'docker.io/a/b:tag', 'test', 'a/b'].map(
    (text): ValidityCase => [`the URL ${text}`, url(text)],
  ),
  ...['fake://example.com', 'ftp://a', '#%blah$#@', 'localhost:5000/a', 'a b/c', '%zz'].map(
    (text): ValidityCase => [`the URL ${text}`, url(text), /^spec\.url: must be a URL/],
  ),
  ['no URL', '{}', /^spec: needs the field url/],
  ['an empty URL', url(''), /^spec\.url: must be a text that is not empty/],
  ['a URL of null', '{url: null}', /^spec\.url: must be/],
  [
    'everything',
    wasm(
      `sha256: ${sum}, imagePullPolicy: Always, imagePullSecret: a, pluginName: b, pluginConfig: {c: [1, {d: null}]}, failStrategy: FAIL_OPEN, phase: AUTHZ, priority: 10, type: NETWORK, verificationKey: "a\\nb"`,
    ),
  ],
  ['an empty checksum', wasm('sha256: ""')],
  ['a checksum in upper case', wasm(`sha256: ${sum.toUpperCase()}`), /sha256: must be 64/],
  ['a short checksum', wasm('sha256: foo'), /sha256: must be 64/],
  ['an empty pull secret', wasm('imagePullSecret: ""'), /imagePullSecret: must be a text of 1 to 253 characters/],
  ['a long pull secret', wasm(`imagePullSecret: ${'a'.repeat(254)}`), /imagePullSecret: must be a text of 1 to 253/],
  ['a long name', wasm(`pluginName: ${'a'.repeat(257)}`), /pluginName: must be a text of 1 to 256/],
  ['a name of 256', wasm(`pluginName: ${'a'.repeat(256)}`)],
  ['a priority of null', wasm('priority: null')],
  ['an unknown phase', wasm('phase: FIRST'), /phase: must be one of/],
  ['variables', env('{name: a, value: b}', '{name: c, valueFrom: HOST}', '{name: d, valueFrom: INLINE, value: e}')],
  ['a variable twice', env('{name: a}', '{name: a}'), /env\[1\]\.name: is there twice/],
  ['a variable without a name', env('{value: a}'), /env\[0\]: needs the field name/],
  ['a variable with an empty name', env('{name: ""}'), /env\[0\]\.name: must be a text of 1 to 256/],
  [
    'a value for a variable of the host',
    env('{name: a, valueFrom: HOST, value: b}'),
    /value: cannot be set with valueFrom HOST/,
  ],
  ['a match', wasm('match: [{mode: CLIENT, ports: [{number: 80}, {number: 81}]}]')],
  ['a match without a port number', wasm('match: [{ports: [{}]}]'), /ports\[0\]: needs the field number/],
  ['a match of port 0', wasm('match: [{ports: [{number: 0}]}]'), /number: must be an integer from 1 to 65535/],
  [
    'a match of one port twice',
    wasm('match: [{ports: [{number: 1}, {number: 1}]}]'),
    /ports\[1\]\.number: is there twice/,
  ],
  ['a match of null', wasm('match: [null]'), /match\[0\]: must be a map/],
  ['targets', wasm('targetRefs: [{kind: ServiceEntry, group: networking.istio.io, name: a}]')],
  ['too many targets', wasm(`targetRefs: [${'{kind: Service, name: a}, '.repeat(17)}]`), /at most 16 entries/],
  ['a selector with a wildcard', wasm('selector: {matchLabels: {a: "b*"}}'), /matchLabels\.a: must be a label value/],
];

const extensions: readonly ValidityCase[] = [
  ['Lua', '{phase: AUTHN, lua: {inlineCode: "function envoy_on_request(h)\\nend"}}'],
  ['Wasm', '{wasm: {url: "oci://a/b"}}'],
  ['no phase', '{phase: UNSPECIFIED, lua: {inlineCode: a}}'],
  ['no phase of the other kind', '{phase: UNSPECIFIED_PHASE, lua: {inlineCode: a}}', /phase: must be one of/],
  ['neither', '{phase: AUTHN}', /^spec: needs one of wasm and lua/],
  ['both', '{lua: {inlineCode: a}, wasm: {url: a}}', /^spec: may have only one of wasm and lua/],
  ['Lua without code', '{lua: {inlineCode: ""}}', /inlineCode: must be a text of 1 to 65536 characters/],
  ['Wasm with a bad URL', '{wasm: {url: "ftp://a"}}', /^spec\.wasm\.url: must be a URL/],
  [
    'a selector and a target',
    '{lua: {inlineCode: a}, selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]}',
    /only one of selector and targetRefs/,
  ],
  [
    'one target',
    '{lua: {inlineCode: a}, targetRef: {kind: Service, name: a}}',
    /targetRef: is not a known field \(did you mean targetRefs/,
  ],
];

const group = 'extensions.istio.io/v1alpha1';
checkValidity(t, { apiVersion: group, kind: 'WasmPlugin' }, plugins);
checkValidity(t, { apiVersion: group, kind: 'TrafficExtension' }, extensions);
