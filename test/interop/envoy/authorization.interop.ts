// The same rules and requests, decided by a real Envoy with what istiod makes of the rules, and by inmesh.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { compileAuthorization } from '../../../src/authz/decide.ts';
import type { AuthorizationFacts } from '../../../src/authz/rule.ts';
import { compile } from '../../../src/config/compile.ts';
import { parseYaml } from '../../../src/config/yaml.ts';
import { parseIpAddress } from '../../../src/lib/ip-address.ts';
import type { Snapshot } from '../../../src/model/snapshot.ts';
import { normalizePath } from '../../../src/sanitize/normalize-path.ts';
import { rawExchange, shopWeb, testPipeline } from '../../support/inbound.ts';
import { withEnvoy } from './binary.ts';
import { loopback, type Message, typed } from './bootstrap.ts';
import { httpFilter } from './http.ts';
import { rbacOf, type WrittenRule } from './istio-rbac.ts';
import { startEnvoy } from './run.ts';

type Headers = readonly (readonly [name: string, value: string])[];

interface Trial {
  readonly rule: WrittenRule;
  readonly path: string;
  readonly headers: Headers;
}

const role = (...values: readonly string[]): Headers => values.map((value) => ['x-role', value] as const);
const forwarded = (...lines: readonly string[]): Headers => lines.map((line) => ['x-forwarded-for', line] as const);
const header = (values: readonly string[], name = 'x-role') => ({ key: `request.headers[${name}]`, values });
const headerNot = (notValues: readonly string[], name = 'x-role') => ({ key: `request.headers[${name}]`, notValues });

const headerRules: readonly WrittenRule[] = [
  { when: [header(['admin'])] },
  { when: [header(['admin', 'ops*'])] },
  { when: [header(['*-b'])] },
  { when: [header(['*'])] },
  { when: [headerNot(['admin'])] },
  { when: [headerNot(['*'])] },
  { when: [{ ...header(['a*']), ...headerNot(['admin']) }] },
  { when: [header(['*'], 'connection')] },
  { when: [header(['*'], 'te')] },
  { when: [header(['GET'], ':method')] },
  { when: [header(['web'], 'host')] },
];
const headerSets: readonly Headers[] = [
  [],
  role('admin'),
  role('guest'),
  role('Admin'),
  role(''),
  role(' \tadmin '),
  role('admin,guest'),
  role('ops-b'),
  role('admin', 'guest'),
  role('guest', 'admin'),
  role('admin', 'admin'),
  role('admin', 'ops-1'),
  role('caf\u00c3\u00a9'),
  [['X-ROLE', 'admin']],
  [['x-role-2', 'admin']],
  [['te', 'trailers']],
  [['connection', 'keep-alive']],
];

const ipRules: readonly WrittenRule[] = [
  { from: [{ source: { ipBlocks: ['127.0.0.0/8'] } }] },
  { from: [{ source: { ipBlocks: ['10.0.0.0/8'] } }] },
  { from: [{ source: { notIpBlocks: ['127.0.0.1'] } }] },
  { from: [{ source: { ipBlocks: ['::/0'] } }] },
  { from: [{ source: { remoteIpBlocks: ['10.1.0.0/16'] } }] },
  { from: [{ source: { remoteIpBlocks: ['127.0.0.1'] } }] },
  { from: [{ source: { remoteIpBlocks: ['2001:db8::/32'] } }] },
  { from: [{ source: { notRemoteIpBlocks: ['10.1.0.0/16', '127.0.0.1'] } }] },
  { from: [{ source: { remoteIpBlocks: ['10.0.0.0/8'], notRemoteIpBlocks: ['10.1.2.0/24'] } }] },
  { when: [{ key: 'remote.ip', values: ['10.1.0.0/16'] }] },
  { when: [{ key: 'source.ip', notValues: ['10.1.0.0/16'] }] },
  { when: [{ key: 'destination.ip', values: ['127.0.0.1'] }] },
];
const forwardedSets: readonly Headers[] = [
  [],
  forwarded('10.1.2.3'),
  forwarded('10.2.0.1'),
  forwarded('10.1.2.3, 10.2.0.1'),
  forwarded('10.2.0.1,10.1.3.3'),
  forwarded('10.2.0.1', '10.1.2.3'),
  forwarded('10.1.2.3', '10.2.0.1'),
  forwarded('2001:db8::7'),
  forwarded('2001:DB8:0:0::7'),
  forwarded('unknown'),
  forwarded('10.1.2.3:80'),
  forwarded('[2001:db8::7]'),
  forwarded('010.1.2.3'),
  forwarded('10.1.515'),
  forwarded('10.1.2.3,'),
  forwarded('  10.1.2.3\t'),
  forwarded(''),
  forwarded(Array(300).fill('10.1.2.3').join(',')),
];

