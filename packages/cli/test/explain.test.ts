import { spawn } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { run } from '../src/index.ts';

const main = join(import.meta.dirname, '..', 'src', 'main.ts');

interface Result {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

async function explain(args: readonly string[], lines?: readonly string[]): Promise<Result> {
  const out: string[] = [];
  const notes: string[] = [];
  const stdin = async function* () {
    // In chunks that end anywhere.
    const all = Buffer.from((lines ?? []).join('\n'));
    for (let at = 0; at < all.length; at += 1_000) yield all.subarray(at, at + 1_000);
  };
  const code = await run(
    ['explain', ...args],
    { line: (line) => void out.push(line), note: (line) => void notes.push(line) },
    { env: {}, cwd: '/', ...(lines === undefined ? {} : { stdin: stdin() }) },
  );
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

const answers = async (lines: readonly object[]): Promise<readonly Record<string, unknown>[]> => {
  const { code, out } = await explain(
    ['--stdin'],
    lines.map((line) => JSON.stringify(line)),
  );
  t.equal(code, 0);
  return out.split('\n').map((line) => JSON.parse(line));
};

const host = 'reviews.default.svc.cluster.local';
const endpoint = (version: string, ip: string, more: object = {}): object => ({
  host,
  namespace: 'default',
  labels: { app: 'reviews', version },
  ip,
  port: 9080,
  servicePort: 80,
  portName: 'http',
  ...more,
});
const services = [endpoint('v1', '10.0.0.1'), endpoint('v2', '10.0.0.2')];
const meta = (name: string, namespace = 'default'): object => ({ name, namespace });
const rules = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'DestinationRule',
  metadata: meta('reviews'),
  spec: {
    host: 'reviews',
    subsets: [
      { name: 'v1', labels: { version: 'v1' } },
      { name: 'v2', labels: { version: 'v2' } },
    ],
  },
};
const routes = (http: readonly object[]): object => ({
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: meta('reviews'),
  spec: { hosts: ['reviews'], http },
});
const to = (subset: string, weight?: number): object => ({
  destination: { host: 'reviews', subset },
  ...(weight === undefined ? {} : { weight }),
});
const canary = {
  resources: [rules, routes([{ route: [to('v1', 90), to('v2', 10)] }])],
  services,
  mesh: {},
};
const request = {
  scheme: 'http',
  method: 'GET',
  authority: 'reviews',
  path: '/',
  headers: [],
  port: 80,
  protocol: 'http',
};
const workload = { namespace: 'default', labels: { app: 'web' } };

t.test('a line is answered with the decision for its own configuration', async (t) => {
  const [said] = await answers([
    { id: 'x', direction: 'outbound', config: canary, workload, request: { ...request, random: 0.95 } },
  ]);
  t.match(said, {
    id: 'x',
    decision: 'route',
    rule: 'VirtualService default/reviews http[0]',
    cluster: `outbound|80|v2|${host}`,
    destinations: [
      { cluster: `outbound|80|v1|${host}`, host, subset: 'v1', port: 80, weight: 90 },
      { cluster: `outbound|80|v2|${host}`, host, subset: 'v2', port: 80, weight: 10 },
    ],
    authority: 'reviews',
    path: '/',
    timeoutMs: 0,
    tls: { mode: 'DISABLE' },
  });
});

t.test('answers come in the order of the lines; what is wrong with a line is its answer', async (t) => {
  const good = { direction: 'outbound', config: canary, workload, request };
  const lines = [
    JSON.stringify({ id: 1, ...good }),
    '{"id": 2,',
    JSON.stringify({ id: 3, ...good, direction: 'sideways' }),
    JSON.stringify({ id: 4, ...good, request: { ...request, random: 1.5 } }),
    JSON.stringify({ id: 5, ...good, request: { ...request, colour: 'red' } }),
    JSON.stringify({ id: 6, ...good, config: { ...canary, resources: [{ kind: 'VirtualService' }] } }),
    JSON.stringify({ id: 7, ...good, config: { services: [{ ip: '10.0.0.1' }] } }),
    JSON.stringify({ id: 8, ...good, request: undefined }),
    '',
    JSON.stringify({ id: 9, ...good }),
  ];
  const { code, out } = await explain(['--stdin'], lines);
  const said = out.split('\n').map((line) => JSON.parse(line));
  t.equal(code, 0);
  t.match(said, [
    { id: 1, decision: 'route' },
    { id: null, error: /not JSON/ },
    { id: 3, error: /direction must be outbound or inbound/ },
    { id: 4, error: /request\.random must be/ },
    { id: 5, decision: 'route', notes: [/request\.colour is not a known field/] },
    { id: 6, error: /VirtualService: apiVersion: must be there/ },
    { id: 7, error: /config\.services\[0\]\.host/ },
    { id: 8, error: /request must be an object/ },
    { id: 9, decision: 'route' },
  ]);
  t.equal(said.length, 9);
});

t.test('services: several lines are one service; protocol from the name of the port', async (t) => {
  const line = (config: object, asked: object = {}) => ({ config, workload, request: { ...request, ...asked } });
  const said = await answers([
    line({ services }),
    line({ services: [endpoint('v1', '10.0.0.1', { portName: 'tcp-db', servicePort: 5432 })] }, { port: 5432 }),
    line({ services: [...services, endpoint('v1', '10.0.0.1', { servicePort: 8080 })] }, { port: 8080 }),
    line(
      { services: [{ host: 'api.example.com', ip: '10.9.9.9', port: 443, portName: 'https' }] },
      {
        authority: 'api.example.com',
        port: 443,
      },
    ),
    line({ services: [{ host: 'reviews', namespace: 'other', port: 80, ip: null }] }, { authority: 'reviews.other' }),
    line({
      services: [
        endpoint('v1', '10.0.0.1', { serviceAccount: 'reviews', labels: { 'security.istio.io/tlsMode': 'istio' } }),
      ],
    }),
    line({ services, mesh: { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' } } }, { authority: 'elsewhere.example' }),
  ]);
  const cluster = said.map((each) => each['cluster']);
  t.same(cluster, [
    `outbound|80||${host}`,
    `outbound|5432||${host}`,
    `outbound|8080||${host}`,
    'outbound|443||api.example.com',
    'outbound|80||reviews.other.svc.cluster.local',
    `outbound|80||${host}`,
    'BlackHoleCluster',
  ]);
  t.same((said[1] as { retries: { attempts: number } }).retries.attempts, 0, 'bytes are not tried again');
  t.same(said[5]?.['tls'], {
    mode: 'ISTIO_MUTUAL',
    sni: `outbound_.80_._.${host}`,
    sans: ['spiffe://cluster.local/ns/default/sa/reviews'],
  });
});

t.test('what a line leaves out has a default', async (t) => {
  const said = await answers([
    { config: canary, workload: { namespace: 'default' }, request: { authority: 'reviews' } },
    { config: canary, workload: { labels: { app: 'web' } }, request: { authority: 'reviews', headers: null } },
    { config: canary, request: { authority: 'reviews.default', from: { namespace: 'other' } } },
    {
      config: { services: [{ host: '1st.default.svc.cluster.local', ip: '10.0.0.1' }] },
      request: { authority: '1st' },
    },
    { request: { authority: 'reviews' } },
    { config: canary, workload: { namespace: 'other' }, request: { authority: 'reviews' } },
  ]);
  t.match(said, [
    { decision: 'route', rule: 'VirtualService default/reviews http[0]' },
    { decision: 'route', rule: 'VirtualService default/reviews http[0]' },
    { decision: 'route', rule: 'VirtualService default/reviews http[0]' },
    { decision: 'route', cluster: 'outbound|80||1st.default.svc.cluster.local' },
    { decision: 'passthrough' },
    { decision: 'passthrough' },
  ]);
});

t.test('inbound lines: the workload is the server', async (t) => {
  const policy = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: meta('readers', 'shop'),
    spec: { rules: [{ from: [{ source: { namespaces: ['web'] } }], to: [{ operation: { methods: ['GET'] } }] }] },
  };
  const line = (asked: object) => ({
    direction: 'inbound',
    config: { resources: [policy], services: [], mesh: { pathNormalization: { normalization: 'MERGE_SLASHES' } } },
    workload: { namespace: 'shop', labels: {} },
    request: { method: 'GET', authority: 'cart.shop', path: '//a/./b', to: { port: 8080 }, ...asked },
  });
  const said = await answers([
    line({ from: { principal: 'cluster.local/ns/web/sa/web', namespace: 'web' }, tls: 'mtls' }),
    line({ from: { principal: 'cluster.local/ns/web/sa/web', namespace: 'web' }, tls: 'mtls', method: 'POST' }),
    line({ tls: 'plaintext' }),
  ]);
  t.match(said, [
    { decision: 'allow', status: 200, policy: 'shop/readers', rule: 0, path: '/a/b' },
    { decision: 'deny', status: 403, path: '/a/b' },
    { decision: 'deny', status: 403 },
  ]);
});

/** Signed with a key made here, as an issuer would. */
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }] };
const issuer = 'https://issuer.example';
function tokenOf(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'ES256', kid: 'k' })}.${part({ iss: issuer, sub: 'alice', ...claims })}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

