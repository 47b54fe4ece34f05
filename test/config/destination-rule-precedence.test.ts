import t from 'tap';
import { good, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

const host = 'reviews.shop.svc.cluster.local';

interface Written {
  readonly name?: string;
  readonly namespace?: string;
  readonly host?: string;
  /** Load balancer, by which the tests recognise whose policy counts. */
  readonly simple?: string;
  /** Subset names; each selects `version: <name>`. */
  readonly subsets?: readonly string[];
  readonly exportTo?: readonly string[];
  /** Value of the label `app`. */
  readonly selector?: string;
  readonly created?: string;
}

let serial = 0;

function rule(written: Written): string {
  const { name = `r${++serial}`, namespace = 'shop', simple, subsets = [], exportTo, selector, created } = written;
  const spec = [
    `host: "${written.host ?? host}"`,
    ...(simple === undefined ? [] : [`trafficPolicy: {loadBalancer: {simple: ${simple}}}`]),
    ...(subsets.length === 0
      ? []
      : [`subsets: [${subsets.map((each) => `{name: ${each}, labels: {version: ${each}}}`).join(', ')}]`]),
    ...(exportTo === undefined ? [] : [`exportTo: [${exportTo.map((each) => `"${each}"`).join(', ')}]`]),
    ...(selector === undefined ? [] : [`workloadSelector: {matchLabels: {app: ${selector}}}`]),
  ];
  const yaml = resourceYaml('DestinationRule', name, `{${spec.join(', ')}}`, namespace);
  return created === undefined
    ? yaml
    : yaml.replace(`name: ${name},`, `name: ${name}, creationTimestamp: "${created}",`);
}

const toSubset = (subset: string, namespace = 'shop'): string =>
  resourceYaml(
    'VirtualService',
    'r',
    `{hosts: [${host}], http: [{route: [{destination: {host: ${host}, subset: ${subset}}}]}]}`,
    namespace,
  );

const compiled = (rules: readonly Written[], options?: TestCompileOptions, more = '') =>
  good(serviceYaml() + rules.map(rule).join('') + more, options);
/** Whose policy counts. */
const winner = (rules: readonly Written[], options?: TestCompileOptions) =>
  compiled(rules, options).cluster('reviews|80')?.balance;
const from = (namespace: string, labels?: Readonly<Record<string, string>>): TestCompileOptions => ({
  workload: { namespace, ...(labels === undefined ? {} : { labels }) },
});

/** The default; nobody's policy counts. */
const nobody = 'LEAST_REQUEST';
const old = '2026-01-01T00:00:00Z';
const young = '2026-02-01T00:00:00Z';

const namespaces: readonly (readonly [what: string, rules: readonly Written[], caller: string, expected: string])[] = [
  ['a rule of the mesh', [{ namespace: 'istio-system', simple: 'RANDOM' }], 'front', 'RANDOM'],
  [
    'the rule of the service goes before that of the mesh',
    [{ namespace: 'istio-system', simple: 'RANDOM' }, { simple: 'ROUND_ROBIN' }],
    'front',
    'ROUND_ROBIN',
  ],
  [
    'the rule of the caller goes before that of the service',
    [{ namespace: 'front', simple: 'RANDOM' }, { simple: 'ROUND_ROBIN' }],
    'front',
    'RANDOM',
  ],
  ['a rule of any other namespace counts nowhere', [{ namespace: 'elsewhere', simple: 'RANDOM' }], 'front', nobody],
  [
    'a wildcard of the caller goes before the exact name of the service',
    [{ namespace: 'front', host: '*.local', simple: 'RANDOM' }, { simple: 'ROUND_ROBIN' }],
    'front',
    'RANDOM',
  ],
  [
    'a public rule of the root namespace is no rule of a caller in it',
    [{ namespace: 'istio-system', simple: 'RANDOM' }, { simple: 'ROUND_ROBIN' }],
    'istio-system',
    'ROUND_ROBIN',
  ],
  [
    'a private one is',
    [{ namespace: 'istio-system', simple: 'RANDOM', exportTo: ['.'] }, { simple: 'ROUND_ROBIN' }],
    'istio-system',
    'RANDOM',
  ],
  [
    'private by its name is private too',
    [{ namespace: 'istio-system', simple: 'RANDOM', exportTo: ['istio-system'] }, { simple: 'ROUND_ROBIN' }],
    'istio-system',
    'RANDOM',
  ],
  [
    'a private rule of the root namespace is for nobody else',
    [{ namespace: 'istio-system', simple: 'RANDOM', exportTo: ['.'] }],
    'front',
    nobody,
  ],
  ['exported to all', [{ simple: 'RANDOM', exportTo: ['*'] }], 'front', 'RANDOM'],
  ['exported to the caller', [{ simple: 'RANDOM', exportTo: ['front'] }], 'front', 'RANDOM'],
  ['exported to the caller among others', [{ simple: 'RANDOM', exportTo: ['back', 'front'] }], 'front', 'RANDOM'],
  ['exported to others', [{ simple: 'RANDOM', exportTo: ['back'] }], 'front', nobody],
  ['not exported', [{ simple: 'RANDOM', exportTo: ['.'] }], 'front', nobody],
  ['not exported, in its own namespace', [{ simple: 'RANDOM', exportTo: ['.'] }], 'shop', 'RANDOM'],
  ['exported to its own namespace by name', [{ simple: 'RANDOM', exportTo: ['shop'] }], 'shop', 'RANDOM'],
  [
    'exported to others only, its own namespace does not see it',
    [{ simple: 'RANDOM', exportTo: ['front'] }],
    'shop',
    nobody,
  ],
  [
    'what the service does not export leaves the rule of the mesh in force',
    [
      { namespace: 'istio-system', simple: 'RANDOM' },
      { simple: 'ROUND_ROBIN', exportTo: ['back'] },
    ],
    'front',
    'RANDOM',
  ],
  [
    'the most specific host is found first, also when it is for others: it hides a wildcard',
    [
      { host: '*.shop.svc.cluster.local', simple: 'RANDOM' },
      { simple: 'ROUND_ROBIN', exportTo: ['back'] },
    ],
    'front',
    nobody,
  ],
  [
    'a private one hides nothing from others',
    [
      { host: '*.shop.svc.cluster.local', simple: 'RANDOM' },
      { simple: 'ROUND_ROBIN', exportTo: ['.'] },
    ],
    'front',
    'RANDOM',
  ],
];

for (const [what, rules, caller, expected] of namespaces) {
  t.test(`whose rule counts: ${what}`, async (t) => {
    t.equal(winner(rules, from(caller)), expected);
  });
}

const hosts: readonly (readonly [what: string, rules: readonly Written[], expected: string])[] = [
  ['a short name belongs to the namespace of its rule', [{ host: 'reviews', simple: 'RANDOM' }], 'RANDOM'],
  [
    'of another namespace it is another host',
    [{ host: 'reviews', namespace: 'istio-system', simple: 'RANDOM' }],
    nobody,
  ],
  ['a wildcard', [{ host: '*.local', simple: 'RANDOM' }], 'RANDOM'],
  ['the lone *', [{ host: '*', simple: 'RANDOM' }], 'RANDOM'],
  ['a wildcard inside of a label', [{ host: '*views.shop.svc.cluster.local', simple: 'RANDOM' }], 'RANDOM'],
  ['a wildcard that does not cover it', [{ host: '*.example.com', simple: 'RANDOM' }], nobody],
  [
    'a longer wildcard goes before a shorter',
    [
      { host: '*.local', simple: 'RANDOM' },
      { host: '*.shop.svc.cluster.local', simple: 'ROUND_ROBIN' },
    ],
    'ROUND_ROBIN',
  ],
  [
    'an exact name goes before a wildcard',
    [{ host: '*.shop.svc.cluster.local', simple: 'RANDOM' }, { simple: 'ROUND_ROBIN' }],
    'ROUND_ROBIN',
  ],
  ['names are the same in upper case', [{ host: 'Reviews.Shop.svc.cluster.local', simple: 'RANDOM' }], 'RANDOM'],
];

for (const [what, rules, expected] of hosts) {
  t.test(`which host a rule means: ${what}`, async (t) => {
    t.equal(winner(rules), expected);
  });
}

t.test('a rule for these workloads goes before one for all', async (t) => {
  const all = { simple: 'ROUND_ROBIN', created: old };
  t.equal(winner([all, { simple: 'RANDOM', selector: 'web', created: young }]), 'RANDOM');
  t.equal(winner([all, { simple: 'RANDOM', selector: 'api' }]), 'ROUND_ROBIN');
  t.equal(winner([{ simple: 'RANDOM', selector: 'api' }]), nobody);
});

t.test('a rule for some workloads works in its own namespace only', async (t) => {
  t.equal(winner([{ simple: 'RANDOM', selector: 'web', namespace: 'istio-system' }]), nobody);
  t.equal(winner([{ simple: 'RANDOM', selector: 'web' }], from('front', { app: 'web' })), nobody);
  t.equal(winner([{ simple: 'RANDOM', selector: 'web', exportTo: ['.'] }]), 'RANDOM');
});

t.test('of a namespace whose rules select others nothing else is asked', async (t) => {
  const rules = [
    { namespace: 'front', simple: 'RANDOM', selector: 'api' },
    { namespace: 'shop', simple: 'ROUND_ROBIN' },
  ];
  t.equal(winner(rules, from('front', { app: 'web' })), nobody);
});

t.test('rules for one host are taken together: subsets of both, policy of the older', async (t) => {
  const rules = [
    { name: 'young', created: young, simple: 'RANDOM', subsets: ['v1', 'v2'] },
    { name: 'old', created: old, simple: 'ROUND_ROBIN', subsets: ['v1'] },
  ];
  const both = compiled(rules, {}, toSubset('v2'));
  t.equal(both.cluster('reviews|80|v2')?.balance, 'ROUND_ROBIN');
  t.match(both.endpoints('reviews|80|v2'), [{ labels: { version: 'v2' } }]);
  t.same(both.remarks(), [
    `DestinationRule spec.subsets[0] ignored (warning): an older DestinationRule for ${host} defines subset v1`,
    `DestinationRule spec.trafficPolicy ignored (warning): an older DestinationRule for ${host} has one`,
  ]);
});

t.test('where the older rule has no policy, that of the younger counts', async (t) => {
  t.equal(
    winner([
      { created: old, subsets: ['v1'] },
      { created: young, simple: 'RANDOM' },
    ]),
    'RANDOM',
  );
});

t.test('rules with different exportTo are not taken together; the last that is seen counts alone', async (t) => {
  const rules = [
    { created: old, simple: 'RANDOM', subsets: ['v1'], exportTo: ['*'] },
    { created: young, simple: 'ROUND_ROBIN', subsets: ['v2'] },
  ];
  const both = compiled(rules, {}, toSubset('v1'));
  t.equal(both.cluster('reviews|80|v1'), undefined);
  t.match(both.remarks(), [/subset v1 is not for this workload: calls answer 503/]);
  t.equal(winner(rules, from('front')), 'ROUND_ROBIN');
});

t.test('a rule that more namespaces see is taken into one that fewer see', async (t) => {
  const rules = [
    { created: old, simple: 'RANDOM', exportTo: ['front'] },
    { created: young, simple: 'ROUND_ROBIN', subsets: ['v2'], exportTo: ['front', 'back'] },
  ];
  const front = compiled(rules, from('front'), toSubset('v2', 'front'));
  t.equal(front.cluster('reviews|80|v2')?.balance, 'RANDOM');
  t.match(front.remarks().join('\n'), /spec\.exportTo ignored \(warning\): is merged into an older DestinationRule/);
  t.equal(winner(rules, from('back')), nobody);
});

t.test('rules with the same selector are taken together, with others not', async (t) => {
  const same = compiled(
    [
      { created: old, simple: 'RANDOM', selector: 'web' },
      { created: young, subsets: ['v2'], selector: 'web' },
    ],
    {},
    toSubset('v2'),
  );
  t.equal(same.cluster('reviews|80|v2')?.balance, 'RANDOM');
  const others = [
    { created: old, simple: 'RANDOM', selector: 'web' },
    { created: young, simple: 'ROUND_ROBIN', selector: 'api' },
  ];
  t.equal(winner(others, from('shop', { app: 'api' })), 'ROUND_ROBIN');
  t.equal(winner(others, from('shop', { app: 'web' })), 'RANDOM');
});

t.test('a rule for all does not complete one for some, unless it is private as well', async (t) => {
  const rules = (exportTo: readonly string[] | undefined): readonly Written[] => [
    { simple: 'RANDOM', selector: 'web' },
    { simple: 'ROUND_ROBIN', subsets: ['v2'], ...(exportTo === undefined ? {} : { exportTo }) },
  ];
  t.equal(compiled(rules(undefined), {}, toSubset('v2')).cluster('reviews|80|v2'), undefined);
  for (const exportTo of [['.'], ['.', 'front']]) {
    t.equal(compiled(rules(exportTo), {}, toSubset('v2')).cluster('reviews|80|v2')?.balance, 'RANDOM');
    t.equal(winner(rules(exportTo), from('shop', { app: 'api' })), 'ROUND_ROBIN', 'and stays a rule for the others');
  }
});

t.test('merging in one place does not leak into another', async (t) => {
  // In its namespace the private rule is merged into the exported one's sibling; others must not see its subsets.
  const rules = [
    { created: old, simple: 'RANDOM', exportTo: ['*'] },
    { created: young, subsets: ['v1'], exportTo: ['shop'] },
  ];
  t.equal(winner(rules, from('front')), 'RANDOM');
  t.equal(compiled(rules, from('front'), toSubset('v1', 'front')).cluster('reviews|80|v1'), undefined);
  t.ok(compiled(rules, from('shop'), toSubset('v1')).cluster('reviews|80|v1'));
});
