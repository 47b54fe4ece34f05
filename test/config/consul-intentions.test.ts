import t from 'tap';
import { compileAuthorizer } from '../../src/authz/authorizer.ts';
import type { AuthorizationFacts } from '../../src/authz/rule.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import { type Chooser, chooser } from '../authz/random-policies.ts';
import { shopMesh } from '../support/shop-mesh.ts';
import { good, problems, type TestCompileOptions } from './support.ts';

const td = 'cluster.local';
const account = (name: string, namespace = 'shop', domain = td): string =>
  `spiffe://${domain}/ns/${namespace}/sa/${name}`;
const service = (
  name: string,
  namespace = 'default',
  more: { readonly ap?: string; readonly td?: string } = {},
): string =>
  `spiffe://${more.td ?? td}${more.ap === undefined ? '' : `/ap/${more.ap}`}/ns/${namespace}/dc/dc1/svc/${name}`;

function facts(caller: string | undefined, request = 'GET /', headers: readonly string[] = []): AuthorizationFacts {
  const [method = '', path = ''] = request.split(' ');
  const id = caller === undefined ? undefined : parseSpiffeId(caller);
  const istio = id?.namespace === undefined ? {} : { namespace: id.namespace, serviceAccount: id.serviceAccount };
  return {
    peer: id && { spiffeId: id.uri, trustDomain: id.trustDomain, ...istio },
    method,
    path,
    rawPath: path,
    host: 'web',
    localPort: 80,
    claims: undefined,
    sourceAddress: undefined,
    remoteAddress: undefined,
    destinationAddress: undefined,
    sni: '',
    rawHeaders: headers,
  } as AuthorizationFacts;
}

type Ask = (caller: string | undefined, request?: string, headers?: readonly string[]) => boolean;

/** What the service `web` of namespace `shop` answers. */
function asked(yaml: string, options?: TestCompileOptions): Ask {
  const { decide } = compileAuthorizer(good(yaml, options).snapshot.inbound.authorization);
  return (caller, request, headers) => decide(facts(caller, request, headers)).allowed;
}

const entry = (sources: string, more = ''): string =>
  `Kind: service-intentions\nName: web\n${more}\nSources: [${sources}]\n---\n`;
const api = entry('{Name: api, Action: allow}');

t.test('allow and deny by source: identities of accounts and of Consul, of the own trust domain alone', async (t) => {
  const ask = asked(entry('{Name: api, Action: allow}, {Name: cron, Namespace: ops, Action: allow}'));
  for (const caller of [account('api'), service('api'), account('cron', 'ops'), service('cron', 'ops')]) {
    t.ok(ask(caller), caller);
  }
  const others = [
    undefined,
    account('apis'),
    account('api', 'ops'),
    account('cron'),
    account('api', 'shop', 'evil.example'),
    service('api', 'shop'),
    service('api', 'default', { ap: 'p1' }),
    service('api', 'default', { td: 'evil.example' }),
    `spiffe://${td}/ns/default/dc/dc1/svc/api/x`,
    `spiffe://${td}/ns/default/svc/api`,
  ];
  for (const caller of others) t.notOk(ask(caller), String(caller));
});

t.test('an intention is for the service of its name: account, label or workload; others are left alone', async (t) => {
  const policies = (name: string, workload: TestCompileOptions['workload'] = {}, namespace = ''): number =>
    good(`Kind: service-intentions\nName: ${name}\n${namespace}\nSources: [{Name: a, Action: allow}]`, { workload })
      .snapshot.inbound.authorization.length;
  t.equal(policies('web'), 1);
  t.equal(policies('web-v1'), 1);
  t.equal(policies('"*"'), 1);
  t.equal(policies('other'), 0);
  t.equal(policies('shop', { serviceAccount: 'shop' }), 1);
  t.equal(policies('canonical', { labels: { 'service.istio.io/canonical-name': 'canonical' } }), 1);
  t.equal(policies('web', {}, 'Namespace: ops'), 0);
  t.equal(policies('"*"', {}, 'Namespace: "*"'), 1);
  t.ok(asked('Kind: service-intentions\nName: other\nSources: [{Name: a, Action: deny}]')(account('a')));
});

