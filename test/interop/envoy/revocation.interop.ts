// Revocation lists of the embedded authority, as an Envoy understands them and as we do.
import { createAuthority } from '@inmesh/ca';
import t from 'tap';
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
const goneId = 'spiffe://cluster.local/ns/shop/sa/gone';
const reviewsId = 'spiffe://cluster.local/ns/shop/sa/reviews';
const host = 'reviews.shop.svc.cluster.local';
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

const authority = createAuthority();
const peers: Readonly<Record<string, Credentials>> = {
  good: issued(authority, webId),
  revoked: issued(authority, goneId),
};
authority.revoke({ spiffeId: goneId, reason: 'keyCompromise' });
// The authority that signs comes before the root.
const [ofSigner = '', ofRoot = ''] = authority.crls();

/** Which lists there are, and which peers are let in then. */
const rows: readonly [lists: string, crls: readonly string[], welcome: readonly string[]][] = [
  ['no list', [], ['good', 'revoked']],
  ['the lists of all authorities', [ofSigner, ofRoot], ['good']],
  ['the list of the signing authority alone', [ofSigner], []],
  ['the list of the root alone', [ofRoot], []],
];

const withLists = (credentials: Credentials, crls: readonly string[]): Credentials =>
  crls.length === 0 ? credentials : { ...credentials, crlsByTrustDomain: new Map([['cluster.local', crls]]) };

t.test(
  ...withEnvoy('servers let the same clients in', async (t, program) => {
    const app = await echoServer(t);
    const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app }];
    for (const [lists, crls, welcome] of rows) {
      const reviews = withLists(issued(authority, reviewsId), crls);
      const theirs = await startEnvoy(t, program, (folder) =>
        inboundSidecar({ ports, secrets: fixedSecrets(reviews) }, folder),
      );
      const ours = await meshProcess(t, 'reviews', strict, reviews);
      const { port } = await ours.listen(echo, { host: '127.0.0.1' });
      for (const [peer, credentials] of Object.entries(peers)) {
        const service = { name: 'out', host, endpoints: [port], protocol: 'HTTP' } as const;
        const sidecar = await startEnvoy(t, program, (folder) =>
          outboundSidecar({ services: [service], secrets: fixedSecrets(credentials) }, folder),
        );
        const yaml = peerService({ name: 'reviews', port: theirs.port('strict') });
        const mesh = await meshProcess(t, 'web', yaml, credentials);
        const expected = welcome.includes(peer) ? 200 : 503;
        t.equal((await mesh.fetch('http://reviews/')).status, expected, `an Envoy, ${lists}: ${peer}`);
        const status = (await fetch(`http://127.0.0.1:${sidecar.port('out')}/`)).status;
        t.equal(status, expected, `a process of the mesh, ${lists}: ${peer}`);
        await mesh.close();
      }
    }
  }),
);

t.test(
  ...withEnvoy('clients call the same servers', async (t, program) => {
    const app = await echoServer(t);
    const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app }];
    for (const [peer, credentials] of Object.entries(peers)) {
      const theirs = await startEnvoy(t, program, (folder) =>
        inboundSidecar({ ports, secrets: fixedSecrets(credentials) }, folder),
      );
      const ours = await meshProcess(t, 'reviews', strict, credentials);
      const { port } = await ours.listen(echo, { host: '127.0.0.1' });
      const tls = `{mode: ISTIO_MUTUAL, subjectAltNames: ["${credentials.spiffeId}"]}`;
      const yaml = peerService({ name: 'reviews', port: theirs.port('strict'), tls });
      for (const [lists, crls, welcome] of rows) {
        const reviews = withLists(issued(authority, reviewsId), crls);
        const mesh = await meshProcess(t, 'web', yaml, reviews);
        const service = { name: 'out', host, endpoints: [port], protocol: 'HTTP' } as const;
        const sidecar = await startEnvoy(t, program, (folder) =>
          outboundSidecar({ services: [service], secrets: fixedSecrets(reviews) }, folder),
        );
        const expected = welcome.includes(peer) ? 200 : 503;
        const status = (await fetch(`http://127.0.0.1:${sidecar.port('out')}/`)).status;
        t.equal(status, expected, `an Envoy, ${lists}: ${peer}`);
        t.equal((await mesh.fetch('http://reviews/')).status, expected, `a process of the mesh, ${lists}: ${peer}`);
        await mesh.close();
      }
    }
  }),
);
