// Where a gRPC status has to stand to be retried, and to count against an endpoint: in the head of the response, and
// not in trailers, be there a message before them or none.
import { connect } from 'node:http2';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { makeAuthority } from '../../support/certificates.ts';
import { withEnvoy } from './binary.ts';
import { cluster, fixedSecrets, httpVersion, loopback } from './bootstrap.ts';
import { type Answer, type BrokenServer, brokenHttp2, brokenService, h2, http2 } from './broken-servers.ts';
import { httpFilter } from './http.ts';
import { meshProcess } from './mesh-process.ts';
import { startEnvoy } from './run.ts';

const identity = makeAuthority().issue('spiffe://cluster.local/ns/shop/sa/web');
const begin = [[':status', '200'] as const, ['content-type', 'application/grpc'] as const];
const message = h2.data('\0\0\0\0\x02ok');
const trailers = (code: string): Buffer => h2.headers([['grpc-status', code]], true);
const inHead = (code: string): Answer => http2([h2.headers([...begin, ['grpc-status', code]], true)]);

/** Requests of a call with one retry for `unavailable`; what an outlier detection counts of them. */
const rows: readonly (readonly [what: string, answer: Answer, requests: number, ejects: boolean])[] = [
  ['OK in trailers', http2([h2.headers(begin), message, trailers('0')]), 1, false],
  ['UNAVAILABLE in the head', inHead('14'), 2, true],
  ['UNAVAILABLE in trailers, without a message', http2([h2.headers(begin), trailers('14')]), 1, false],
  ['UNAVAILABLE in trailers, after a message', http2([h2.headers(begin), message, trailers('14')]), 1, false],
  ['INTERNAL in the head', inHead('13'), 1, true],
  ['INTERNAL in trailers', http2([h2.headers(begin), message, trailers('13')]), 1, false],
  ['NOT_FOUND in the head', inHead('5'), 1, false],
  ['no status', http2([h2.headers(begin), h2.data('\0\0\0\0\x02ok', true)]), 1, false],
];

t.test(
  ...withEnvoy('a gRPC status counts in the head of a response', async (t, program) => {
    const servers: BrokenServer[] = [];
    for (const [, answer] of rows) servers.push(await brokenHttp2(t, answer));
    const envoy = await startEnvoy(t, program, () => ({
      listeners: [{ name: 'all', address: loopback(0), filter_chains: [{ filters: [filter()] }] }],
      clusters: servers.map(({ port }, i) =>
        cluster(`case-${i}`, [port], {
          ...httpVersion(2),
          // Whoever is ejected is called nevertheless: there is nobody else.
          common_lb_config: { healthy_panic_threshold: { value: 100 } },
          outlier_detection: { consecutive_5xx: 1, interval: '3600s', max_ejection_percent: 100 },
        }),
      ),
      secrets: fixedSecrets(identity),
    }));
    const mesh = await meshProcess(t, 'web', servers.map(yamlOf).join('---'), identity);
    for (const [i, [what, , requests, ejects]] of rows.entries()) {
      const server = servers[i] as BrokenServer;
      await viaEnvoy(t, envoy.port('all'), `/case-${i}/`);
      const seen = server.requests();
      const counted = await envoy.stat(`cluster.case-${i}.outlier_detection.ejections_detected_consecutive_5xx`);
      t.same({ requests: seen, ejects: counted > 0 }, { requests, ejects }, `${what}: Envoy`);
      await server.reset();
      const { body } = await request(`http://case-${i}/`, {
        dispatcher: mesh.dispatcher,
        method: 'POST',
        headers: { 'content-type': 'application/grpc', te: 'trailers' },
        body: '\0\0\0\0\0',
      });
      await body.dump();
      const found = mesh
        .stats()
        .clusters.find((each) => each.cluster === `outbound|80||case-${i}.shop.svc.cluster.local`);
      t.same(
        { requests: server.requests() - seen, ejects: (found?.outlierDetection?.detected['consecutive_5xx'] ?? 0) > 0 },
        { requests, ejects },
        `${what}: inmesh`,
      );
    }
  }),
);

/** One call of gRPC, to its end. */
async function viaEnvoy(t: Test, port: number, path: string): Promise<void> {
  const session = connect(`http://127.0.0.1:${port}`);
  t.teardown(() => session.destroy());
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(headers);
  stream.end(Buffer.alloc(5));
  stream.resume();
  await new Promise((resolve) => stream.on('close', resolve));
}

function filter() {
  const retry_policy = { retry_on: 'unavailable', num_retries: 1, retry_back_off: { base_interval: '0.001s' } };
  const routes = rows.map((_, i) => ({
    match: { prefix: `/case-${i}/` },
    route: { cluster: `case-${i}`, timeout: '5s', retry_policy },
  }));
  return httpFilter('all', { virtualHost: { routes } });
}

const yamlOf = (server: BrokenServer, i: number): string => `
${brokenService(server, i, 'GRPC')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: case-${i}, namespace: shop }
spec:
  host: case-${i}
  trafficPolicy: { outlierDetection: { consecutive5xxErrors: 1, interval: 3600s, maxEjectionPercent: 100, minHealthPercent: 100 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: case-${i}, namespace: shop }
spec:
  hosts: [case-${i}]
  http: [{ timeout: 5s, retries: { attempts: 1, retryOn: unavailable, backoff: 1ms }, route: [{ destination: { host: case-${i} } }] }]
`;
