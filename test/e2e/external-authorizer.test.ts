import { once } from 'node:events';
import { connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { inmesh as expressMesh } from '@inmesh/express';
import { inmesh as fastifyMesh } from '@inmesh/fastify';
import express from 'express';
import Fastify from 'fastify';
import t from 'tap';
import { permissive, testMesh } from '../support/mesh-pair.ts';

const asking = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig: {proxyHeaders: {forwardedClientCert: APPEND_FORWARD}}
    extensionProviders:
    - name: authz
      envoyExtAuthzHttp:
        service: authz.shop.svc.cluster.local
        port: 80
        timeout: 10s
        includeRequestHeadersInCheck: [x-forwarded-client-cert, content-type]
        includeRequestBodyInCheck: {maxRequestBytes: 65536, allowPartialMessage: true}
        headersToUpstreamOnAllow: [x-user]
---${permissive}---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: authz, namespace: shop}
spec: {selector: {matchLabels: {app: authz}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  action: CUSTOM
  provider: {name: authz}
  rules: [{to: [{operation: {notPaths: [/free]}}]}]
`;

const labelled = (name: string) => ({
  workload: { name, namespace: 'shop', serviceAccount: name, labels: { app: name } },
});

t.test(
  'an authorizer of the mesh is asked over mutual TLS, and every kind of application reads the body',
  async (t) => {
    const shop = testMesh(t, asking);
    const authz = await shop.join('authz', labelled('authz'));
    const web = await shop.join('web', labelled('web'));
    const client = await shop.join('client');
    const asked: { peer: string | undefined; xfcc: string | undefined; body: string }[] = [];
    await shop.serve(authz, (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const xfcc = request.headers['x-forwarded-client-cert'];
        asked.push({ peer: authz.scopeOf(request)?.peer?.spiffeId, xfcc: String(xfcc ?? ''), body });
        response.statusCode = body.includes('"no"') ? 403 : 200;
        response.setHeader('x-user', 'ann').end();
      });
    });
    const body = JSON.stringify({ say: 'yes', long: 'x'.repeat(40_000) });
    const init = { method: 'POST', body, headers: { 'content-type': 'application/json', 'x-user': 'mallory' } };
    const expected = { user: 'ann', length: body.length };

    const app = express();
    app.use(expressMesh(web));
    app.use(express.json({ limit: '1mb' }));
    app.post('/a', (request, response) => {
      response.json({ user: request.headers['x-user'], length: JSON.stringify(request.body).length });
    });
    await shop.serve(web, app);
    t.same(await (await client.fetch('http://web/a', init)).json(), expected, 'Express, called over mutual TLS');
    t.equal(asked[0]?.peer, 'spiffe://cluster.local/ns/shop/sa/web', 'the authorizer knows who asks');
    t.match(asked[0]?.xfcc, /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/, 'and who is asked about');
    t.match(asked[0]?.xfcc, /By=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web;/);
    t.equal(asked[0]?.body, body);
    t.equal((await client.fetch('http://web/a', { ...init, body: '{"say":"no"}' })).status, 403);

    const fastify = Fastify();
    await fastify.register(fastifyMesh, { mesh: web });
    fastify.post('/a', async (request) => ({
      user: request.headers['x-user'],
      length: JSON.stringify(request.body).length,
    }));
    const address = await fastify.listen({ port: 0, host: '127.0.0.1' });
    t.teardown(() => fastify.close());
    t.same(await (await fetch(`${address}/a`, init)).json(), expected, 'Fastify on a server of its own');

    const { port } = await web.listen(app, { host: '127.0.0.1' });
    const session = connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ':method': 'POST', ':path': '/a', 'content-type': 'application/json' });
    stream.end(body);
    let answer = '';
    stream.setEncoding('utf8').on('data', (text: string) => (answer += text));
    await once(stream, 'end');
    session.close();
    t.same(JSON.parse(answer), expected, 'HTTP/2');
    t.equal(asked.at(-1)?.body, body);
    t.equal((fastify.server.address() as AddressInfo).family, 'IPv4');
    t.match(web.stats().authorizers, [{ name: 'authz', asked: 4, allowed: 3, denied: 1, failed: 0 }]);
  },
);
