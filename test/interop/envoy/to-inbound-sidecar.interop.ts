// Processes of the mesh call applications behind an Envoy that is set up as istiod sets up the inbound
// side of a sidecar.
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { meshTlsOptions } from '../../../src/identity/tls-options.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { ways } from '../../support/model-mesh.ts';
import { until } from '../../support/upstream.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets } from './bootstrap.ts';
import { type Echo, echoServer, echoTcpServer } from './echo.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess, type PeerService, peerService } from './mesh-process.ts';
import { type Envoy, startEnvoy } from './run.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');
const hash = new X509Certificate(web.certificateChainPem).fingerprint256.replaceAll(':', '').toLowerCase();

/** What the server side of a sidecar writes about us. */
const forwarded = `By=${reviews.spiffeId};Hash=${hash};Subject="";URI=${web.spiffeId}`;

async function sidecar(t: Test, program: string): Promise<Envoy> {
  const http = await echoServer(t);
  const tcp = await echoTcpServer(t);
  const modes = ['STRICT', 'PERMISSIVE', 'DISABLE'] as const;
  const ports = modes.flatMap((mode): InboundPort[] => [
    { name: `${mode} HTTP`, mode, protocol: 'HTTP', app: http },
    { name: `${mode} TCP`, mode, protocol: 'TCP', app: tcp },
    { name: `${mode} undeclared`, mode, protocol: 'undeclared', app: http },
  ]);
  return startEnvoy(t, program, (folder) => inboundSidecar({ ports, secrets: fixedSecrets(reviews) }, folder));
}

const protocols = ['HTTP', 'HTTP2'] as const;
const policies = { ISTIO_MUTUAL: '{mode: ISTIO_MUTUAL}', 'auto-mTLS': undefined } as const;

t.test(
  ...withEnvoy('requests arrive over mutual TLS, by every way of calling', async (t, program) => {
    const envoy = await sidecar(t, program);
    const cases = ['STRICT HTTP', 'PERMISSIVE HTTP', 'STRICT undeclared', 'PERMISSIVE undeclared'].flatMap((listener) =>
      protocols.flatMap((protocol) =>
        Object.entries(policies).map(([policy, tls]) => ({ listener, protocol, policy, tls })),
      ),
    );
    const services = cases.map(
      ({ listener, protocol, tls }, i): PeerService => ({
        name: `reviews-${i}`,
        port: envoy.port(listener),
        protocol,
        serviceAccount: 'reviews',
        ...(tls === undefined ? {} : { tls }),
      }),
    );
    const mesh = await meshProcess(t, 'web', services.map(peerService).join(''), web);
    for (const [i, { listener, protocol, policy }] of cases.entries()) {
      for (const [way, call] of Object.entries(ways)) {
        const answer = await call(mesh, `http://reviews-${i}/a/b?c=d`, { method: 'POST', body: 'hello' });
        const what = `${way}, ${protocol}, ${policy}, to ${listener}`;
        t.equal(answer.status, 200, `${what}: ${answer.text}`);
        const { body, headers, method, url } = JSON.parse(answer.text) as Echo;
        t.same(
          { method, url, body, ...pick(headers, 'x-seen-', 'x-forwarded-client-cert') },
          {
            method: 'POST',
            url: '/a/b?c=d',
            body: 'hello',
            'x-seen-chain': 'HTTP mTLS',
            'x-seen-local-san': reviews.spiffeId,
            'x-seen-peer-san': web.spiffeId,
            // Agents of node:http speak HTTP/1.1 and nothing else.
            'x-seen-protocol': protocol === 'HTTP2' && !way.startsWith('mesh.agent') ? 'HTTP/2' : 'HTTP/1.1',
            'x-seen-sni': `outbound_.80_._.reviews-${i}.shop.svc.cluster.local`,
            'x-seen-tls': 'TLSv1.3',
            'x-forwarded-client-cert': forwarded,
          },
          what,
        );
      }
    }
  }),
);

