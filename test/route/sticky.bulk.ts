import { execFileSync } from 'node:child_process';
import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { StickySplit } from '../../src/model/route.ts';
import type { RoutableRequest } from '../../src/route/request-view.ts';
import { claimIn, cookieIn, createStickyChoice, labelOf } from '../../src/route/sticky.ts';
import { routable } from '../support/routable.ts';

const byHeader: StickySplit = { key: { kind: 'header', name: 'user' }, seed: 's' };
const cluster = (subset: string, port = 80): string => `outbound|${port}|${subset}|reviews`;
const options = (weights: Readonly<Record<string, number>>) =>
  Object.entries(weights).map(([subset, weight]) => ({
    destination: { cluster: cluster(subset), weight },
    value: subset,
  }));
const never = (): number => {
  throw new Error('who has a key needs no dice');
};
const choice = (weights: Readonly<Record<string, number>>, sticky = byHeader) =>
  createStickyChoice(sticky, options(weights), never);
const user = (name: string): RoutableRequest => routable('/', { headers: ['user', name] });
const users = Array.from({ length: 100_000 }, (_, i) => user(`user-${i}`));

/** Share of callers for whom two choices differ. */
function moved(before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): number {
  const [old, fresh] = [choice(before), choice(after)];
  return users.filter((request) => old(request) !== fresh(request)).length / users.length;
}

t.test('100,000 callers are spread within half a percent of the weights', async (t) => {
  for (const weights of [
    { v1: 90, v2: 10 },
    { v1: 1, v2: 1, v3: 1 },
    { v1: 50, v2: 0, v3: 30, v4: 20 },
    { v1: 1, v2: 99 },
  ]) {
    const choose = choice(weights);
    const counts: Record<string, number> = {};
    for (const request of users) {
      const chosen = choose(request);
      counts[chosen] = (counts[chosen] ?? 0) + 1;
    }
    const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
    for (const [subset, weight] of Object.entries(weights)) {
      const share = (counts[subset] ?? 0) / users.length;
      t.ok(Math.abs(share - weight / total) < 0.005, `${JSON.stringify(weights)}: ${subset} got ${share}`);
    }
  }
});

t.test('a change of weights moves the share that moved and, between two, nobody else', async (t) => {
  t.ok(Math.abs(moved({ v1: 90, v2: 10 }, { v1: 80, v2: 20 }) - 0.1) < 0.005);
  t.ok(Math.abs(moved({ v1: 90, v2: 10 }, { v1: 100, v2: 0 }) - 0.1) < 0.005);
  t.equal(moved({ v1: 90, v2: 10 }, { v1: 9, v2: 1 }), 0, 'weights are relative');
  const [old, fresh] = [choice({ v1: 90, v2: 10 }), choice({ v1: 80, v2: 20 })];
  t.notOk(
    users.some((request) => old(request) === 'v2' && fresh(request) === 'v1'),
    'nobody goes back',
  );
});

t.test('a destination that comes or goes concerns only its own callers', async (t) => {
  const [old, fresh] = [choice({ v1: 60, v2: 40 }), choice({ v1: 60, v2: 40, v3: 25 })];
  t.notOk(users.some((request) => old(request) !== fresh(request) && fresh(request) !== 'v3'));
  t.ok(Math.abs(moved({ v1: 60, v2: 40 }, { v1: 60, v2: 40, v3: 25 }) - 0.2) < 0.005);
});

t.test('where one grows or shrinks and the others keep their ratio, nobody else moves', async (t) => {
  for (const [before, after, share] of [
    [{ a: 80, b: 10, c: 10 }, { a: 64, b: 8, c: 28 }, 0.18],
    [{ a: 50, b: 30, c: 20 }, { a: 25, b: 45, c: 30 }, 0.25],
    [{ a: 60, b: 40, c: 0 }, { a: 54, b: 36, c: 10 }, 0.1],
  ] as const) {
    t.ok(Math.abs(moved(before, after) - share) < 0.005, `${JSON.stringify(after)}: ${moved(before, after)}`);
    const [old, fresh] = [choice(before), choice(after)];
    const one = before.a / before.b === after.a / after.b ? 'c' : 'a';
    t.notOk(
      users.some((request) => old(request) !== fresh(request) && old(request) !== one && fresh(request) !== one),
      'two whose ratio stays exchange nobody',
    );
  }
});

