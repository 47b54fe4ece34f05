import t from 'tap';
import { routesOf, toV1, toV2, withRoutes } from './reviews.ts';
import { good, problems } from './support.ts';

const exact = (value: string) => ({ kind: 'exact', value });

t.test('each match condition is compiled with its meaning', async (t) => {
  const cases: readonly (readonly [match: string, expected: object])[] = [
    ['{uri: {exact: /a}}', { path: exact('/a') }],
    ['{uri: {prefix: /a}}', { path: { kind: 'prefix', value: '/a' } }],
    ['{uri: {regex: "/a.*"}}', { path: { kind: 'regex', value: '/a.*' } }],
    ['{uri: {exact: /a}, ignoreUriCase: true}', { path: exact('/a'), pathIgnoreCase: true }],
    ['{uri: {prefix: /a}, ignoreUriCase: false}', { path: { kind: 'prefix', value: '/a' } }],
    // Envoy ignores the case option for regular expressions.
    ['{uri: {regex: /a}, ignoreUriCase: true}', { path: { kind: 'regex', value: '/a' } }],
    ['{scheme: {exact: https}}', { scheme: exact('https') }],
    ['{method: {regex: "GET|HEAD"}}', { method: { kind: 'regex', value: 'GET|HEAD' } }],
    ['{authority: {prefix: a.}}', { authority: { kind: 'prefix', value: 'a.' } }],
    ['{headers: {End-User: {exact: jason}}}', { headers: [{ name: 'end-user', match: exact('jason') }] }],
    ['{headers: {x: {prefix: a}}}', { headers: [{ name: 'x', match: { kind: 'prefix', value: 'a' } }] }],
    ['{headers: {x: {regex: "a+"}}}', { headers: [{ name: 'x', match: { kind: 'regex', value: 'a+' } }] }],
    ['{headers: {x: {}}}', { headers: [{ name: 'x', match: { kind: 'present' } }] }],
    ['{withoutHeaders: {X: {exact: a}}}', { withoutHeaders: [{ name: 'x', match: exact('a') }] }],
    ['{withoutHeaders: {x: {}}}', { withoutHeaders: [{ name: 'x', match: { kind: 'present' } }] }],
    ['{withoutHeaders: {x: {regex: "*"}}}', { withoutHeaders: [{ name: 'x', match: { kind: 'present' } }] }],
    ['{queryParams: {Page: {exact: "1"}}}', { queryParams: [{ name: 'Page', match: exact('1') }] }],
    ['{queryParams: {q: {exact: ""}}}', { queryParams: [{ name: 'q', match: exact('') }] }],
    ['{queryParams: {q: {}}}', { queryParams: [{ name: 'q', match: { kind: 'present' } }] }],
    ['{queryParams: {q: {prefix: a}}}', { queryParams: [{ name: 'q', match: { kind: 'prefix', value: 'a' } }] }],
    ['{name: old, statPrefix: s, uri: {exact: /a}}', { name: 'old', statPrefix: 's', path: exact('/a') }],
    [
      '{uri: {prefix: /a}, headers: {x: {exact: "1"}, y: {}}}',
      {
        path: { kind: 'prefix', value: '/a' },
        headers: [
          { name: 'x', match: exact('1') },
          { name: 'y', match: { kind: 'present' } },
        ],
      },
    ],
  ];
  for (const [match, expected] of cases) {
    t.same(routesOf(`{match: [${match}], ${toV1}}`)[0]?.matches, [{ index: 0, ...expected }], match);
  }
});

