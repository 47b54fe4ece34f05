import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Output, run } from '../src/index.ts';

const main = join(import.meta.dirname, '..', 'src', 'main.ts');

interface Result {
  readonly code: number;
  readonly out: string;
  readonly notes: string;
}

/** Runs a command line in this process. */
async function inmesh(
  args: readonly string[],
  env: Record<string, string> = {},
  signal?: AbortSignal,
): Promise<Result> {
  const out: string[] = [];
  const notes: string[] = [];
  const output: Output = { line: (text) => void out.push(text), note: (text) => void notes.push(text) };
  const code = await run(args, output, { env, cwd: '/', ...(signal === undefined ? {} : { signal }) });
  return { code, out: out.join('\n'), notes: notes.join('\n') };
}

const service = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: DNS
  ports: [{number: 80, name: http}]
`;
const route = (more: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews}}], ${more}}]
`;
const folder = (t: Test, files: Record<string, string>): string => t.testdir(files);

t.test('check: good configuration', async (t) => {
  const path = folder(t, { 'a.yaml': service, 'b.yaml': route('timeout: 1s') });
  const { code, out, notes } = await inmesh(['check', path]);
  t.equal(code, 0);
  t.match(out, /^✓ 2 resources in 2 files, version [0-9a-f]{12}$/);
  t.equal(notes, '');
});

t.test('check: every problem with its place, and exit code 1', async (t) => {
  const path = folder(t, { 'a.yaml': service, 'b.yaml': route('timeout: soon, retrys: {}') });
  const { code, out } = await inmesh(['check', path]);
  t.equal(code, 1);
  t.match(
    out,
    /b\.yaml:7:\d+: VirtualService shop\/reviews: spec\.http\[0\]\.timeout: must be a duration .*, got "soon"/,
  );
  t.match(out, /spec\.http\[0\]\.retrys: is not a known field \(did you mean retries\?\)/);
  t.match(out, /✗ 2 problems$/);
});

t.test('check: YAML that cannot be read', async (t) => {
  const { code, out } = await inmesh(['check', folder(t, { 'a.yaml': 'a: 1\na: 2\n', 'b.yaml': service })]);
  t.equal(code, 1);
  t.match(out, /a\.yaml:2:1: a: is there twice; every key may appear once\n✗ 1 problem$/);
});

t.test('check: warnings are shown, and count with --strict', async (t) => {
  const path = folder(t, {
    'a.yaml': service,
    'b.yaml': route('timeout: 1s').replace('host: reviews', 'host: nowhere'),
  });
  const { code, out } = await inmesh(['check', path]);
  t.equal(code, 0);
  t.match(
    out,
    /b\.yaml:7:\d+: warning: VirtualService shop\/reviews: spec\.http\[0\]\.route\[0\]\.destination\.host: no service has the host nowhere/,
  );
  t.match(out, /, 1 warning$/);
  const strict = await inmesh(['check', '--strict', path]);
  t.equal(strict.code, 1);
  t.match(strict.out, /✗ 2 resources in 2 files, version [0-9a-f]{12}, 1 warning$/);
});

t.test('check --json: the same for programs', async (t) => {
  const good = await inmesh(['check', '--json', folder(t, { 'a.yaml': service })]);
  t.match(JSON.parse(good.out), { ok: true, version: /^[0-9a-f]{12}$/, problems: [], warnings: [] });
  const bad = await inmesh(['check', '--json', folder(t, { 'a.yaml': route('timeout: soon') })]);
  t.equal(bad.code, 1);
  t.match(JSON.parse(bad.out), {
    ok: false,
    problems: [{ field: 'spec.http[0].timeout', value: '"soon"', at: { line: 7 } }],
  });
});

t.test('the process is described by options, or by the variables that it takes itself', async (t) => {
  const path = folder(t, { 'a.yaml': service });
  const version = async (args: readonly string[], env?: Record<string, string>): Promise<string> =>
    JSON.parse((await inmesh(['check', '--json', path, ...args], env)).out).version;
  const plain = await version([]);
  t.not(await version(['--namespace', 'shop']), plain);
  t.equal(
    await version(['--namespace', 'shop', '--labels', 'app=web,version=v1']),
    await version([], { INMESH_NAMESPACE: 'shop', INMESH_LABELS: 'app=web,version=v1' }),
  );
  t.not(await version(['--trust-domain', 'example.org']), plain);
  t.not(await version(['--locality', 'eu/eu-1']), plain);
  t.not(await version(['--cluster-domain', 'example.org', '--service-account', 'web']), plain);
  const fromEnvironment = await inmesh(['check'], { INMESH_CONFIG: path });
  t.equal(fromEnvironment.code, 0);
});

