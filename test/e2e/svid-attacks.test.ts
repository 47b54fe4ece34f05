// The catalogue's certificates, good and bad, for every way to put an application behind the mesh, and for its calls.
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, type SecureVersion, type TLSSocket, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import type { Credentials, IdentitySink } from '../../src/identity/source.ts';
import { parseSpiffeBundle } from '../../src/identity/spiffe-bundle.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import { keyPem, makeAuthority, makeCertificate, makeKey, type TestAuthority, toPem } from '../support/certificates.ts';
import { crlsOf, makeCrl, serialOf } from '../support/crls.ts';
import {
  type Adapter,
  adapters,
  type GuardedServer,
  grpcHead,
  guard,
  type Seen,
  statusOf,
} from '../support/guarded-servers.ts';
import { http2Request, http2Session } from '../support/http2-client.ts';
import { rawExchange, shopWeb } from '../support/inbound.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { type SvidCase, svidWorld } from '../support/svid-cases.ts';

interface Case {
  readonly id: string;
  readonly title: string;
  readonly kind: 'certificate' | 'revocation' | 'session' | 'connection' | 'bundle' | 'generator';
  readonly decision: 'allow' | 'handshake-fail' | 'bounded' | 'ignore';
}

const fixture = new URL('../fixtures/svid-attacks.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(fixture, 'utf8')) as { readonly cases: readonly Case[] };
const ofKind = (kind: Case['kind']): readonly Case[] => cases.filter((each) => each.kind === kind);
const named = ({ id, title, decision }: Case): string => `${id} ${title}: ${decision}`;
const caseOf = (id: string): Case => cases.find((each) => each.id === id) as Case;

const api = 'spiffe://cluster.local/ns/shop/sa/api';
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

/** Servers of the application's own see only the leaf of a caller on Node 24.21: so here the roots sign leaves themselves. */
const world = svidWorld({ meshIntermediate: false });
/** Where the mesh serves, it sees whole chains everywhere. */
const deeper = svidWorld({ meshIntermediate: true });
const { mesh, partner } = world;
const bundles = new Map([...mesh.trustBundles, ...partner.trustBundles]);
const certificateOf = ({ id }: Case): SvidCase => world.cases.find((each) => each.id === id) as SvidCase;

/** The authority of a server that knows more than its own trust domain. */
const withTrust = (more: Partial<Credentials>): TestAuthority => ({
  ...mesh,
  issue: (spiffeId, options) => ({ ...mesh.issue(spiffeId, options), ...more }),
});

/** Asks as a client with these credentials; 0: no answer. */
async function ask(
  adapter: Adapter,
  port: number,
  credentials: Credentials,
  ca = mesh.rootPem,
): Promise<{ status: number; peer?: string }> {
  const tls = { ca, credentials };
  const answer = await (adapter.http2 === true ? overHttp2(adapter, port, tls) : overHttp1(port, tls));
  return answer.status === 200
    ? { status: 200, peer: (JSON.parse(answer.body) as Seen).peer ?? 'nobody' }
    : { status: answer.status };
}

interface Tls {
  readonly ca: string;
  readonly credentials: Credentials;
}

async function overHttp1(port: number, tls: Tls): Promise<{ status: number; body: string }> {
  const request = 'GET / HTTP/1.1\r\nhost: web\r\n\r\n';
  return (await rawExchange(port, request, { tls: { ...tls, alpn: ['http/1.1'] } }))[0] ?? { status: 0, body: '' };
}

async function overHttp2(adapter: Adapter, port: number, tls: Tls): Promise<{ status: number; body: string }> {
  const session = http2Session(port, tls);
  try {
    const answer = await http2Request(session, adapter.grpc === true ? grpcHead : {});
    return { status: statusOf({ ':status': answer.status, ...answer.headers }), body: answer.body };
  } finally {
    session.destroy();
  }
}

async function guarded(t: Test, adapter: Adapter, more: Partial<Credentials> = {}): Promise<GuardedServer> {
  const server = await guard(adapter, withTrust({ trustBundles: bundles, ...more }));
  t.teardown(() => server.close());
  server.use(strict);
  return server;
}

t.test('the fixture has every case, and each has its certificate', async (t) => {
  t.equal(cases.length, 39);
  t.equal(new Set(cases.map(({ id }) => id)).size, 39);
  for (const each of ofKind('certificate')) {
    t.equal(certificateOf(each)?.refusedFor === undefined, each.decision === 'allow', named(each));
  }
});

for (const adapter of adapters) {
  t.test(`${adapter.name}: certificates of callers`, async (t) => {
    const server = await guarded(t, adapter);
    for (const each of ofKind('certificate')) {
      const { presented } = certificateOf(each);
      const { status, peer } = await ask(adapter, server.port, presented);
      if (each.decision === 'allow') t.equal(peer, presented.spiffeId, named(each));
      else t.not(status, 200, named(each));
    }
    t.equal((await ask(adapter, server.port, mesh.issue(api))).peer, api, 'and it serves on');
  });

  if (adapter.ownTls !== true) {
    t.test(`${adapter.name}: chains of callers`, async (t) => {
      const server = await guard(adapter, {
        ...deeper.mesh,
        // Issued by the root, so that nothing is known of authorities in between.
        issue: (spiffeId) => ({
          ...makeBelow(deeper.mesh, spiffeId),
          trustBundles: new Map([...deeper.mesh.trustBundles, ...deeper.partner.trustBundles]),
        }),
      });
      t.teardown(() => server.close());
      server.use(strict);
      for (const { id, title, presented, refusedFor } of deeper.cases) {
        const { status, peer } = await ask(adapter, server.port, presented, deeper.mesh.rootPem);
        const what = `${id} ${title}: ${refusedFor === undefined ? 'allow' : 'handshake-fail'}`;
        if (refusedFor === undefined) t.equal(peer, presented.spiffeId, what);
        else t.not(status, 200, what);
      }
    });

    t.test(`${adapter.name}: revoked chains`, async (t) => {
      const { mesh: issuer } = deeper;
      const [good, bad] = [issuer.issue(api), issuer.issue(api)];
      const serving = async (crlsByTrustDomain: ReadonlyMap<string, readonly string[]>): Promise<GuardedServer> => {
        const own = (spiffeId: string): Credentials => ({
          ...makeBelow(issuer, spiffeId),
          trustBundles: issuer.trustBundles,
          crlsByTrustDomain,
        });
        const server = await guard(adapter, { ...issuer, issue: own });
        t.teardown(() => server.close());
        server.use(strict);
        return server;
      };
      const status = async ({ port }: GuardedServer, who: Credentials): Promise<number> =>
        (await ask(adapter, port, who, issuer.rootPem)).status;
      const leafListed = await serving(crlsOf(issuer, { leaves: [bad.certificateChainPem] }));
      t.equal(await status(leafListed, good), 200, 'who is not listed is served');
      t.not(await status(leafListed, bad), 200, named(caseOf('SVID-045')));
      const aboveListed = await serving(crlsOf(issuer, { authorities: [issuer.intermediatePem] }));
      t.not(await status(aboveListed, good), 200, named(caseOf('SVID-046')));
      const rootsOnly = await serving(new Map([['cluster.local', [makeCrl(issuer.root)]]]));
      t.not(await status(rootsOnly, good), 200, 'an issuer without a list vouches for nobody');
    });
  }

  t.test(`${adapter.name}: revoked callers`, async (t) => {
    const [good, bad] = [mesh.issue(api), mesh.issue(api)];
    const revokedInter = makeIntermediate();
    const crls = [
      makeCrl(mesh.root, { revoked: [serialOf(bad.certificateChainPem), serialOf(revokedInter.pem)] }),
      makeCrl(revokedInter.signer),
    ];
    // Beside the roots it could be seen, and trusted, everywhere; if it were not revoked.
    const roots = new Map([['cluster.local', [mesh.rootPem, revokedInter.pem]]]);
    const server = await guarded(t, adapter, {
      trustBundles: roots,
      crlsByTrustDomain: new Map([['cluster.local', crls]]),
    });
    t.equal((await ask(adapter, server.port, good)).peer, api, 'who is not listed is served');
    t.not((await ask(adapter, server.port, bad)).status, 200, named(caseOf('SVID-045')));
    t.not((await ask(adapter, server.port, revokedInter.issue(api))).status, 200, named(caseOf('SVID-046')));
    const without = await guarded(t, adapter, { trustBundles: roots });
    t.equal((await ask(adapter, without.port, revokedInter.issue(api))).peer, api, 'without the list it is trusted');
  });

  t.test(`${adapter.name}: a bundle that comes to nothing, and certificates with a flipped bit`, async (t) => {
    const ofBundle = (keys: readonly object[]): readonly string[] =>
      parseSpiffeBundle(JSON.stringify({ keys }), 'bundle').x509Authorities;
    const root = new X509Certificate(partner.rootPem);
    const jwk = root.publicKey.export({ format: 'jwk' });
    const caller = partner.issue('spiffe://partner.example/ns/a/sa/b');
    const x5c = [root.raw.toString('base64')];
    for (const [entry, trusted] of [
      [{ ...jwk, use: 'x509-svid', x5c }, true],
      [{ ...jwk, use: 'x509-svid' }, false],
      [{ ...jwk, x5c }, false],
      [{ use: 'x509-svid', x5c }, false],
    ] as const) {
      const trustBundles = new Map([...mesh.trustBundles, ['partner.example', ofBundle([entry])] as const]);
      const server = await guarded(t, adapter, { trustBundles });
      const { status } = await ask(adapter, server.port, caller);
      t.equal(status === 200, trusted, named(caseOf('SVID-056')));
    }
    const server = await guarded(t, adapter);
    const good = mesh.issue(api);
    const der = new X509Certificate(good.certificateChainPem).raw;
    let presentable = 0;
    for (let bit = 3; bit < der.length * 8; bit += 97) {
      const flipped = Buffer.from(der);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      // Most cannot even be presented: the client's own library refuses them.
      const answer = await ask(adapter, server.port, { ...good, certificateChainPem: toPem(flipped) }).catch(
        () => undefined,
      );
      if (answer === undefined) continue;
      presentable++;
      t.not(answer.status, 200, `${named(caseOf('SVID-057'))}, bit ${bit}`);
    }
    t.ok(presentable > 2, `${presentable} of them`);
  });

  t.test(`${adapter.name}: sessions and connections that outlive trust`, async (t) => {
    if (adapter.ownTls === true) {
      t.pass('its TLS is the business of the application; requests are judged one by one, as above');
      return;
    }
    const other = makeAuthority({ name: 'another root', intermediate: false });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      let sink: IdentitySink | undefined;
      const own = { ...mesh.issue('spiffe://cluster.local/ns/shop/sa/web'), trustBundles: mesh.trustBundles };
      const server = await guard(adapter, mesh, {
        identity: {
          name: 'test',
          run: async (to) => {
            sink = to;
            to.update(own);
          },
        },
      });
      t.teardown(() => server.close());
      server.use(strict);
      const good = mesh.issue(api);
      const first = await handshake(server.port, adapter, { good, maxVersion });
      t.ok(first.secured, `${maxVersion}: good to begin with`);
      const second = await handshake(server.port, adapter, { good, maxVersion, session: first.session });
      t.ok(second.secured && !second.reused, `${named(caseOf('SVID-051'))}, ${maxVersion}: judged anew, dates and all`);
      const open = http2Session(server.port, { ca: mesh.rootPem, credentials: good });
      if (adapter.http2 === true) t.equal((await http2Request(open, {})).status, 200);

      sink?.update({ ...own, trustBundles: new Map([['cluster.local', [other.rootPem]]]) });
      const third = await handshake(server.port, adapter, { good, maxVersion, session: first.session });
      t.notOk(third.reused, `${named(caseOf('SVID-050'))}, ${maxVersion}`);
      t.equal(
        (await ask(adapter, server.port, good)).status,
        0,
        `${named(caseOf('SVID-050'))}, ${maxVersion}: no answer`,
      );
      if (adapter.http2 === true) {
        t.equal(
          (await http2Request(open, {})).status,
          403,
          `${named(caseOf('SVID-053'))}: the next request is refused`,
        );
      } else {
        const [, late] = await overOneConnection(t, adapter, other);
        t.equal(late, 403, `${named(caseOf('SVID-053'))}: the next request is refused`);
      }
      open.destroy();
    }
  });
}

