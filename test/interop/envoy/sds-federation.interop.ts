// Roots of several trust domains: our SDS server hands them to Envoy's SPIFFE validator, each for itself.
import t from 'tap';
import type { Credentials } from '../../../src/identity/source.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from './binary.ts';
import { echo, echoServer } from './echo.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess, peerService } from './mesh-process.ts';
import { outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';
import { sdsSocket } from './sds-socket.ts';

const own = makeAuthority();
// Without an intermediate: some releases of Node.js show a server the leaf alone (docs/identity.md).
const other = makeAuthority({ trustDomain: 'other.test', intermediate: false });
const stranger = makeAuthority({ trustDomain: 'stranger.test' });
const trustBundles = new Map([...own.trustBundles, ...other.trustBundles]);
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';
const reviews: Credentials = { ...own.issue(reviewsId), trustBundles };

/** Who calls, and whether both trust domains together make that a caller of the federation. */
const callers = [
  ['of the own trust domain', own.issue('spiffe://cluster.local/ns/shop/sa/web'), true],
  ['of the other one', other.issue('spiffe://other.test/ns/shop/sa/web'), true],
  ['of the other one, by the authority of the own', own.issue('spiffe://other.test/ns/shop/sa/web'), false],
  ['of the own one, by the authority of the other', other.issue('spiffe://cluster.local/ns/shop/sa/web'), false],
  ['of a stranger', stranger.issue('spiffe://stranger.test/ns/shop/sa/web'), false],
] as const;

t.test(
  ...withEnvoy('an Envoy lets in whom each trust domain proves for itself', async (t, program) => {
    const app = await echoServer(t);
    for (const roots of ['ALL', 'ROOTCA']) {
      const socket = await sdsSocket(t, reviews);
      const secrets = socket.secrets({ certificate: reviewsId, roots });
      const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app }];
      const trustDomains = ['cluster.local', 'other.test'];
      const envoy = await startEnvoy(t, program, (folder) => inboundSidecar({ ports, secrets, trustDomains }, folder));
      const tls = `{mode: ISTIO_MUTUAL, subjectAltNames: ["${reviewsId}"]}`;
      const yaml = peerService({ name: 'reviews', port: envoy.port('strict'), tls });
      for (const [who, credentials, welcome] of callers) {
        const trustDomain = credentials.spiffeId.split('/')[2] as string;
        const workload = { name: 'web', namespace: 'shop', serviceAccount: 'web', trustDomain };
        const mesh = await meshProcess(
          t,
          'web',
          yaml,
          { ...credentials, trustBundles: caller(credentials) },
          { workload },
        );
        // ROOTCA holds the roots of the own trust domain alone, and an Envoy that was given nothing else
        // knows of no rule that binds them to it.
        const expected = roots === 'ALL' ? welcome : ownRoot.has(who);
        t.equal((await mesh.fetch('http://reviews/')).status, expected ? 200 : 503, `${roots}: ${who}`);
        await mesh.close();
      }
    }
  }),
);

const ownRoot: ReadonlySet<string> = new Set([callers[0][0], callers[2][0]]);

/** What a caller trusts: the server, and itself. */
function caller({ spiffeId, trustBundles }: Credentials): ReadonlyMap<string, readonly string[]> {
  const domain = spiffeId.split('/')[2] as string;
  return new Map([
    ...own.trustBundles,
    [domain, [...(own.trustBundles.get(domain) ?? []), ...[...trustBundles.values()].flat()]],
  ]);
}

t.test(
  ...withEnvoy('and so do we, with the Envoy as the client', async (t, program) => {
    const policy = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;
    const mesh = await meshProcess(t, 'reviews', policy, reviews);
    const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
    for (const [who, credentials, welcome] of callers) {
      const socket = await sdsSocket(t, { ...credentials, trustBundles: caller(credentials) });
      const secrets = socket.secrets({ roots: 'ALL' });
      const service = {
        name: 'out',
        host: 'reviews.shop.svc.cluster.local',
        endpoints: [port],
        protocol: 'HTTP',
        identities: [reviewsId],
      } as const;
      const envoy = await startEnvoy(t, program, (folder) => outboundSidecar({ services: [service], secrets }, folder));
      t.equal((await fetch(`http://127.0.0.1:${envoy.port('out')}/`)).status, welcome ? 200 : 503, who);
    }
  }),
);