t.test('analyze: what happens with each field', async (t) => {
  const path = folder(t, {
    'a.yaml': service,
    'b.yaml': `${route('timeout: 1s')}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n`,
    'c.yaml': `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, trafficPolicy: {outlierDetection: {consecutiveErrors: 5}}}
`,
  });
  const { code, out } = await inmesh(['analyze', path]);
  t.equal(code, 0);
  t.match(out, /^ServiceEntry shop\/reviews \(.*a\.yaml\): \d fields enforced$/m);
  t.match(
    out,
    /^DestinationRule shop\/reviews \(.*c\.yaml\): 1 field enforced\n {2}ignored {6}spec\.trafficPolicy\.outlierDetection\.consecutiveErrors: deprecated.* {2}line 4:\d+$/m,
  );
  t.match(out, /^ {2}ignored {6}the whole resource: Deployment has no meaning for a mesh {2}line \d+:\d+$/m);
  t.match(out, /^\d+ fields enforced, 0 approximated, 2 ignored; 1 warning$/m);
  t.notMatch(out, /spec\.http\[0\]\.timeout/);
  t.match((await inmesh(['analyze', '--all', path])).out, /^ {2}enforced {5}spec\.http\[0\]\.timeout {2}line 7:\d+$/m);
  const json = JSON.parse((await inmesh(['analyze', '--json', path])).out);
  t.ok(
    json.entries.some(
      (entry: { field: string; status: string }) =>
        entry.field === 'spec.trafficPolicy.outlierDetection.consecutiveErrors' && entry.status === 'ignored',
    ),
  );
});

t.test('a wrong command line says what is wrong, where help is, and exits with 2', async (t) => {
  const empty = folder(t, {});
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['chekc'], /unknown command chekc\n`inmesh --help` shows how/],
    [['toString'], /unknown command toString/],
    [['check', '--bogus', empty], /Unknown option '--bogus'\n`inmesh check --help` shows how/],
    [['check'], /name a file or folder, or set INMESH_CONFIG/],
    [['check', join(empty, 'nowhere')], /cannot read .*nowhere: ENOENT/],
    [['check', empty], /no \*\.yaml, \*\.yml or \*\.json file in /],
    [['check', '--labels', 'app', empty], /--labels must be <key>=<value>,<key>=<value>, got "app"/],
    [['check', '--namespace'], /--namespace/],
    [['ca'], /name one of init, serve, token, status, rotate, revoke, import, federate\n`inmesh ca --help` shows how/],
    [['ca', 'destroy'], /unknown command ca destroy/],
    [['ca', 'init', 'here'], /unexpected argument here\n`inmesh ca init --help` shows how/],
    [['ca', 'init', '--leaf-ttl', 'soon'], /--leaf-ttl must be a duration such as 90s, 10m or 24h, got "soon"/],
    [['ca', 'init', '--leaf-ttl', '30h', '--dir', join(empty, 'ca')], /leafTtlMs/],
    [['ca', 'federate'], /name one of add, remove, list, fetch, show\n`inmesh ca federate --help` shows how/],
    [['ca', 'federate', 'trust'], /unknown command ca federate trust/],
    [['ca', 'federate', 'list', 'x'], /unexpected argument x/],
    [['ca', 'federate', 'remove', 'x', 'y'], /unexpected argument y/],
    [['ca', 'serve', '--bundle-refresh', '1m'], /--bundle-port is needed/],
    [
      ['ca', 'serve', '--bundle-port', '0', '--bundle-profile', 'web'],
      /--bundle-profile must be https_spiffe or https_web/,
    ],
    [['ca', 'serve', '--port', '70000'], /--port must be an integer from 0 to 65535, got "70000"/],
    [['ca', 'token', '--namespace', 'a'], /name the workload by --namespace and --service-account, or by --spiffe-id/],
    [['ca', 'token', '--uses', '0', '--spiffe-id', 'spiffe://a/b'], /--uses must be an integer from 1 to 1000/],
  ];
  for (const [args, message] of cases) {
    const { code, notes, out } = await inmesh(args);
    t.equal(code, 2, args.join(' '));
    t.match(notes, message);
    t.equal(out, '');
  }
  const variable = await inmesh(['check', empty], { INMESH_NAMESPACES: 'a' });
  t.equal(variable.code, 2);
  t.match(variable.notes, /INMESH_NAMESPACES/);
});

