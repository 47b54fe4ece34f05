// What an Envoy tells servers in headers reaches our applications, and goes on with the calls that they make.
import type { RequestListener } from 'node:http';
import t from 'tap';
import { systemClock } from '../../../src/lib/clock.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { freePorts } from '../../support/free-ports.ts';
import { withEnvoy } from './binary.ts';
import { cluster, fixedSecrets, loopback, typed } from './bootstrap.ts';
import { type Echo, echo, echoServer } from './echo.ts';
import { httpFilter } from './http.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess, peerService } from './mesh-process.ts';
import { type OutboundService, outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');
const ratings = authority.issue('spiffe://cluster.local/ns/shop/sa/ratings');
const host = 'reviews.shop.svc.cluster.local';

t.test(
  ...withEnvoy('retries of a sidecar: one request id, attempts that are counted', async (t, program) => {
    const seen: { readonly attempt: unknown; readonly id: unknown; readonly timeout: unknown }[] = [];
    const mesh = await meshProcess(t, 'reviews', '', reviews);
    const app: RequestListener = ({ headers }, response) => {
      const id = headers['x-request-id'];
      const timeout = headers['x-envoy-expected-rq-timeout-ms'];
      seen.push({ attempt: headers['x-envoy-attempt-count'], id, timeout });
      response.statusCode = seen.length < 3 ? 503 : 200;
      response.end();
    };
    const { port } = await mesh.listen(app, { host: '127.0.0.1' });
    const service: OutboundService = {
      name: 'out',
      host,
      endpoints: [port],
      protocol: 'HTTP',
      identities: [reviews.spiffeId],
      route: {
        timeout: '30s',
        retry_policy: { retry_on: 'retriable-status-codes', retriable_status_codes: [503], num_retries: 2 },
      },
    };
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services: [service], secrets: fixedSecrets(web) }, folder),
    );
    t.equal((await fetch(`http://127.0.0.1:${envoy.port('out')}/`)).status, 200);
    t.same(
      seen.map(({ attempt }) => attempt),
      ['1', '2', '3'],
    );
    t.equal(new Set(seen.map(({ id }) => id)).size, 1);
    t.ok(
      seen.every(({ timeout }) => Number(timeout) > 0 && Number(timeout) <= 30_000),
      JSON.stringify(seen),
    );
  }),
);

t.test(
  ...withEnvoy(
    'through us from one sidecar to the next: request id and what is left of the time',
    async (t, program) => {
      const behind = await echoServer(t);
      const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app: behind }];
      const next = await startEnvoy(t, program, (folder) =>
        inboundSidecar({ ports, secrets: fixedSecrets(ratings) }, folder),
      );
      const yaml = peerService({ name: 'ratings', port: next.port('strict') });
      const mesh = await meshProcess(t, 'reviews', yaml, reviews);
      // The Envoy behind us does not forward what we tell it, so we look at it in between.
      let left = 0;
      const app: RequestListener = async (request, response) => {
        left = (mesh.scopeOf(request)?.deadline ?? Number.NaN) - systemClock.now();
        const answer = await mesh.fetch('http://ratings/');
        response.setHeader('x-own-id', String(request.headers['x-request-id']));
        response.end(await answer.text());
      };
      const { port } = await mesh.listen(app, { host: '127.0.0.1' });
      const service: OutboundService = {
        name: 'out',
        host,
        endpoints: [port],
        protocol: 'HTTP2',
        identities: [reviews.spiffeId],
        route: { timeout: '20s' },
      };
      const envoy = await startEnvoy(t, program, (folder) =>
        outboundSidecar({ services: [service], secrets: fixedSecrets(web) }, folder),
      );
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
      const response = await fetch(`http://127.0.0.1:${envoy.port('out')}/`, { headers: { traceparent } });
      const { headers } = (await response.json()) as Echo;
      t.match(response.headers.get('x-own-id'), /^[\da-f-]{36}$/, 'the first Envoy made it');
      t.equal(headers['x-request-id'], response.headers.get('x-own-id'));
      t.match(headers['traceparent'], /^00-4bf92f3577b34da6a3ce929d0e0e4736-/);
      t.ok(left > 0 && left <= 20_000, `${left} ms are left`);
      t.equal(headers['x-seen-peer-san'], reviews.spiffeId, 'the second Envoy sees us, not who called us');
    },
  ),
);

t.test(
  ...withEnvoy('the PROXY header that a DestinationRule asks for is one that an Envoy demands', async (t, program) => {
    const behind = await echoServer(t);
    const [key, value] = ['x-ends', '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%'];
    const reader = typed('envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol');
    const envoy = await startEnvoy(t, program, () => ({
      listeners: [
        {
          name: 'front',
          address: loopback(0),
          listener_filters: [{ name: 'envoy.filters.listener.proxy_protocol', typed_config: reader }],
          filter_chains: [
            {
              filters: [
                httpFilter('behind', { virtualHost: { request_headers_to_add: [{ header: { key, value } }] } }),
              ],
            },
          ],
        },
      ],
      clusters: [cluster('behind', [behind])],
    }));
    const port = envoy.port('front');
    const rule = (policy: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: front, namespace: shop}
spec: {host: front.shop.svc.cluster.local, trafficPolicy: {${policy}}}
`;
    for (const [policy, expected] of [
      ['proxyProtocol: {version: V1}', 200],
      ['proxyProtocol: {version: V2}', 200],
      ['tls: {mode: DISABLE}', 503],
    ] as const) {
      const yaml = peerService({ name: 'front', port, plain: true }) + rule(policy);
      const mesh = await meshProcess(t, 'web', yaml, web);
      const answer = await mesh.fetch('http://front/');
      t.equal(answer.status, expected, policy);
      if (expected !== 200) continue;
      const { headers } = (await answer.json()) as Echo;
      t.match(headers[key], new RegExp(`^127\\.0\\.0\\.1:\\d+ 127\\.0\\.0\\.1:${port}$`), policy);
    }
  }),
);

t.test(
  ...withEnvoy('a port of ours that disables mutual TLS: plaintext passes, mutual TLS does not', async (t, program) => {
    // The port must be known before the policy that names it.
    const [port = 0] = await freePorts(1);
    const yaml = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: off, namespace: shop}
spec:
  selector: {matchLabels: {app: reviews}}
  mtls: {mode: STRICT}
  portLevelMtls: {${port}: {mode: DISABLE}}
`;
    const mesh = await meshProcess(t, 'reviews', yaml, reviews);
    await mesh.listen(echo, { host: '127.0.0.1', port });
    const other = await mesh.listen(echo, { host: '127.0.0.1' });
    const common = { host, protocol: 'HTTP', identities: [reviews.spiffeId] } as const;
    const services: OutboundService[] = [
      { ...common, name: 'off, plaintext', endpoints: [port], tls: 'DISABLE' },
      { ...common, name: 'off, mTLS', endpoints: [port] },
      { ...common, name: 'strict, plaintext', endpoints: [other.port], tls: 'DISABLE' },
      { ...common, name: 'strict, mTLS', endpoints: [other.port] },
    ];
    const envoy = await startEnvoy(t, program, (folder) =>
      outboundSidecar({ services, secrets: fixedSecrets(web) }, folder),
    );
    const statuses = services.map(async ({ name }) => (await fetch(`http://127.0.0.1:${envoy.port(name)}/`)).status);
    t.same(await Promise.all(statuses), [200, 503, 503, 200]);
  }),
);
