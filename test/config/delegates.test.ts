import t from 'tap';
import { mergeRule } from '../../src/config/delegates.ts';
import type { HttpMatchSpec } from '../../src/config/istio-virtual-service.ts';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

const root = (rules: string, name = 'root'): string =>
  resourceYaml('VirtualService', name, `{hosts: [reviews], http: [${rules}]}`);
const delegate = (spec: string, name = 'inner', namespace = 'shop'): string =>
  resourceYaml('VirtualService', name, `{${spec}}`, namespace);
const to = 'route: [{destination: {host: reviews}}]';
const routes = (yaml: string) => good(serviceYaml() + yaml).routes('reviews:80');

t.test('a delegate gives its rules in the place of the one that names it', async (t) => {
  const found = routes(
    root(
      `{name: a, match: [{uri: {exact: /a}}], ${to}}, {match: [{uri: {prefix: /b}}], delegate: {name: inner}}, {name: z, ${to}}`,
    ) + delegate(`http: [{name: b1, match: [{uri: {prefix: /b/1}}], ${to}}, {name: b2, ${to}}]`),
  );
  t.match(found, [
    { name: 'a', provenance: { name: 'root', field: 'http[0]' } },
    { name: 'b1', matches: [{ path: { value: '/b/1' } }], provenance: { name: 'inner', field: 'http[0]' } },
    { name: 'b2', matches: [{ path: { value: '/b' } }], provenance: { name: 'inner', field: 'http[1]' } },
    { name: 'z' },
  ]);
});

t.test('short names of a delegate belong to its namespace', async (t) => {
  const found = routes(
    root('{delegate: {name: inner, namespace: other}, mirror: {host: reviews}}') +
      delegate(`http: [{route: [{destination: {host: details}}]}]`, 'inner', 'other'),
  );
  t.match(found, [
    {
      destinations: [{ cluster: 'outbound|80||details.other.svc.cluster.local' }],
      mirrors: [{ cluster: 'outbound|80||reviews.shop.svc.cluster.local' }],
    },
  ]);
});

t.test('what a delegate does not say is taken from the root', async (t) => {
  const all =
    'timeout: 1s, retries: {attempts: 7}, rewrite: {uri: /r}, headers: {request: {set: {a: b}}}, corsPolicy: {}, mirror: {host: reviews}, mirrorPercentage: {value: 5}, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}';
  const [inherits, overrides] = routes(
    root(`{name: r, ${all}, delegate: {name: inner}}`) +
      delegate(
        `http: [{match: [{uri: {exact: /a}}], ${to}}, {name: d, timeout: 2s, retries: {attempts: 0}, rewrite: {authority: x}, headers: {}, mirrorPercentage: {value: 6}, fault: {delay: {fixedDelay: 1s, percentage: {value: 2}}}, ${to}}]`,
      ),
  );
  t.match(inherits, {
    name: 'r',
    timeoutMs: 1_000,
    retry: { attempts: 7 },
    rewrite: { pathPrefix: '/r' },
    headers: { request: { set: [{ name: 'a', value: 'b' }] } },
    cors: {},
    mirrors: [{ percent: 5 }],
    fault: { abort: { status: 500 } },
  });
  t.match(overrides, { name: 'r-d', timeoutMs: 2_000, rewrite: { authority: 'x' }, mirrors: [{ percent: 6 }] });
  t.notOk('retry' in (overrides ?? {}));
  t.notOk('headers' in (overrides ?? {}));
  t.notOk('abort' in (overrides?.fault ?? {}));
});

t.test('a direct response of the root goes before the route of the delegate, as in Istio', async (t) => {
  const found = routes(root('{directResponse: {status: 418}, delegate: {name: inner}}') + delegate(`http: [{${to}}]`));
  t.match(found, [{ direct: { status: 418 }, destinations: [] }]);
});

t.test('a delegate that is not there leaves out the rule, and no more', async (t) => {
  const { remarks, routes: at } = good(serviceYaml() + root(`{delegate: {name: inner}}, {name: z, ${to}}`));
  t.match(at('reviews:80'), [{ name: 'z' }]);
  t.match(remarks(), [/http\[0\]\.delegate ignored \(warning\): there is no VirtualService shop\/inner without hosts/]);
  const other = good(serviceYaml() + root(`{delegate: {name: other}}, {name: z, ${to}}`) + root(`{${to}}`, 'other'));
  t.match(other.remarks().join('\n'), /there is no VirtualService shop\/other without hosts/);
});

