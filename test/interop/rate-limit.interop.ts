// envoyproxy/ratelimit, the service that Envoys ask, with a Redis behind it.
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { grpcRateLimitService } from '@inmesh/ratelimit';
import { createMesh } from 'inmesh';
import t, { type Test } from 'tap';
import { freePorts } from '../support/free-ports.ts';
import { debianPackages, goProgram, startPeer } from './peers.ts';

const limits = `
domain: shop
descriptors:
  - key: caller
    rate_limit: {unit: hour, requests_per_unit: 3}
  - key: plan
    value: free
    rate_limit: {unit: day, requests_per_unit: 2}
`;

const rateLimit = (service: string, failureMode: string): string => `
apiVersion: inmesh.dev/v1
kind: RateLimit
metadata: {name: r, namespace: shop}
spec:
  global:
    service: ${service}
    domain: shop
    timeout: 5s
    headers: ALWAYS
    failureMode: ${failureMode}
    descriptors:
    - entries: [{key: caller, header: x-caller}]
    - rules: [{to: [{operation: {paths: [/free]}}]}]
      entries: [{key: plan, value: free}]
`;

async function serve(t: Test, folder: string) {
  const mesh = createMesh({
    config: folder,
    identity: false,
    workload: { name: 'web', namespace: 'shop' },
    rateLimitService: grpcRateLimitService(),
  });
  const { port } = await mesh.listen((_request, response) => void response.end('hello'), {
    port: 0,
    host: '127.0.0.1',
  });
  t.teardown(() => mesh.close());
  return (path: string, headers: Record<string, string> = {}) => fetch(`http://127.0.0.1:${port}${path}`, { headers });
}

t.test('a real rate limit service counts for us', async (t) => {
  const service = goProgram(
    'ratelimit',
    'github.com/envoyproxy/ratelimit/src/service_cmd@v1.4.1-0.20260122083618-3fb702589d36',
  );
  const redis = debianPackages('redis', ['redis-server', 'redis-tools', 'liblzf1', 'libjemalloc2']);
  if ('why' in service || 'why' in redis) {
    const why = [service, redis].flatMap((peer) => ('why' in peer ? [peer.why] : []));
    t.comment(`skipped, there is no peer here: ${why.join('; ')}`);
    return;
  }

  const [redisPort = 0, http = 0, grpc = 0, debug = 0] = await freePorts(4);
  const folder = t.testdir({
    ratelimit: { config: { 'shop.yaml': limits } },
    deny: { 'mesh.yaml': rateLimit(`127.0.0.1:${grpc}`, 'DENY') },
    allow: { 'mesh.yaml': rateLimit(`127.0.0.1:${grpc}`, 'ALLOW') },
  });
  await startPeer(
    t,
    join(redis.folder, 'usr/bin/redis-server'),
    ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', ''],
    {
      env: { LD_LIBRARY_PATH: redis.libraries },
      port: redisPort,
    },
  );
  const env = {
    USE_STATSD: 'false',
    LOG_LEVEL: 'error',
    REDIS_SOCKET_TYPE: 'tcp',
    REDIS_URL: `127.0.0.1:${redisPort}`,
    RUNTIME_ROOT: folder,
    RUNTIME_SUBDIRECTORY: 'ratelimit',
    RUNTIME_WATCH_ROOT: 'false',
    HOST: '127.0.0.1',
    GRPC_HOST: '127.0.0.1',
    DEBUG_HOST: '127.0.0.1',
    PORT: String(http),
    GRPC_PORT: String(grpc),
    DEBUG_PORT: String(debug),
  };
  const peer = await startPeer(t, service.path, [], { env, port: grpc });

  // It counts by the hours and days of UTC, and begins anew with each.
  const leftMs = 3_600_000 - (Date.now() % 3_600_000);
  if (leftMs < 30_000) await wait(leftMs + 100);
  const call = await serve(t, join(folder, 'deny'));
  const first = await call('/', { 'x-caller': 'ann' });
  t.equal(first.status, 200);
  t.equal(first.headers.get('ratelimit-limit'), '3');
  t.equal(first.headers.get('ratelimit-remaining'), '2');
  t.same(
    [(await call('/', { 'x-caller': 'ann' })).status, (await call('/', { 'x-caller': 'ann' })).status],
    [200, 200],
  );
  const refused = await call('/', { 'x-caller': 'ann' });
  t.equal(refused.status, 429);
  t.equal(refused.headers.get('x-envoy-ratelimited'), 'true');
  t.ok(Number(refused.headers.get('retry-after')) > 0 && Number(refused.headers.get('retry-after')) <= 3_600);
  t.equal((await call('/', { 'x-caller': 'bob' })).status, 200, 'others have a count of their own');
  t.equal((await call('/')).status, 200, 'nothing is asked about a request that no descriptor is for');
  t.same([(await call('/free')).status, (await call('/free')).status, (await call('/free')).status], [200, 200, 429]);

  // Another process with the same service shares the count.
  const other = await serve(t, join(folder, 'deny'));
  t.equal((await other('/', { 'x-caller': 'ann' })).status, 429);

  peer.kill('SIGKILL');
  if (peer.signalCode === null) await once(peer, 'exit');
  const open = await serve(t, join(folder, 'allow'));
  t.equal((await open('/', { 'x-caller': 'ann' })).status, 200, 'without the service requests pass');
  t.equal((await call('/', { 'x-caller': 'ann' })).status, 500, 'or are refused, where that is said');
});
