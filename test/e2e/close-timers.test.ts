import { get as httpGet } from 'node:http';
import t from 'tap';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh } from '../../src/index.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { http2Upstream } from '../support/http2-upstream.ts';
import { shopWeb } from '../support/inbound.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { upstream } from '../support/upstream.ts';

/** The real clock, which knows what waits. */
function watchedClock(): { readonly clock: Clock; readonly waiting: ReadonlyMap<object, string> } {
  const waiting = new Map<object, string>();
  const clock: Clock = {
    ...systemClock,
    after(delayMs, action, keepAlive) {
      const key = {};
      waiting.set(key, `${delayMs} ms, ${new Error('from').stack?.split('\n').slice(2, 5).join(' ')}`);
      const done = (): void => void waiting.delete(key);
      const cancel = systemClock.after(
        delayMs,
        () => {
          done();
          action();
        },
        keepAlive,
      );
      return () => {
        done();
        cancel();
      };
    },
  };
  return { clock, waiting };
}

const configuration = (http1: number, http2: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${http1}}, {number: 81, name: tcp, protocol: TCP, targetPort: ${http1}}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: names, namespace: shop}
spec:
  hosts: [names.test]
  resolution: DNS
  ports: [{number: 80, name: http2, protocol: HTTP2, targetPort: ${http2}}]
  endpoints: [{address: localhost}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a.test
  trafficPolicy:
    connectionPool: {http: {idleTimeout: 50s, maxRetries: 100}, tcp: {maxConnections: 10, maxConnectionDuration: 100s}}
    outlierDetection: {consecutive5xxErrors: 1, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 100}
    loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 60s}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.test]
  http:
  - route: [{destination: {host: a.test}}]
    timeout: 20s
    retries: {attempts: 3, perTryTimeout: 5s, retryOn: 5xx}
---
apiVersion: inmesh.dev/v1
kind: CircuitBreaker
metadata: {name: a, namespace: shop}
spec: {host: a.test, volumeThreshold: 1, errorThresholdPercentage: 60}
---
apiVersion: inmesh.dev/v1
kind: HealthCheck
metadata: {name: a, namespace: shop}
spec: {host: a.test, interval: 10s, timeout: 2s, http: {path: /health}}
---
apiVersion: inmesh.dev/v1
kind: OverloadPolicy
metadata: {name: o, namespace: shop}
spec: {concurrency: {maxRequests: 100, maxQueue: 10}, eventLoop: {maxDelay: 100ms}}
`;

t.test('a mesh that has closed waits for nothing, whatever it had to do before', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/bad') outgoing.statusCode = 503;
    outgoing.end('ok');
  });
  const other = await http2Upstream(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  const { clock, waiting } = watchedClock();
  const mesh = createMesh({
    workload: shopWeb,
    config: staticSource(configuration(server.port, other.port), { workload: shopWeb }),
    identity: false,
    logger: recordingLogger(),
    clock,
  });
  await mesh.ready();
  const served = await mesh.listen((_incoming, outgoing) => void outgoing.end('in'), 0);
  const inbound = await fetch(`http://127.0.0.1:${served.port}/`);
  t.equal(await inbound.text(), 'in');
  for (const host of ['a.test', 'names.test']) {
    const answer = await mesh.fetch(`http://${host}/`);
    t.equal(`${answer.status} ${await answer.text()}`, '200 ok');
  }
  await new Promise<void>((resolve, reject) => {
    httpGet('http://a.test/', { agent: mesh.agent }, (response) => response.resume().on('end', resolve)).on(
      'error',
      reject,
    );
  });
  const connection = await mesh.connect({ host: 'a.test', port: 81 });
  connection.destroy();
  const bad = await mesh.fetch('http://a.test/bad');
  t.equal(bad.status, 503);
  await bad.text();
  t.ok(waiting.size > 5, `${waiting.size} timers wait`);
  await mesh.close();
  await new Promise((resolve) => setImmediate(resolve));
  t.same([...waiting.values()], []);
});
