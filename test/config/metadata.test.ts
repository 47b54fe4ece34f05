import t from 'tap';
import { invalidities } from './validity.ts';

const peer = (metadata: string): readonly string[] =>
  invalidities(`{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {${metadata}}, spec: {}}`);
const policy = (annotation: string, spec = '{}'): readonly string[] =>
  invalidities(
    `{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, annotations: {${annotation}}}, spec: ${spec}}`,
  );
const service = (name: string): readonly string[] =>
  invalidities(`{apiVersion: v1, kind: Service, metadata: {name: ${name}}, spec: {ports: [{port: 80}]}}`);
const long = 'a'.repeat(63);

const cases: readonly (readonly [what: string, found: readonly string[], wrong?: RegExp])[] = [
  ['a name', peer('name: a')],
  ['a name with dots', peer('name: a.b-c.1')],
  ['a name with upper case', peer('name: A'), /metadata\.name: must be a name of a-z/],
  ['a name with an underscore', peer('name: a_b'), /metadata\.name: must be a name/],
  ['a name that ends with a dash', peer('name: a-'), /metadata\.name: must be a name/],
  ['a name with an empty part', peer('name: a..b'), /metadata\.name: must be a name/],
  ['a name of 254 characters', peer(`name: ${'a'.repeat(254)}`), /metadata\.name/],
  ['no name', peer(''), /metadata: needs the field name/],
  ['a name that Kubernetes makes', peer('generateName: a-')],
  ['a namespace', peer('name: a, namespace: shop-1')],
  ['a namespace with a dot', peer('name: a, namespace: a.b'), /metadata\.namespace: must be a namespace/],
  ['a namespace of 64 characters', peer(`name: a, namespace: ${long}a`), /metadata\.namespace/],
  ['labels', peer('name: a, labels: {app: web, app.kubernetes.io/name: "", "a_b.c-d": "1.0_x-Y"}')],
  ['a label value with a space', peer('name: a, labels: {app: "a b"}'), /labels\.app: must be a label value/],
  ['a label value of 64 characters', peer(`name: a, labels: {app: ${long}a}`), /labels\.app: must be a label value/],
  ['a label value of 63 characters', peer(`name: a, labels: {app: ${long}}`)],
  [
    'a label value that is a number',
    peer('name: a, labels: {app: 1}'),
    /labels\.app: must be a text; put it in quotes/,
  ],
  ['a label key with a space', peer('name: a, labels: {"a b": c}'), /the key of a label must be/],
  ['a label key with two slashes', peer('name: a, labels: {"a/b/c": d}'), /the key of a label must be/],
  ['a label key with a bad prefix', peer('name: a, labels: {"A_/b": d}'), /the key of a label must be/],
  ['a label key of 64 characters', peer(`name: a, labels: {${long}a: d}`), /the key of a label must be/],
  ['an annotation', peer('name: a, annotations: {sidecar.istio.io/inject: "true", note: "any text\\nat all"}')],
  ['an annotation key with a space', peer('name: a, annotations: {"a b": c}'), /the key of an annotation must be/],
  [
    'null for what is absent',
    peer('name: a, namespace: null, labels: null, annotations: null, creationTimestamp: null'),
  ],
  ['unknown metadata', peer('name: a, nam: b'), /metadata\.nam: is not a known field/],
  ['the annotation that asks for rejection', policy('internal.istio.io/webhook-always-reject: "1"'), /always-reject/],
  ['a dry run', policy('istio.io/dry-run: "true"')],
  ['a dry run of a DENY policy', policy('istio.io/dry-run: "F"', '{action: DENY, rules: [{}]}')],
  ['a dry run that is no boolean', policy('istio.io/dry-run: "yes"'), /dry-run"\]: must be "true" or "false"/],
  [
    'a dry run of an AUDIT policy',
    policy('istio.io/dry-run: "true"', '{action: AUDIT, rules: [{}]}'),
    /cannot be used with the action AUDIT/,
  ],
  [
    'a dry run of another kind',
    peer('name: a, annotations: {istio.io/dry-run: "true"}'),
    /is only for AuthorizationPolicy/,
  ],
  ['the name of a service', service('web-1')],
  ['the name of a service with a dot', service('web.a'), /must be the name of a service/],
  ['the name of a service with a digit first', service('1web'), /must be the name of a service/],
];

for (const [what, found, wrong] of cases) {
  t.test(`${what} is ${wrong === undefined ? 'valid' : 'not valid'}`, async (t) => {
    if (wrong === undefined) t.same(found, []);
    else t.match(found.join('\n'), wrong);
  });
}
