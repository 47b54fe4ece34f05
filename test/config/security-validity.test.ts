import t from 'tap';
import { checkValidity, invalidities, type ValidityCase } from './validity.ts';

const rule = (text: string): string => `{rules: [{${text}}]}`;
const source = (text: string): string => rule(`from: [{source: {${text}}}]`);
const operation = (text: string): string => rule(`to: [{operation: {${text}}}]`);
const when = (key: string, ...values: readonly string[]): string =>
  rule(`when: [{key: ${JSON.stringify(key)}, values: ${JSON.stringify(values)}}]`);
const custom = (text: string): string => `{action: CUSTOM, provider: {name: ext}, rules: [{${text}}]}`;

const policies: readonly ValidityCase[] = [
  ['an empty one', '{}'],
  ['ALLOW without rules', '{action: ALLOW}'],
  ['DENY without rules', '{action: DENY}', /^spec: needs rules for the action DENY/],
  ['DENY with an empty list', '{action: DENY, rules: []}', /^spec: needs rules for the action DENY/],
  ['DENY with an empty rule', '{action: DENY, rules: [{}]}'],
  ['AUDIT', '{action: AUDIT, rules: [{}]}'],
  ['an unknown action', '{action: PERMIT}', /^spec\.action: must be one of/],
  ['a rule of null', '{rules: [null]}', /^spec\.rules\[0\]: must be a map/],
  ['CUSTOM', custom('')],
  ['CUSTOM without rules', '{action: CUSTOM, provider: {name: a}}', /^spec: needs rules for the action CUSTOM/],
  ['CUSTOM without a provider', '{action: CUSTOM, rules: [{}]}', /^spec: needs provider\.name/],
  [
    'CUSTOM with a provider without a name',
    '{action: CUSTOM, provider: {}, rules: [{}]}',
    /^spec: needs provider\.name/,
  ],
  [
    'a provider without CUSTOM',
    '{provider: {name: a}}',
    /^spec\.provider: is only for the action CUSTOM, not for ALLOW/,
  ],
  ['CUSTOM with paths', custom('to: [{operation: {paths: [/a]}}]')],
  ['CUSTOM with addresses', custom('from: [{source: {ipBlocks: [10.0.0.0/8]}}]')],
  ...[
    'principals',
    'notPrincipals',
    'namespaces',
    'notNamespaces',
    'requestPrincipals',
    'notRequestPrincipals',
    'serviceAccounts',
    'notServiceAccounts',
    'trustDomains',
    'notTrustDomains',
  ].map(
    (field): ValidityCase => [
      `CUSTOM with ${field}`,
      custom(`from: [{source: {${field}: [a]}}]`),
      /cannot be used with the action CUSTOM/,
    ],
  ),
  ...[
    'source.namespace',
    'source.principal',
    'source.serviceAccount',
    'source.trustDomain',
    'request.auth.principal',
    'request.auth.claims[a]',
  ].map(
    (key): ValidityCase => [
      `CUSTOM with ${key}`,
      custom(`when: [{key: "${key}", values: [a]}]`),
      /when\[0\]\.key: cannot be used/,
    ],
  ),
  [
    'every source',
    source(
      'principals: ["*"], requestPrincipals: ["a/*"], namespaces: [a], ipBlocks: [1.2.3.4], remoteIpBlocks: [1.2.0.0/16], notPrincipals: [b], notRequestPrincipals: ["*"], notNamespaces: [c], notIpBlocks: ["::1"], notRemoteIpBlocks: ["2001:db8::/32"], trustDomains: [a], notTrustDomains: [b]',
    ),
  ],
  ['a principal as a SPIFFE ID', source('principals: ["spiffe://a/ns/b/sa/c"]')],
  ['a star in the middle', source('namespaces: ["a*b"]')],
  ['an empty source', source(''), /source: must say something/],
  ['a source with empty lists', source('principals: []'), /source: must say something/],
  ['an empty list beside another', source('principals: [], namespaces: [a]')],
  ['no source', rule('from: [{}]'), /from\[0\]: needs the field source/],
  ['an empty from', rule('from: []')],
  ['a from of null', rule('from: [null]'), /from\[0\]: must be a map/],
  ['an empty principal', source('principals: [""]'), /principals\[0\]: must be a text that is not empty/],
  ['a bad address', source('ipBlocks: [1.2.3]'), /ipBlocks\[0\]: must be an IP address or a range/],
  ['an address with leading zeros', source('ipBlocks: [010.0.0.1]'), /ipBlocks\[0\]: must be an IP address/],
  ['an address with a zone', source('ipBlocks: ["fe80::1%eth0", "fe80::1% "]')],
  ['a zone of an IPv4 address', source('ipBlocks: ["1.2.3.4%a"]'), /ipBlocks\[0\]: must be an IP address/],
  ['a range with a zone', source('ipBlocks: ["fe80::1%a/64"]'), /ipBlocks\[0\]: must be an IP address/],
  ['a bad range', source('remoteIpBlocks: [10.0.0.0/33]'), /remoteIpBlocks\[0\]: must be an IP address or a range/],
  ['a range with a leading zero', source('notIpBlocks: [10.0.0.0/08]'), /notIpBlocks\[0\]/],
  ['a range with host bits', source('ipBlocks: [10.1.2.3/8]')],
  ['service accounts', source('serviceAccounts: [a, b/c]')],
  [
    'service accounts and principals',
    source('serviceAccounts: [a], principals: [b]'),
    /service accounts cannot be combined with principals/,
  ],
  [
    'service accounts and namespaces',
    source('notServiceAccounts: [a], notNamespaces: [b]'),
    /cannot be combined with notNamespaces/,
  ],
  ...['*', 'a/*', '/a', 'a/', 'a/b/c'].map(
    (text): ValidityCase => [
      `the service account ${text}`,
      source(`notServiceAccounts: ["${text}"]`),
      /notServiceAccounts\[0\]: must be <service account>/,
    ],
  ),
  [
    'a service account of too many bytes',
    source(`serviceAccounts: ["${'é'.repeat(161)}"]`),
    /serviceAccounts\[0\]: must be <service account>/,
  ],
  ['trust domains', source('trustDomains: ["*", a, "a*", "*.b"], notTrustDomains: [c]')],
  ...['a*b', '**', '*a*', ''].map(
    (text): ValidityCase => [
      `the trust domain ${JSON.stringify(text)}`,
      source(`trustDomains: ["${text}"]`),
      /trustDomains\[0\]: m/,
    ],
  ),
  ['a trust domain with a path', source('notTrustDomains: [a/b]'), /notTrustDomains\[0\]: must be a trust domain/],
  ['service accounts and addresses', source('serviceAccounts: [a], ipBlocks: [1.2.3.4]')],
  [
    'an account with three parts',
    source('serviceAccounts: [a/b/c]'),
    /serviceAccounts\[0\]: must be <service account>/,
  ],
  ['an empty account', source('serviceAccounts: [""]'), /serviceAccounts\[0\]: must be/],
  [
    'every operation',
    operation(
      'hosts: [a.b], ports: ["80"], methods: [GET], paths: [/a], notHosts: [c.d], notPorts: ["81"], notMethods: [PUT], notPaths: ["/b*"]',
    ),
  ],
  ['a method in lower case', operation('methods: [get]')],
  ['a path without a slash', operation('paths: [admin]')],
  ['an empty operation', operation(''), /operation: must say something/],
  ['no operation', rule('to: [{}]'), /to\[0\]: needs the field operation/],
  ['an empty to', rule('to: []')],
  ['a line break in a host', operation('hosts: ["a\\nb"]')],
  ['port 0', operation('ports: ["0"]')],
  ['port 65536', operation('notPorts: ["65536"]'), /notPorts\[0\]: must be a port/],
  ['a port name', operation('ports: [http]'), /ports\[0\]: must be a port/],
  ['a port that is a number', operation('ports: [80]'), /ports\[0\]: must be a text/],
  [
    'path templates',
    operation('paths: ["/a/{*}/b", "/{**}", "/{*}/{**}/c", "{*}", "/{*}/a:b%zz/"], notPaths: ["/e/{*}"]'),
  ],
  ...['/{*}/{name}', '/{*}/{a=*}', '/{*}/{}', '/a/{c}', '/a{*}', '{', '/{***}'].map(
    (text): ValidityCase => [`the path ${text}`, operation(`paths: ["${text}"]`), /paths\[0\]: may have braces only/],
  ),
  ...['/{**}/*', '/{*}/**', '*/{*}', '/{*}//a', '/{*}/a b', '/{*}/é', '/{*}/a?b', '/{*}/[a]'].map(
    (text): ValidityCase => [`the path ${text}`, operation(`notPaths: ["${text}"]`), /notPaths\[0\]: must have plain/],
  ),
  ...['/{**}/{*}', '/{**}/{**}'].map(
    (text): ValidityCase => [`the path ${text}`, operation(`paths: ["${text}"]`), /paths\[0\]: may have \{\*\*\} only/],
  ),
  ['a plain path with a star', operation('paths: ["/a/*", "*/b", "/a//b"]')],
  ...[
    'request.headers[x-a]',
    'source.namespace',
    'source.principal',
    'request.auth.principal',
    'request.auth.audiences',
    'request.auth.presenter',
    'request.auth.claims[a][b]',
    'connection.sni',
    'experimental.envoy.filters.a.b[c]',
  ].map((key): ValidityCase => [`the condition ${key}`, when(key, 'a', '*', 'b*')]),
  ['the condition source.serviceAccount', when('source.serviceAccount', 'a', 'b/c')],
  [
    'the condition source.serviceAccount with a star',
    when('source.serviceAccount', 'b/*'),
    /values\[0\]: must be <serv/,
  ],
  [
    'the condition source.serviceAccount with 17 values',
    when('source.serviceAccount', ...Array.from({ length: 17 }, () => 'a')),
    /when\[0\]\.values: must be a list with at most 16/,
  ],
  ['the condition source.trustDomain', when('source.trustDomain', 'a', '*', 'a*', 'a/b')],
  [
    'the condition source.trustDomain with a star inside',
    when('source.trustDomain', 'a*b'),
    /values\[0\]: may have one/,
  ],
  ['the condition source.ip', when('source.ip', '10.0.0.1', '10.0.0.0/8')],
  [
    'the condition source.ip with a name',
    when('source.ip', 'localhost'),
    /when\[0\]\.values\[0\]: must be an IP address/,
  ],
  ['the condition remote.ip with a bad range', when('remote.ip', '10.0.0.0/40'), /values\[0\]: must be an IP address/],
  ['the condition destination.ip', when('destination.ip', '::1')],
  ['the condition destination.port', when('destination.port', '80')],
  ['the condition destination.port with a name', when('destination.port', 'http'), /values\[0\]: must be a port/],
  ...['request.headers', 'request.headers[]', 'request.headers[a', 'request.auth.claims'].map(
    (key): ValidityCase => [`the condition ${key}`, when(key, 'a'), /when\[0\]\.key: must name the part in brackets/],
  ),
  ...['destination.labels[a]', 'destination.namespace', 'destination.user', 'request.method', 'foo'].map(
    (key): ValidityCase => [`the condition ${key}`, when(key, 'a'), /when\[0\]\.key: is not an attribute/],
  ),
  ['a condition without a key', rule('when: [{values: [a]}]'), /when\[0\]: needs the field key/],
  ['a condition with an empty key', when('', 'a'), /when\[0\]\.key: must not be empty/],
  ['a condition without values', when('source.namespace'), /when\[0\]: needs values or notValues/],
  ['a condition with an empty value', when('source.namespace', ''), /values\[0\]: must not be empty/],
  ['a condition with only notValues', rule('when: [{key: source.ip, notValues: [1.2.3.4]}]')],
  ['a target', '{targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: a}}'],
  [
    'a class of gateways as a target',
    '{targetRefs: [{kind: GatewayClass, group: gateway.networking.k8s.io, name: a}]}',
  ],
  ['a service of the group core', '{targetRefs: [{kind: Service, group: core, name: a}]}'],
  [
    'a target in a bad group',
    '{targetRef: {kind: Service, group: "__", name: a}}',
    /targetRef\.group: must be an API group/,
  ],
  ['a target of a bad kind', '{targetRef: {kind: Serv_ice, name: a}}', /targetRef\.kind: must be a kind/],
  [
    'one target and several',
    '{targetRef: {kind: Service, name: a}, targetRefs: [{kind: Service, name: b}]}',
    /only one of targetRef and targetRefs/,
  ],
  ['an unknown field', '{rule: []}', /^spec\.rule: is not a known field \(did you mean rules/],
];

const peers: readonly ValidityCase[] = [
  ['an empty one', '{}'],
  ['a mode', '{mtls: {mode: STRICT}}'],
  ['an empty mtls', '{mtls: {}}'],
  ['an unknown mode', '{mtls: {mode: BLAH}}', /^spec\.mtls\.mode: must be one of/],
  ['a mode in lower case', '{mtls: {mode: strict}}', /did you mean STRICT/],
  ['ports with a selector', '{selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: DISABLE}, "9090": {}}}'],
  ['ports without a selector', '{portLevelMtls: {80: {mode: STRICT}}}', /^spec\.portLevelMtls: needs a selector/],
  [
    'ports with an empty selector',
    '{selector: {}, portLevelMtls: {80: {mode: STRICT}}}',
    /^spec\.portLevelMtls: needs a selector/,
  ],
  [
    'no port',
    '{selector: {matchLabels: {a: b}}, portLevelMtls: {}}',
    /^spec\.portLevelMtls: must have at least one port/,
  ],
  [
    'port 0',
    '{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}',
    /portLevelMtls\["0"\]: the key must be a port number/,
  ],
  [
    'port 65536',
    '{selector: {matchLabels: {a: b}}, portLevelMtls: {65536: {mode: STRICT}}}',
    /must be a port from 1 to 65535/,
  ],
  [
    'a port name',
    '{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: STRICT}}}',
    /the key must be a port number/,
  ],
  ['a selector with an empty key', '{selector: {matchLabels: {"": b}}}', /the key must be a label name/],
  ['a label value of 63 characters', `{selector: {matchLabels: {a: "${'\u{1F600}'.repeat(63)}"}}}`],
  ['a label value of 64 characters', `{selector: {matchLabels: {a: "${'a'.repeat(64)}"}}}`, /must be a label value/],
  ['a selector with a wildcard', '{selector: {matchLabels: {a: "*"}}}', /matchLabels\.a: must be a label value/],
];

const jwt = (text: string): string => `{jwtRules: [{issuer: example.com, ${text}}]}`;
const uri = (text: string): string => jwt(`jwksUri: ${JSON.stringify(text)}`);
const jwks = (value: unknown): string =>
  jwt(`jwks: ${JSON.stringify(typeof value === 'string' ? value : JSON.stringify(value))}`);
const rsa = { kty: 'RSA', e: 'AQAB', n: 'sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri' };

const requests: readonly ValidityCase[] = [
  ['an empty one', '{}'],
  ['an issuer', jwt('')],
  ['a key URI without an issuer', '{jwtRules: [{jwksUri: "https://a/b"}]}'],
  ['neither issuer nor key URI', '{jwtRules: [{}]}', /jwtRules\[0\]: needs an issuer or a jwksUri/],
  ['an empty issuer', '{jwtRules: [{issuer: ""}]}', /jwtRules\[0\]: needs an issuer or a jwksUri/],
  ['a rule of null', '{jwtRules: [null]}', /jwtRules\[0\]: must be a map/],
  [
    'everything',
    jwt(
      'jwksUri: "https://example.com/.well-known/jwks.json", audiences: [a], forwardOriginalToken: true, fromHeaders: [{name: a, prefix: "Bearer "}], fromParams: [b], fromCookies: [c], outputPayloadToHeader: d, outputClaimToHeaders: [{claim: e, header: f}], timeout: 5s, spaceDelimitedClaims: [g], presence: REQUIRED',
    ),
  ],
  ['an empty audience', jwt('audiences: [""]'), /audiences\[0\]: must be a text that is not empty/],
  ...['http://a', 'https://a:8443/b', 'HTTPS://a', 'https://[::1]/a'].map(
    (text): ValidityCase => [`the key URI ${text}`, uri(text)],
  ),
  ...['a', 'ftp://a', 'https://a:port', 'hTPp\\\\blah', '://a', 'http://a b', 'http://a/%zz', 'file:///a'].map(
    (text): ValidityCase => [`the key URI ${text}`, uri(text), /jwksUri: must be a URL of the scheme http or https/],
  ),
  ['the other spelling of the key URI', jwt('jwks_uri: "https://a/b"')],
  ['a key set and a key URI', jwt('jwks: "{}", jwksUri: "https://a"'), /only one of jwksUri and jwks/],
  ['a key set', jwks({ keys: [rsa, { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AA' }] })],
  ['a key alone', jwks(rsa)],
  ['a key set of null', jwks({ keys: null })],
  ['a key with empty members', jwks({ keys: [{ ...rsa, n: '', e: null }] })],
  ['a key that is no base64', jwks({ keys: [{ ...rsa, n: 'a' }] }), /a key of type RSA has no good n/],
  ['a key ID that is a number', jwks({ keys: [{ ...rsa, kid: 1 }] }), /the kid of a key is not a text/],
  ['operations that are no list', jwks({ keys: [{ ...rsa, key_ops: 'verify' }] }), /the key_ops of a key/],
  ['a key set that is no JSON', jwks('{keys'), /jwks: must be a JSON Web Key Set: it is not JSON/],
  ['a key set that is a list', jwks('[]'), /it is not an object/],
  ['a key set of a text', jwks({ keys: 'a' }), /keys is not a list/],
  ['a key without a type', jwks({ keys: [{ n: 'a', e: 'b' }] }), /a key has the type undefined/],
  ['an RSA key without its modulus', jwks({ keys: [{ kty: 'RSA', e: 'AQAB' }] }), /a key of type RSA has no good n/],
  ['a header without a name', jwt('fromHeaders: [{prefix: a}]'), /fromHeaders\[0\]: needs the field name/],
  ['a header with an empty name', jwt('fromHeaders: [{name: ""}]'), /fromHeaders\[0\]\.name: must be a text/],
  ['a header of null', jwt('fromHeaders: [null]'), /fromHeaders\[0\]: must be a map/],
  ['an empty parameter', jwt('fromParams: [""]'), /fromParams\[0\]: must be/],
  ['an empty cookie', jwt('fromCookies: [""]'), /fromCookies\[0\]: must be/],
  ['an empty claim', jwt('outputClaimToHeaders: [{claim: "", header: a}]'), /claim: must be a text that is not empty/],
  [
    'a claim without a header',
    jwt('outputClaimToHeaders: [{claim: a}]'),
    /outputClaimToHeaders\[0\]: needs the field header/,
  ],
  [
    'a claim into :authority',
    jwt('outputClaimToHeaders: [{claim: a, header: ":authority"}]'),
    /header: must be the name of a header/,
  ],
  ['a timeout that is none', jwt('timeout: apple'), /timeout: must be a duration/],
  ['a timeout of nothing', jwt('timeout: 0s'), /timeout: must be a duration/],
  ['an unknown presence', jwt('presence: MANDATORY'), /presence: must be one of/],
  ['an unknown field', jwt('jwk: a'), /jwtRules\[0\]\.jwk: is not a known field/],
  [
    'a selector beside a target',
    '{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: a}}',
    /only one of selector and targetRef/,
  ],
];

const group = 'security.istio.io/v1';
checkValidity(t, { apiVersion: group, kind: 'AuthorizationPolicy' }, policies);
checkValidity(t, { apiVersion: group, kind: 'PeerAuthentication' }, peers);
checkValidity(t, { apiVersion: group, kind: 'RequestAuthentication' }, requests);

t.test('security kinds without a spec are valid', async (t) => {
  for (const kind of ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication']) {
    t.same(invalidities(`{apiVersion: ${group}, kind: ${kind}, metadata: {name: a}}`), []);
  }
});