/** Two requests over one connection; before the second the root of its client is taken away. */
async function overOneConnection(t: Test, adapter: Adapter, other: TestAuthority): Promise<readonly number[]> {
  let sink: IdentitySink | undefined;
  const own = mesh.issue('spiffe://cluster.local/ns/shop/sa/web');
  const server = await guard(adapter, mesh, {
    identity: {
      name: 'test',
      run: async (to) => {
        sink = to;
        to.update(own);
      },
    },
  });
  t.teardown(() => server.close());
  server.use(strict);
  const socket = tlsConnect(tlsOptions(server.port, adapter, { good: mesh.issue(api) }));
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  const next = async (): Promise<number> => {
    socket.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
    const [bytes] = await once(socket, 'data');
    return Number(String(bytes).split(' ')[1]);
  };
  const before = await next();
  sink?.update({ ...own, trustBundles: new Map([['cluster.local', [other.rootPem]]]) });
  return [before, await next()];
}

interface Attempt {
  readonly good: Credentials;
  readonly maxVersion?: SecureVersion;
  readonly session?: Buffer | undefined;
}

function tlsOptions(port: number, adapter: Adapter, { good, maxVersion, session }: Attempt): ConnectionOptions {
  return {
    host: '127.0.0.1',
    port,
    ca: mesh.rootPem,
    cert: good.certificateChainPem,
    key: good.privateKeyPem,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [adapter.http2 === true ? 'h2' : 'http/1.1'],
    ...(maxVersion === undefined ? {} : { maxVersion }),
    ...(session === undefined ? {} : { session }),
  };
}