t.test('inbound lines: tokens of the request, keys by URL, a time that stays', async (t) => {
  const of = (kind: string, name: string, spec: object) => ({
    apiVersion: 'security.istio.io/v1',
    kind,
    metadata: meta(name, 'shop'),
    spec,
  });
  const resources = [
    of('RequestAuthentication', 'tokens', {
      jwtRules: [{ issuer, outputClaimToHeaders: [{ header: 'x-user', claim: 'sub' }] }],
    }),
    of('AuthorizationPolicy', 'users', { rules: [{ from: [{ source: { requestPrincipals: [`${issuer}/*`] } }] }] }),
  ];
  const remote = {
    [`${issuer}/.well-known/openid-configuration`]: { body: { issuer, jwks_uri: `${issuer}/jwks` } },
    [`${issuer}/jwks`]: { status: 200, body: jwks },
  };
  const exp = Date.parse('2030-01-01T00:00:00Z') / 1_000;
  const token = tokenOf({ exp });
  const line = (request: object, more: object = {}) => ({
    direction: 'inbound',
    config: { resources, remote },
    workload: { namespace: 'shop' },
    now: '2029-12-31T23:00:00Z',
    request,
    ...more,
  });
  const headers = [
    ['Authorization', `Bearer ${token}`],
    ['X-User', 'root'],
  ];
  const said = await answers([
    line({ headers }),
    line({ path: `/a?access_token=${token}&x=1` }),
    line({ headers }, { now: exp + 61 }),
    line({ headers, now: exp + 61 }, { now: null }),
    line({ headers }, { config: { resources, remote: { ...remote, [`${issuer}/jwks`]: { status: 404 } } } }),
    line({}),
    line({ headers }, { now: 'tomorrow' }),
    line({ headers }, { now: '2030-01-01' }),
    line({ now: {} }),
    line({ headers }, { config: { resources, remote: [] } }),
    line({ headers }, { config: { resources, remote: { x: 1 } } }),
    line({ headers }, { config: { resources, remote: { x: { status: 'ok' } } } }),
  ]);
  t.match(said, [
    {
      decision: 'allow',
      policy: 'shop/users',
      requestPrincipal: `${issuer}/alice`,
      requestHeaders: { 'x-user': 'alice' },
    },
    { decision: 'allow', path: '/a', url: '/a?x=1' },
    { decision: 'unauthenticated', status: 401, reason: 'Jwt is expired' },
    { decision: 'unauthenticated', status: 401, reason: 'Jwt is expired' },
    { decision: 'unauthenticated', status: 401, notes: [/config\.remote answers 404 for/] },
    {
      decision: 'deny',
      status: 403,
      reason: /^rbac_access_denied_matched_policy\[none\]: /,
      passedOver: [{ reasons: [/^from\[0\]\.source\.requestPrincipals: a request without a verified token/] }],
    },
    { error: /^now must be a time: .*, got "tomorrow"$/ },
    { error: /^now must be a time/ },
    { error: /^request\.now must be a time/ },
    { error: /^config\.remote must be an object/ },
    { error: /^config\.remote\["x"\] must be an object with status and body$/ },
    { error: /^config\.remote\["x"\]\.status must be a status of HTTP, got "ok"$/ },
  ]);
  t.same(said[0]?.['requestHeaders'], { 'x-user': 'alice' }, 'nothing of the token is left');
});

