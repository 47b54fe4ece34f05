import fc from 'fast-check';
import t from 'tap';
import { outlierCluster } from '../support/outlier-cluster.ts';

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('report' as const),
      host: fc.nat(11),
      status: fc.constantFrom(0, 200, 500, 503),
      times: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 120_000 }) }) },
);
const policies = fc.record({
  consecutive5xx: fc.integer({ min: 0, max: 4 }),
  consecutiveGatewayErrors: fc.integer({ min: 0, max: 4 }),
  baseEjectionMs: fc.constantFrom(1_000, 30_000, 400_000),
  intervalMs: fc.constantFrom(1_000, 10_000),
  maxEjectionPercent: fc.integer({ min: 0, max: 100 }),
});

t.test('at no time more than the share is out; all come back; all is forgiven; nothing keeps running', async (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      policies,
      fc.array(step, { maxLength: 60 }),
      (count, policy, steps) => {
        const { clock, detector, hosts, report } = outlierCluster(count, policy);
        for (const each of steps) {
          if (each.kind === 'wait') clock.advance(each.ms);
          else for (let i = 0; i < each.times; i++) report(each.host % count, each.status);
          const out = hosts.filter(({ outlier }) => outlier.ejectedUntil !== 0).length;
          if (out !== detector.active || (100 * out) / count > policy.maxEjectionPercent) return false;
        }
        for (let i = 0; i < 100 && clock.pending() > 0; i++) clock.advance(400_000);
        return (
          clock.pending() === 0 &&
          hosts.every(({ outlier }) => outlier.ejectedUntil === 0 && outlier.ejectionCount === 0)
        );
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('without a pause each ejection is at least as long as the one before, up to the longest', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400_000 }), fc.integer({ min: 1, max: 30 }), (baseEjectionMs, times) => {
      const { clock, host, report } = outlierCluster(1, { consecutive5xx: 1, baseEjectionMs, intervalMs: 1 });
      let before = 0;
      for (let i = 0; i < times; i++) {
        report(0, 500);
        const lasts = host(0).outlier.ejectedUntil - clock.now();
        if (lasts < before || lasts < baseEjectionMs || lasts > Math.max(300_000, baseEjectionMs)) return false;
        before = lasts;
        // straight to the end: a sweep lets it in
        host(0).outlier.ejectedUntil = clock.now() + 1;
        clock.advance(1);
        if (host(0).outlier.ejectedUntil !== 0) return false;
      }
      return true;
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test('each quiet interval forgives exactly one ejection', async (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 12 }), (ejections, intervals) => {
      const { clock, host, report } = outlierCluster(1, { consecutive5xx: 1, baseEjectionMs: 10_000 });
      for (let i = 1; i <= ejections; i++) {
        report(0, 500);
        clock.advance(10_000 * i);
      }
      clock.advance(10_000 * intervals);
      return host(0).outlier.ejectionCount === Math.max(0, ejections - intervals);
    }),
    { numRuns: 100 },
  );
  t.pass();
});
