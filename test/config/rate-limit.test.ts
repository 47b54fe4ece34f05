import t from 'tap';
import { good, problems, type TestCompileOptions } from './support.ts';

const rateLimit = (spec: string, namespace = 'shop', name = 'r'): string => `
apiVersion: inmesh.dev/v1
kind: RateLimit
metadata: {name: ${name}, namespace: ${namespace}}
spec: {${spec}}
---
`;
const bucket = 'tokenBucket: {maxTokens: 10, fillInterval: 1s}';
const local = (spec = ''): string => rateLimit(`local: [{${bucket}, ${spec}}]`);
const asked = 'service: "ratelimit.infra:8081", domain: shop';
const entry = 'entries: [{key: who, principal: true}]';
const inbound = (yaml: string, options?: TestCompileOptions) => good(yaml, options).snapshot.inbound;

t.test('a local limit: what it says, and what holds where it says nothing', async (t) => {
  t.match(inbound(local()).localRateLimits, [
    {
      name: 'shop/r local[0]',
      rules: [],
      by: [],
      bucket: { maxTokens: 10, tokensPerFill: 10, fillIntervalMs: 1_000 },
      maxKeys: 10_000,
      shadow: false,
      headers: 'LIMITED',
      provenance: { kind: 'RateLimit', namespace: 'shop', name: 'r', line: 5 },
    },
  ]);
  const full = `name: api, by: [{principal: true}, {header: X-Key}, {claim: sub}, {path: true}, {method: true}, {host: true}, {remoteAddress: true}],
    rules: [{from: [{source: {notNamespaces: [infra]}}], to: [{operation: {paths: [/api/*], methods: [GET]}}],
      when: [{key: "request.headers[X-Plan]", values: [free]}]}],
    maxKeys: 5, shadow: true, headers: ALWAYS`;
  t.match(
    inbound(rateLimit(`local: [{tokenBucket: {maxTokens: 9, tokensPerFill: 3, fillInterval: 500ms}, ${full}}]`)),
    {
      localRateLimits: [
        {
          name: 'shop/r api',
          bucket: { maxTokens: 9, tokensPerFill: 3, fillIntervalMs: 500 },
          by: [
            { kind: 'principal' },
            { kind: 'header', name: 'x-key' },
            { kind: 'claim', name: 'sub' },
            { kind: 'path' },
            { kind: 'method' },
            { kind: 'host' },
            { kind: 'remoteAddress' },
          ],
          rules: [
            {
              from: [{ notNamespaces: [{ kind: 'exact', value: 'infra' }] }],
              to: [{ paths: [{ kind: 'prefix', value: '/api/' }], methods: [{ kind: 'exact', value: 'GET' }] }],
              when: [{ attribute: 'header', name: 'x-plan', values: [{ kind: 'exact', value: 'free' }] }],
            },
          ],
          maxKeys: 5,
          shadow: true,
          headers: 'ALWAYS',
        },
      ],
    },
  );
});

t.test('a global limit: what it says, and what holds where it says nothing', async (t) => {
  t.match(inbound(rateLimit(`global: {${asked}, descriptors: [{${entry}}]}`)).globalRateLimits, [
    {
      name: 'shop/r global',
      service: 'ratelimit.infra:8081',
      domain: 'shop',
      timeoutMs: 20,
      failOpen: true,
      shadow: false,
      headers: 'LIMITED',
      descriptors: [{ rules: [], entries: [{ key: 'who', value: { kind: 'principal' } }] }],
    },
  ]);
  const entries = 'entries: [{key: kind, value: api}, {key: who, header: X-User, otherwise: nobody}]';
  const more = 'timeout: 1s, failureMode: DENY, shadow: true, headers: NEVER';
  t.match(inbound(rateLimit(`global: {${asked}, ${more}, descriptors: [{${entries}}]}`)).globalRateLimits, [
    {
      timeoutMs: 1_000,
      failOpen: false,
      shadow: true,
      headers: 'NEVER',
      descriptors: [
        {
          entries: [
            { key: 'kind', value: 'api' },
            { key: 'who', value: { kind: 'header', name: 'x-user' }, otherwise: 'nobody' },
          ],
        },
      ],
    },
  ]);
});