const templates = [
  '/users/{*}',
  '/users/{*}/',
  '/users/{*}/keys',
  '/files/{**}',
  '/files/{**}/edit',
  '/{**}',
  '/{*}/{*}',
];
const paths = [
  '/',
  '/users',
  '/users/',
  '/users/7',
  '/users/7/',
  '/users//',
  '/users/7/keys',
  '/users/7/keys?a=/users/8',
  '/users/a%20b',
  '/users/a%2Fb',
  '/users/a;b=c',
  '/users/a=b',
  '/users/a*b',
  '/users/a"b',
  '/users/(a)',
  '/users/../users/7',
  '/USERS/7',
  '/files',
  '/files/',
  '/files/a/b',
  '/files/edit',
  '/files/a/edit',
  '/files/a/b/edit',
  '/files//edit',
  '/a/b',
];

/** Each visible character by itself. */
const everyCharacter = Array.from({ length: 0x7e - 0x20 }, (_, i) => `/users/a${String.fromCharCode(0x21 + i)}b`)
  // Envoy refuses a target with a fragment; here it is cut.
  .filter((path) => !path.includes('#'));

const cross = (rules: readonly WrittenRule[], sets: readonly Headers[]): readonly Trial[] =>
  rules.flatMap((rule) => sets.map((headers) => ({ rule, path: '/', headers })));
const trials: readonly Trial[] = [
  ...cross(headerRules, headerSets),
  ...cross(ipRules, forwardedSets),
  ...templates.flatMap((template) =>
    [{ paths: [template] }, { notPaths: [template] }].flatMap((operation) =>
      [...paths, ...(template === '/users/{*}' ? everyCharacter : [])].map((path) => ({
        rule: { to: [{ operation }] },
        path,
        headers: [],
      })),
    ),
  ),
];

const claims = {
  iss: 'https://idp.example/a',
  sub: 'b/alice',
  aud: ['shop', 'ops'],
  azp: 'cli',
  realm: { roles: ['user', 'admin', 7, ['nested']], deep: { er: 'x' } },
  level: 7,
  active: true,
  none: null,
  empty: '',
  many: [],
};
const claim = (key: string, values: readonly string[]) => ({ key: `request.auth.${key}`, values });
const claimRules: readonly WrittenRule[] = [
  ...['shop', 'sho*', '*s', '*', 'x'].map((value) => ({ when: [claim('audiences', [value])] })),
  ...['cli', 'c*', '*', 'x'].map((value) => ({ when: [claim('presenter', [value])] })),
  ...['admin', 'adm*', '7', 'nested', '*'].map((value) => ({ when: [claim('claims[realm][roles]', [value])] })),
  ...[
    '[realm]',
    '[realm][deep][er]',
    '[realm][deep]',
    '[level]',
    '[active]',
    '[none]',
    '[empty]',
    '[many]',
    '[no]',
  ].map((path) => ({ when: [claim(`claims${path}`, ['*'])] })),
  { when: [claim('claims[level]', ['7'])] },
  { when: [claim('claims[active]', ['true'])] },
  { when: [claim('claims[realm][roles]', ['x', 'user'])] },
  { when: [{ key: 'request.auth.claims[realm][roles]', notValues: ['x', 'user'] }] },
  { when: [{ key: 'request.auth.claims[no]', notValues: ['x'] }] },
  ...[
    '*',
    'https://idp.example/a/b/alice',
    'https://idp.example/a/b*',
    'https://idp.example/a/*',
    'https://idp.example/*',
    'https://idp*',
    '*/alice',
    '*/b/alice',
    '*alice',
    '*.example/a/b/alice',
    'x',
  ].flatMap((text) => [
    { from: [{ source: { requestPrincipals: [text] } }] },
    { from: [{ source: { notRequestPrincipals: [text] } }] },
  ]),
];

const actions = ['ALLOW', 'DENY'] as const;

/** One Envoy for all rules: each has a route of its own, by header. */
function listener(rules: readonly WrittenRule[]): Message {
  const routes = rules.flatMap((rule, index) =>
    actions.map((action) => ({
      match: {
        prefix: '/',
        headers: [{ name: 'x-case', string_match: { exact: `${action}-${index}` } }],
      },
      direct_response: { status: 200 },
      typed_per_filter_config: { 'envoy.filters.http.rbac': rbacOf(action, rule) },
    })),
  );
  const filter = (name: string, type: string, message: Message = {}): Message => ({
    name,
    typed_config: typed(`envoy.extensions.filters.http.${type}`, message),
  });
  return {
    name: 'in',
    address: loopback(0),
    filter_chains: [
      {
        filters: [
          httpFilter('none', {
            virtualHost: { routes },
            manager: {
              use_remote_address: true,
              xff_num_trusted_hops: 1,
              http_filters: [
                filter('envoy.filters.http.set_metadata', 'set_metadata.v3.Config', {
                  metadata: [{ metadata_namespace: 'envoy.filters.http.jwt_authn', value: { payload: claims } }],
                }),
                filter('envoy.filters.http.rbac', 'rbac.v3.RBAC'),
                filter('envoy.filters.http.router', 'router.v3.Router'),
              ],
            },
          }),
        ],
      },
    ],
  };
}