const yaml = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - name: beta
    match: [{headers: {x-beta: {exact: "1"}}}]
    route: [{destination: {host: reviews}}]
  - name: all
    route: [{destination: {host: reviews}}]
    timeout: 3s
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {}
`;

t.test('with files: text for people, JSON for programs', async (t) => {
  const folder = t.testdir({ 'mesh.yaml': yaml });
  const base = [folder, '--namespace', 'shop', '--url', 'http://reviews/x'];
  const said = await explain(base);
  t.equal(said.code, 0);
  t.match(said.out, /^route to outbound\|80\|\|reviews\.shop\.svc\.cluster\.local$/m);
  t.match(said.out, /rule +VirtualService shop\/reviews.*"all" \(.*mesh\.yaml:\d+:\d+\)/);
  t.match(said.out, /timeout +3000 ms/);
  t.match(said.out, /passed over +VirtualService shop\/reviews/);
  t.match(said.out, /header x-beta is absent/);
  const json = await explain([...base, '--header', 'X-Beta: 1', '--json']);
  t.match(JSON.parse(json.out), { decision: 'route', name: 'beta', timeoutMs: 0 });
  const workloadOption = await explain([folder, '--workload', 'shop/app=web', '--url', 'http://reviews/x', '--json']);
  t.equal(JSON.parse(workloadOption.out).decision, 'route');
  const inbound = await explain([...base, '--inbound', '--from', 'shop/web', '--port', '8080']);
  t.match(inbound.out, /^deny 403$/m);
  t.match(inbound.out, /no rule of any of them matches/);
});

t.test('with files: a token, its keys, a time and an address', async (t) => {
  const rule = `{issuer: "${issuer}", jwksUri: "${issuer}/jwks"}`;
  const folder = t.testdir({
    mesh: {
      'mesh.yaml': `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [${rule}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: office, namespace: shop}