t.test('precedence: names go before wildcards, the destination before the source', async (t) => {
  const wildcard =
    'Kind: service-intentions\nName: "*"\nSources: [{Name: "*", Action: allow}, {Name: bad, Action: deny}]\n---\n';
  const ask = asked(entry('{Name: "*", Action: deny}, {Name: api, Action: allow}'));
  t.same([ask(account('api')), ask(service('api')), ask(account('b'))], [true, true, false]);
  const both = asked(entry('{Name: api, Action: deny}') + wildcard);
  t.same([both(account('api')), both(account('bad')), both(account('c'))], [false, false, true]);
  const higher = asked(entry('{Name: "*", Action: allow}') + wildcard);
  t.ok(higher(account('bad')), '* → web (8) goes before bad → * (6)');
  const any = asked(entry('{Name: "*", Namespace: "*", Action: allow}, {Name: "*", Action: deny}'));
  t.same(
    [any(account('x', 'ops')), any(account('x')), any(service('x', 'ops')), any(undefined)],
    [true, false, true, false],
  );
  const partition = asked(entry('{Name: "*", Partition: p1, Action: allow}'));
  t.same([partition(service('x', 'default', { ap: 'p1' })), partition(account('x'))], [true, false]);
});

t.test('the default policy is deny, unless the entry that names most says otherwise', async (t) => {
  const allow = 'Meta: {default_intention_policy: allow}';
  t.notOk(asked(api)(account('b')));
  const open = asked(entry('{Name: bad, Action: deny}, {Name: "*", Namespace: ops, Action: deny}', allow));
  t.same(
    [open(account('b')), open(undefined), open(account('bad')), open(service('z', 'ops'))],
    [true, true, false, false],
  );
  for (const every of ['Name: "*"', 'Name: "*", Namespace: "*"']) {
    const closed = asked(entry(`{Name: api, Action: allow}, {${every}, Action: deny}`, allow));
    t.same([closed(account('api')), closed(account('b')), closed(undefined)], [true, false, false], every);
    const strangers = [
      account('b', 'shop', 'evil.example'),
      `spiffe://${td}/billing`,
      `spiffe://${td}/ns/a/sa/b/pod/7`,
    ];
    for (const id of strangers) t.notOk(closed(id), `${every} is everybody, ${id} too`);
    const guarded = asked(entry(`{${every}, Permissions: [{Action: deny, HTTP: {PathPrefix: /admin}}]}`, allow));
    t.same([guarded(undefined, 'GET /'), guarded(undefined, 'GET /admin')], [true, false], `${every}, a permission`);
  }
  const wildcard = `Kind: service-intentions\nName: "*"\n${allow}\nSources: [{Name: bad, Action: deny}]\n---\n`;
  t.ok(asked(wildcard + entry('{Name: c, Action: deny}'))(account('b')));
  t.notOk(asked(wildcard + entry('{Name: c, Action: deny}', 'Meta: {default_intention_policy: deny}'))(account('b')));
});

t.test('permissions: the first that matches counts, and where none does the default policy', async (t) => {
  const ask = asked(
    entry(`{Name: api, Permissions: [
      {Action: deny, HTTP: {PathPrefix: /v2/admin}},
      {Action: allow, HTTP: {PathPrefix: /v2/, Methods: [get, POST]}},
      {Action: deny, HTTP: {PathExact: /health, Header: [{Name: X-Deep, Present: true}]}},
      {Action: allow, HTTP: {PathRegex: "/hea[l]th"}}]}, {Name: "*", Action: allow}`),
  );
  const as = account('api');
  t.ok(ask(as, 'GET /v2/x') && ask(as, 'POST /v2/x') && ask(service('api'), 'GET /v2/x'));
  t.notOk(ask(as, 'DELETE /v2/x') || ask(as, 'GET /v2/admin/x') || ask(as, 'GET /V2/Admin/x'));
  t.ok(ask(as, 'GET /health'));
  t.notOk(ask(as, 'GET /health', ['x-deep', '']));
  t.notOk(ask(as, 'GET /else'), 'a source that has its own intention is not one of the wildcard');
  t.ok(ask(account('b'), 'GET /else'));
  const open = asked(
    entry(
      '{Name: api, Permissions: [{Action: allow, HTTP: {PathExact: /admin/ping}}, {Action: deny, HTTP: {PathPrefix: /admin}}]}',
      'Meta: {default_intention_policy: allow}',
    ),
  );
  t.ok(open(as, 'GET /') && open(as, 'GET /admin/ping'));
  t.notOk(open(as, 'GET /admin/x') || open(as, 'GET /Admin') || open(as, 'GET /ADMIN/ping'), 'in doubt it is refused');
});

