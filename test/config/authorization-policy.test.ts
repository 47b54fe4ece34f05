import t from 'tap';
import { type CompileResult, compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { good, problems, resourceYaml, type TestCompileOptions, web } from './support.ts';

const policy = (spec: string, name = 'p', namespace = 'shop'): string =>
  resourceYaml('AuthorizationPolicy', name, `{${spec}}`, namespace);
const compiled = (yaml: string, options?: TestCompileOptions) => good(yaml, options).snapshot.inbound.authorization;
const source = (text: string, options?: TestCompileOptions) =>
  compiled(policy(`rules: [{from: [{source: {${text}}}]}]`), options)[0]?.rules[0]?.from[0];
const operation = (text: string) => compiled(policy(`rules: [{to: [{operation: {${text}}}]}]`))[0]?.rules[0]?.to[0];

t.test('without a policy there is none; an empty one allows nothing', async (t) => {
  t.same(compiled(''), []);
  t.match(compiled(policy('')), [{ action: 'ALLOW', rules: [] }]);
  t.match(
    compiled(policy('').replace(' {}', '').replace('spec:', '')),
    [{ action: 'ALLOW', rules: [] }],
    'without spec',
  );
  t.match(problems(policy('action: DENY')), [/spec: needs rules for the action DENY: without any it never applies/]);
});

t.test('an empty rule matches everything', async (t) => {
  t.match(compiled(policy('rules: [{}]')), [{ action: 'ALLOW', rules: [{ from: [], to: [] }] }]);
});

t.test('rules keep their alternatives apart', async (t) => {
  const spec = `action: DENY, rules: [
    {from: [{source: {namespaces: [a]}}, {source: {namespaces: [b]}}], to: [{operation: {methods: [GET]}}]},
    {to: [{operation: {paths: [/x]}}, {operation: {ports: ["80"]}}]}]`;
  t.match(compiled(policy(spec)), [
    {
      action: 'DENY',
      rules: [
        {
          from: [{ namespaces: [{ kind: 'exact', value: 'a' }] }, { namespaces: [{ kind: 'exact', value: 'b' }] }],
          to: [{ methods: [{ kind: 'exact', value: 'GET' }] }],
        },
        { from: [], to: [{ paths: [{ kind: 'exact', value: '/x' }] }, { ports: [80] }] },
      ],
      provenance: { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p', file: '0.yaml', line: 3, column: 1 },
    },
  ]);
});

t.test('the four ways to match a text', async (t) => {
  const cases: readonly (readonly [text: string, expected: object])[] = [
    ['abc', { kind: 'exact', value: 'abc' }],
    ['abc*', { kind: 'prefix', value: 'abc' }],
    ['"*abc"', { kind: 'suffix', value: 'abc' }],
    ['"*"', { kind: 'present' }],
  ];
  for (const [text, expected] of cases) {
    t.same(source(`namespaces: [${text}]`), { namespaces: [expected] });
    t.same(source(`notNamespaces: [${text}]`), { notNamespaces: [expected] });
    t.same(source(`principals: [${text}]`), { principals: [expected] });
    t.same(source(`notPrincipals: [${text}]`), { notPrincipals: [expected] });
    t.same(operation(`hosts: [${text}]`), { hosts: [expected] });
    t.same(operation(`notHosts: [${text}]`), { notHosts: [expected] });
  }
});

t.test('paths, methods, hosts and ports', async (t) => {
  t.same(operation('paths: [/a, /a/*, "*.json", "*"], notPaths: [/b]'), {
    paths: [
      { kind: 'exact', value: '/a' },
      { kind: 'prefix', value: '/a/' },
      { kind: 'suffix', value: '.json' },
      { kind: 'present' },
    ],
    notPaths: [{ kind: 'exact', value: '/b' }],
  });
  t.same(operation('methods: [GET, "P*"], notMethods: [PUT]'), {
    methods: [
      { kind: 'exact', value: 'GET' },
      { kind: 'prefix', value: 'P' },
    ],
    notMethods: [{ kind: 'exact', value: 'PUT' }],
  });
  t.same(operation('hosts: [Secret.Example, "*.Shop.example"]'), {
    hosts: [
      { kind: 'exact', value: 'secret.example' },
      { kind: 'suffix', value: '.shop.example' },
    ],
  });
  t.same(operation('ports: ["80", "65535"], notPorts: ["1"]'), { ports: [80, 65_535], notPorts: [1] });
});

t.test('service accounts are completed with the namespace of the policy', async (t) => {
  t.same(source('serviceAccounts: [web, other/api.v1]'), { serviceAccounts: ['shop/web', 'other/api.v1'] });
  t.same(source('notServiceAccounts: [web]'), { notServiceAccounts: ['shop/web'] });
});

t.test('cluster.local stands for the local trust domain', async (t) => {
  const td = { workload: { trustDomain: 'example.org' } };
  t.same(source('principals: [cluster.local/ns/a/sa/b]', td), {
    principals: [{ kind: 'exact', value: 'example.org/ns/a/sa/b' }],
  });
  t.same(source('principals: [cluster.local/*]', td), { principals: [{ kind: 'prefix', value: 'example.org/' }] });
  t.same(source('principals: [other.org/ns/a/sa/b]', td), {
    principals: [{ kind: 'exact', value: 'other.org/ns/a/sa/b' }],
  });
  t.same(source('principals: ["*/sa/b"]', td), { principals: [{ kind: 'suffix', value: '/sa/b' }] });
});

t.test('a principal that ends the name of a trust domain is one of its aliases, too', async (t) => {
  const aliases =
    'apiVersion: inmesh.dev/v1\nkind: MeshConfig\nspec: {trustDomainAliases: [old-td, older.local]}\n---\n';
  const principals = (text: string): unknown =>
    compiled(aliases + policy(`action: DENY, rules: [{from: [{source: {principals: [${text}]}}]}]`), {
      workload: { trustDomain: 'new.local' },
    })[0]?.rules[0]?.from[0]?.principals;
  const rest = '/ns/a/sa/b';
  t.same(principals(`"*.local${rest}"`), [
    { kind: 'suffix', value: `.local${rest}` },
    { kind: 'exact', value: `old-td${rest}` },
  ]);
  t.same(principals(`"*-td${rest}"`), [
    { kind: 'suffix', value: `-td${rest}` },
    { kind: 'exact', value: `new.local${rest}` },
    { kind: 'exact', value: `older.local${rest}` },
  ]);
  t.same(principals(`"*.other${rest}"`), [{ kind: 'suffix', value: `.other${rest}` }]);
  t.same(principals(`"*${rest}"`), [{ kind: 'suffix', value: rest }]);
});

t.test('a trust domain is its aliases, too, where that gives less access', async (t) => {
  const aliases = 'apiVersion: inmesh.dev/v1\nkind: MeshConfig\nspec: {trustDomainAliases: [td2]}\n---\n';
  const td1 = { workload: { trustDomain: 'td1' } };
  const from = (action: string, what: string): unknown =>
    compiled(aliases + policy(`action: ${action}, rules: [{from: [{source: {${what}}}]}]`), td1)[0]?.rules[0]?.from[0];
  const all = [
    { kind: 'exact', value: 'td1' },
    { kind: 'exact', value: 'td2' },
  ];
  t.same(from('DENY', 'trustDomains: [td2]'), { trustDomains: all });
  t.same(from('ALLOW', 'trustDomains: [td1]'), { trustDomains: [all[0]] });
  t.same(from('ALLOW', 'notTrustDomains: [td1]'), { notTrustDomains: all });
  t.same(from('DENY', 'notTrustDomains: [td1]'), { notTrustDomains: [all[0]] });
  t.same(from('DENY', 'trustDomains: [td3]'), { trustDomains: [{ kind: 'exact', value: 'td3' }] });
  const when = (action: string): unknown =>
    compiled(aliases + policy(`action: ${action}, rules: [{when: [{key: source.trustDomain, values: [td1]}]}]`), td1)[0]
      ?.rules[0]?.when;
  t.same(when('DENY'), [{ attribute: 'source', source: { trustDomains: all } }]);
  t.same(when('ALLOW'), [{ attribute: 'source', source: { trustDomains: [all[0]] } }]);
});

t.test('hosts of every form that a request may name', async (t) => {
  for (const host of ['*', 'a', 'A.b.', 'a:80', 'a:*', '*:80', '*.a', 'a.*', '[::1]', '[::1]:80', 'my_svc~1']) {
    t.match(operation(`hosts: ["${host}"]`), { hosts: [{}] }, host);
  }
});

t.test('of many policies only those that have changed are compiled again', async (t) => {
  const read = (action: string, name: string) =>
    parseYaml(policy(`action: ${action}, rules: [{}]`, name), `${name}.yaml`).documents;
  const two = [...read('DENY', 'a'), ...read('DENY', 'b')];
  const accepted = (result: CompileResult) => {
    if (!result.ok) throw new Error('not accepted');
    return result.snapshot;
  };
  const first = accepted(compile([...two, ...read('DENY', 'c')], { workload: web }));
  const second = accepted(compile([...two, ...read('ALLOW', 'c')], { workload: web, previous: first }));
  const [a, b, c] = first.inbound.authorization;
  const again = second.inbound.authorization;
  t.same([again[0] === a, again[1] === b, again[2] === c, again[2]?.action], [true, true, false, 'ALLOW']);
});

t.test('a policy is for its namespace, or from the root namespace for all; a selector narrows it', async (t) => {
  const count = (yaml: string): number => compiled(yaml).length;
  t.equal(count(policy('', 'p', 'shop')), 1);
  t.equal(count(policy('', 'p', 'other')), 0);
  t.equal(count(policy('', 'p', 'istio-system')), 1);
  t.equal(count(policy('selector: {matchLabels: {app: web}}')), 1);
  t.equal(count(policy('selector: {matchLabels: {app: api}}')), 0);
  t.equal(count(policy('selector: {matchLabels: {app: web}}', 'p', 'istio-system')), 1);
  t.equal(count(policy('selector: {matchLabels: {app: api}}', 'p', 'istio-system')), 0);
  t.equal(count(policy('selector: {}')), 1);
});

t.test('a dry run is marked as one, and the report says that it is not enforced', async (t) => {
  const dry = (value: string): string =>
    policy('action: DENY, rules: [{}]').replace('{name: p,', `{name: p, annotations: {istio.io/dry-run: "${value}"},`);
  for (const yes of ['true', 'T', '1']) t.equal(compiled(dry(yes))[0]?.dryRun, true);
  for (const no of ['false', 'F', '0']) t.equal(compiled(dry(no))[0]?.dryRun, undefined);
  t.match(good(dry('true')).remarks(), [
    /metadata\.annotations\["istio\.io\/dry-run"\] ignored \(warning\): dry run: what this policy would decide is logged and counted/,
  ]);
});

t.test('an ALLOW by suffix is warned of: it spans namespaces and trust domains', async (t) => {
  const rules = 'rules: [{from: [{source: {principals: ["*/sa/web"]}}]}]';
  t.match(good(policy(rules)).remarks(), [
    /principals\[0\] enforced \(warning\): allows this suffix in every namespace and trust domain/,
  ]);
  t.same(good(policy(`action: DENY, ${rules}`)).remarks(), []);
});

t.test('conditions say in the words of sources and operations what those could say', async (t) => {
  const when = (key: string, values = 'values: [a], notValues: ["b*"]') =>
    compiled(policy(`rules: [{when: [{key: "${key}", ${values}}]}]`))[0]?.rules[0]?.when?.[0];
  const [a, b] = [
    { kind: 'exact', value: 'a' },
    { kind: 'prefix', value: 'b' },
  ] as const;
  const both = { values: [a], notValues: [b] };
  t.same(when('request.headers[X-Role]'), { attribute: 'header', name: 'x-role', ...both });
  t.same(when('request.headers[:authority]'), { attribute: 'header', name: ':authority', ...both });
  t.same(when('request.auth.claims[realm][roles]'), { attribute: 'claim', path: ['realm', 'roles'], ...both });
  t.same(when('request.auth.claims[https://a.example/b]'), {
    attribute: 'claim',
    path: ['https://a.example/b'],
    ...both,
  });
  t.same(when('request.auth.claims[a[b]]'), { attribute: 'claim', path: ['a[b]'], ...both }, 'one name, as in Istio');
  t.same(when('request.auth.audiences'), { attribute: 'claim', path: ['aud'], ...both });
  t.same(when('request.auth.presenter'), { attribute: 'claim', path: ['azp'], ...both });
  t.same(when('connection.sni'), { attribute: 'sni', ...both });
  t.same(when('request.auth.principal'), {
    attribute: 'source',
    source: { requestPrincipals: [a], notRequestPrincipals: [b] },
  });
  t.same(when('source.namespace'), { attribute: 'source', source: { namespaces: [a], notNamespaces: [b] } });
  t.same(when('source.trustDomain'), { attribute: 'source', source: { trustDomains: [a], notTrustDomains: [b] } });
  t.same(when('source.serviceAccount', 'values: [web, ops/x]'), {
    attribute: 'source',
    source: { serviceAccounts: ['shop/web', 'ops/x'] },
  });
  t.same(when('source.principal', 'values: [cluster.local/ns/a/sa/b]'), {
    attribute: 'source',
    source: { principals: [{ kind: 'exact', value: 'cluster.local/ns/a/sa/b' }] },
  });
  const addresses = 'values: [10.0.0.0/8], notValues: ["fd00::/8", "::ffff:10.1.0.0/112", 10.2.3.4]';
  const blocks = [{ address: '10.0.0.0', prefix: 8 }];
  const notBlocks = [
    { address: 'fd00::', prefix: 8 },
    { address: '10.1.0.0', prefix: 16 },
    { address: '10.2.3.4', prefix: 32 },
  ];
  t.same(when('source.ip', addresses), { attribute: 'source', source: { ipBlocks: blocks, notIpBlocks: notBlocks } });
  t.same(when('remote.ip', addresses), {
    attribute: 'source',
    source: { remoteIpBlocks: blocks, notRemoteIpBlocks: notBlocks },
  });
  t.same(when('destination.ip', addresses), { attribute: 'destinationIp', values: blocks, notValues: notBlocks });
  t.same(when('destination.port', 'values: ["80"], notValues: ["8080"]'), {
    attribute: 'operation',
    operation: { ports: [80], notPorts: [8080] },
  });
  t.match(good(policy('rules: [{when: [{key: "request.headers[Connection]", values: [a]}]}]')).remarks(), [
    /when\[0\]\.key enforced \(warning\): concerns the connection alone/,
  ]);
});

const refusals: readonly (readonly [what: string, rule: string, message: RegExp])[] = [
  ['an empty source', 'from: [{source: {}}]', /spec\.rules\[0\]\.from\[0\]\.source: must say something/],
  ['no source', 'from: [{}]', /spec\.rules\[0\]\.from\[0\]: needs the field source/],
  ['an empty from', 'from: []', /spec\.rules\[0\]\.from: must be a list with at least one entry/],
  ['an empty to', 'to: []', /spec\.rules\[0\]\.to: must be a list with at least one entry/],
  ['an empty operation', 'to: [{operation: {}}]', /operation: must say something/],
  [
    'a SPIFFE ID as a principal',
    'from: [{source: {principals: ["spiffe://cluster.local/ns/a/sa/b"]}}]',
    /principals\[0\]: must be written without spiffe:\/\//,
  ],
  [
    'a star in the middle',
    'from: [{source: {principals: ["a*b"]}}]',
    /principals\[0\]: may have one \*, at its beginning or its end, got "a\*b"/,
  ],
  ['a star at both ends', 'to: [{operation: {paths: ["*a*"]}}]', /paths\[0\]: may have one \*/],
  [
    'a path template that does not begin with a slash',
    'to: [{operation: {paths: ["users/{*}"]}}]',
    /paths\[0\]: must begin with \/: it could never match, got "users\/\{\*\}"/,
  ],
  [
    'an operator that is not the whole segment',
    'to: [{operation: {notPaths: ["/files/{**}.txt"]}}]',
    /notPaths\[0\]: may have braces only as the whole segments/,
  ],
  [
    'a path with a query',
    'to: [{operation: {paths: ["/admin?x=1"]}}]',
    /paths\[0\]: must have no \? or #: a path ends before/,
  ],
  [
    'a host with a scheme',
    'to: [{operation: {hosts: ["https://a"]}}]',
    /hosts\[0\]: must be a name, .* it could never match/,
  ],
  ['a host in Unicode', 'to: [{operation: {notHosts: ["b\u00fccher.example"]}}]', /notHosts\[0\]: must be a name, /],
  [
    'a method with a space',
    'to: [{operation: {methods: ["GET "]}}]',
    /methods\[0\]: must be a word: it could never match/,
  ],
  [
    'a path that could never match',
    'to: [{operation: {paths: [admin]}}]',
    /paths\[0\]: must begin with \/ or \*: it could never match, got "admin"/,
  ],
  ['a method in lower case', 'to: [{operation: {methods: [get]}}]', /methods\[0\]: must be upper case/],
  [
    'a port that is a number',
    'to: [{operation: {ports: [80]}}]',
    /ports\[0\]: must be a text that is not empty; put it in quotes, got 80/,
  ],
  [
    'a port that is none',
    'to: [{operation: {ports: ["http"]}}]',
    /ports\[0\]: must be a port from 1 to 65535, got "http"/,
  ],
  ['port 0', 'to: [{operation: {ports: ["0"]}}]', /ports\[0\]: must be a port from 1 to 65535/],
  ['port 65536', 'to: [{operation: {notPorts: ["65536"]}}]', /notPorts\[0\]: must be a port from 1 to 65535/],
  [
    'service accounts beside principals',
    'from: [{source: {serviceAccounts: [a], principals: [b]}}]',
    /source: service accounts cannot be combined with principals, as in Istio/,
  ],
  [
    'a service account with three parts',
    'from: [{source: {serviceAccounts: [a/b/c]}}]',
    /serviceAccounts\[0\]: must be <service account> or <namespace>\/<service account>/,
  ],
  [
    'a service account with a star',
    'from: [{source: {serviceAccounts: ["a/*"]}}]',
    /serviceAccounts\[0\]: must be <service account>/,
  ],
  [
    'a condition on what nobody knows',
    'when: [{key: "request.headerz[x]", values: [a]}]',
    /when\[0\]\.key: is not an attribute that Istio knows, got "request\.headerz\[x\]"/,
  ],
  ['a condition without values', 'when: [{key: source.ip}]', /when\[0\]: needs values or notValues/],
  [
    'a condition with empty lists',
    'when: [{key: "source.ip", values: [], notValues: []}]',
    /when\[0\]: needs values or notValues/,
  ],
  [
    'a condition on what filters of Envoy say',
    'when: [{key: "experimental.envoy.filters.a.b[c]", values: [a]}]',
    /when\[0\]\.key: is refused: it asks for what filters of Envoy say/,
  ],
  [
    'a condition on the raw path',
    'when: [{key: "request.headers[:path]", values: [a]}]',
    /when\[0\]\.key: is refused: it is blind to the other ways to write a path/,
  ],
  [
    'a condition on another pseudo-header',
    'when: [{key: "request.headers[:scheme]", values: [a]}]',
    /when\[0\]\.key: is refused: of the names with a colon/,
  ],
  [
    'a condition on what is no header',
    'when: [{key: "request.headers[x y]", values: [a]}]',
    /when\[0\]\.key: must have the name of a header/,
  ],
  [
    'a condition with something before the brackets',
    'when: [{key: "request.headersx[y]", values: [a]}]',
    /when\[0\]\.key: must go on with a name in brackets/,
  ],
  [
    'a condition on an address that is none',
    'when: [{key: "remote.ip", notValues: ["300.1.1.1"]}]',
    /notValues\[0\]: must be an IP address/,
  ],
  [
    'a block of addresses that is none',
    'from: [{source: {ipBlocks: [10.0.0.0/33]}}]',
    /ipBlocks\[0\]: must be an IP address or a range/,
  ],
  [
    'an address with leading zeros',
    'from: [{source: {ipBlocks: [10.0.0.01]}}]',
    /ipBlocks\[0\]: must be an IP address or a range/,
  ],
  [
    'an address with a zone',
    'from: [{source: {remoteIpBlocks: ["fe80::1%eth0"]}}]',
    /remoteIpBlocks\[0\]: must have no zone/,
  ],
  [
    'an IPv4-mapped range with more than IPv4',
    'from: [{source: {ipBlocks: ["::ffff:0:0/95"]}}]',
    /ipBlocks\[0\]: must have a prefix of at least 96/,
  ],
  [
    'a trust domain with a path',
    'from: [{source: {notTrustDomains: [a/b]}}]',
    /notTrustDomains\[0\]: must be a trust domain, without/,
  ],
];

for (const [what, rule, message] of refusals) {
  t.test(`${what} is refused, whatever the action and whoever it is for`, async (t) => {
    for (const more of ['', 'action: DENY, ', 'selector: {matchLabels: {app: api}}, ']) {
      t.match(problems(policy(`${more}rules: [{${rule}}]`)).join('\n'), message);
    }
    t.match(problems(policy(`rules: [{${rule}}]`, 'p', 'other')).join('\n'), message);
  });
}
