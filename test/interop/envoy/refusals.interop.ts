// Who is not who it should be is refused, whichever side is an Envoy.
import t from 'tap';
import { makeAuthority, type TestCertificateOptions } from '../../support/certificates.ts';
import { rawExchange } from '../../support/inbound.ts';
import { withEnvoy } from './binary.ts';
import { fixedSecrets } from './bootstrap.ts';
import { echo, echoServer } from './echo.ts';
import { type InboundPort, inboundSidecar } from './inbound-sidecar.ts';
import { meshProcess, peerService } from './mesh-process.ts';
import { type OutboundService, outboundSidecar } from './outbound-sidecar.ts';
import { startEnvoy } from './run.ts';

const authority = makeAuthority();
/** An authority that nobody here trusts, with the names of the one that all do. */
const lookAlike = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
const reviews = authority.issue('spiffe://cluster.local/ns/shop/sa/reviews');
const past: TestCertificateOptions = { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 };
const future: TestCertificateOptions = { notBefore: Date.now() + 3_600_000, notAfter: Date.now() + 7_200_000 };

const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

const rule = (identities: string): string => `{mode: ISTIO_MUTUAL, subjectAltNames: ["${identities}"]}`;

t.test(
  ...withEnvoy('servers that are not who they must be get no request of ours', async (t, program) => {
    const trusted = authority.trustBundles;
    const impostor = { ...lookAlike.issue(reviews.spiffeId), trustBundles: trusted };
    const rows = [
      ['the right one', reviews, undefined, 200],
      ['another account', authority.issue('spiffe://cluster.local/ns/shop/sa/ratings'), undefined, /IDENTITY/],
      ['another namespace', authority.issue('spiffe://cluster.local/ns/bar/sa/reviews'), undefined, /IDENTITY/],
      ['another trust domain', authority.issue('spiffe://other.test/ns/shop/sa/reviews'), undefined, /IDENTITY/],
      ['another trust domain, as the rule says', reviews, rule('spiffe://other.test/ns/shop/sa/reviews'), /IDENTITY/],
      ['not the account that the rule names', reviews, rule('spiffe://cluster.local/ns/shop/sa/ratings'), /IDENTITY/],
      ['the account that the rule names', reviews, rule(reviews.spiffeId), 200],
      ['an authority that only looks alike', impostor, undefined, /TLS_FAILED/],
      ['expired', authority.issue(reviews.spiffeId, past), undefined, /TLS_FAILED/],
      ['not valid yet', authority.issue(reviews.spiffeId, future), undefined, /TLS_FAILED/],
    ] as const;
    for (const [what, credentials, tls, expected] of rows) {
      const requests: string[] = [];
      const app = await echoServer(t, (request) => requests.push(request.url ?? ''));
      const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app }];
      const envoy = await startEnvoy(t, program, (folder) =>
        inboundSidecar({ ports, secrets: fixedSecrets(credentials), trustDomains: ['cluster.local'] }, folder),
      );
      for (const protocol of ['HTTP', 'HTTP2'] as const) {
        const service = { name: 'reviews', port: envoy.port('strict'), protocol };
        const yaml = peerService(tls === undefined ? service : { ...service, tls });
        const mesh = await meshProcess(t, 'web', yaml, web);
        const response = await mesh.fetch('http://reviews/');
        const failure = response.headers.get('x-inmesh-error') ?? '';
        if (expected === 200) t.equal(response.status, 200, `${what}, ${protocol}`);
        else t.match({ status: response.status, failure }, { status: 503, failure: expected }, `${what}, ${protocol}`);
        await mesh.close();
      }
      t.equal(requests.length, expected === 200 ? 2 : 0, `${what}: requests that arrived`);
    }
  }),
);

t.test(
  ...withEnvoy('an Envoy refuses the clients that a sidecar must refuse', async (t, program) => {
    const app = await echoServer(t);
    const ports: InboundPort[] = [{ name: 'strict', mode: 'STRICT', protocol: 'HTTP', app }];
    const envoy = await startEnvoy(t, program, (folder) =>
      inboundSidecar({ ports, secrets: fixedSecrets(reviews) }, folder),
    );
    const yaml = peerService({ name: 'reviews', port: envoy.port('strict'), tls: '{mode: ISTIO_MUTUAL}' });
    const trustBundles = new Map([...authority.trustBundles, ['other.test', [authority.rootPem]]]);
    const stranger = { ...authority.issue('spiffe://other.test/ns/shop/sa/web'), trustBundles };
    const trustDomain = 'other.test';
    const rows = [
      ['of the mesh', web, 'cluster.local', 200, undefined],
      ['of another trust domain', stranger, trustDomain, 503, 'fail_verify_san'],
      [
        'of an authority that only looks alike',
        { ...lookAlike.issue(web.spiffeId), trustBundles: authority.trustBundles },
        'cluster.local',
        503,
        'fail_verify_error',
      ],
    ] as const;
    for (const [what, credentials, domain, status, counter] of rows) {
      const workload = { name: 'web', namespace: 'shop', serviceAccount: 'web', trustDomain: domain };
      const mesh = await meshProcess(t, 'web', yaml, credentials, { workload });
      const stat = `listener.strict.ssl.${counter}`;
      const before = await envoy.stat(stat);
      t.equal((await mesh.fetch('http://reviews/')).status, status, what);
      if (counter !== undefined) t.ok((await envoy.stat(stat)) > before, `${what}: ${counter}`);
    }
    const without = await meshProcess(t, 'web', yaml, web, { identity: false });
    t.equal((await without.fetch('http://reviews/')).status, 503, 'no certificate, and so no request either');
  }),
);