/** One handshake, and the session that a client would keep of it. */
async function handshake(port: number, adapter: Adapter, attempt: Attempt) {
  const socket: TLSSocket = tlsConnect(tlsOptions(port, adapter, attempt));
  let session: Buffer | undefined;
  socket.on('session', (given) => {
    session = given;
  });
  socket.on('error', () => {});
  const secured = await new Promise<boolean>((resolve) => {
    socket.once('secureConnect', () => resolve(true)).once('close', () => resolve(false));
  });
  const reused = secured && socket.isSessionReused();
  // Of TLS 1.2 the session is known after the handshake; of TLS 1.3 it would come with the first answer.
  session ??= socket.getSession();
  socket.destroy();
  return { secured, reused, session };
}

/** A leaf that the root has signed itself. */
function makeBelow({ root }: TestAuthority, spiffeId: string): Credentials {
  const key = makeKey();
  const leaf = new X509Certificate(makeCertificate(key, { sans: [{ uri: spiffeId }] }, root));
  return {
    spiffeId,
    certificateChainPem: leaf.toString(),
    privateKeyPem: keyPem(key),
    trustBundles: new Map(),
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
  };
}

/** An authority below the root of the mesh. */
function makeIntermediate() {
  const below = makeAuthority({ name: 'unused' });
  const pem = toPem(makeCertificate(below.signer.key, { name: below.signer.name, ca: true, pathLength: 0 }, mesh.root));
  return {
    pem,
    signer: below.signer,
    issue: (spiffeId: string): Credentials => {
      const credentials = below.issue(spiffeId);
      const leaf = new X509Certificate(credentials.certificateChainPem).toString();
      return { ...credentials, certificateChainPem: leaf + pem, trustBundles: mesh.trustBundles };
    },
  };
}