t.test('a delegate must be exported to the namespace of its root', async (t) => {
  const yaml = (exportTo: string) =>
    good(
      serviceYaml() +
        root(`{delegate: {name: inner, namespace: other}}, {name: z, ${to}}`) +
        delegate(`http: [{name: inner, ${to}}], exportTo: ${exportTo}`, 'inner', 'other'),
    );
  t.equal(yaml('["*"]').routes('reviews:80')[0]?.name, 'inner');
  t.equal(yaml('[shop]').routes('reviews:80')[0]?.name, 'inner');
  t.equal(yaml('["."]').routes('reviews:80')[0]?.name, 'z');
  t.match(yaml('[front]').remarks(), [
    /VirtualService other\/inner is not exported to shop; the rule is left out/,
    /503/,
  ]);
});

t.test('one delegate may serve several roots', async (t) => {
  const yaml =
    serviceYaml() +
    serviceYaml('details') +
    root('{name: a, delegate: {name: inner}}') +
    resourceYaml('VirtualService', 'second', '{hosts: [details], http: [{name: b, delegate: {name: inner}}]}') +
    delegate(`http: [{${to}}]`);
  const { routes: at } = good(yaml);
  t.equal(at('reviews:80')[0]?.name, 'a');
  t.equal(at('details:80')[0]?.name, 'b');
});

t.test('a delegate that nobody names is in the report', async (t) => {
  t.match(good(serviceYaml() + delegate(`http: [{${to}}]`)).remarks(), [
    /spec ignored \(warning\): has no hosts, and no/,
  ]);
});

t.test('a rule that asks for more than its root lets through is left out, and said so', async (t) => {
  const { remarks, routes: at } = good(
    serviceYaml() +
      root('{match: [{uri: {prefix: /a}}], delegate: {name: inner}}') +
      delegate(
        `http: [{name: out, match: [{uri: {prefix: /b}}], ${to}}, {name: in, match: [{uri: {exact: /a/1}}], ${to}}]`,
      ),
  );
  t.same(
    at('reviews:80').map(({ name }) => name),
    ['in'],
  );
  t.match(remarks(), [/http\[0\] ignored \(warning\): does not fit into the match of shop\/root http\[0\]/]);
});