t.test(
  ...withEnvoy('clients that are not who they must be get no answer of ours', async (t, program) => {
    const mesh = await meshProcess(t, 'reviews', strict, reviews);
    const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
    const rows = [
      ['of the mesh', web, 200],
      ['of another trust domain', authority.issue('spiffe://other.test/ns/shop/sa/web'), 503],
      [
        'of an authority that only looks alike',
        { ...lookAlike.issue(web.spiffeId), trustBundles: authority.trustBundles },
        503,
      ],
      ['expired', authority.issue(web.spiffeId, past), 503],
      ['not valid yet', authority.issue(web.spiffeId, future), 503],
      ['without a SPIFFE ID', authority.issue('', { sans: [{ dns: 'web.shop' }] }), 503],
      [
        'with two SPIFFE IDs',
        authority.issue(web.spiffeId, { sans: [{ uri: web.spiffeId }, { uri: reviews.spiffeId }] }),
        503,
      ],
    ] as const;
    const service = { host: 'reviews.shop.svc.cluster.local', endpoints: [port] };
    for (const [what, credentials, status] of rows) {
      const services: OutboundService[] = [
        { ...service, name: 'HTTP', protocol: 'HTTP' },
        { ...service, name: 'HTTP2', protocol: 'HTTP2' },
        { ...service, name: 'anonymous', protocol: 'HTTP', anonymous: true },
        { ...service, name: 'plaintext', protocol: 'HTTP', tls: 'DISABLE' },
      ];
      const envoy = await startEnvoy(t, program, (folder) =>
        outboundSidecar({ services, secrets: fixedSecrets(credentials) }, folder),
      );
      for (const name of ['HTTP', 'HTTP2']) {
        t.equal((await fetch(`http://127.0.0.1:${envoy.port(name)}/`)).status, status, `${what}, ${name}`);
      }
      for (const name of ['anonymous', 'plaintext']) {
        t.equal((await fetch(`http://127.0.0.1:${envoy.port(name)}/`)).status, 503, `${what}, but ${name}`);
      }
    }
    const { requests } = mesh.stats();
    t.equal(
      requests.filter(({ labels }) => labels.sourcePrincipal !== web.spiffeId && labels.sourcePrincipal !== '').length,
      0,
    );
  }),
);

t.test(
  ...withEnvoy('an Envoy finds that we are who we must be, or not', async (t, program) => {
    const rows = [
      ['the identity that it expects', reviews, [web.spiffeId, reviews.spiffeId], 200, undefined],
      ['none that it expects', reviews, ['spiffe://cluster.local/ns/shop/sa/ratings'], 503, 'fail_verify_san'],
      [
        'the same account of another trust domain',
        reviews,
        ['spiffe://other.test/ns/shop/sa/reviews'],
        503,
        'fail_verify_san',
      ],
      [
        'an authority that only looks alike',
        { ...lookAlike.issue(reviews.spiffeId), trustBundles: authority.trustBundles },
        [reviews.spiffeId],
        503,
        'fail_verify_error',
      ],
    ] as const;
    for (const [what, credentials, identities, status, counter] of rows) {
      const mesh = await meshProcess(t, 'reviews', strict, credentials);
      const { port } = await mesh.listen(echo, { host: '127.0.0.1' });
      const host = 'reviews.shop.svc.cluster.local';
      const service: OutboundService = { name: 'out', host, endpoints: [port], protocol: 'HTTP', identities };
      const envoy = await startEnvoy(t, program, (folder) =>
        outboundSidecar({ services: [service], secrets: fixedSecrets(web) }, folder),
      );
      t.equal((await fetch(`http://127.0.0.1:${envoy.port('out')}/`)).status, status, what);
      if (counter !== undefined) {
        t.equal(await envoy.stat(`cluster.outbound|80|out|${host}.ssl.${counter}`), 1, `${what}: ${counter}`);
      }
      // What is checked is checked without the help of an Envoy, too.
      t.same(await rawExchange(port, 'GET / HTTP/1.1\r\nHost: reviews\r\n\r\n'), [], 'plaintext is refused');
    }
  }),
);