t.test('between two, exactly those move by whom one share grows', async (t) => {
  for (const weight of [1, 5, 25, 50, 75, 99]) {
    const [old, fresh] = [choice({ v1: 100 - weight, v2: weight }), choice({ v1: 99 - weight, v2: weight + 1 })];
    t.notOk(
      users.some((request) => old(request) === 'v2' && fresh(request) === 'v1'),
      `${weight} %: nobody goes back`,
    );
    t.ok(Math.abs(moved({ v1: 100 - weight, v2: weight }, { v1: 99 - weight, v2: weight + 1 }) - 0.01) < 0.002);
  }
});

t.test('a share that goes round three destinations moves four times itself, as it must', async (t) => {
  const ring = [
    { a: 50, b: 30, c: 20 },
    { a: 50, b: 28, c: 22 },
    { a: 48, b: 30, c: 22 },
    { a: 50, b: 30, c: 20 },
  ] as const;
  let all = 0;
  for (const [index, weights] of ring.slice(1).entries()) all += moved(ring[index] as (typeof ring)[0], weights);
  t.ok(Math.abs(all - 0.08) < 0.005, `${all} instead of 4 × 0.02`);
});

t.test(
  'among three, a share that moves from one to another takes those whose weight stays along in part',
  async (t) => {
    for (const [before, after, expected] of [
      [{ a: 80, b: 10, c: 10 }, { a: 70, b: 10, c: 20 }, 0.109],
      [{ a: 80, b: 10, c: 10 }, { a: 70, b: 20, c: 10 }, 0.109],
      [{ a: 50, b: 30, c: 20 }, { a: 40, b: 40, c: 20 }, 0.119],
    ] as const) {
      const share = moved(before, after);
      t.ok(Math.abs(share - expected) < 0.005, `${share} instead of ${expected}`);
    }
  },
);

t.test('order and ports of destinations do not matter', async (t) => {
  const reversed = createStickyChoice(byHeader, options({ v1: 70, v2: 30 }).reverse(), never);
  const choose = choice({ v1: 70, v2: 30 });
  const elsewhere = createStickyChoice(
    byHeader,
    [
      { destination: { cluster: cluster('v1', 9_080), weight: 70 }, value: 'v1' },
      { destination: { cluster: cluster('v2', 9_080), weight: 30 }, value: 'v2' },
    ],
    never,
  );
  const different = users.slice(0, 2_000).filter((request) => {
    return reversed(request) !== choose(request) || elsewhere(request) !== choose(request);
  });
  t.same(different, []);
});

t.test('splits with different seeds are independent of each other', async (t) => {
  const [one, two] = [choice({ v1: 50, v2: 50 }), choice({ v1: 50, v2: 50 }, { ...byHeader, seed: 't' })];
  const same = users.filter((request) => one(request) === two(request)).length / users.length;
  t.ok(Math.abs(same - 0.5) < 0.01, String(same));
});

t.test('another process chooses the same', async (t) => {
  const names = Array.from({ length: 200 }, (_, i) => `user-${i}-ü`);
  const script = `
    const { createStickyChoice } = await import(${JSON.stringify(new URL('../../src/route/sticky.ts', import.meta.url).href)});
    const choose = createStickyChoice(${JSON.stringify(byHeader)}, ${JSON.stringify(options({ v1: 70, v2: 20, v3: 10 }))}, () => 0);
    const request = (user) => ({ method: 'GET', path: '/', headers: ['user', user], secure: false, hostHeader: 'h' });
    console.log(JSON.stringify(${JSON.stringify(names)}.map((user) => choose(request(user)))));
  `;
  const answer = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  const choose = choice({ v1: 70, v2: 20, v3: 10 });
  t.same(
    JSON.parse(answer),
    names.map((name) => choose(user(name))),
  );
});

t.test('the choices of this version are the choices of the next', async (t) => {
  const choose = choice({ v1: 50, v2: 50 });
  const first = Array.from({ length: 16 }, (_, i) => choose(user(`user-${i}`))).join(' ');
  t.equal(first, 'v2 v1 v2 v2 v2 v2 v1 v2 v2 v1 v2 v1 v1 v2 v2 v2');
});

t.test('without a key each call chooses anew', async (t) => {
  const choose = createStickyChoice(byHeader, options({ v1: 50, v2: 50 }), seededRandom(1));
  const seen = new Set(Array.from({ length: 50 }, () => choose(routable())));
  t.equal(seen.size, 2);
  const empty = new Set(Array.from({ length: 50 }, () => choose(user(''))));
  t.equal(empty.size, 2, 'nor with an empty one');
});