t.test('help, for everything', async (t) => {
  const cases: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['--help'], /^Usage: inmesh <command>/],
    [['-h'], /^Usage: inmesh <command>/],
    [['help'], /^Usage: inmesh <command>/],
    [['help', 'check'], /^Usage: inmesh check/],
    [['check', '--help'], /--namespace <name>/],
    [['analyze', '-h'], /^Usage: inmesh analyze/],
    [['ca', '--help'], /^Usage: inmesh ca init\|serve\|token\|status\|rotate\|revoke\|import/],
    [['ca', 'init', '--help'], /--leaf-ttl <time>/],
    [['ca', 'serve', '--help'], /--port <number>/],
    [['help', 'ca', 'token'], /--service-account <name>/],
    [['bogus', '--help'], /^Usage: inmesh <command>/],
  ];
  for (const [args, message] of cases) {
    const { code, out } = await inmesh(args);
    t.equal(code, 0, args.join(' '));
    t.match(out, message);
  }
  const nothing = await inmesh([]);
  t.equal(nothing.code, 2);
  t.match(nothing.notes, /^Usage: inmesh <command>/);
});

t.test('ca: make an authority, hand out tokens, serve until told to stop', async (t) => {
  const dir = join(folder(t, { 'pass.txt': 'correct horse\nsecond line\n' }), 'ca');
  const pass = ['--passphrase-file', join(dir, '..', 'pass.txt')];
  const made = await inmesh([
    'ca',
    'init',
    '--dir',
    dir,
    '--trust-domain',
    'example.org',
    '--leaf-ttl',
    '10m',
    ...pass,
  ]);
  t.equal(made.code, 0, made.notes);
  t.match(made.out, /^✓ certificate authority of example\.org in .*root\.pem$/);
  t.ok(existsSync(join(dir, 'root.pem')));
  t.equal((await inmesh(['ca', 'init', '--dir', dir, ...pass])).code, 2, 'not a second time');
  const locked = await inmesh(['ca', 'token', '--dir', dir, '--namespace', 'shop', '--service-account', 'web']);
  t.not(locked.code, 0, 'not without the passphrase');

  const token = await inmesh(['ca', 'token', '--dir', dir, '--namespace', 'shop', '--service-account', 'web', ...pass]);
  t.equal(token.code, 0, token.notes);
  t.match(token.out, /^inmesh1\.[\w-]{16}\.[\w-]{43}$/);
  const more = await inmesh([
    'ca',
    'token',
    '--dir',
    dir,
    '--spiffe-id',
    'spiffe://example.org/ns/a/sa/b',
    '--ttl',
    '1h',
    '--uses',
    '3',
    '--json',
    ...pass,
  ]);
  t.match(JSON.parse(more.out), { spiffeId: 'spiffe://example.org/ns/a/sa/b', uses: 3, expiresAt: /^20\d\d-/ });

  const controller = new AbortController();
  const serving = inmesh(
    [
      'ca',
      'serve',
      '--dir',
      dir,
      '--port',
      '0',
      '--host',
      '127.0.0.1',
      '--name',
      'localhost',
      '--name',
      '127.0.0.1',
      ...pass,
    ],
    {},
    controller.signal,
  );
  controller.abort();
  const { code, out } = await serving;
  t.equal(code, 0);
  t.match(
    out,
    /^✓ certificate authority of example\.org serves on https:\/\/127\.0\.0\.1:\d+\n {2}INMESH_CA_URL=https:\/\/127\.0\.0\.1:\d+ INMESH_CA_ROOT=.*root\.pem$/,
  );
});

t.test('ca: a folder that holds no authority is an answer of no, not a wrong command line', async (t) => {
  const { code, notes } = await inmesh([
    'ca',
    'token',
    '--dir',
    folder(t, {}),
    '--namespace',
    'a',
    '--service-account',
    'b',
  ]);
  t.equal(code, 1);
  t.match(notes, /^inmesh: .*holds no certificate authority/);
  const missing = await inmesh(['ca', 'init', '--passphrase-file', '/nowhere/pass']);
  t.equal(missing.code, 1);
  t.match(missing.notes, /^inmesh: ENOENT/);
});