t.test(
  ...withEnvoy(
    'a port that disables mutual TLS is called in plaintext, and a strict one only so',
    async (t, program) => {
      const envoy = await sidecar(t, program);
      const disable = (port: number): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: off, namespace: shop}
spec:
  selector: {matchLabels: {app: off}}
  mtls: {mode: STRICT}
  portLevelMtls: {${port}: {mode: DISABLE}}
---`;
      const off = envoy.port('DISABLE HTTP');
      const yaml = [
        disable(off),
        peerService({ name: 'off', port: off }),
        peerService({ name: 'forced', port: off, tls: '{mode: ISTIO_MUTUAL}' }),
        peerService({ name: 'plain', port: envoy.port('PERMISSIVE HTTP'), tls: '{mode: DISABLE}' }),
        peerService({ name: 'stranger', port: envoy.port('PERMISSIVE HTTP'), plain: true }),
        peerService({ name: 'shut', port: envoy.port('STRICT HTTP'), tls: '{mode: DISABLE}' }),
      ].join('');
      const mesh = await meshProcess(t, 'web', yaml, web);
      for (const name of ['off', 'plain', 'stranger']) {
        const answer = await mesh.fetch(`http://${name}/`);
        t.equal(answer.status, 200, name);
        const { headers } = (await answer.json()) as Echo;
        t.equal(headers['x-seen-chain'], 'HTTP raw_buffer', name);
        t.equal(headers['x-seen-peer-san'], undefined, name);
        t.equal(headers['x-forwarded-client-cert'], undefined, name);
      }
      for (const name of ['forced', 'shut']) t.equal((await mesh.fetch(`http://${name}/`)).status, 503, name);
    },
  ),
);

t.test(
  ...withEnvoy('connections for bytes arrive over mutual TLS', async (t, program) => {
    const envoy = await sidecar(t, program);
    const listeners = ['STRICT TCP', 'PERMISSIVE TCP', 'STRICT undeclared', 'PERMISSIVE undeclared'];
    const services = listeners.map((listener, i) =>
      peerService({ name: `mongo-${i}`, port: envoy.port(listener), protocol: 'TCP', serviceAccount: 'reviews' }),
    );
    const mesh = await meshProcess(t, 'web', services.join(''), web);
    for (const [i, listener] of listeners.entries()) {
      const socket = await mesh.connect({ host: `mongo-${i}`, port: 80 });
      const http = listener.endsWith('undeclared');
      socket.write(http ? 'GET / HTTP/1.1\r\nhost: a\r\n\r\n' : 'ping');
      const [data] = (await once(socket, 'data')) as [Buffer];
      t.match(data.toString('latin1'), http ? /^HTTP\/1.1 200 / : /^ping$/, listener);
      socket.destroy();
      await until(() => envoy.accessLog().length === i + 1);
      t.match(
        envoy.accessLog()[i],
        {
          'x-seen-chain': 'TCP mTLS',
          'x-seen-local-san': reviews.spiffeId,
          'x-seen-peer-san': web.spiffeId,
          'x-seen-sni': `outbound_.80_._.mongo-${i}.shop.svc.cluster.local`,
        },
        listener,
      );
    }
  }),
);

t.test(
  ...withEnvoy('the names of Istio are what leads to the mTLS chain of a permissive port', async (t, program) => {
    const envoy = await sidecar(t, program);
    const rows = [
      [['istio-http/1.1', 'istio', 'http/1.1'], 'http/1.1'],
      [['istio-h2', 'istio', 'h2'], 'h2'],
      [['istio'], false],
      [['http/1.1'], undefined],
      [['h2'], undefined],
      [undefined, undefined],
    ] as const;
    for (const [offered, expected] of rows) {
      const socket = connectTls({
        ...meshTlsOptions(web),
        host: '127.0.0.1',
        port: envoy.port('PERMISSIVE HTTP'),
        checkServerIdentity: () => undefined,
        ...(offered === undefined ? {} : { ALPNProtocols: [...offered] }),
      });
      const chosen = await Promise.race([
        once(socket, 'secureConnect').then(() => socket.alpnProtocol),
        once(socket, 'close').then(() => undefined),
      ]).catch(() => undefined);
      t.equal(chosen, expected, `${offered}`);
      socket.destroy();
    }
  }),
);

function pick(headers: Echo['headers'], ...prefixes: string[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => prefixes.some((prefix) => name.startsWith(prefix))),
  );
}
