import t from 'tap';
import { planByHeaders } from '../../src/fault/by-headers.ts';
import { type FaultPlan, isAborted, isDelayed, mayAskForFaults, planFault } from '../../src/fault/decide.ts';
import { seededRandom } from '../../src/lib/random.ts';

const nothing: FaultPlan = {
  delayMs: 0,
  delayShare: 0,
  abort: undefined,
  abortShare: 0,
  maxActive: Number.POSITIVE_INFINITY,
  byHeaders: 100,
};
const own: FaultPlan = {
  ...nothing,
  delayMs: 50,
  delayShare: 10_000,
  abort: { status: 503, percent: 2 },
  abortShare: 20_000,
};
const asked = (plan: FaultPlan, headers: Readonly<Record<string, string>>, maxPercent = 100): FaultPlan =>
  planByHeaders(plan, maxPercent, (name) => headers[name]);

t.test('what a caller asks for takes the place of what the route has, each for itself', async (t) => {
  const cases: readonly (readonly [string, FaultPlan, Readonly<Record<string, string>>, Partial<FaultPlan>])[] = [
    ['nothing', own, {}, own],
    [
      'a delay',
      nothing,
      { 'x-envoy-fault-delay-request': '200' },
      { delayMs: 200, delayShare: 1_000_000, abortShare: 0 },
    ],
    [
      'a delay beside an abort of the route',
      own,
      { 'x-envoy-fault-delay-request': '200' },
      { delayMs: 200, delayShare: 1_000_000, abort: { status: 503, percent: 2 }, abortShare: 20_000 },
    ],
    [
      'an abort beside a delay of the route',
      own,
      { 'x-envoy-fault-abort-request': '418' },
      { delayMs: 50, delayShare: 10_000, abort: { status: 418, percent: 100 }, abortShare: 1_000_000 },
    ],
    [
      'a gRPC status goes before a status',
      nothing,
      { 'x-envoy-fault-abort-request': '418', 'x-envoy-fault-abort-grpc-request': '14' },
      { abort: { status: 200, grpcStatus: 14, percent: 100 } },
    ],
    ['no delay at all', own, { 'x-envoy-fault-delay-request': '0' }, { delayMs: 0, delayShare: 0 }],
    [
      'percentages',
      nothing,
      {
        'x-envoy-fault-delay-request': '1',
        'x-envoy-fault-delay-request-percentage': '30',
        'x-envoy-fault-abort-request': '500',
        'x-envoy-fault-abort-request-percentage': '7',
      },
      { delayShare: 300_000, abortShare: 70_000 },
    ],
    [
      'a percentage that is no number',
      nothing,
      { 'x-envoy-fault-delay-request': '1', 'x-envoy-fault-delay-request-percentage': 'all' },
      { delayShare: 1_000_000 },
    ],
  ];
  for (const [name, plan, headers, expected] of cases) t.match(asked(plan, headers), expected, name);
});

t.test('a caller cannot ask for more than the configured percentage', async (t) => {
  for (const [percentage, share] of [
    ['10', 100_000],
    ['25', 250_000],
    ['26', 250_000],
    ['1000', 250_000],
  ] as const) {
    const headers = { 'x-envoy-fault-abort-request': '500', 'x-envoy-fault-abort-request-percentage': percentage };
    t.equal(asked(nothing, headers, 25).abortShare, share, percentage);
  }
  t.equal(asked(nothing, { 'x-envoy-fault-delay-request': '9' }, 25).delayShare, 250_000, 'nor by saying nothing');
});

t.test('what makes no sense is as good as absent', async (t) => {
  for (const value of ['', 'x', '-1', '1.5', '1e3', ' 5', '99999999999']) {
    t.equal(asked(own, { 'x-envoy-fault-delay-request': value }), own, `delay ${value}`);
    t.equal(asked(own, { 'x-envoy-fault-abort-request': value }), own, `abort ${value}`);
  }
  for (const status of ['199', '600', '0']) t.equal(asked(own, { 'x-envoy-fault-abort-request': status }), own, status);
});

t.test('who may ask: the application itself, and callers with an identity', async (t) => {
  t.ok(mayAskForFaults(undefined));
  t.ok(mayAskForFaults({ peer: { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web' } }));
  t.notOk(mayAskForFaults({}), 'not a stranger through an application that hands headers on');
});

t.test('100,000 draws: percentages are what they say', async (t) => {
  const draws = 100_000;
  for (const [percent, seed] of [
    [0.0001, 1],
    [0.01, 2],
    [0.5, 3],
    [1, 4],
    [10, 5],
    [33.3333, 6],
    [50, 7],
    [99.5, 8],
    [100, 9],
  ] as const) {
    const plan = planFault({
      level: 'call',
      delay: { delayMs: 1, percent },
      abort: { status: 500, percent },
    }) as FaultPlan;
    const random = seededRandom(seed);
    let delayed = 0;
    let aborted = 0;
    let both = 0;
    for (let i = 0; i < draws; i++) {
      const isLate = isDelayed(plan, random());
      const isOver = isAborted(plan, random());
      if (isLate) delayed++;
      if (isOver) aborted++;
      if (isLate && isOver) both++;
    }
    const share = percent / 100;
    // Four standard deviations of the binomial distribution; the seeds make it the same each time.
    const near = (count: number, p: number): boolean =>
      Math.abs(count - draws * p) <= 4 * Math.sqrt(draws * p * (1 - p)) + 1e-9;
    t.ok(near(delayed, share), `${percent} %: ${delayed} delayed`);
    t.ok(near(aborted, share), `${percent} %: ${aborted} aborted`);
    t.ok(near(both, share * share), `${percent} %: ${both} both, independently of each other`);
  }
});