t.test(
  'headers with characters beyond ASCII are compared as their bytes, which is how Node.js shows them',
  async (t) => {
    const sent = (text: string): readonly string[] => ['x-a', Buffer.from(text).toString('latin1')];
    for (const form of ['Exact: caf\u00e9', 'Contains: af\u00e9', 'Exact: CAF\u00e9, IgnoreCase: true']) {
      const ask = asked(entry(`{Name: api, Permissions: [{Action: allow, HTTP: {Header: [{Name: X-A, ${form}}]}}]}`));
      t.same(
        [ask(account('api'), 'GET /', sent('caf\u00e9')), ask(account('api'), 'GET /', sent('cafe'))],
        [true, false],
        form,
      );
    }
  },
);

t.test('headers: every form, inverted or not', async (t) => {
  const table: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['Present: true', ['a', ''], []],
    ['Exact: ab', ['ab'], ['abc', 'AB']],
    ['Exact: ab, IgnoreCase: true', ['aB'], ['abc']],
    ['Prefix: a.', ['a.', 'a.b'], ['ab', 'A.b']],
    ['Prefix: a., IgnoreCase: true', ['A.b'], ['ab']],
    ['Suffix: .b', ['a.b', '.b'], ['.bc']],
    ['Suffix: .b, IgnoreCase: true', ['a.B'], ['ab']],
    ['Contains: "(x"', ['a(xb', '(x'], ['x', 'a(X']],
    ['Contains: x, IgnoreCase: true', ['aXb'], ['y']],
    ['Regex: "[0-9]+"', ['12'], ['12a']],
  ];
  for (const [header, matching, others] of table) {
    const of = (more: string): Ask =>
      asked(entry(`{Name: api, Permissions: [{Action: allow, HTTP: {Header: [{Name: X-A, ${header}${more}}]}}]}`));
    const [plain, inverted] = [of(''), of(', Invert: true')];
    for (const value of matching) {
      t.ok(plain(account('api'), 'GET /', ['x-a', value]), `${header}: ${value}`);
      t.notOk(inverted(account('api'), 'GET /', ['x-a', value]), `inverted ${header}: ${value}`);
    }
    for (const value of others) {
      t.notOk(plain(account('api'), 'GET /', ['x-a', value]), `${header}: not ${value}`);
      t.ok(inverted(account('api'), 'GET /', ['x-a', value]), `inverted ${header}: ${value}`);
    }
    t.notOk(plain(account('api')), `${header}: absent`);
    t.equal(inverted(account('api')), header === 'Present: true', `inverted ${header}: absent`);
  }
  const long = asked(
    entry(
      '{Name: api, Permissions: [{Action: deny, HTTP: {Header: [{Name: X-A, Contains: bad}]}}]}',
      'Meta: {default_intention_policy: allow}',
    ),
  );
  t.notOk(long(account('api'), 'GET /', ['x-a', 'y'.repeat(9_000)]), 'what is too long to be looked at is refused');
});

t.test('beside AuthorizationPolicies both count', async (t) => {
  const policy = (action: string, path: string): string =>
    `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {action: ${action}, rules: [{to: [{operation: {paths: [${path}]}}]}]}\n---\n`;
  const ask = asked(policy('ALLOW', '/a') + policy('DENY', '/b').replace('name: p', 'name: q') + api);
  t.same(
    [ask(account('api'), 'GET /a'), ask(account('x'), 'GET /a'), ask(account('api'), 'GET /c')],
    [true, false, false],
  );
  t.notOk(asked(policy('DENY', '/b') + api)(account('api'), 'GET /b'));
});

