import t from 'tap';
import { compile } from '../../src/config/compile.ts';
import { documentOf } from '../../src/config/document.ts';
import { good, problems, resourceYaml, serviceYaml, web } from './support.ts';

const policy = (more: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
${more}
`;

const refusals: readonly (readonly [what: string, text: string, message: string])[] = [
  ['a text', 'hello\n', '0.yaml:1:1: must be a resource: a map with apiVersion, kind and metadata, got "hello"'],
  ['a list', '- a\n', '0.yaml:1:1: must be a resource: a map with apiVersion, kind and metadata, got ["a"]'],
  [
    'no apiVersion',
    'kind: Service\nmetadata: {name: a}\n',
    '0.yaml:1:1: Service shop/a: apiVersion: must be there: a resource has apiVersion, kind and metadata',
  ],
  ['no kind', 'apiVersion: v1\nmetadata: {name: a}\n', '0.yaml:1:1: shop/a: kind: must be there'],
  [
    'a kind that is no text',
    'apiVersion: v1\nkind: 7\n',
    '0.yaml:2:7: kind: must be there: a resource has apiVersion, kind and metadata, got 7',
  ],
  [
    'a mistyped Istio kind',
    'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicyy\nmetadata: {name: p}\n',
    '0.yaml:2:7: AuthorizationPolicyy shop/p: kind: is not a kind that is known in security.istio.io/v1 (did you mean AuthorizationPolicy?), got "AuthorizationPolicyy"',
  ],
  [
    'a kind of an old Istio',
    'apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\n',
    'Policy shop/p: kind: is not a kind that is known in authentication.istio.io/v1alpha1',
  ],
  [
    'an unknown kind of our own group',
    'apiVersion: inmesh.dev/v1\nkind: QuotaLimit\nmetadata: {name: p}\n',
    'QuotaLimit shop/p: kind: is not a kind that is known in inmesh.dev/v1',
  ],
  [
    'an unknown version',
    'apiVersion: networking.istio.io/v2\nkind: VirtualService\nmetadata: {name: p}\nspec: {}\n',
    'VirtualService shop/p: apiVersion: must be one of networking.istio.io/v1, networking.istio.io/v1beta1, networking.istio.io/v1alpha3 for VirtualService, got "networking.istio.io/v2"',
  ],
  [
    'a security policy in a mistyped group',
    'apiVersion: security.istio.oi/v1\nkind: PeerAuthentication\nmetadata: {name: p}\n',
    'PeerAuthentication shop/p: apiVersion: must be security.istio.io/v1 for PeerAuthentication, got "security.istio.oi/v1"',
  ],
  [
    'a traffic kind in a mistyped group',
    'apiVersion: networking.istoi.io/v1\nkind: VirtualService\nmetadata: {name: p}\n',
    'VirtualService shop/p: apiVersion: must be networking.istio.io/v1 for VirtualService',
  ],
  [
    'a mistyped core kind',
    'apiVersion: v1\nkind: Servise\nmetadata: {name: p}\n',
    'Servise shop/p: kind: is not a kind that is known in v1 (did you mean Service?)',
  ],
  [
    'a group that cannot be one',
    'apiVersion: netwrking/v1\nkind: Thing\nmetadata: {name: p}\n',
    'is not a kind that is known in netwrking/v1',
  ],
  ['no metadata', policy('spec: {}').replace(/metadata.*\n/, ''), 'AuthorizationPolicy: needs the field metadata'],
  [
    'no name',
    policy('spec: {}').replace('name: p, ', ''),
    '0.yaml:4:11: AuthorizationPolicy: metadata: needs the field name',
  ],
  [
    'a bad name',
    policy('spec: {}').replace('name: p', 'name: -p'),
    'metadata.name: must be a name of letters, digits, - and ., got "-p"',
  ],
  [
    'a bad namespace',
    policy('spec: {}').replace('namespace: shop', 'namespace: Shop'),
    'metadata.namespace: must be a namespace of a-z, 0-9 and -, got "Shop"',
  ],
  [
    'unknown metadata',
    policy('spec: {}').replace('name: p', 'name: p, lables: {}'),
    'metadata.lables: is not a known field (did you mean labels?)',
  ],
  [
    'a label that is no text',
    policy('spec: {}').replace('name: p', 'name: p, labels: {a: 1}'),
    'metadata.labels.a: must be a text; put it in quotes, got 1',
  ],
  [
    'an unknown top-level field',
    policy('specs: {}'),
    '0.yaml:5:1: AuthorizationPolicy shop/p: specs: is not a known field (did you mean spec?)',
  ],
  [
    'a dangerous field',
    policy('constructor: {prototype: {x: 1}}'),
    'AuthorizationPolicy shop/p: constructor: is not a field that is known here',
  ],
  [
    'a field named __proto__',
    policy('spec: {__proto__: {action: DENY}}'),
    'spec.__proto__: is not a field that is known here',
  ],
  ['an empty spec', policy('spec:'), '0.yaml:5:6: AuthorizationPolicy shop/p: spec: must be a map of fields, got null'],
  [
    'a missing spec',
    resourceYaml('VirtualService', 'a', '{}').replace('spec: {}', ''),
    'VirtualService shop/a: needs the field spec',
  ],
  [
    'a control character in a value',
    policy('spec: {selector: {matchLabels: {a: "b\\r\\nc"}}}'),
    'must not have control characters, got "b\\r\\nc"',
  ],
];

for (const [what, text, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    const found = problems(text);
    t.ok(
      found.some((each) => each.includes(message)),
      found.join('\n') || 'accepted',
    );
  });
}

t.test('a duplicate is refused, and names both places', async (t) => {
  const [first, ...others] = problems([serviceYaml(), serviceYaml()]);
  t.equal(
    first,
    '1.yaml:4:18: ServiceEntry shop/reviews: metadata.name: there is another ServiceEntry of this name at 0.yaml:4:18, got "reviews"',
  );
  t.same(others, []);
});

t.test('the same name in another namespace, or of another kind, is no duplicate', async (t) => {
  const other = serviceYaml().replace('namespace: shop', 'namespace: other').replace('reviews.shop', 'reviews.other');
  const { snapshot } = good([serviceYaml(), other, resourceYaml('DestinationRule', 'reviews', '{host: reviews}')]);
  t.ok(snapshot.hosts.has('reviews.shop:80') && snapshot.hosts.has('reviews.other:80'));
});

t.test('Kubernetes resources without a meaning for a mesh are in the report, and nothing else', async (t) => {
  const { remarks } = good(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {whatever: [1, 2]}
---
apiVersion: v1
kind: ConfigMap
data: {a: b}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: a}
`);
  t.same(remarks(), [
    'Deployment ignored: Deployment has no meaning for a mesh',
    'ConfigMap ignored: ConfigMap has no meaning for a mesh',
    'Gateway ignored: Gateway has no meaning for a mesh',
    'Service ignored: Service has no meaning for a mesh',
  ]);
});