type Case = readonly [root: HttpMatchSpec, delegate: HttpMatchSpec, merged: HttpMatchSpec | undefined];
const free = { port: 0, sourceNamespace: '', gateways: [], statPrefix: '' };
const cases: readonly Case[] = [
  [{ uri: { prefix: '/a' } }, {}, { uri: { prefix: '/a' } }],
  [{}, { uri: { regex: '/a' } }, { uri: { regex: '/a' } }],
  [{ uri: { prefix: '/a' } }, { uri: { prefix: '/ab' } }, { uri: { prefix: '/ab' } }],
  [{ uri: { prefix: '/a' } }, { uri: { exact: '/ab' } }, { uri: { exact: '/ab' } }],
  [{ uri: { prefix: '/ab' } }, { uri: { prefix: '/a' } }, undefined],
  [{ uri: { exact: '/a' } }, { uri: { exact: '/a' } }, { uri: { exact: '/a' } }],
  [{ uri: { exact: '/a' } }, { uri: { exact: '/b' } }, undefined],
  [{ uri: { exact: '/a' } }, { uri: { prefix: '/a' } }, undefined],
  [{ uri: { regex: '/a' } }, { uri: { regex: '/a' } }, undefined],
  [{ uri: { prefix: '/a' } }, { uri: { regex: '/a' } }, undefined],
  [{ uri: { regex: '/a' } }, { uri: { prefix: '/a' } }, undefined],
  [{ uri: { prefix: '/a' } }, { uri: {} }, undefined],
  [{ method: { exact: 'GET' } }, { method: { exact: 'PUT' } }, undefined],
  [{ scheme: { exact: 'a' } }, { authority: { exact: 'b' } }, { scheme: { exact: 'a' }, authority: { exact: 'b' } }],
  [
    { headers: { a: { exact: '1' } } },
    { headers: { b: { regex: '2' } } },
    { headers: { a: { exact: '1' }, b: { regex: '2' } } },
  ],
  [{ headers: { a: { exact: '1' } } }, { headers: { a: { exact: '2' } } }, undefined],
  [{ headers: { a: {} } }, { headers: { a: { exact: '2' } } }, undefined],
  [
    { queryParams: { a: { prefix: '1' } } },
    { queryParams: { a: { exact: '12' } } },
    { queryParams: { a: { exact: '12' } } },
  ],
  [{ withoutHeaders: { a: { exact: '1' } } }, { withoutHeaders: { a: { exact: '2' } } }, undefined],
  [{ ignoreUriCase: true }, {}, undefined],
  [{ ignoreUriCase: true }, { ignoreUriCase: true }, { ignoreUriCase: true }],
  [{ port: 80 }, {}, { port: 80 }],
  [{ port: 80 }, { port: 81 }, undefined],
  [{ sourceNamespace: 'a' }, { sourceNamespace: 'a' }, { sourceNamespace: 'a' }],
  [{ sourceNamespace: 'a' }, {}, undefined],
  [{}, { sourceNamespace: 'a' }, { sourceNamespace: 'a' }],
  [{ sourceLabels: { a: '1' } }, { sourceLabels: { b: '2' } }, { sourceLabels: { a: '1', b: '2' } }],
  [{ sourceLabels: { a: '1' } }, { sourceLabels: { a: '2' } }, undefined],
  [{ gateways: ['mesh', 'a/b'] }, { gateways: ['mesh'] }, { gateways: ['mesh'] }],
  [{ gateways: ['mesh'] }, { gateways: ['mesh', 'a/b'] }, undefined],
  [{ gateways: ['mesh'] }, {}, { gateways: ['mesh'] }],
  [{ gateways: ['mesh', 'a/b'] }, { gateways: ['a/c'] }, undefined],
  [{ name: 'a', statPrefix: 's' }, { name: 'b' }, { name: 'a-b', statPrefix: 's' }],
  [{ name: 'a' }, {}, { name: 'a' }],
];
for (const [outer, inner, merged] of cases) {
  t.test(`match ${JSON.stringify(outer)} with ${JSON.stringify(inner)}`, async (t) => {
    const found = mergeRule({ match: [outer] }, { match: [inner] });
    t.same(found, merged === undefined ? undefined : { match: [{ ...free, ...merged }] });
  });
}

t.test('each entry of a delegate is joined with every entry of the root that it fits', async (t) => {
  const found = mergeRule(
    { match: [{ headers: { a: {} } }, { uri: { prefix: '/x' } }] },
    { match: [{ uri: { prefix: '/x/1' } }, { headers: { a: { exact: '1' } } }] },
  );
  t.match(found?.match, [
    { headers: { a: {} }, uri: { prefix: '/x/1' } },
    { uri: { prefix: '/x/1' } },
    { uri: { prefix: '/x' }, headers: { a: { exact: '1' } } },
  ]);
  t.same(mergeRule({ match: [] }, { match: [{ name: 'a' }] })?.match, [{ name: 'a' }]);
  t.same(mergeRule({ match: [{ name: 'a' }] }, {})?.match, [{ name: 'a' }]);
});

const refusals: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  [
    'a route beside delegate',
    root(`{delegate: {name: a}, ${to}}`),
    /http\[0\]\.route: must not be there beside delegate/,
  ],
  ['a redirect beside it', root('{delegate: {name: a}, redirect: {uri: /}}'), /redirect: must not be there beside/],
  [
    'a delegate of a delegate',
    delegate(`http: [{delegate: {name: a}, ${to}}]`),
    /a delegate does not delegate further/,
  ],
  [
    'gateways of a delegate',
    delegate(`gateways: [mesh], http: [{${to}}]`),
    /spec\.gateways: must not be there without/,
  ],
  ['tcp rules of a delegate', delegate(`tcp: [{${to}}]`), /spec\.tcp: must not be there without hosts/],
  ['tls rules of a delegate', delegate(`tls: [{match: [{sniHosts: [a]}], ${to}}]`), /spec\.tls: must not be there/],
];
for (const [what, yaml, message] of refusals) {
  t.test(`refused: ${what}`, async (t) => t.match(problems(serviceYaml() + yaml).join('\n'), message));
}
