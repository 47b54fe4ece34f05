import t from 'tap';
import { jwksOf, makeTokenKey } from '../support/tokens.ts';
import { good, problems, type TestCompileOptions } from './support.ts';

const policy = (spec: string, name = 'p', namespace = 'shop'): string => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: ${name}, namespace: ${namespace}}
spec: {${spec}}
`;
const rules = (text: string): string => policy(`jwtRules: [{${text}}]`);
const compiled = (yaml: string, options?: TestCompileOptions) =>
  good(yaml, options).snapshot.inbound.requestAuthentication;
const rule = (text: string) => compiled(rules(text))?.[0]?.rules[0];
const key = makeTokenKey('ES256', { kid: 'k1' });
const jwks = jwksOf(key);
const secret = { ...key, jwk: key.privateKey.export({ format: 'jwk' }) };

const defaults = {
  issuer: '',
  audiences: [],
  keys: { kind: 'discovery' },
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  outputClaimToHeaders: [],
  forwardOriginalToken: false,
  timeoutMs: 5_000,
  spaceDelimitedClaims: [],
};

t.test('without rules there is nothing to check', async (t) => {
  t.equal(compiled(''), undefined);
  t.equal(compiled(policy('')), undefined);
  t.equal(compiled(policy('jwtRules: []')), undefined);
});

t.test('every field of a rule', async (t) => {
  t.same(rule('issuer: "https://a"'), { ...defaults, issuer: 'https://a' });
  t.same(rule('jwksUri: "https://a/j"')?.keys, { kind: 'uri', uri: 'https://a/j' });
  t.same(rule('jwks_uri: "https://a/j"')?.keys, { kind: 'uri', uri: 'https://a/j' });
  t.same(rule(`issuer: a, jwks: '${jwks}'`)?.keys, { kind: 'inline', jwks });
  t.same(
    rule(
      'issuer: "https://a", audiences: [x, y], fromHeaders: [{name: X-Token, prefix: "Value "}, {name: b}], fromParams: [q], fromCookies: [C], outputPayloadToHeader: X-Payload, outputClaimToHeaders: [{header: X-User, claim: sub.Name}], forwardOriginalToken: true, timeout: 1500ms, spaceDelimitedClaims: [roles], presence: REQUIRED',
    ),
    {
      issuer: 'https://a',
      audiences: ['x', 'y'],
      keys: { kind: 'discovery' },
      fromHeaders: [
        { name: 'x-token', prefix: 'Value ' },
        { name: 'b', prefix: '' },
      ],
      fromParams: ['q'],
      fromCookies: ['C'],
      outputPayloadToHeader: 'x-payload',
      outputClaimToHeaders: [{ header: 'x-user', claim: 'sub.Name' }],
      forwardOriginalToken: true,
      timeoutMs: 1_500,
      spaceDelimitedClaims: ['roles'],
      required: true,
    },
  );
  t.same(rule('issuer: "https://a", presence: OPTIONAL, outputPayloadToHeader: ""'), {
    ...defaults,
    issuer: 'https://a',
  });
});

t.test('all that apply count together: the mesh, then the namespace, each by age', async (t) => {
  const one = (issuer: string, namespace: string, more = ''): string =>
    policy(`${more}jwtRules: [{issuer: "https://${issuer}"}]`, issuer, namespace);
  const dated = (yaml: string, day: string): string =>
    yaml.replace(/metadata: \{/, `metadata: {creationTimestamp: "2026-01-${day}T00:00:00Z", `);
  const yaml = [
    dated(one('young', 'shop'), '03'),
    dated(one('old', 'shop'), '01'),
    one('mesh', 'istio-system'),
    one('elsewhere', 'other'),
    one('others', 'shop', 'selector: {matchLabels: {app: other}}, '),
    one('root-others', 'istio-system', 'selector: {matchLabels: {app: other}}, '),
  ].join('\n---\n');
  const found = compiled(yaml) ?? [];
  t.same(
    found.map(({ rules: [first] }) => first?.issuer),
    ['https://mesh', 'https://old', 'https://young'],
  );
  t.match(found[0]?.provenance, {
    kind: 'RequestAuthentication',
    namespace: 'istio-system',
    name: 'mesh',
    file: '0.yaml',
  });
});

t.test('what cannot be enforced is refused with its place', async (t) => {
  const at = (name: string): RegExp =>
    new RegExp(`^0\\.yaml:.*RequestAuthentication shop/p: spec\\.jwtRules\\[0\\]\\.${name}`);
  for (const [text, field, why] of [
    [`issuer: a, jwks: '${jwksOf(secret)}'`, 'jwks', /key 1 is a private key/],
    [`issuer: a, jwks: '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'`, 'jwks', /key 1 is a symmetric key/],
    [`issuer: a, jwks: '{"keys":[]}'`, 'jwks', /has no key that can verify signatures/],
    [`issuer: a, jwks: '${JSON.stringify(key.jwk)}'`, 'jwks', /has no list of keys/],
    [`issuer: a, jwks: '{"keys":[],"keys":[]}'`, 'jwks', /the name "keys" appears twice/],
    [`issuer: a, jwks: '{keys'`, 'jwks', /must be a JSON Web Key Set: it is not JSON/],
    ['jwksUri: "file:///etc/passwd"', 'jwksUri', /scheme http or https/],
    ['issuer: a, outputPayloadToHeader: "a b"', 'outputPayloadToHeader', /must be the name of a header/],
    ['issuer: a, outputPayloadToHeader: Host', 'outputPayloadToHeader', /frames the request/],
    [
      'issuer: a, outputClaimToHeaders: [{header: Content-Length, claim: n}]',
      'outputClaimToHeaders\\[0\\]\\.header',
      /frames the request/,
    ],
  ] as const) {
    const said = problems(rules(text));
    t.equal(said.length, 1, text);
    t.match(said[0], at(field), text);
    t.match(said[0], why, text);
  }
  t.match(problems(policy('targetRef: {kind: Service, name: a}, jwtRules: []')), [/targetRef: is refused/]);
  t.match(problems(policy('targetRefs: [{kind: Service, name: a}], jwtRules: []')), [/targetRefs: is refused/]);
  t.match(
    problems(policy('jwtRules: [{issuer: a, outputPayloadToHeader: Host}]', 'p', 'other')).length,
    1,
    'also of others',
  );
});
