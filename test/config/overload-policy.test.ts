import t from 'tap';
import { good, problems } from './support.ts';

const policy = (name: string, spec: string, namespace = 'shop'): string => `
apiVersion: inmesh.dev/v1
kind: OverloadPolicy
metadata: {name: ${name}, namespace: ${namespace}}
spec: ${spec}
`;

t.test('every field becomes part of the policy', async (t) => {
  const spec = `
  selector: {matchLabels: {app: web}}
  concurrency: {maxRequests: 100, maxQueue: 20, queueTimeout: 250ms, maxSharePercent: 40}
  adaptiveConcurrency:
    sampleAggregatePercentile: 90
    updateInterval: 50ms
    maxConcurrencyLimit: 500
    minConcurrencyLimit: 25
    minRtt: {interval: 30s, requestCount: 20, jitterPercent: 10, minConcurrency: 50, bufferPercent: 5}
  eventLoop: {maxDelay: 80ms, resumeDelay: 20ms, maxShedPercent: 60}
  priority: {header: X-Urgency, principals: ["cluster.local/ns/shop/*", "*"]}
  exemptPaths: [/healthz, /live/*]
`;
  t.same(good(policy('a', spec)).snapshot.inbound.overload, {
    concurrency: { maxRequests: 100, maxQueue: 20, queueTimeoutMs: 250, maxSharePercent: 40 },
    adaptive: {
      samplePercentile: 90,
      updateIntervalMs: 50,
      maxLimit: 500,
      minLimit: 25,
      minRttIntervalMs: 30_000,
      minRttRequests: 20,
      jitterPercent: 10,
      minConcurrency: 50,
      bufferPercent: 5,
    },
    eventLoop: { maxDelayMs: 80, resumeDelayMs: 20, maxShedPercent: 60 },
    priority: {
      header: 'x-urgency',
      principals: [{ kind: 'prefix', value: 'cluster.local/ns/shop/' }, { kind: 'present' }],
    },
    exemptPaths: [
      { kind: 'exact', value: '/healthz' },
      { kind: 'prefix', value: '/live/' },
    ],
  });
});

t.test('defaults', async (t) => {
  const spec = '{concurrency: {}, adaptiveConcurrency: {}, eventLoop: {maxDelay: 100ms}}';
  t.same(good(policy('a', spec)).snapshot.inbound.overload, {
    concurrency: { maxRequests: Number.POSITIVE_INFINITY, maxQueue: 0, queueTimeoutMs: 100, maxSharePercent: 100 },
    adaptive: {
      samplePercentile: 50,
      updateIntervalMs: 100,
      maxLimit: 1_000,
      minRttIntervalMs: 60_000,
      minRttRequests: 50,
      jitterPercent: 15,
      minConcurrency: 3,
      bufferPercent: 25,
    },
    eventLoop: { maxDelayMs: 100, resumeDelayMs: 50, maxShedPercent: 95 },
    priority: { header: 'priority' },
    exemptPaths: [],
  });
  t.equal(good(policy('a', '{concurrency: {maxRequests: 1}}', 'other')).snapshot.inbound.overload, undefined);
});

t.test('which policy counts', async (t) => {
  const all = [
    policy('mesh', '{concurrency: {maxRequests: 1}}', 'istio-system'),
    policy('namespace', '{concurrency: {maxRequests: 2}}'),
    policy('younger', '{concurrency: {maxRequests: 9}}'),
    policy('workload', '{selector: {matchLabels: {app: web}}, concurrency: {maxRequests: 3}}'),
    policy('others', '{selector: {matchLabels: {app: reviews}}, concurrency: {maxRequests: 4}}'),
  ];
  const limitOf = (...texts: readonly string[]) => good(texts).snapshot.inbound.overload?.concurrency?.maxRequests;
  t.equal(limitOf(...all), 3);
  t.equal(limitOf(...all.slice(0, 3)), 2);
  t.equal(limitOf(...all.slice(0, 1)), 1);
  t.equal(limitOf(...all.slice(4)), undefined);
  t.same(good(all.slice(0, 3)).remarks(), [
    'OverloadPolicy spec ignored (warning): OverloadPolicy shop/namespace is older and counts instead',
  ]);
});

t.test('refused', async (t) => {
  const cases = [
    ['{}', 'spec: needs concurrency, adaptiveConcurrency or eventLoop'],
    ['{concurrency: {maxQueue: 3}}', 'spec.concurrency: needs maxRequests'],
    ['{concurrency: {maxRequests: 0}}', 'spec.concurrency.maxRequests: must be an integer from 1'],
    ['{concurrency: {maxRequests: 1, maxSharePercent: 101}}', 'spec.concurrency.maxSharePercent: must be'],
    ['{eventLoop: {}}', 'spec.eventLoop: needs the field maxDelay'],
    ['{eventLoop: {maxDelay: 50ms, resumeDelay: 60ms}}', 'spec.eventLoop.resumeDelay: must not be more than maxDelay'],
    ['{adaptiveConcurrency: {maxConcurrencyLimit: 2}}', 'must not be less than the lowest limit, which is 3'],
    ['{concurrency: {maxRequests: 1}, priority: {header: x-inmesh-priority}}', 'is removed from requests'],
    ['{concurrency: {maxRequests: 1}, limit: 3}', 'spec.limit: is not a field'],
  ] as const;
  for (const [spec, expected] of cases) {
    const found = problems(policy('a', spec));
    t.ok(
      found.some((each) => each.includes('OverloadPolicy shop/a') && each.includes(expected)),
      `${spec}: ${found.join('; ')}`,
    );
  }
});
