import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh, type Mesh } from 'inmesh';
import { type Credentials, caSource, createCsr, type IdentitySource } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { holdProcess } from '../../../src/lib/clock.ts';
import { keyPem, makeKey } from '../../../test/support/certificates.ts';
import { bundleDocument, type FederationRelation, type RunningAuthority, runAuthority } from '../src/index.ts';
import { call } from './support/call.ts';
import { callIstio } from './support/istio-client.ts';

/** A cluster: an authority with its bundle endpoint, and workloads that get their certificates there. */
interface Cluster {
  readonly running: RunningAuthority;
  /** A workload of namespace `shop`, ready. */
  join(name: string, yaml: string): Promise<Member>;
}

interface Member {
  readonly mesh: Mesh;
  readonly spiffeId: string;
  /** What it last heard from its authority. */
  held(): Credentials;
}

async function startCluster(t: Test, trustDomain: string, leafTtlMs = 3_600_000): Promise<Cluster> {
  const running = await runAuthority({ trustDomain, leafTtlMs, bundleEndpoint: { refreshMs: 1_000 } });
  t.teardown(running.close);
  return {
    running,
    async join(name, yaml) {
      const folder = mkdtempSync(join(tmpdir(), 'multi-cluster-'));
      writeFileSync(join(folder, 'mesh.yaml'), yaml);
      const spiffeId = `spiffe://${trustDomain}/ns/shop/sa/${name}`;
      const { token } = running.authority.createToken({ spiffeId, uses: 100 });
      const source = caSource({ url: running.url, trustRoot: running.authority.rootPem, spiffeId, token });
      let held: Credentials | undefined;
      const identity: IdentitySource = {
        ...source,
        run: (sink, signal) =>
          source.run({ ...sink, update: (credentials) => sink.update((held = credentials)) }, signal),
      };
      const workload = { name, namespace: 'shop', serviceAccount: name, trustDomain };
      const mesh = createMesh({ workload, config: folder, identity });
      t.teardown(async () => {
        await mesh.close();
        rmSync(folder, { recursive: true });
      });
      await mesh.ready(20_000);
      return { mesh, spiffeId, held: () => held as Credentials };
    },
  };
}

/** `by` trusts what `of` says of itself, from now on. */
function trust(by: Cluster, of: Cluster, more: Partial<FederationRelation> = {}): void {
  const { authority, bundleEndpoint } = of.running;
  const relation: FederationRelation = {
    trustDomain: authority.trustDomain,
    url: bundleEndpoint?.url ?? '',
    profile: 'https_spiffe',
    endpointSpiffeId: bundleEndpoint?.spiffeId ?? '',
    ...more,
  };
  by.running.federation.add(relation, bundleDocument(authority).text());
}

/** An application behind STRICT mTLS that these principals may call. */
const servingFor = (...principals: readonly string[]): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  rules: [{from: [{source: {principals: ${JSON.stringify(principals)}}}]}]
`;

/** The service \`api\` at a port, with the identity that it must have. */
const callingTo = (port: number, spiffeId: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  subjectAltNames: [${spiffeId}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api, namespace: shop}
spec:
  host: api.shop.svc.cluster.local
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
`;

async function serveApi(
  cluster: Cluster,
  ...principals: readonly string[]
): Promise<Member & { readonly port: number }> {
  const member = await cluster.join('api', servingFor(...principals));
  const { port } = await member.mesh.listen(
    (request, response) => void response.end(String(request.headers['x-forwarded-client-cert'] ?? '')),
    { host: '127.0.0.1' },
  );
  return { ...member, port };
}

const status = async ({ mesh }: Member): Promise<number> => {
  const response = await mesh.fetch('http://api.shop.svc.cluster.local/');
  await response.text();
  return response.status;
};

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}

const rootsIn = (member: Member, domain: string): number => member.held().trustBundles.get(domain)?.length ?? 0;

t.before(() => {
  // Meshes do not keep a process alive, and a test that waits for one must.
  t.teardown(holdProcess());
});

t.test('two clusters with two trust domains call each other; a third that is not federated is refused', async (t) => {
  const [east, west, south] = await Promise.all(
    ['east.example', 'west.example', 'south.example'].map((domain) => startCluster(t, domain)),
  );
  if (east === undefined || west === undefined || south === undefined) return;
  trust(east, west);
  trust(west, east);
  // South trusts west; west does not trust south.
  trust(south, west);
  const westApi = await serveApi(west, 'east.example/ns/shop/sa/web', 'south.example/ns/shop/sa/web');
  const eastApi = await serveApi(east, 'west.example/ns/shop/sa/web');
  const eastWeb = await east.join('web', callingTo(westApi.port, westApi.spiffeId));
  const eastOther = await east.join('other', callingTo(westApi.port, westApi.spiffeId));
  const westWeb = await west.join('web', callingTo(eastApi.port, eastApi.spiffeId));
  const southWeb = await south.join('web', callingTo(westApi.port, westApi.spiffeId));
  const misled = await east.join('misled', callingTo(westApi.port, 'spiffe://west.example/ns/shop/sa/admin'));

  t.equal(await status(eastWeb), 200, 'east calls west');
  t.equal(await status(westWeb), 200, 'west calls east');
  t.equal(await status(eastOther), 403, 'who is not among the principals is known, and refused');
  t.equal(await status(southWeb), 503, 'a third one gets no connection');
  t.equal(await status(misled), 503, 'nor does a caller that expects another identity');
  t.same([...eastWeb.held().trustBundles.keys()].sort(), ['east.example', 'west.example'], 'bundles stay apart');
});

