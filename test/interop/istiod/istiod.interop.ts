// Certificates from a real istiod, and from the real agent that asks it.
import { spawn } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type IstiodSourceOptions, istiodSource } from '@inmesh/istiod';
import { sdsSource } from '@inmesh/sds';
import { createMesh } from 'inmesh';
import { type Credentials, type IdentitySource, verifyPeer } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { makeAuthority } from '../../support/certificates.ts';
import { followSource } from '../followed-source.ts';
import { type ControlPlane, makeTokenKey, startIstiod } from './control-plane.ts';
import { istioProgram } from './program.ts';

const program = istioProgram();
const idOf = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;

/** A test with an istiod of its own; skipped with a reason where there is none. */
function withIstiod(name: string, run: (t: Test, istiod: ControlPlane) => Promise<void>): void {
  t.test(name, async (t) => {
    if ('why' in program) {
      t.comment(`skipped, there is no peer here: ${program.why}`);
      return;
    }
    await run(t, await startIstiod(t, program.path));
  });
}

const sourceOf = ({ address, rootFile, serverName }: ControlPlane, options: IstiodSourceOptions): IdentitySource =>
  istiodSource({ address, serverName, trustRoot: rootFile, env: {}, ...options });

const chainOf = ({ certificateChainPem }: Credentials): readonly X509Certificate[] =>
  certificateChainPem.split(/(?<=-----END CERTIFICATE-----\n)/).map((pem) => new X509Certificate(pem));

withIstiod('istiod signs for keys of every kind, for a day, and the chain verifies', async (t, istiod) => {
  for (const keyType of ['p-256', 'p-384', 'rsa-2048'] as const) {
    const { problems, until, updates } = followSource(
      t,
      sourceOf(istiod, { tokenFile: istiod.tokenFile('web'), keyType }),
    );
    await until('a certificate', () => updates.length > 0);
    const credentials = updates[0] as Credentials;
    const chain = chainOf(credentials);
    t.equal(credentials.spiffeId, idOf('web'));
    t.equal(chain.length, 2, 'leaf and intermediate; the root is left out');
    t.equal(verifyPeer(chain, credentials.trustBundles, Date.now()).spiffeId, idOf('web'));
    t.same([...credentials.trustBundles], [['cluster.local', [istiod.rootPem]]]);
    const seconds = (credentials.notAfter - Date.now()) / 1_000;
    t.ok(seconds > 86_000 && seconds <= 86_400, `${keyType}: ${seconds} s`);
    t.same(problems, []);
  }
});

withIstiod('renews at half of the life, and without a token by the certificate that it has', async (t, istiod) => {
  const tokenFile = istiod.tokenFile('web');
  const { problems, until, updates } = followSource(t, sourceOf(istiod, { tokenFile, ttlMs: 10_000 }));
  await until('a certificate', () => updates.length === 1);
  rmSync(tokenFile);
  await until('two renewals', () => updates.length >= 3);
  t.same(problems, []);
  t.equal(
    new Set(updates.map(({ privateKeyPem }) => privateKeyPem)).size,
    updates.length,
    'a key of its own each time',
  );
  t.ok(updates.every(({ spiffeId }) => spiffeId === idOf('web')));
});

withIstiod('a root that istiod adds comes with the next certificate', async (t, istiod) => {
  const { until, updates } = followSource(t, sourceOf(istiod, { tokenFile: istiod.tokenFile('web'), ttlMs: 2_000 }));
  await until('a certificate', () => updates.length > 0);
  const next = makeAuthority({ name: 'the next root' });
  istiod.addRoot(next.rootPem);
  await until('both roots', () => updates.at(-1)?.trustBundles.get('cluster.local')?.length === 2);
  t.same(updates.at(-1)?.trustBundles.get('cluster.local'), [istiod.rootPem, next.rootPem]);
});