t.test('without a key a choice that travels is kept, if there is such a destination', async (t) => {
  const choose = createStickyChoice({ ...byHeader, baggage: 'reviews' }, options({ v1: 99, v2: 1, v3: 0 }), () => 0);
  const travelling = (value: string): RoutableRequest =>
    routable('/', { headers: ['baggage', `a=1,reviews=${value}`] });
  t.equal(choose(travelling('v2')), 'v2');
  t.equal(choose(travelling('v9')), 'v1');
  t.equal(choose(travelling('v3')), 'v1', 'nobody is sent to a destination without weight');
  const caused = routable('/', { scope: { requestId: 'r', traceHeaders: ['baggage', 'reviews=v2'] } });
  t.equal(choose(caused), 'v2', 'also from the request that causes this one');
  const keyed = routable('/', { headers: ['baggage', 'reviews=v2', 'user', 'user-0'] });
  t.equal(choose(keyed), choice({ v1: 99, v2: 1 })(user('user-0')), 'a key decides by itself');
});

t.test('the key: header, cookie, claim, principal', async (t) => {
  const wanted = choice({ v1: 50, v2: 50 })(user('ann'));
  const scope = {
    requestId: 'r',
    traceHeaders: [],
    claims: { sub: 'ann', realm: { user: 'ann' } },
    peer: { spiffeId: 'ann', trustDomain: 'td' },
    carried: ['user', 'ann'],
  };
  const keys: readonly (readonly [StickySplit['key'], RoutableRequest])[] = [
    [{ kind: 'header', name: 'User' }, user('ann')],
    [{ kind: 'header', name: 'user' }, routable('/', { scope })],
    [{ kind: 'cookie', name: 'session' }, routable('/', { headers: ['Cookie', 'a=b; session=ann'] })],
    [{ kind: 'claim', name: 'sub' }, routable('/', { scope })],
    [{ kind: 'claim', name: 'realm.user' }, routable('/', { scope })],
    [{ kind: 'principal' }, routable('/', { scope })],
  ];
  for (const [key, request] of keys) {
    t.equal(choice({ v1: 50, v2: 50 }, { key, seed: 's' })(request), wanted, JSON.stringify(key));
    t.throws(() => choice({ v1: 50, v2: 50 }, { key, seed: 's' })(routable()), /dice/, 'absent');
  }
});

t.test('cookies and claims', async (t) => {
  t.equal(cookieIn('a=1; b=2', 'b'), '2');
  t.equal(cookieIn('b="2"', 'b'), '2');
  t.equal(cookieIn('bb=1;b=2;b=3', 'b'), '2');
  t.equal(cookieIn('b', 'b'), undefined);
  t.equal(cookieIn('', 'b'), undefined);
  t.equal(claimIn({ n: 7 }, 'n'), '7');
  t.equal(claimIn({ yes: true }, 'yes'), 'true');
  t.equal(claimIn({ 'a.b': 'dots' }, 'a.b'), 'dots');
  t.equal(claimIn({ list: ['x'] }, 'list'), undefined);
  t.equal(claimIn({ a: 'x' }, 'a.b'), undefined);
  t.equal(claimIn({}, 'constructor'), undefined);
  t.equal(claimIn(undefined, 'a'), undefined);
});

t.test('the name of a choice is its subset, else its host', async (t) => {
  t.equal(labelOf('outbound|80|v2|reviews.default.svc.cluster.local'), 'v2');
  t.equal(labelOf('outbound|80||reviews.default.svc.cluster.local'), 'reviews.default.svc.cluster.local');
  t.equal(labelOf('other'), 'other');
});

t.test('the same destination twice has the share of both', async (t) => {
  const twice = createStickyChoice(
    byHeader,
    [
      { destination: { cluster: cluster('v1'), weight: 25 }, value: 'first' },
      { destination: { cluster: cluster('v1'), weight: 25 }, value: 'second' },
      { destination: { cluster: cluster('v2'), weight: 50 }, value: 'other' },
    ],
    never,
  );
  const counts: Record<string, number> = {};
  for (const request of users.slice(0, 20_000)) {
    const chosen = twice(request);
    counts[chosen] = (counts[chosen] ?? 0) + 1;
  }
  t.ok(Math.abs((counts['first'] ?? 0) / 20_000 - 0.25) < 0.02);
  t.ok(Math.abs((counts['other'] ?? 0) / 20_000 - 0.5) < 0.02);
});
