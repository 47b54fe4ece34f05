// grpc-js calls through an Envoy that is set up as the outbound side of a sidecar; a gRPC server of the mesh answers.
import { X509Certificate } from 'node:crypto';
import { credentials, Metadata, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { requestContext } from 'inmesh';
import t, { type Test } from 'tap';
import { MeshServer } from '../../../packages/grpc/src/index.ts';
import { EchoClient, echoDefinition, echoHandlers } from '../../../packages/grpc/test/support/echo-service.ts';
import { bound, drained, type Echo, unary } from '../../../packages/grpc/test/support/served.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from '../envoy/binary.ts';
import { fixedSecrets } from '../envoy/bootstrap.ts';
import { meshProcess } from '../envoy/mesh-process.ts';
import { type OutboundService, outboundSidecar } from '../envoy/outbound-sidecar.ts';
import { startEnvoy } from '../envoy/run.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');
const host = 'reviews.shop.svc.cluster.local';
const hash = new X509Certificate(web.certificateChainPem).fingerprint256.replaceAll(':', '').toLowerCase();

const policies = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-collect, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/test.Echo/Collect]}}]}]
`;

async function server(t: Test, mode: string): Promise<number> {
  const mesh = await meshProcess(t, 'reviews', policies(mode), reviews);
  const serving = new MeshServer(mesh as never);
  serving.addService(echoDefinition, {
    ...echoHandlers,
    unary: (call: { metadata: Metadata }, reply: (error: null, answer: string) => void) => {
      const [forwarded] = call.metadata.get('x-forwarded-client-cert');
      reply(null, JSON.stringify({ peer: requestContext().peer?.spiffeId, forwarded }));
    },
  } as unknown as UntypedServiceImplementation);
  t.teardown(() => serving.forceShutdown());
  return bound(serving);
}

t.test(
  ...withEnvoy('calls of every kind arrive through a sidecar, with its identity', async (t, program) => {
    const common = { host, protocol: 'HTTP2' } as const;
    const [strict, permissive] = [await server(t, 'STRICT'), await server(t, 'PERMISSIVE')];
    const services: OutboundService[] = [
      { ...common, name: 'STRICT', endpoints: [strict], identities: [reviews.spiffeId] },
      { ...common, name: 'PERMISSIVE', endpoints: [permissive], identities: [reviews.spiffeId] },
      { ...common, name: 'another identity', endpoints: [strict], identities: [web.spiffeId] },
      { ...common, name: 'plaintext to PERMISSIVE', endpoints: [permissive], tls: 'DISABLE' },
      { ...common, name: 'plaintext to STRICT', endpoints: [strict], tls: 'DISABLE' },
    ];
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services, secrets: fixedSecrets(web) }, folder),
    );
    for (const { name, tls } of services) {
      const client = new EchoClient(`127.0.0.1:${envoy.port(name)}`, credentials.createInsecure()) as unknown as Echo;
      t.teardown(() => client.close());
      const forged = new Metadata();
      forged.set('x-forwarded-client-cert', 'By=x;Hash=y;URI=spiffe://cluster.local/ns/shop/sa/admin');
      const answer = await unary(client, 'a', forged, { deadline: Date.now() + 60_000 });
      if (name === 'another identity' || name === 'plaintext to STRICT') {
        t.equal(answer.code, status.UNAVAILABLE, `${name}: ${answer.details}`);
        continue;
      }
      t.equal(answer.code, status.OK, `${name}: ${answer.details}`);
      const own = `By=${reviews.spiffeId};Hash=${hash};Subject="";URI=${web.spiffeId}`;
      const expected = tls === 'DISABLE' ? {} : { peer: web.spiffeId, forwarded: own };
      t.same(JSON.parse(answer.messages[0] as string), expected, name);
      t.match(await drained(client.repeat('r')), { code: 0, messages: ['r 1', 'r 2', 'r 3'] }, `${name}: repeat`);
      const chat = client.chat();
      for (let i = 0; i < 100; i++) chat.write(String(i));
      chat.end();
      t.match(await drained(chat), { code: 0, messages: { length: 100 } }, `${name}: chat`);
      const denied = await new Promise<object>((resolve) => {
        const call = client.collect((error: object) => resolve(error));
        call.write('a');
        call.end();
      });
      t.match(denied, { code: status.PERMISSION_DENIED, details: 'RBAC: access denied' }, `${name}: denied`);
    }
  }),
);