const refusals: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  ['no sources', 'Kind: service-intentions\nName: web', /needs the field Sources/],
  ['an empty list of sources', entry(''), /Sources: must be a list with at least one entry/],
  ['no name', 'Kind: service-intentions\nSources: [{Name: a, Action: allow}]', /needs the field Name/],
  ['an unknown kind', 'Kind: service-intention\nName: web', /Kind: must be service-intentions/],
  ['an unknown field', `${api.replace('---\n', '')}Selector: {}`, /Selector: is not a field that is known here/],
  ['a mistyped field', entry('{Name: a, Acton: allow}'), /Acton: is not a known field \(did you mean Action\?\)/],
  ['neither action nor permissions', entry('{Name: a}'), /Sources\[0\]: needs Action/],
  ['an unknown action', entry('{Name: a, Action: Allow}'), /Action: must be one of allow, deny/],
  [
    'action and permissions',
    entry('{Name: a, Action: deny, Permissions: [{Action: allow, HTTP: {PathExact: /a}}]}'),
    /Action: must not be there beside Permissions/,
  ],
  [
    'a permission about nothing',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {}}]}'),
    /HTTP: must say something/,
  ],
  [
    'two paths',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {PathExact: /a, PathPrefix: /b}}]}'),
    /may have only one of PathExact and PathPrefix/,
  ],
  [
    'a path without slash',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {PathExact: a}}]}'),
    /PathExact: must begin with \//,
  ],
  ['a bad expression', entry('{Name: a, Permissions: [{Action: allow, HTTP: {PathRegex: "("}}]}'), /PathRegex: /],
  [
    'an unknown method',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {Methods: [FETCH]}}]}'),
    /Methods\[0\]: must be one of GET/,
  ],
  [
    'a method twice',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {Methods: [GET, get]}}]}'),
    /Methods\[1\]: is there twice/,
  ],
  [
    'a header with two forms',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {Header: [{Name: x, Exact: a, Prefix: b}]}}]}'),
    /must have exactly one of Present/,
  ],
  [
    'a header without a form',
    entry('{Name: a, Permissions: [{Action: allow, HTTP: {Header: [{Name: x}]}}]}'),
    /must have exactly one of Present/,
  ],
  [
    'a pseudo-header',
    entry('{Name: a, Permissions: [{Action: deny, HTTP: {Header: [{Name: ":path", Prefix: /x}]}}]}'),
    /Header\[0\]\.Name: is refused: it is blind to the other ways to write a path; use PathExact, PathPrefix or PathRegex/,
  ],
  [
    'a name that no header has',
    entry('{Name: a, Permissions: [{Action: deny, HTTP: {Header: [{Name: "x y", Present: true}]}}]}'),
    /Header\[0\]\.Name: must have the name of a header/,
  ],
  ['a source twice', entry('{Name: a, Action: allow}, {Name: a, Action: deny}'), /Sources\[1\]\.Name: is named twice/],
  ['a wildcard among others', entry('{Name: "a*", Action: allow}'), /may be \*, but not have one/],
  ['a name in any namespace', entry('{Name: a, Namespace: "*", Action: allow}'), /must be \* where the namespace is/],
  [
    'permissions for a wildcard',
    'Kind: service-intentions\nName: "*"\nSources: [{Name: a, Permissions: [{Action: allow, HTTP: {PathExact: /a}}]}]',
    /must not be there for a destination that is a wildcard/,
  ],
  ['a peer', entry('{Name: a, Peer: east, Action: allow}'), /Peer: is refused: /],
  ['a sameness group', entry('{Name: a, SamenessGroup: g, Action: allow}'), /SamenessGroup: is refused: /],
  ['a token', entry('{Name: a, Action: allow}', 'JWT: {Providers: [{Name: okta}]}'), /JWT: is refused: /],
  [
    'another default policy',
    entry('{Name: a, Action: allow}', 'Meta: {default_intention_policy: open}'),
    /must be allow or deny/,
  ],
  [
    'the custom resource',
    'apiVersion: consul.hashicorp.com/v1alpha1\nkind: ServiceIntentions\nmetadata: {name: a}\nspec: {}',
    /kind: is refused: write it as the config entry/,
  ],
  ['an entry twice', api + api, /there is another service-intentions of this name/],
];
for (const [what, yaml, message] of refusals) {
  t.test(`refused: ${what}`, async (t) => t.match(problems(yaml).join('\n'), message));
}

t.test('an explanation names the entry, the rules in the order of the file, and what goes before them', async (t) => {
  const yaml = entry(
    '{Name: "*", Action: allow}, {Name: api, Permissions: [{Action: deny, HTTP: {PathPrefix: /x}}, {Action: allow, HTTP: {PathPrefix: /}}]}',
  );
  const mesh = await shopMesh({ yaml });
  t.teardown(() => mesh.close());
  const about = (principal: string, path: string) => mesh.explain({ direction: 'inbound', path, from: { principal } });
  t.match(await about(account('b'), '/x'), { decision: 'allow', policy: 'shop/web', rule: 0 });
  t.match(await about(service('api'), '/y'), { decision: 'allow', policy: 'shop/web', rule: 1 });
  t.match((await about(service('api'), '/x')).passedOver, [
    {
      rule: 'service-intentions shop/web rules[0]',
      reasons: ['unless[0]: a source or a permission that goes before it matches'],
    },
    {
      rule: 'service-intentions shop/web rules[1]',
      reasons: ['unless[0]: a source or a permission that goes before it matches'],
    },
  ]);
  const exact = await shopMesh({ yaml: api });
  t.teardown(() => exact.close());
  const { passedOver } = await exact.explain({ direction: 'inbound', path: '/', from: { principal: service('z') } });
  t.match(passedOver?.[0]?.reasons.join(), /services: "default\/z" is not among "default\/api"/);
  t.match(
    (await exact.explain({ direction: 'inbound', path: '/', from: { principal: account('z') } })).text,
    /a caller without an identity of Consul/,
  );
});