t.test('pseudo headers are conditions on what they stand for', async (t) => {
  const cases: readonly (readonly [match: string, expected: object])[] = [
    ['{headers: {":method": {exact: GET}}}', { method: exact('GET') }],
    ['{headers: {":scheme": {exact: http}}}', { scheme: exact('http') }],
    ['{headers: {":authority": {exact: a}}}', { authority: exact('a') }],
    ['{headers: {Host: {exact: a}}}', { authority: exact('a') }],
    [
      '{headers: {":path": {prefix: "/a?"}}}',
      { headers: [{ name: ':path', match: { kind: 'prefix', value: '/a?' } }] },
    ],
    [
      '{method: {prefix: P}, headers: {":method": {exact: PUT}}}',
      { method: { kind: 'prefix', value: 'P' }, headers: [{ name: ':method', match: exact('PUT') }] },
    ],
  ];
  for (const [match, expected] of cases) {
    t.same(routesOf(`{match: [${match}], ${toV1}}`)[0]?.matches, [{ index: 0, ...expected }], match);
  }
});

t.test('conditions that hold for every request leave nothing to match', async (t) => {
  const always = [
    '{}',
    '{uri: {}}',
    '{uri: {prefix: ""}}',
    '{port: 80}',
    '{port: 0}',
    '{gateways: [mesh]}',
    '{method: {}}',
    '{headers: {":authority": {}}}',
    '{sourceNamespace: ""}',
  ];
  for (const match of always) {
    t.same(routesOf(`{match: [${match}], ${toV1}}`)[0]?.matches, [], match);
    // An exact path before it counts: a rewrite replaces something else there.
    t.same(
      routesOf(`{match: [{uri: {exact: /a}}, ${match}], ${toV1}}`)[0]?.matches,
      [{ index: 0, path: exact('/a') }, { index: 1 }],
      match,
    );
  }
  t.same(routesOf(`{match: [], ${toV1}}`)[0]?.matches, []);
  t.same(routesOf(`{match: [{name: all}], ${toV1}}`)[0]?.matches, [{ index: 0, name: 'all' }], 'the name is kept');
});

t.test('what stands behind a condition that always holds is left out, and the reason kept', async (t) => {
  const all: readonly string[] = ['', 'match: [{}]', 'match: [{uri: {prefix: /}}]', 'match: [{uri: {regex: ".*"}}]'];
  for (const match of all) {
    const yaml = withRoutes(`{name: first, ${match === '' ? '' : `${match}, `}${toV1}}, {name: second, ${toV2}}`);
    const host = good(yaml).snapshot.hosts.get('reviews:80');
    t.same(
      host?.routes.map(({ name }) => name),
      ['first'],
      match,
    );
    t.match(host?.skipped, [
      { name: 'second', reason: 'first matches every request before it', provenance: { field: 'http[1]' } },
    ]);
  }
  const within = routesOf(`{match: [{uri: {exact: /a}}, {uri: {prefix: /}}, {uri: {exact: /b}}], ${toV1}}`);
  t.same(
    within[0]?.matches.map(({ index }) => index),
    [0, 1],
  );
});

t.test('conditions on the caller and the port are decided when compiling', async (t) => {
  const rest = `{${toV2}}`;
  const cases: readonly (readonly [match: string, reason: string | undefined])[] = [
    ['{sourceLabels: {app: web}}', undefined],
    ['{sourceLabels: {app: web, version: v2}}', 'sourceLabels app=web, version=v2 are not those of this workload'],
    ['{sourceNamespace: shop}', undefined],
    ['{sourceNamespace: other}', 'sourceNamespace is other, and this is shop'],
    ['{port: 80}', undefined],
    ['{port: 81}', 'port is 81, and this is port 80'],
    ['{gateways: [mesh, edge]}', undefined],
    ['{gateways: [edge]}', 'gateways are shop/edge, and not mesh'],
    // Gateways decide alone where they are named, as in Istio.
    ['{gateways: [mesh], sourceNamespace: other}', undefined],
    ['{gateways: [mesh], port: 81}', 'port is 81, and this is port 80'],
    ['{gateways: []}', undefined],
  ];
  for (const [match, reason] of cases) {
    const yaml = withRoutes(`{name: first, match: [{uri: {exact: /a}, ${match.slice(1)}], ${toV1}}, ${rest}`);
    const host = good(yaml).snapshot.hosts.get('reviews:80');
    t.equal(host?.routes.length, reason === undefined ? 2 : 1, match);
    if (reason === undefined) t.notOk('skipped' in (host ?? {}));
    else t.match(host?.skipped, [{ name: 'first', reason: `match[0]: ${reason}` }]);
  }
  const two = withRoutes(`{name: first, match: [{port: 1}, {sourceNamespace: x}], ${toV1}}, ${rest}`);
  t.match(good(two).snapshot.hosts.get('reviews:80')?.skipped, [
    { reason: 'match[0]: port is 1, and this is port 80; match[1]: sourceNamespace is x, and this is shop' },
  ]);
});

