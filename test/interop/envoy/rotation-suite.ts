import { X509Certificate } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { createAuthority } from '@inmesh/ca';
import type { Test } from 'tap';
import { Agent, request } from 'undici';
import type { Credentials, IdentitySource } from '../../../src/identity/source.ts';
import type { Mesh } from '../../../src/index.ts';
import { issued } from '../issued.ts';
import { withEnvoy } from './binary.ts';
import type { Secrets } from './bootstrap.ts';
import { echo, echoServer } from './echo.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { type Load, startLoad } from './load.ts';
import { meshProcess, peerService } from './mesh-process.ts';
import { outboundSidecar } from './outbound-sidecar.ts';
import { type Envoy, startEnvoy } from './run.ts';

const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';
/** So that new handshakes happen all the time. */
const requestsPerConnection = 10;

const limits = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    connectionPool: {http: {maxRequestsPerConnection: ${requestsPerConnection}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews}}], retries: {attempts: 0}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

/** A place out of which an Envoy or a process of the mesh takes its certificates. */
export interface CertificatePlace {
  readonly secrets: Secrets;
  identity(): IdentitySource;
  /** Puts these in place of the last ones. */
  write(credentials: Credentials): void;
}

/** Makes a place with first credentials in it; it ends with the test. */
export type MakePlace = (t: Test, first: Credentials) => CertificatePlace | Promise<CertificatePlace>;

/** Both sides of one direction, under load. */
interface Pair {
  readonly load: Load;
  /** TLS handshakes that the Envoy has seen. */
  handshakes(): Promise<number>;
  /** Gives both sides other credentials and waits until both have them. */
  exchange(web: Credentials, reviews: Credentials): Promise<void>;
}

/** Calls go from `web` to `reviews`. */
type Start = (t: Test, program: string, place: MakePlace, web: Credentials, reviews: Credentials) => Promise<Pair>;

const meshToEnvoy: Start = async (t, program, place, web, reviews) => {
  const ours = await place(t, web);
  const theirs = await place(t, reviews);
  const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app: await echoServer(t) }];
  const envoy = await startEnvoy(t, program, (folder) => inboundSidecar({ ports, secrets: theirs.secrets }, folder));
  const yaml = peerService({ name: 'reviews', port: envoy.port('strict') }) + limits;
  const mesh = await meshProcess(t, 'web', yaml, ours.identity());
  const load = startLoad(8, async () => {
    const { body, statusCode } = await request('http://reviews/', { dispatcher: mesh.dispatcher });
    await body.dump();
    return statusCode;
  });
  return {
    load,
    handshakes: () => envoy.stat('listener.strict.ssl.handshake'),
    async exchange(nextWeb, nextReviews) {
      const took = nextIdentity(mesh);
      ours.write(nextWeb);
      theirs.write(nextReviews);
      await Promise.all([took, shown(envoy, nextReviews)]);
    },
  };
};

const envoyToMesh: Start = async (t, program, place, web, reviews) => {
  const ours = await place(t, reviews);
  const theirs = await place(t, web);
  const mesh = await meshProcess(t, 'reviews', limits, ours.identity());
  const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
  const service = {
    name: 'out',
    host: 'reviews.shop.svc.cluster.local',
    endpoints: [port],
    protocol: 'HTTP',
    identities: [reviewsId],
    requestsPerConnection,
  } as const;
  const envoy = await startEnvoy(t, program, (folder) =>
    outboundSidecar({ services: [service], secrets: theirs.secrets }, folder),
  );
  const agent = new Agent();
  t.teardown(() => agent.close());
  const load = startLoad(8, async () => {
    const { body, statusCode } = await request(`http://127.0.0.1:${envoy.port('out')}/`, { dispatcher: agent });
    await body.dump();
    return statusCode;
  });
  return {
    load,
    handshakes: () => envoy.stat(`cluster.outbound|80|out|${service.host}.ssl.handshake`),
    async exchange(nextWeb, nextReviews) {
      const took = nextIdentity(mesh);
      theirs.write(nextWeb);
      ours.write(nextReviews);
      await Promise.all([took, shown(envoy, nextWeb)]);
    },
  };
};

const directions = { 'the mesh calls an Envoy': meshToEnvoy, 'an Envoy calls the mesh': envoyToMesh };

/**
 * Exchanges certificates of an Envoy and a mesh, which the embedded authority issues, under load.
 *
 * @param how where they take them from
 */
