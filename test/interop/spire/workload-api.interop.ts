// The Workload API of a real SPIRE agent, joined to a real SPIRE server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { linkSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createWorkloadApiClient, verifyJwtSvid, workloadApiSource, type X509Context } from '@inmesh/spiffe';
import { createMesh } from 'inmesh';
import { type Credentials, checkServerSpiffe, meshTlsOptions, systemClock, verifyPeer } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../support/certificates.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { root } from '../../support/source-files.ts';
import { spirePrograms } from './programs.ts';
import { type Spire, startSpire } from './spire.ts';

const programs = spirePrograms();
/** The program of this process, by which the agent knows it. */
const self = readlinkSync('/proc/self/exe');
const id = (name: string): string => `spiffe://example.org/ns/shop/sa/${name}`;

/** A test with a SPIRE of its own; skipped with a reason where there is none. */
function withSpire(name: string, run: (t: Test, spire: Spire) => Promise<void>): void {
  t.test(name, async (t) => {
    if ('why' in programs) {
      t.comment(`skipped, there is no peer here: ${programs.why}`);
      return;
    }
    await run(t, await startSpire(t, programs, 'example.org'));
  });
}

async function until(what: string, reached: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2_400; i++) {
    if (await reached()) return;
    await wait(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

/** Another path to the same program: another workload for the agent. */
function programLike(t: Test, name: string): string {
  // Beside the original: hard links do not leave a file system.
  const folder = mkdtempSync(join(dirname(self), 'workload-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  linkSync(self, path);
  return path;
}

/** One request over mutual TLS with these credentials, on a connection of its own: `200`'s body, or another status. */
function callOver(port: number, credentials: Credentials): Promise<string> {
  const checkServerIdentity = checkServerSpiffe([id('web')], credentials.trustBundles, systemClock);
  return new Promise((resolve, reject) => {
    const options = { ...meshTlsOptions(credentials), host: '127.0.0.1', port, agent: false, checkServerIdentity };
    const call = request(options, async (response) => {
      let body = '';
      for await (const chunk of response) body += String(chunk);
      resolve(response.statusCode === 200 ? body : `${response.statusCode} ${body}`);
    });
    call.on('error', reject).end();
  });
}

withSpire(
  'X.509-SVIDs: fetched, chosen, rotated, taken back; denied workloads; federation; restarts',
  async (t, spire) => {
    const client = createWorkloadApiClient({ address: spire.address });
    await t.rejects(client.fetchX509Svids(), {
      code: 'ERR_MESH_WORKLOAD_API',
      message: /PERMISSION_DENIED: no identity issued/,
    });

    const told: X509Context[] = [];
    const problems: string[] = [];
    const stop = new AbortController();
    const watching = client.watchX509Svids(
      {
        update: (context) => told.push(context),
        problem: (error, kind) => problems.push(`${kind}: ${error.message}`),
      },
      stop.signal,
    );
    t.teardown(async () => {
      stop.abort();
      await watching;
    });
    await until('the refusal', () => problems.length > 0);
    t.match(problems[0], /^refused: .*PERMISSION_DENIED/);

    const web = spire.entry(id('web'), self, { ttl: 20 });
    await until('the identity', () => told.length > 0);
    const first = told[0] as X509Context;
    t.same(
      first.svids.map(({ hint, spiffeId }) => [spiffeId, hint]),
      [[id('web'), '']],
    );
    t.same([...first.bundles.keys()], ['example.org']);
    const bundles = new Map([...first.bundles].map(([domain, roots]) => [domain, roots.map(String)] as const));
    t.equal(verifyPeer(first.svids[0]?.certificates ?? [], bundles, Date.now()).spiffeId, id('web'));
    t.same([...(await client.fetchX509Bundles()).bundles.keys()], ['example.org']);

    const serials = (): readonly (string | undefined)[] => [
      ...new Set(told.map(({ svids }) => svids[0]?.certificates[0]?.serialNumber)),
    ];
    await until('two rotations', () => serials().length >= 3);
    t.ok((told.at(-1)?.svids[0]?.notAfter ?? 0) > (first.svids[0]?.notAfter ?? 0), 'the new one lives longer');
    t.equal(problems.length, 1, problems.join('; '));

    t.comment('a second identity with a hint, and it is taken back');
    const internal = spire.entry(id('internal'), self, { hint: 'internal' });
    await until('both', () => told.at(-1)?.svids.length === 2);
    t.same(told.at(-1)?.svids.find(({ hint }) => hint === 'internal')?.spiffeId, id('internal'));
    spire.removeEntry(internal);
    await until('one', () => told.at(-1)?.svids.length === 1);

    t.comment('federation');
    const partner = makeAuthority({ trustDomain: 'partner.example', intermediate: false });
    writeFileSync(join(spire.folder, 'partner.pem'), partner.rootPem);
    const partnerId = 'spiffe://partner.example';
    spire.server('bundle', 'set', '-id', partnerId, '-path', join(spire.folder, 'partner.pem'));
    spire.entry(id('abroad'), self, { federatesWith: partnerId });
    await until('the federated bundle', () => told.at(-1)?.bundles.has('partner.example') === true);
    t.same(told.at(-1)?.bundles.get('partner.example')?.map(String), [partner.rootPem]);
    spire.server('bundle', 'delete', '-id', partnerId, '-mode', 'dissociate');
    await until('the bundle to go', () => told.at(-1)?.bundles.has('partner.example') === false);

    t.comment('the agent is restarted');
    problems.length = 0;
    const before = told.length;
    await spire.stopAgent();
    await until('the loss', () => problems.length > 0);
    t.match(problems[0], /^unreachable: .*UNAVAILABLE/);
    await spire.startAgent();
    await until('an identity of the new agent', () => told.length > before);
    t.equal(
      told.at(-1)?.svids.some(({ spiffeId }) => spiffeId === id('web')),
      true,
    );

    t.comment('the entry goes: an answer without it');
    spire.removeEntry(web);
    await until('web to go', () => told.at(-1)?.svids.every(({ spiffeId }) => spiffeId !== id('web')) === true);
  },
);

withSpire('JWT-SVIDs: fetched, validated by SPIRE and here, and refused by both', async (t, spire) => {
  const client = createWorkloadApiClient({ address: spire.address });
  spire.entry(id('web'), self);
  spire.entry(id('job'), self, { hint: 'job' });
  await until('the identities', async () => (await client.fetchX509Svids().catch(() => undefined))?.svids.length === 2);

  const audience = id('cart');
  const svid = await client.fetchJwtSvid({ audience, spiffeId: id('web') });
  t.same([svid.spiffeId, svid.audience], [id('web'), [audience]]);
  t.ok(svid.expiresAt > Date.now());
  t.equal((await client.fetchJwtSvid({ audience, hint: 'job' })).spiffeId, id('job'));
  t.equal((await client.fetchJwtSvids({ audience: [audience, 'other'] })).length, 2);
  await t.rejects(client.fetchJwtSvid({ audience, spiffeId: id('else') }), { message: /PERMISSION_DENIED/ });

  const remote = await client.validateJwtSvid({ audience, token: svid.token });
  const bundles = await client.fetchJwtBundles();
  const local = await verifyJwtSvid(svid.token, { audience, bundles });
  t.equal(remote.spiffeId, id('web'));
  t.equal(local.spiffeId, id('web'));
  t.same(remote.claims, local.claims, 'both see the same claims');

  const other = { audience: id('other'), token: svid.token };
  await t.rejects(client.validateJwtSvid(other), { code: 'ERR_MESH_WORKLOAD_API', message: /INVALID_ARGUMENT/ });
  await t.rejects(verifyJwtSvid(svid.token, { ...other, bundles }), {
    code: 'ERR_MESH_PEER_IDENTITY',
    message: /audience/,
  });
  const [header = '', claims = '', signature = ''] = svid.token.split('.');
  const forged = Buffer.from(JSON.stringify({ ...local.claims, sub: id('job') })).toString('base64url');
  t.not(forged, claims);
  const token = `${header}.${forged}.${signature}`;
  await t.rejects(client.validateJwtSvid({ audience, token }), { message: /INVALID_ARGUMENT/ });
  await t.rejects(verifyJwtSvid(token, { audience, bundles }), { message: /the signature .* is wrong/ });
});

withSpire('two processes of a mesh call each other by their SPIRE identities, through rotations', async (t, spire) => {
  const program = programLike(t, 'web');
  const partner = makeAuthority({ trustDomain: 'partner.example', intermediate: false });
  const partnerId = 'spiffe://partner.example';
  writeFileSync(join(spire.folder, 'partner.pem'), partner.rootPem);
  spire.server('bundle', 'set', '-id', partnerId, '-path', join(spire.folder, 'partner.pem'));
  spire.entry(id('web'), program, { ttl: 20, federatesWith: partnerId });
  spire.entry(id('job'), self, { ttl: 20 });
  const folder = t.testdir({
    'strict.yaml': `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`,
  });
  const member = fileURLToPath(new URL('./member.ts', import.meta.url));
  const child = spawn(
    program,
    ['--conditions=@inmesh/source', '--disable-warning=ExperimentalWarning', member, folder],
    {
      cwd: root,
      env: { ...process.env, SPIFFE_ENDPOINT_SOCKET: spire.address, NODE_OPTIONS: '' },
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  const port = Number(String(line));
  t.ok(port > 0, 'the server has its identity');

  const service = (name: string, account: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}, serviceAccount: ${account}}]
---`;
  writeFileSync(join(folder, 'web.yaml'), service('web', 'web') + service('impostor', 'else'));
  const logger = recordingLogger();
  const mesh = createMesh({
    config: folder,
    workload: { name: 'job', namespace: 'shop', serviceAccount: 'job', trustDomain: 'example.org' },
    identity: workloadApiSource({ address: spire.address }),
    logger,
  });
  t.teardown(() => mesh.close());
  await mesh.ready(30_000);
  t.equal(mesh.stats().identity?.spiffeId, id('job'));

  const ends = new Set<string | null>();
  const own = new Set<number | undefined>();
  let calls = 0;
  await until('three certificates on both sides', async () => {
    const response = await mesh.fetch('http://web.shop/');
    const said = await response.text();
    if (response.status !== 200 || said !== id('job')) throw new Error(`${response.status} ${said}`);
    calls++;
    ends.add(response.headers.get('x-not-after'));
    own.add(mesh.stats().identity?.notAfter);
    return ends.size >= 3 && own.size >= 3;
  });
  t.ok(calls > 3, `${calls} calls, not one lost`);
  const refused = await mesh.fetch('http://impostor.shop/');
  t.equal(refused.headers.get('x-inmesh-error'), 'ERR_MESH_PEER_IDENTITY', 'a server is known by its identity alone');
  await t.rejects(fetch(`http://127.0.0.1:${port}/`), 'without a certificate nobody gets in');

  t.comment('a caller of a trust domain that SPIRE says is federated, and then no longer');
  const roots = (await createWorkloadApiClient({ address: spire.address }).fetchX509Bundles()).bundles;
  const trustBundles = new Map([...roots].map(([domain, list]) => [domain, list.map(String)] as const));
  const abroad = 'spiffe://partner.example/ns/a/sa/b';
  const callAs = (credentials: Credentials): Promise<string> =>
    callOver(port, { ...credentials, trustBundles }).catch((error: Error) => `refused: ${error.message}`);
  t.equal(await callAs(partner.issue(abroad)), abroad);
  const forger = makeAuthority({ trustDomain: 'partner.example', intermediate: false });
  t.match(await callAs(forger.issue(abroad)), /^refused: /, 'by its own roots only');
  t.match(await callAs(partner.issue(id('job'))), /^refused: |^403/, 'for its own trust domain only');
  spire.server('bundle', 'delete', '-id', partnerId, '-mode', 'dissociate');
  await until('the trust to end', async () => /^refused: /.test(await callAs(partner.issue(abroad))));
  t.equal((await mesh.fetch('http://web.shop/')).status, 200, 'callers of the own trust domain go on');
});