function snapshotOf(action: 'ALLOW' | 'DENY', rule: WrittenRule): Snapshot {
  const mesh =
    'apiVersion: inmesh.dev/v1\nkind: MeshConfig\nspec: {defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}}';
  const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}';
  const { documents } = parseYaml(`${mesh}\n---\n${head}\nspec: ${JSON.stringify({ action, rules: [rule] })}`);
  const made = compile(documents, { workload: shopWeb });
  if (!made.ok) throw new Error(`${JSON.stringify(rule)}: ${JSON.stringify(made.problems)}`);
  return made.snapshot;
}

const bytesOf = (path: string, headers: Headers): string =>
  `GET ${path} HTTP/1.1\r\nhost: web\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;

/** A header with several lines, an address that is none, `TE`. */
function isInDoubt({ headers, rule }: Trial): boolean {
  const text = JSON.stringify(rule);
  if (text.includes('[te]')) return true;
  if (text.includes('x-role')) return headers.filter(([name]) => name.toLowerCase() === 'x-role').length > 1;
  const last = headers.findLast(([name]) => name === 'x-forwarded-for')?.[1];
  return last !== undefined && parseIpAddress(last.slice(last.lastIndexOf(',') + 1).trim()) === undefined;
}

const nothingKnown: AuthorizationFacts = {
  peer: undefined,
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'web',
  localPort: 80,
  claims: undefined,
  sourceAddress: undefined,
  remoteAddress: undefined,
  destinationAddress: undefined,
  sni: '',
  rawHeaders: [],
};

const passes = async (port: number, path: string, headers: Headers): Promise<boolean> =>
  (await rawExchange(port, bytesOf(path, headers)))[0]?.status === 200;

t.test(
  ...withEnvoy('nothing passes that Envoy would refuse; what is refused beside is in doubt', async (t, program) => {
    const rules = [...new Set(trials.map(({ rule }) => JSON.stringify(rule)))];
    const envoy = await startEnvoy(t, program, () => ({
      listeners: [listener(rules.map((text) => JSON.parse(text) as WrittenRule))],
      clusters: [],
    }));
    const { pipeline, use } = testPipeline();
    const server = createServer((request, response) => pipeline.handle(request, response, () => response.end()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    let stricter = 0;
    for (const trial of trials) {
      const { rule, path, headers } = trial;
      const index = rules.indexOf(JSON.stringify(rule));
      for (const action of actions) {
        const snapshot = snapshotOf(action, rule);
        use(snapshot);
        const theirs = await passes(envoy.port('in'), path, [...headers, ['x-case', `${action}-${index}`]]);
        const ours = await passes(port, path, headers);
        const name = `${action} ${JSON.stringify(rule)}: ${path} ${JSON.stringify(headers).slice(0, 120)}`;
        if (rule.to !== undefined) {
          t.notOk(ours && !theirs, name);
          const canonical = path.includes('%b') ? undefined : normalizePath(path.split('?')[0] ?? '', 'BASE');
          if (canonical === undefined) continue;
          const literally = compileAuthorization(snapshot.inbound.authorization, { paths: 'literal' });
          const facts = { ...nothingKnown, path: canonical, rawPath: canonical };
          t.equal(literally(facts) === undefined, theirs, `literally: ${name}`);
        } else if (isInDoubt(trial)) {
          t.notOk(ours && !theirs, name);
        } else t.equal(ours, theirs, name);
        if (theirs && !ours) stricter++;
      }
    }
    t.comment(`${trials.length * actions.length} decisions, ${stricter} of them stricter`);
    t.ok(stricter > 50);
  }),
);

t.test(
  ...withEnvoy('claims and request principals are decided as Envoy decides', async (t, program) => {
    const envoy = await startEnvoy(t, program, () => ({ listeners: [listener(claimRules)], clusters: [] }));
    const facts = { ...nothingKnown, claims };
    for (const [index, rule] of claimRules.entries()) {
      for (const action of actions) {
        const { authorization } = snapshotOf(action, rule).inbound;
        const theirs = await passes(envoy.port('in'), '/', [['x-case', `${action}-${index}`]]);
        const ours = compileAuthorization(authorization)(facts) === undefined;
        const name = `${action} ${JSON.stringify(rule)}`;
        // Issuer and subject, put together in another way.
        if (/equestPrincipals/.test(name)) t.notOk(ours && !theirs, name);
        else t.equal(ours, theirs, name);
      }
    }
  }),
);
