// An Envoy that is set up as istiod sets up the outbound side of a sidecar calls processes of the mesh.
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { connect } from 'node:net';
import type { TLSSocket } from 'node:tls';
import express from 'express';
import { fastify } from 'fastify';
import t, { type Test } from 'tap';
import type { Application, Mesh } from '../../../src/index.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets } from './bootstrap.ts';
import { meshProcess } from './mesh-process.ts';
import { type OutboundService, outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');
const host = 'reviews.shop.svc.cluster.local';
const hash = new X509Certificate(web.certificateChainPem).fingerprint256.replaceAll(':', '').toLowerCase();

/** What an application knows of a request and who sent it. */
function describe(mesh: Mesh, request: IncomingMessage): object {
  const { headers, httpVersion, socket } = request;
  return {
    peer: mesh.scopeOf(request)?.peer?.spiffeId ?? 'nobody',
    alpn: (socket as Partial<TLSSocket>).alpnProtocol || 'nothing',
    httpVersion,
    forwarded: headers['x-forwarded-client-cert'] ?? 'nothing',
    attempt: headers['x-envoy-attempt-count'] ?? 'nothing',
    requestId: /^[\da-f-]{36}$/.test(String(headers['x-request-id'])),
    host: headers.host,
  };
}

const applications: Readonly<Record<string, (mesh: Mesh) => Application>> = {
  'node:http': (mesh): RequestListener => {
    return (request, response) => void response.end(JSON.stringify(describe(mesh, request)));
  },
  Express: (mesh) => express().use((request, response) => void response.json(describe(mesh, request))),
  Fastify: (mesh) => {
    const app = fastify();
    app.all('*', (request, reply) => void reply.send(describe(mesh, request.raw)));
    return app;
  },
};

const peerAuthentication = (mode: string): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${mode}}}
`;

async function server(t: Test, mode: string, make: (mesh: Mesh) => Application): Promise<number> {
  const mesh = await meshProcess(t, 'reviews', peerAuthentication(mode), reviews);
  const { port } = await mesh.listen(make(mesh), { host: '127.0.0.1' });
  return port;
}

t.test(
  ...withEnvoy('requests of a sidecar arrive over mutual TLS, for every kind of application', async (t, program) => {
    const services: OutboundService[] = [];
    for (const [name, make] of Object.entries(applications)) {
      for (const mode of ['STRICT', 'PERMISSIVE']) {
        const endpoints = [await server(t, mode, make)];
        const common = { host, endpoints, identities: [reviews.spiffeId] };
        for (const protocol of ['HTTP', 'HTTP2'] as const) {
          services.push({ ...common, name: `${name} ${mode} ${protocol}`, protocol });
        }
        services.push({ ...common, name: `${name} ${mode} HTTP, nothing offered`, protocol: 'HTTP', alpn: [] });
        services.push({ ...common, name: `${name} ${mode} HTTP2, nothing offered`, protocol: 'HTTP2', alpn: [] });
        services.push({ ...common, name: `${name} ${mode} HTTP, plaintext`, protocol: 'HTTP', tls: 'DISABLE' });
        services.push({ ...common, name: `${name} ${mode} HTTP2, plaintext`, protocol: 'HTTP2', tls: 'DISABLE' });
      }
    }
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services, secrets: fixedSecrets(web) }, folder),
    );
    for (const { name, protocol, tls } of services) {
      const response = await fetch(`http://127.0.0.1:${envoy.port(name)}/`, {
        // Nobody's word for who calls is taken: not by the sidecar, and not by us.
        headers: { 'x-forwarded-client-cert': 'By=x;Hash=y;URI=spiffe://cluster.local/ns/shop/sa/admin' },
      });
      if (tls === 'DISABLE' && name.includes('STRICT')) {
        t.equal(response.status, 503, `${name}: refused`);
        continue;
      }
      t.equal(response.status, 200, name);
      const plaintext = tls === 'DISABLE';
      const offersNothing = name.endsWith('nothing offered');
      t.match(
        await response.json(),
        {
          peer: plaintext ? 'nobody' : web.spiffeId,
          alpn: plaintext || offersNothing ? String : protocol === 'HTTP2' ? 'h2' : 'http/1.1',
          forwarded: plaintext ? 'nothing' : `By=${reviews.spiffeId};Hash=${hash};Subject="";URI=${web.spiffeId}`,
          attempt: '1',
          requestId: true,
          host: `127.0.0.1:${envoy.port(name)}`,
        },
        name,
      );
    }
  }),
);

t.test(
  ...withEnvoy('bytes of a sidecar that does not know the protocol are served, too', async (t, program) => {
    const port = await server(t, 'STRICT', applications['node:http'] as (mesh: Mesh) => Application);
    const service: OutboundService = {
      name: 'tcp',
      host,
      endpoints: [port],
      protocol: 'TCP',
      identities: [reviews.spiffeId],
    };
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services: [service], secrets: fixedSecrets(web) }, folder),
    );
    const socket = connect(envoy.port('tcp'), '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n');
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk));
    await once(socket, 'close');
    t.match(answer, /^HTTP\/1\.1 200 /);
    t.ok(answer.includes(`"peer":"${web.spiffeId}"`), answer);
  }),
);