t.test('a limit is for the workloads that its selector names, in its namespace or the whole mesh', async (t) => {
  const count = (yaml: string): number => inbound(yaml).localRateLimits?.length ?? 0;
  const selecting = (labels: string, namespace = 'shop'): string =>
    rateLimit(`selector: {matchLabels: {${labels}}}, local: [{${bucket}}]`, namespace);
  t.equal(count(selecting('app: web')), 1);
  t.equal(count(selecting('app: other')), 0);
  t.equal(count(selecting('app: web', 'other')), 0);
  t.equal(count(selecting('app: web', 'istio-system')), 1, 'the root namespace');
  t.equal(count(local() + rateLimit(`local: [{${bucket}}]`, 'shop', 'second')), 2);
  t.notOk('localRateLimits' in inbound(''), 'without any there is nothing in the policy');
});

const refusals: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  ['nothing to limit', rateLimit(''), /spec: must have local or global/],
  ['an empty list', rateLimit('local: []'), /must have local or global/],
  ['no bucket', rateLimit('local: [{name: a}]'), /spec\.local\[0\]: needs the field tokenBucket/],
  ['no interval', rateLimit('local: [{tokenBucket: {maxTokens: 1}}]'), /fillInterval/],
  [
    'no tokens',
    rateLimit('local: [{tokenBucket: {maxTokens: 0, fillInterval: 1s}}]'),
    /maxTokens: must be an integer from 1/,
  ],
  ['no time', rateLimit('local: [{tokenBucket: {maxTokens: 1, fillInterval: 0s}}]'), /fillInterval/],
  [
    'a name twice',
    rateLimit(`local: [{name: a, ${bucket}}, {name: a, ${bucket}}]`),
    /local\[1\]\.name: is there twice, got "a"/,
  ],
  ['a part that is none', local('by: [{}]'), /by\[0\]: must have exactly one of principal, remoteAddress/],
  ['two parts in one', local('by: [{path: true, claim: a}]'), /by\[0\]: must have exactly one of/],
  ['a part that is switched off', local('by: [{path: false}]'), /by\[0\]\.path: must be true, or absent/],
  ['an unknown part', local('by: [{cookie: a}]'), /by\[0\]\.cookie: is not a field/],
  ['a header with a blank', local('by: [{header: "a b"}]'), /by\[0\]\.header: must be the name of a header/],
  ['an empty when', local('rules: [{when: []}]'), /rules\[0\]\.when: must be a list with at least one entry/],
  [
    'a condition on what nobody knows',
    local('rules: [{when: [{key: a, values: [b]}]}]'),
    /when\[0\]\.key: is not an attribute/,
  ],
  ['an empty rule', local('rules: [{to: [{operation: {}}]}]'), /rules\[0\]\.to\[0\]\.operation: must say something/],
  ['a path without a slash', local('rules: [{to: [{operation: {paths: [api]}}]}]'), /paths\[0\]: must begin with/],
  [
    'an address that is none',
    local('rules: [{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}]'),
    /ipBlocks\[0\]: must be an IP address/,
  ],
  ['no service', rateLimit(`global: {domain: a, descriptors: [{${entry}}]}`), /service/],
  [
    'a service without a port',
    rateLimit(`global: {service: a, domain: a, descriptors: [{${entry}}]}`),
    /service: must be host:port/,
  ],
  ['no descriptors', rateLimit(`global: {${asked}, descriptors: []}`), /descriptors/],
  [
    'an entry with nothing to send',
    rateLimit(`global: {${asked}, descriptors: [{entries: [{key: a}]}]}`),
    /entries\[0\]: must have exactly one of/,
  ],
  [
    'a text and a part',
    rateLimit(`global: {${asked}, descriptors: [{entries: [{key: a, value: b, path: true}]}]}`),
    /entries\[0\]: must have nothing beside key and value/,
  ],
];

t.test('mistakes are told by place and value', async (t) => {
  for (const [what, yaml, message] of refusals) {
    const found = problems(yaml);
    t.ok(found.length > 0, what);
    t.match(found.join('\n'), message, what);
  }
  t.match(
    problems(rateLimit(`selector: {matchLabels: {app: other}}, local: [{${bucket}, by: [{}]}]`)),
    [/must have/],
    'also in one for others',
  );
});