withIstiod('who is not known gets nothing, and a server that is not known gets no token', async (t, istiod) => {
  const refused: readonly (readonly [string, string])[] = [
    ['another audience', istiod.tokenFile('a', { aud: ['elsewhere'] })],
    ['another issuer', istiod.tokenFile('b', { iss: 'https://elsewhere' })],
    ['an expired token', istiod.tokenFile('c', { exp: 1 })],
    ['a token that another has signed', istiod.tokenFile('d', {}, makeTokenKey())],
  ];
  for (const [what, tokenFile] of refused) {
    const { problems, until, updates } = followSource(t, sourceOf(istiod, { tokenFile }));
    await until('the refusal', () => problems.length > 0);
    t.match(problems[0], /^rejected: .* refused: UNAUTHENTICATED: request authenticate failure/, what);
    t.equal(updates.length, 0);
  }
  const mistaken = followSource(t, sourceOf(istiod, { tokenFile: istiod.tokenFile('web'), spiffeId: idOf('cart') }));
  await mistaken.until('the refusal', () => mistaken.problems.length > 0);
  t.match(mistaken.problems[0], /expected spiffe:.*\/cart, the certificate says .*\/web/);
  const elsewhere = followSource(
    t,
    sourceOf(istiod, { tokenFile: istiod.tokenFile('web'), serverName: 'istiod.other.svc' }),
  );
  await elsewhere.until('the loss', () => elsewhere.problems.length > 0);
  t.match(elsewhere.problems[0], /^lost: .*altnames/);
});

withIstiod('two processes with certificates of istiod speak mTLS, and strangers do not', async (t, istiod) => {
  const yaml = join(istiod.folder, 'cart');
  mkdirSync(yaml);
  writeFileSync(
    join(yaml, 'strict.yaml'),
    'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: default, namespace: shop }\nspec: { mtls: { mode: STRICT } }\n',
  );
  const member = fileURLToPath(new URL('./member.ts', import.meta.url));
  const child = spawn(
    process.execPath,
    [
      '--conditions=@inmesh/source',
      '--disable-warning=ExperimentalWarning',
      member,
      yaml,
      istiod.rootFile,
      istiod.tokenFile('cart'),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, CA_ADDR: istiod.address } },
  );
  t.teardown(() => child.stdin.end());
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());

  const calls = join(istiod.folder, 'web');
  mkdirSync(calls);
  const entry = (account: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: cart, namespace: shop }
spec:
  hosts: [cart.shop.svc.cluster.local]
  ports: [{ number: 80, name: http, protocol: HTTP }]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{ address: 127.0.0.1, ports: { http: ${port} }, serviceAccount: ${account}, labels: { security.istio.io/tlsMode: istio } }]
`;
  const callAs = async (identity: IdentitySource | false, account: string): Promise<string> => {
    writeFileSync(join(calls, 'cart.yaml'), entry(account));
    const mesh = createMesh({
      config: calls,
      workload: { name: 'web', namespace: 'shop', serviceAccount: 'web' },
      identity,
    });
    try {
      await mesh.ready(20_000);
      const response = await mesh.fetch('http://cart.shop.svc.cluster.local/');
      return `${response.status} ${response.headers.get('x-inmesh-error') ?? (await response.text())}`;
    } finally {
      await mesh.close();
    }
  };
  const web = (): IdentitySource => sourceOf(istiod, { tokenFile: istiod.tokenFile('web') });
  t.equal(await callAs(web(), 'cart'), `200 ${idOf('web')}`);
  t.match(await callAs(web(), 'other'), /^503 ERR_MESH_PEER_IDENTITY/);
  t.notMatch(await callAs(false, 'cart'), /^200/);
});

withIstiod('Istio’s agent: both secrets by SDS, as it serves them to Envoy', async (t, istiod) => {
  const path = await istiod.agent(istiod.tokenFile('cart'));
  const { problems, until, updates } = followSource(t, sdsSource({ path }));
  await until('a certificate', () => updates.length > 0);
  const credentials = updates[0] as Credentials;
  t.equal(credentials.spiffeId, idOf('cart'));
  t.same([...credentials.trustBundles], [['cluster.local', [istiod.rootPem]]]);
  t.equal(chainOf(credentials).length, 2, 'without the root, which the agent puts at its end');
  t.match(credentials.privateKeyPem, /^-----BEGIN PRIVATE KEY/);
  t.equal(verifyPeer(chainOf(credentials), credentials.trustBundles, Date.now()).spiffeId, idOf('cart'));
  t.same(problems, []);
});