t.test('ca federate: two authorities that learn of each other, on the command line', async (t) => {
  const top = folder(t, {});
  const [east, west] = [join(top, 'east'), join(top, 'west')];
  for (const dir of [east, west]) {
    const domain = dir === east ? 'east.example' : 'west.example';
    t.equal((await inmesh(['ca', 'init', '--dir', dir, '--trust-domain', domain])).code, 0);
  }
  const bundle = join(top, 'west.json');
  const shown = await inmesh(['ca', 'federate', 'show', '--dir', west]);
  writeFileSync(bundle, shown.out);
  t.match(JSON.parse(shown.out), { keys: [{ use: 'x509-svid' }], spiffe_refresh_hint: 300 });

  const controller = new AbortController();
  const lines: string[] = [];
  const serving = run(
    ['ca', 'serve', '--dir', west, '--port', '0', '--bundle-port', '0', '--bundle-refresh', '1s'],
    { line: (text) => void lines.push(text), note: () => {} },
    { env: {}, cwd: top, stdin: process.stdin, signal: controller.signal },
  );
  while (!lines.some((line) => line.includes('serves its bundle')))
    await new Promise((resolve) => setImmediate(resolve));
  const [, url = '', spiffeId = ''] = /bundle on (\S+) as (\S+)/.exec(lines.join('\n')) ?? [];
  const federate = (...args: readonly string[]) => inmesh(['ca', 'federate', ...args, '--dir', east]);
  const relation = ['--trust-domain', 'west.example', '--url', url, '--endpoint-spiffe-id', spiffeId];
  t.match(await federate('list'), { code: 0, out: 'no relations' });
  t.match(await federate('add', ...relation), { code: 2, notes: /needs a bundle of the trust domain/ });
  t.match(await federate('add', '--url', url), { code: 2, notes: /--trust-domain is needed/ });
  t.match(await federate('add', ...relation, '--profile', 'http'), { code: 2, notes: /--profile must be/ });
  t.match(await federate('add', ...relation, '--bundle', bundle), {
    code: 0,
    out: /follows https:.* of west\.example/,
  });
  t.match(await federate('fetch'), { code: 0, out: '✓ west.example' });
  t.match(await federate('list'), {
    code: 0,
    out: /^west\.example {2}https_spiffe .* 1 root, sequence \d+, fetched 20/,
  });
  const [listed] = JSON.parse((await federate('list', '--json')).out) as readonly Record<string, unknown>[];
  t.match(listed, { name: 'west.example', roots: 1, endpointSpiffeId: spiffeId, fetchedAt: /^20/ });

  controller.abort();
  t.equal(await serving, 0);
  t.match(await federate('fetch', 'west.example'), { code: 1, out: /✗ west\.example: .*ECONNREFUSED/ });
  t.match(await federate('fetch', 'south.example'), { code: 1, out: /no relation "south\.example"/ });
  t.match(await federate('remove', 'west.example'), { code: 0, out: /trusted no longer/ });
  t.match(await federate('remove', 'west.example'), { code: 1, notes: /no relation "west\.example"/ });
  t.match(await inmesh(['ca', 'federate', 'list', '--dir', top]), { code: 1, notes: /holds no certificate authority/ });
  t.match((await inmesh(['ca', 'federate', 'add', '--help'])).out, /--endpoint-spiffe-id <id>/);
});

t.test('ca serve --kubernetes: a list of clusters that can never work says why', async (t) => {
  const dir = folder(t, {
    'clusters.json': '{"cluster":"east","issuer":"kubernetes/serviceaccount"}',
    'typo.json': '{"a":"b"}',
  });
  const serve = (file: string) =>
    inmesh(['ca', 'serve', '--dir', join(dir, 'ca'), '--port', '0', '--kubernetes', join(dir, file)]);
  t.match(await serve('clusters.json'), { code: 2, notes: /kubernetes east: issuer: expected an https URL/ });
  t.match(await serve('typo.json'), { code: 2, notes: /kubernetes: a: expected one of cluster, issuer/ });
  t.match(await serve('none.json'), { code: 1, notes: /ENOENT/ });
});

t.test('as a program: exit code and streams', async (t) => {
  const path = folder(t, { 'a.yaml': route('timeout: soon') });
  const child = spawn(process.execPath, ['--conditions=@inmesh/source', main, 'check', path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  t.match(out, /✗ 1 problem\n$/);
});

t.test('as a program: ca serve ends with SIGTERM, in good order', async (t) => {
  const dir = join(folder(t, {}), 'ca');
  const args = ['--conditions=@inmesh/source', main, 'ca', 'serve', '--dir', dir, '--port', '0'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const [text] = await once(child.stdout.setEncoding('utf8'), 'data');
  t.match(text, /serves on https:\/\/127\.0\.0\.1:\d+/);
  child.kill('SIGTERM');
  const [code, signal] = await once(child, 'exit');
  t.same([code, signal], [0, null]);
});
