import type { IncomingHttpHeaders } from 'node:http';
import t, { type Test } from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type Mesh } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { ways } from '../support/model-mesh.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { upstream } from '../support/upstream.ts';

const workload = { name: 'web', namespace: 'shop' } as const;

/** A mesh in which `reviews` has the subsets v1 and v2, each a server that answers with what it got. */
async function reviews(t: Test, yaml: string): Promise<Mesh> {
  const servers = await Promise.all(
    ['v1', 'v2'].map((version) =>
      upstream(t, ({ headers, method, url }, outgoing) => {
        outgoing.setHeader('x-version', version).end(JSON.stringify({ version, method, url, headers }));
      }),
    ),
  );
  const endpoints = servers.map(
    ({ port }, i) => `  - {address: 127.0.0.1, ports: {http: ${port}}, labels: {version: v${i + 1}}}`,
  );
  const services = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
${endpoints.join('\n')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
`;
  const full = {
    ...workload,
    serviceAccount: 'web',
    labels: {},
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  const mesh = createMesh({
    workload,
    identity: false,
    logger: recordingLogger(),
    config: staticSource(services + yaml, { workload: full }),
  });
  const release = holdProcess();
  t.teardown(async () => {
    release();
    await mesh.close();
  });
  await mesh.ready(10_000);
  return mesh;
}

const rules = (http: string, annotations = '{}'): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop, annotations: ${annotations}}
spec:
  hosts: [reviews]
  http:
${http}
  - route: [{destination: {host: reviews, subset: v1}}]
`;

interface Echo {
  readonly version: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    const echo = async (mesh: Mesh, path: string, headers: Record<string, string> = {}): Promise<Echo> =>
      JSON.parse((await call(mesh, `http://reviews${path}`, { headers })).text) as Echo;

    t.test('redirect and directResponse', async (t) => {
      const mesh = await reviews(
        t,
        rules(`
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, authority: other.shop, port: 8080, redirectCode: 302}
  - match: [{uri: {exact: /healthz}, method: {exact: GET}}]
    directResponse: {status: 200, body: {string: fine}}
    headers: {response: {set: {cache-control: no-store}}}`),
      );
      const moved = await call(mesh, 'http://reviews/old/1?x=1');
      t.match(moved, { status: 302, headers: { location: 'http://other.shop:8080/new?x=1' }, text: '' });
      const fine = await call(mesh, 'http://reviews/healthz');
      t.match(fine, {
        status: 200,
        text: 'fine',
        headers: { 'cache-control': 'no-store', 'content-type': 'text/plain' },
      });
      t.equal((await echo(mesh, '/healthz/x')).version, 'v1');
    });

    t.test('conditions: scheme, authority, query, absent headers', async (t) => {
      const mesh = await reviews(
        t,
        rules(`
  - match:
    - queryParams: {version: {exact: "2"}}
      scheme: {exact: http}
      authority: {prefix: reviews}
      withoutHeaders: {x-stay: {}}
    route: [{destination: {host: reviews, subset: v2}}]`),
      );
      t.equal((await echo(mesh, '/?a&version=2')).version, 'v2');
      t.equal((await echo(mesh, '/?version=22')).version, 'v1');
      t.equal((await echo(mesh, '/?version=2', { 'X-Stay': '' })).version, 'v1');
    });

    t.test('headers, and rewrites by regex', async (t) => {
      const mesh = await reviews(
        t,
        rules(`
  - match: [{uri: {prefix: /api/}}]
    rewrite: {uriRegexRewrite: {match: "^/api/v[0-9]+/(.*)", rewrite: '/\\1'}, authority: reviews.internal}
    headers:
      request: {set: {x-asked: "%REQ(:path)%", x-100: "100%%"}, remove: [x-secret]}
    route:
    - destination: {host: reviews, subset: v2}
      headers: {response: {add: {x-canary: "yes"}, remove: [x-version]}}`),
      );
      const answer = await call(mesh, 'http://reviews/api/v3/users?x=1', { headers: { 'x-secret': 's' } });
      const seen = JSON.parse(answer.text) as Echo;
      t.equal(seen.url, '/users?x=1');
      t.match(seen.headers, {
        host: 'reviews.internal',
        'x-asked': '/api/v3/users?x=1',
        'x-100': '100%',
        'x-envoy-original-path': '/api/v3/users?x=1',
        'x-envoy-original-host': 'reviews',
      });
      t.equal(seen.headers['x-secret'], undefined);
      t.equal(answer.headers['x-canary'], 'yes');
      t.equal(answer.headers['x-version'], undefined);
    });

    t.test('a sticky split whose choice a later hop matches', async (t) => {
      const sticky = JSON.stringify({ header: 'user', baggage: 'release' });
      const mesh = await reviews(
        t,
        rules(
          `
  - match: [{headers: {"@baggage.release": {exact: v2}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{headers: {user: {}}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 50}
    - {destination: {host: reviews, subset: v2}, weight: 50}`,
          `{inmesh.dev/baggage: enabled, inmesh.dev/sticky: '${sticky}'}`,
        ),
      );
      const versions = new Set<string>();
      for (let i = 0; i < 12; i++) {
        const first = await echo(mesh, '/', { user: `user-${i}` });
        t.equal(first.headers['baggage'], `release=${first.version}`, 'the choice travels');
        t.equal((await echo(mesh, '/', { user: `user-${i}` })).version, first.version);
        const next = await runInScope({ requestId: 'r', traceHeaders: ['baggage', `release=${first.version}`] }, () =>
          echo(mesh, '/'),
        );
        t.equal(next.version, first.version, 'and decides further on');
        versions.add(first.version);
      }
      t.equal(versions.size, 2);
    });

    if (way === 'mesh.fetch') return;
    t.test('corsPolicy', async (t) => {
      const mesh = await reviews(
        t,
        rules(`
  - corsPolicy:
      allowOrigins: [{exact: "https://shop.example"}]
      allowMethods: [POST]
      allowHeaders: ["*"]
      maxAge: 24h
      unmatchedPreflights: IGNORE
    route: [{destination: {host: reviews, subset: v1}}]`),
      );
      const ask = (origin: string) =>
        call(mesh, 'http://reviews/', {
          method: 'OPTIONS',
          headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-a' },
        });
      const allowed = await ask('https://shop.example');
      t.match(allowed, {
        status: 200,
        text: '',
        headers: {
          'access-control-allow-origin': 'https://shop.example',
          'access-control-allow-methods': 'POST',
          'access-control-allow-headers': 'x-a',
          'access-control-max-age': '86400',
        },
      });
      const other = await ask('https://evil.example');
      t.equal(other.status, 200);
      t.equal(other.headers['access-control-allow-origin'], undefined);
    });
  });
}
