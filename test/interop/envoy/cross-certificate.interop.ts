// While roots are exchanged, an Envoy that knows only the old root accepts what the new root signed, and the other way round.
import { createAuthority } from '@inmesh/ca';
import t from 'tap';
import { Agent, request } from 'undici';
import type { Credentials } from '../../../src/identity/source.ts';
import { issued } from '../issued.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets } from './bootstrap.ts';
import { echo, echoServer } from './echo.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess, peerService } from './mesh-process.ts';
import { outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';

const webId = 'spiffe://cluster.local/ns/shop/sa/web';
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

/** Those who have heard of nothing yet, and those whose certificate is of the new root. */
const authority = createAuthority();
const old = { web: issued(authority, webId), reviews: issued(authority, reviewsId) };
authority.rotation.prepare();
authority.rotation.activate();
const next = { web: issued(authority, webId), reviews: issued(authority, reviewsId) };

/** Without the cross certificate, which comes last. */
const shortened = (credentials: Credentials): Credentials => ({
  ...credentials,
  certificateChainPem: credentials.certificateChainPem.replace(
    /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n$/,
    '',
  ),
});

const rows = [
  ['old, old', old.web, old.reviews, true],
  ['new, old', next.web, old.reviews, true],
  ['old, new', old.web, next.reviews, true],
  ['new, new', next.web, next.reviews, true],
  ['new without its cross certificate, old', shortened(next.web), old.reviews, false],
  ['old, new without its cross certificate', old.web, shortened(next.reviews), false],
] as const;

t.test(
  ...withEnvoy('a process of the mesh calls an Envoy, each with the old root or the new one', async (t, program) => {
    for (const [what, web, reviews, accepted] of rows) {
      const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app: await echoServer(t) }];
      const secrets = fixedSecrets(reviews);
      const envoy = await startEnvoy(t, program, (folder) => inboundSidecar({ ports, secrets }, folder));
      const mesh = await meshProcess(t, 'web', peerService({ name: 'reviews', port: envoy.port('strict') }), web);
      const outcome = await request('http://reviews/', { dispatcher: mesh.dispatcher }).then(
        ({ statusCode }) => statusCode === 200,
        () => false,
      );
      t.equal(outcome, accepted, what);
    }
  }),
);

t.test(
  ...withEnvoy('an Envoy calls a process of the mesh, each with the old root or the new one', async (t, program) => {
    for (const [what, web, reviews, accepted] of rows) {
      const mesh = await meshProcess(t, 'reviews', strict, reviews);
      const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
      const service = {
        name: 'out',
        host: 'reviews.shop.svc.cluster.local',
        endpoints: [port],
        protocol: 'HTTP',
        identities: [reviewsId],
      } as const;
      const secrets = fixedSecrets(web);
      const envoy = await startEnvoy(t, program, (folder) => outboundSidecar({ services: [service], secrets }, folder));
      const agent = new Agent();
      t.teardown(() => agent.close());
      const { statusCode } = await request(`http://127.0.0.1:${envoy.port('out')}/`, { dispatcher: agent });
      t.equal(statusCode === 200, accepted, what);
    }
  }),
);