t.test('other config entries of Consul have no effect, and the report says so', async (t) => {
  t.match(good('Kind: service-defaults\nName: web\nProtocol: http').remarks(), [/service-defaults .*ignored/]);
});

// A second reading of intentions, which is the documentation's: the first in precedence whose source is
// the caller, the first of its permissions that matches, else the default.
interface Said {
  readonly name: string;
  readonly ns: string;
  readonly action?: string;
  readonly permissions: readonly { readonly action: string; readonly prefix: string; readonly method: string }[];
}

function naive(
  destinations: readonly (readonly [string, readonly Said[]])[],
  fallback: string,
  caller: readonly [string, string],
  request: readonly [string, string],
): boolean {
  const all = destinations.flatMap(([name, sources]) =>
    sources.map((said) => ({
      said,
      precedence: (name === '*' ? 6 : 9) - (said.ns === '*' ? 2 : said.name === '*' ? 1 : 0),
    })),
  );
  all.sort((a, b) => b.precedence - a.precedence);
  const found = all.find(
    ({ said }) => (said.ns === '*' || said.ns === caller[0]) && (said.name === '*' || said.name === caller[1]),
  )?.said;
  const permission = found?.permissions.find(
    ({ method, prefix }) => request[1].startsWith(prefix) && (method === '' || method === request[0]),
  );
  return (found?.action ?? permission?.action ?? fallback) === 'allow';
}

function randomSources(choose: Chooser, wild: boolean): readonly Said[] {
  const sources = new Map<string, Said>();
  for (let i = 0; i <= choose.number(4); i++) {
    const ns = choose.of(['shop', 'ops', '*']);
    const name = ns === '*' ? '*' : choose.of(['a', 'b', '*']);
    const permissions = Array.from({ length: wild ? 0 : choose.number(4) }, () => ({
      action: choose.of(['allow', 'deny']),
      prefix: choose.of(['/x', '/x/y', '/z', '/']),
      method: choose.of(['', 'GET', 'POST']),
    }));
    const action = permissions.length === 0 ? { action: choose.of(['allow', 'deny']) } : {};
    sources.set(`${ns}/${name}`, { ns, name, permissions, ...action });
  }
  return [...sources.values()];
}

t.test('random intentions are decided as their documentation reads', async (t) => {
  let allowed = 0;
  for (let seed = 0; seed < 400; seed++) {
    const choose = chooser(seed);
    const fallback = choose.of(['allow', 'deny']);
    const destinations = [
      ['web', randomSources(choose, false)],
      ['*', randomSources(choose, true)],
    ] as const;
    const yaml = destinations.map(([Name, sources]) =>
      JSON.stringify({
        Kind: 'service-intentions',
        Name,
        Namespace: 'shop',
        Meta: { default_intention_policy: fallback },
        Sources: sources.map(({ action, name, ns, permissions }) => ({
          Name: name,
          Namespace: ns,
          ...(action === undefined ? {} : { Action: action }),
          ...(permissions.length === 0
            ? {}
            : {
                Permissions: permissions.map(({ method, prefix, ...said }) => ({
                  Action: said.action,
                  HTTP: { PathPrefix: prefix, ...(method === '' ? {} : { Methods: [method] }) },
                })),
              }),
        })),
      }),
    );
    const ask = asked(yaml.join('\n---\n'));
    for (let i = 0; i < 12; i++) {
      const caller = [choose.of(['shop', 'ops', 'dev']), choose.of(['a', 'b', 'c'])] as const;
      const request = [choose.of(['GET', 'POST']), choose.of(['/x', '/x/y', '/xx', '/z/1', '/w'])] as const;
      const expected = naive(destinations, fallback, caller, request);
      const id = choose.once(2) ? account(caller[1], caller[0]) : service(caller[1], caller[0]);
      if (ask(id, request.join(' ')) !== expected) t.fail(JSON.stringify({ seed, id, request, expected, yaml }));
      if (expected) allowed++;
    }
  }
  t.ok(allowed > 500 && allowed < 4_300, `${allowed} of 4,800 allowed`);
});