export function rotationSuite(test: Test, how: string, place: MakePlace): void {
  for (const [direction, start] of Object.entries(directions)) {
    test.test(
      ...withEnvoy(
        `${how}: leaves change every few requests, and no request is lost: ${direction}`,
        async (t, program) => {
          const authority = createAuthority();
          const { exchange, handshakes, load } = await start(
            t,
            program,
            place,
            issued(authority, webId),
            issued(authority, reviewsId),
          );
          for (let i = 0; i < 10; i++) {
            await exchange(issued(authority, webId), issued(authority, reviewsId));
            await load.more(100);
          }
          await load.stop();
          t.same(load.lost, []);
          t.ok(load.answered() >= 1_000, `${load.answered()} requests`);
          t.ok((await handshakes()) >= 100, `${await handshakes()} handshakes`);
        },
      ),
    );

    test.test(
      ...withEnvoy(
        `${how}: a root is exchanged in three steps, and no request is lost: ${direction}`,
        async (t, program) => {
          const authority = createAuthority();
          const next = async (...roots: readonly string[]): Promise<void> =>
            exchange(issued(authority, webId, roots), issued(authority, reviewsId, roots));
          const rootsNow = (): readonly string[] => authority.trustBundles.get('cluster.local') ?? [];
          const [old = ''] = rootsNow();
          const first = [issued(authority, webId), issued(authority, reviewsId)] as const;
          const { exchange, handshakes, load } = await start(t, program, place, ...first);
          await load.more(200);
          authority.rotation.prepare();
          const fresh = rootsNow().find((root) => root !== old) ?? '';
          authority.rotation.activate({ force: true });
          // Nobody has heard of the new root yet, and goes by the cross certificate.
          await next(old);
          await load.more(200);
          // The new one first: an Envoy tells of the first only.
          await next(fresh, old);
          // Every connection is another one by then.
          await load.more(400);
          authority.rotation.finish({ force: true });
          t.same(rootsNow(), [fresh]);
          await next(fresh);
          await load.more(200);
          await load.stop();
          t.same(load.lost, []);
          t.ok(load.answered() >= 1_000, `${load.answered()} requests`);
          t.ok((await handshakes()) >= 100, `${await handshakes()} handshakes`);
        },
      ),
    );
  }

  test.test(
    ...withEnvoy(`${how}: who has nothing but a root that is gone is out`, async (t, program) => {
      const old = createAuthority();
      const next = createAuthority();
      const theirs = await place(t, issued(old, reviewsId));
      const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app: await echoServer(t) }];
      const envoy = await startEnvoy(t, program, (folder) =>
        inboundSidecar({ ports, secrets: theirs.secrets }, folder),
      );
      const yaml = peerService({ name: 'reviews', port: envoy.port('strict') }) + limits;
      const mesh = await meshProcess(t, 'web', yaml, issued(old, webId));
      t.equal((await mesh.fetch('http://reviews/')).status, 200);
      const after = issued(next, reviewsId);
      theirs.write(after);
      await shown(envoy, after);
      const late = await meshProcess(t, 'web', yaml, issued(old, webId));
      t.equal((await late.fetch('http://reviews/')).status, 503, 'a new connection');
    }),
  );
}

/** Resolves at the next certificate of a mesh. */
function nextIdentity(mesh: Mesh): Promise<void> {
  return new Promise((resolve) => {
    const off = mesh.on('identity', () => {
      off();
      resolve();
    });
  });
}

/** The Envoy serves and calls with these, and nothing else. */
async function shown(envoy: Envoy, credentials: Credentials): Promise<void> {
  const root = [...credentials.trustBundles.values()][0]?.[0] ?? '';
  const wanted = [root, credentials.certificateChainPem].map(serialOf);
  for (let i = 0; i < 2_400; i++) {
    const { certificates } = JSON.parse(await envoy.admin('/certs')) as Certificates;
    // Of several roots it names the first.
    const found = certificates.map(({ ca_cert: [ca], cert_chain: [leaf] }) => [ca?.serial_number, leaf?.serial_number]);
    if (found.every((pair) => pair.every((serial, i) => serial === wanted[i]))) return;
    await wait(25);
  }
  throw new Error(`the Envoy did not take ${wanted.join(' and ')}`);
}

function serialOf(pem: string): string {
  return new X509Certificate(pem).serialNumber.toLowerCase();
}

interface Certificates {
  readonly certificates: readonly {
    readonly ca_cert: readonly Serial[];
    readonly cert_chain: readonly Serial[];
  }[];
}
interface Serial {
  readonly serial_number: string;
}