t.test('two authorities of one trust domain with two roots trust each other when they say so', async (t) => {
  const [one, two] = [await startCluster(t, 'cluster.local'), await startCluster(t, 'cluster.local')];
  const api = await serveApi(two, 'cluster.local/ns/shop/sa/web');
  const web = await one.join('web', callingTo(api.port, api.spiffeId));
  t.equal(await status(web), 503, 'two roots are two meshes');
  trust(one, two, { shared: true, name: 'two' });
  trust(two, one, { shared: true, name: 'one' });
  await until(() => rootsIn(web, 'cluster.local') === 2 && rootsIn(api, 'cluster.local') === 2);
  t.equal(await status(web), 200);

  // What one hands out to its members is not what it believes itself, nor what it tells others.
  const keyless = bundleDocument(one.running.authority).text();
  t.equal((JSON.parse(keyless) as { keys: readonly unknown[] }).keys.length, 1);
  two.running.federation.remove('one');
  await until(() => rootsIn(api, 'cluster.local') === 1);
  await until(async () => (await status(web)) === 503);
  t.pass('a relation that is taken away ends what was open, too');
});

t.test('a root is exchanged on one side and the other learns of it, without a call that fails', async (t) => {
  const [east, west] = [await startCluster(t, 'east.example'), await startCluster(t, 'west.example', 4_000)];
  trust(east, west);
  trust(west, east);
  const api = await serveApi(west, 'east.example/ns/shop/sa/web');
  const web = await east.join('web', callingTo(api.port, api.spiffeId));
  const old = west.running.authority.rootPem;

  let calls = 0;
  const failures: unknown[] = [];
  let stop = false;
  const load = (async () => {
    while (!stop) {
      calls++;
      const answer = await status(web).catch(String);
      if (answer !== 200) failures.push(answer);
    }
  })();
  const { rotation } = west.running.authority;
  rotation.prepare();
  await until(() => rootsIn(web, 'west.example') === 2);
  rotation.activate();
  // The old root is taken away when nobody has a certificate of it any more.
  const finished = (): boolean => {
    try {
      rotation.finish();
      return true;
    } catch {
      return false;
    }
  };
  await until(finished);
  await until(() => rootsIn(web, 'west.example') === 1);
  const before = calls;
  await until(() => calls >= before + 50);
  stop = true;
  await load;
  t.same(failures, [], `0 of ${calls} calls were lost`);
  t.ok(calls > 100);
  t.notOk(web.held().trustBundles.get('west.example')?.includes(old), 'the old root is forgotten');
});

t.test('a certificate of a federated domain, or of another root of the own one, does not renew', async (t) => {
  const [east, west, twin] = [
    await startCluster(t, 'east.example'),
    await startCluster(t, 'west.example'),
    await startCluster(t, 'east.example'),
  ];
  trust(east, west);
  trust(east, twin, { shared: true, name: 'twin' });
  const { authority, port, url } = east.running;
  t.equal(authority.trustBundles.get('east.example')?.length, 2);
  for (const [what, other, id] of [
    ['a federated domain', west, 'spiffe://west.example/ns/shop/sa/web'],
    ['another root of the own domain', twin, 'spiffe://east.example/ns/shop/sa/web'],
  ] as const) {
    const key = makeKey();
    const { certificateChainPem: cert } = other.running.authority.signCsr(createCsr(id, key), id);
    const client = { cert, key: keyPem(key), ca: authority.rootPem };
    const csr = createCsr(id, makeKey());
    const body = JSON.stringify({ csr });
    const reply = await call(url, { method: 'POST', path: '/v1/certificates', body, ...client });
    t.match(reply, { status: 401, json: { error: 'unauthenticated', message: /TLS did not verify/ } }, what);
    t.match(await callIstio(port, { csr, ...client }), { code: 16, details: /TLS did not verify/ }, what);
  }
});

t.test('a federation that ends cuts off who came by it', async (t) => {
  const [east, west] = [await startCluster(t, 'east.example'), await startCluster(t, 'west.example')];
  trust(east, west);
  trust(west, east);
  const api = await serveApi(west, 'east.example/ns/shop/sa/web');
  const web = await east.join('web', callingTo(api.port, api.spiffeId));
  t.equal(await status(web), 200);
  west.running.federation.remove('east.example');
  await until(() => !api.held().trustBundles.has('east.example'));
  await until(async () => (await status(web)) === 503);
  t.pass('calls on connections that were open, too');
  trust(west, east);
  await until(async () => (await status(web)) === 200);
  t.pass('and lets them in again when it begins anew');
});