t.test('each route knows its place', async (t) => {
  const routes = routesOf(`{match: [{uri: {exact: /a}}], ${toV1}}, {${toV2}}`);
  t.match(routes, [
    { provenance: { kind: 'VirtualService', name: 'reviews', file: '0.yaml', field: 'http[0]' } },
    { provenance: { field: 'http[1]' } },
  ]);
});

const refusals: readonly (readonly [match: string, message: RegExp])[] = [
  ['{uri: {exact: /a, prefix: /b}}', /uri: may have only one of exact and prefix/],
  ['{uri: {regex: ""}}', /uri\.regex: must not be empty/],
  ['{scheme: {prefix: ""}}', /scheme\.prefix: must not be empty/],
  ['{method: {regex: "*"}}', /method\.regex: not a valid RE2 pattern/],
  ['{authority: {regex: "("}}', /authority\.regex: not a valid RE2 pattern/],
  ['{headers: {x: {prefix: ""}}}', /headers\.x\.prefix: must not be empty/],
  ['{headers: {x: {regex: "*"}}}', /headers\.x\.regex: not a valid RE2 pattern/],
  ['{headers: {"a b": {}}}', /headers\["a b"\]: must be the name of a header/],
  ['{headers: {":proto": {}}}', /must be the name of a header/],
  ['{withoutHeaders: {"a b": {}}}', /withoutHeaders\["a b"\]: must be the name of a header/],
  ['{withoutHeaders: {x: {regex: "("}}}', /withoutHeaders\.x\.regex: not a valid RE2 pattern/],
  ['{queryParams: {q: {prefix: ""}}}', /queryParams\.q\.prefix: must not be empty/],
  ['{queryParams: {q: {regex: "*"}}}', /queryParams\.q\.regex: not a valid RE2 pattern/],
  ['{port: 65536}', /port: must be an integer from 0 to 65535/],
  ['{sourceLabels: {"a b": c}}', /sourceLabels\["a b"\]: must be the key of a label/],
  ['{sourceLabels: {a: "-"}}', /sourceLabels\.a: must be the value of a label, got "-"/],
  ['{sourceNamespace: a.b}', /sourceNamespace: must be the name of a namespace/],
  ['{gateways: ["a b"]}', /gateways\[0\]: must be mesh or <namespace>\/<name>/],
  ['{gateways: ["a/b.c"]}', /gateways\[0\]: must be mesh or <namespace>\/<name>/],
  ['{headers: {"@request.auth.claims.sub": {exact: a}}}', /claims are matched at gateways only/],
  ['{withoutHeaders: {"@request.auth.claims[sub]": {}}}', /claims are matched at gateways only/],
];

for (const [match, message] of refusals) {
  t.test(`refused: ${match}`, async (t) => {
    t.match(problems(withRoutes(`{match: [${match}], ${toV1}}`)).join('\n'), message);
  });
}

t.test('accepted, as Istio does', async (t) => {
  for (const match of [
    '{uri: {prefix: ""}}',
    '{headers: {}}',
    '{method: {exact: ""}}',
    '{sourceLabels: {"example.com/a_b": ""}}',
    '{gateways: [mesh, "Bad name"]}',
    '{gateways: [edge.shop, mesh]}',
    // Istio takes the comma for a character of header names.
    '{headers: {"a,b": {}}}',
  ]) {
    t.same(problems(withRoutes(`{match: [${match}], ${toV1}}, {${toV2}}`)), [], match);
  }
});
