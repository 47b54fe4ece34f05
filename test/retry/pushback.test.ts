import fc from 'fast-check';
import t from 'tap';
import type { Clock } from '../../src/lib/clock.ts';
import { ClientCall, ClientRequest } from '../../src/pipeline/client-call.ts';
import { retryFilter } from '../../src/retry/filter.ts';
import { policyOf } from '../../src/retry/grpc-retry.ts';
import type { RetryLimit } from '../../src/retry/limit.ts';
import { longestAskedWaitMs, pushbackMs, pushbackOf } from '../../src/retry/pushback.ts';
import { fakeClock } from '../support/fake-clock.ts';

const now = Date.UTC(2026, 0, 1);
const later = (ms: number): string => new Date(now + ms).toUTCString();

t.test('what an answer says about the next try', async (t) => {
  const asked = (waitMs: number) => ({ waitMs, jitter: true });
  const table: readonly (readonly [headers: Record<string, string | string[]>, wanted: unknown])[] = [
    [{}, undefined],
    [{ 'retry-after': '2' }, asked(2_000)],
    [{ 'retry-after': '9999999' }, asked(9_999_999_000)],
    [{ 'retry-after': later(3_000) }, asked(3_000)],
    [{ 'x-ratelimit-reset': String(now / 1_000 + 4) }, asked(4_000)],
    [{ 'retry-after': '1', 'x-ratelimit-reset': String(now / 1_000 + 4) }, asked(1_000)],
    [{ 'retry-after': 'soon', 'x-ratelimit-reset': String(now / 1_000 + 4) }, asked(4_000)],
    // garbage, or nothing to wait for
    ...[
      '0',
      '-1',
      '1.5',
      '',
      ' 1',
      '1e3',
      'soon',
      '99999999999999999',
      later(0),
      later(-5_000),

      'Jan 1 2030',
    ].map((text) => [{ 'retry-after': text }, undefined] as const),
    [{ 'retry-after': ['1', '2'] }, undefined],
    [{ 'x-ratelimit-reset': '30' }, undefined],
    // gRFC A6
    [{ 'grpc-retry-pushback-ms': '25' }, { waitMs: 25, jitter: false }],
    [
      { 'grpc-retry-pushback-ms': '0', 'retry-after': '5' },
      { waitMs: 0, jitter: false },
    ],
    ...['-1', '', 'x', '1.5', '-0'].map((text) => [{ 'grpc-retry-pushback-ms': text }, 'final'] as const),
  ];
  for (const [headers, wanted] of table) t.same(pushbackOf(headers, now), wanted, JSON.stringify(headers));
});

t.test('the wait: up to half as long again, within what the call has left', async (t) => {
  const one = { waitMs: 1_000, jitter: true };
  t.equal(
    pushbackMs(one, Number.POSITIVE_INFINITY, () => 0),
    1_000,
  );
  t.equal(
    pushbackMs(one, Number.POSITIVE_INFINITY, () => 0.5),
    1_250,
  );
  t.equal(
    pushbackMs(one, 1_200, () => 0.5),
    1_000,
    'no later than there is time for',
  );
  t.equal(
    pushbackMs(one, 1_000, () => 0),
    undefined,
  );
  t.equal(
    pushbackMs({ waitMs: 25, jitter: false }, 100, () => 0.9),
    25,
  );
  t.equal(
    pushbackMs({ waitMs: longestAskedWaitMs, jitter: false }, Number.POSITIVE_INFINITY, () => 0),
    10_000,
  );
  t.equal(
    pushbackMs({ waitMs: longestAskedWaitMs + 1, jitter: true }, Number.POSITIVE_INFINITY, () => 0),
    undefined,
  );
});

t.test('property: whatever a server says, the wait is bounded (ABUSE-004)', async (t) => {
  const value = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
  );
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.constantFrom('retry-after', 'x-ratelimit-reset', 'grpc-retry-pushback-ms'),
        value,
        fc.double({ min: 0, max: 60_000, noNaN: true }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (name, text, leftMs, random) => {
          const pushback = pushbackOf({ [name]: text }, now);
          if (pushback === undefined || pushback === 'final') return true;
          const waitMs = pushbackMs(pushback, leftMs, () => random);
          return waitMs === undefined || (waitMs >= pushback.waitMs && waitMs < leftMs && waitMs <= 15_000);
        },
      ),
      { seed: 7, numRuns: 2_000 },
    ),
  );
});

t.test('gRPC: after a wait that a server asked for, the back-off begins anew', async (t) => {
  const waits: number[] = [];
  const clock: Clock = {
    ...fakeClock(),
    after: (ms, run) => {
      waits.push(ms);
      queueMicrotask(run);
      return () => {};
    },
  };
  const ofServer = [undefined, undefined, '7', undefined, undefined];
  const nothing = (): void => {};
  const policy = {
    maxAttempts: 6,
    initialBackoffMs: 100,
    maxBackoffMs: 10_000,
    backoffMultiplier: 2,
    retryableStatusCodes: new Set([14]),
    throttle: undefined,
  };
  const filter = retryFilter({
    policy: policyOf(policy),
    clock,
    random: () => 0.5,
    limit: { counts: false, enter: () => 'free', sent: nothing, leave: nothing, good: nothing } as never as RetryLimit,
    grpc: policy,
  });
  const options = { method: 'POST', body: Buffer.from('x') };
  const request = new ClientRequest('/', [], options as ConstructorParameters<typeof ClientRequest>[2]);
  const call = new ClientCall('http://a', request, { onRequestStart: nothing } as never, undefined, 0);
  const last = await filter(call, async () => {
    const asked = ofServer[call.tries - 1];
    const headers = { 'grpc-status': '14', ...(asked === undefined ? {} : { 'grpc-retry-pushback-ms': asked }) };
    return { status: 200, headers, deliver: nothing, discard: nothing };
  });
  t.equal(last.status, 200);
  t.equal(call.tries, 6);
  t.same(waits, [100, 200, 7, 100, 200]);
});