spec: {rules: [{from: [{source: {requestPrincipals: ["*"], ipBlocks: [10.0.0.0/8]}}]}]}
`,
    },
    'remote.json': JSON.stringify({ [`${issuer}/jwks`]: { body: jwks } }),
    'broken.json': '{"a": 1}',
  });
  const header = `authorization: Bearer ${tokenOf({ exp: 1_893_456_000 })}`;
  const base = [join(folder, 'mesh'), '--namespace', 'shop', '--inbound', '--url', 'http://web/', '--header', header];
  const asked = [...base, '--remote', join(folder, 'remote.json'), '--now', '2029-12-31T23:00:00Z'];
  t.match(
    (await explain([...asked, '--ip', '10.1.2.3'])).out,
    /^allow 200\n(.*\n)* {2}token of +https:\/\/issuer\.example\/alice/,
  );
  t.match(
    (await explain([...asked, '--ip', '192.0.2.1'])).out,
    /^deny 403\n(.*\n)* +from\[0\]\.source\.ipBlocks: 192\.0\.2\.1 is not among 10\.0\.0\.0\/8/,
  );
  t.match(
    (await explain([...base, '--now', '2029-12-31T23:00:00Z'])).out,
    /^unauthenticated 401\n(.*\n)* {2}note +config\.remote has no/,
  );
  for (const [option, value] of [
    ['--remote', join(folder, 'missing.json')],
    ['--remote', join(folder, 'broken.json')],
    ['--now', 'tomorrow'],
  ] as const) {
    const { code, notes } = await explain([...base, option, value]);
    t.equal(code, 2);
    t.match(notes, new RegExp(option));
  }
});

t.test('exit codes and help', async (t) => {
  const folder = t.testdir({ 'bad.yaml': 'kind: VirtualService' });
  t.equal((await explain([folder, '--url', 'http://x/'])).code, 1);
  for (const args of [
    [],
    ['--url', 'ftp://x/'],
    ['--url', 'http://x/', '--random', '2'],
    ['--url', 'http://x/', '--header', 'none'],
    ['--url', 'http://x/', '--paths', 'some'],
    ['--url', 'http://x/', '--workload', ''],
    ['--nonsense'],
  ]) {
    const { code, notes } = await explain([folder, ...args]);
    t.equal(code, 2, args.join(' '));
    t.match(notes, /inmesh explain --help/);
  }
  const help = await explain(['--help']);
  t.equal(help.code, 0);
  t.match(help.out, /Usage: inmesh explain/);
});

t.test('a process of its own: thousands of lines through a pipe', async (t) => {
  const child = spawn(process.execPath, ['--conditions=@inmesh/source', main, 'explain', '--stdin'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const count = 2_000;
  const lines = Array.from({ length: count }, (_, id) =>
    JSON.stringify({ id, config: canary, workload, request: { ...request, random: (id % 100) / 100 } }),
  );
  child.stdin.end(lines.join('\n'));
  const [out, code] = await Promise.all([
    text(child.stdout),
    new Promise((resolve) => void child.on('close', resolve)),
  ]);
  t.equal(code, 0);
  const said = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.equal(said.length, count);
  t.ok(
    said.every(({ id, cluster }, at) => id === at && cluster === `outbound|80|${at % 100 < 90 ? 'v1' : 'v2'}|${host}`),
    'each with its own answer, in order',
  );
});