t.test('Istio kinds that configure proxies are in the report, with the reason', async (t) => {
  const kinds = [
    [
      'networking.istio.io/v1',
      'Gateway',
      '{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}',
    ],
    ['networking.istio.io/v1alpha3', 'EnvoyFilter', '{}'],
    ['extensions.istio.io/v1alpha1', 'WasmPlugin', '{url: "oci://images/a"}'],
    ['extensions.istio.io/v1alpha1', 'TrafficExtension', '{lua: {inlineCode: a}}'],
  ];
  for (const [apiVersion, kind, spec] of kinds) {
    const yaml = `{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: a}, spec: ${spec}}`;
    const [remark = ''] = good(yaml).remarks();
    t.match(
      problems(yaml.replace('spec: {', 'spec: {wrong: 1, ')),
      [/spec\.wrong: is not a (known )?field/],
      `${kind}`,
    );
    t.ok(remark.startsWith(`${kind} ignored (warning): `), remark);
  }
});

t.test('a List is what it holds, and messages say where in it', async (t) => {
  const list = (kind: string): string => `
apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: ${kind}
  metadata: {name: a, namespace: shop, resourceVersion: "7", creationTimestamp: "2026-01-01T00:00:00Z"}
  spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
  status: {}
`;
  good(list('DestinationRule'));
  t.match(problems(list('DestinationRules')), ['0.yaml:6:9: DestinationRules shop/a: kind: is not a kind']);
  t.match(problems('{apiVersion: v1, kind: List}'), ['items: must be a list of resources']);
});

t.test('a resource without a namespace belongs to the namespace of the workload', async (t) => {
  const text = serviceYaml().replace(', namespace: shop', '');
  const { report } = good(text, { workload: { namespace: 'elsewhere' } });
  t.equal(report.entries[0]?.at.namespace, 'elsewhere');
});

t.test('resources may be given as objects, then messages have no place', async (t) => {
  const result = compile([documentOf({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' } })], {
    workload: web,
  });
  t.match(result, { ok: false, problems: [{ message: 'needs the field spec', at: { kind: 'Service', name: 'a' } }] });
  t.equal(result.ok ? '' : result.problems[0]?.at?.line, undefined);
});