// ---- the other direction: what the mesh calls

const hostOf = (id: string): string => `${id.toLowerCase().replaceAll('+', '-more')}.shop.svc.cluster.local`;

/** Exactly who is presented may be there, so that the name is no reason to refuse; where no document could say it, anybody. */
function expected(spiffeId: string): string {
  try {
    return `  subjectAltNames: [${JSON.stringify(parseSpiffeId(spiffeId).uri)}]`;
  } catch {
    return '';
  }
}

/** An endpoint of a service, as a document. */
const service = (id: string, port: number, spiffeId: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${hostOf(id)}, namespace: shop}
spec:
  hosts: [${hostOf(id)}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}, labels: {security.istio.io/tlsMode: istio}}]
${expected(spiffeId)}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${hostOf(id)}, namespace: shop}
spec:
  host: ${hostOf(id)}
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
`;

/** A server that presents anything, and counts what reaches it. */
async function present(t: Test, presented: Credentials, trustBundles = bundles) {
  let requests = 0;
  const tls = meshTlsOptions({ ...presented, trustBundles });
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: true }, (_, response) => {
    requests++;
    response.end('served');
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests: () => requests };
}

async function caller(t: Test, yaml: string, more: Partial<Credentials> = {}): Promise<Mesh> {
  const { documents, problems } = parseYaml(yaml);
  const made = compile(documents, { workload: shopWeb });
  if (problems.length > 0 || !made.ok) throw new Error(JSON.stringify(made));
  const own = { ...mesh.issue('spiffe://cluster.local/ns/shop/sa/web'), trustBundles: bundles, ...more };
  const client = createMesh({
    workload: shopWeb,
    config: { name: 'test', run: async (sink) => sink.update(made.snapshot, made.report) },
    identity: { name: 'test', run: async (sink) => sink.update(own) },
    logger: recordingLogger(),
  });
  const release = holdProcess();
  t.teardown(async () => {
    await client.close();
    release();
  });
  await client.ready();
  return client;
}

async function called(client: Mesh, id: string): Promise<string> {
  const answer = await client.fetch(`http://${hostOf(id)}/`);
  const text = await answer.text();
  return answer.ok ? text : `${answer.status} ${answer.headers.get('x-inmesh-error')}`;
}

const refused = /^503 ERR_MESH_(PEER_IDENTITY|TLS_FAILED)$/;

t.test('calls: certificates of servers', async (t) => {
  // A client sees whole chains, on every release of Node.
  const { mesh: issuer, cases: presentable } = svidWorld({ meshIntermediate: true });
  const issued = new Map([...issuer.trustBundles]);
  for (const { certificates, trustBundles } of [
    { certificates: world.cases, trustBundles: bundles },
    { certificates: presentable.filter(({ id }) => id !== 'SVID-013'), trustBundles: issued },
  ]) {
    const servers = new Map<string, Awaited<ReturnType<typeof present>>>();
    for (const { id, presented } of certificates) {
      servers.set(id, await present(t, presented, trustBundles));
    }
    const yaml = certificates.map(({ id, presented }) => service(id, servers.get(id)?.port ?? 0, presented.spiffeId));
    const own = (trustBundles === bundles ? mesh : issuer).issue('spiffe://cluster.local/ns/shop/sa/web');
    const client = await caller(t, yaml.join('---'), { ...own, trustBundles });
    for (const { id, title, refusedFor } of certificates) {
      const what = `${id} ${title}: ${refusedFor === undefined ? 'allow' : 'handshake-fail'}`;
      const answer = await called(client, id);
      if (refusedFor === undefined) t.equal(answer, 'served', what);
      else {
        t.match(answer, refused, what);
        t.equal(servers.get(id)?.requests(), 0, `${id}: nothing was sent`);
      }
    }
  }
});

t.test('calls: revoked servers', async (t) => {
  const [good, bad] = [mesh.issue(api), mesh.issue(api)];
  const below = makeIntermediate();
  const crls = new Map([
    [
      'cluster.local',
      [
        makeCrl(mesh.root, { revoked: [serialOf(bad.certificateChainPem), serialOf(below.pem)] }),
        makeCrl(below.signer),
      ],
    ],
  ]);
  const servers = await Promise.all([good, bad, below.issue(api)].map((each) => present(t, each)));
  const ids = ['good', 'SVID-045', 'SVID-046'];
  const yaml = ids.map((id, i) => service(id, servers[i]?.port ?? 0, api)).join('---');
  const client = await caller(t, yaml, { crlsByTrustDomain: crls });
  t.equal(await called(client, 'good'), 'served');
  t.match(await called(client, 'SVID-045'), refused, named(caseOf('SVID-045')));
  t.match(await called(client, 'SVID-046'), refused, named(caseOf('SVID-046')));
  const trusting = await caller(t, yaml);
  t.equal(await called(trusting, 'SVID-045'), 'served', 'without lists it is trusted');
  t.equal(await called(trusting, 'SVID-046'), 'served');
  t.same(
    servers.map(({ requests }) => requests()),
    [1, 1, 1],
  );
});
