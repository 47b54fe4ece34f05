import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { ConcurrencyPolicy } from '../../src/model/overload.ts';
import { Gate, type Guest } from '../../src/overload/gate.ts';

interface TestGuest extends Guest {
  state: 'outside' | 'admitted' | 'displaced';
}

const guest = (caller = 'a', urgency = 3): TestGuest => {
  const made: TestGuest = {
    caller,
    urgency,
    state: 'outside',
    admitted: () => void (made.state = 'admitted'),
    displaced: () => void (made.state = 'displaced'),
  };
  return made;
};

function made(own: Partial<ConcurrencyPolicy> = {}) {
  const policy = { maxRequests: 2, maxQueue: 2, queueTimeoutMs: 100, maxSharePercent: 100, ...own };
  const gate = new Gate(policy);
  return { gate, policy, enter: (each: Guest) => gate.enter(each, policy.maxRequests) };
}

t.test('so many have a place, so many wait, the others are turned away', async (t) => {
  const { enter, gate } = made();
  const all = Array.from({ length: 5 }, () => guest());
  t.same(all.map(enter), ['admitted', 'admitted', 'waiting', 'waiting', 'full']);
  t.same([gate.active, gate.waiting], [2, 2]);
});

t.test('1,025 requests for 1,024 places: one is turned away', async (t) => {
  const { enter } = made({ maxRequests: 1_024, maxQueue: 0 });
  const entrances = Array.from({ length: 1_025 }, () => enter(guest()));
  t.equal(entrances.filter((each) => each === 'full').length, 1);
});

t.test('who waits moves up in the order of arrival', async (t) => {
  const { enter, gate } = made();
  const [a, b, c, d] = [guest(), guest(), guest(), guest()];
  for (const each of [a, b, c, d]) enter(each);
  gate.leave(a, 2);
  t.same([c.state, d.state], ['admitted', 'outside']);
  gate.leave(b, 2);
  t.equal(d.state, 'admitted');
  t.same([gate.active, gate.waiting], [2, 0]);
});

t.test('nobody overtakes those who wait', async (t) => {
  const { enter, gate } = made({ maxRequests: 1 });
  const [first, second] = [guest(), guest()];
  enter(first);
  enter(second);
  t.equal(gate.enter(guest(), 5), 'waiting', 'though the limit has grown meanwhile');
});

t.test('the more urgent move up first, and take the place of the least urgent when the queue is full', async (t) => {
  const { enter, gate } = made({ maxRequests: 1 });
  const first = guest();
  const [idle, normal, urgent] = [guest('a', 7), guest('a', 3), guest('a', 0)];
  enter(first);
  t.same([enter(idle), enter(normal)], ['waiting', 'waiting']);
  t.equal(enter(guest('a', 7)), 'full', 'as urgent as the last one is not more urgent');
  t.equal(enter(urgent), 'waiting');
  t.equal(idle.state, 'displaced');
  gate.leave(first, 1);
  t.same([urgent.state, normal.state], ['admitted', 'outside']);
});

t.test('of the least urgent the youngest gives way', async (t) => {
  const { enter } = made({ maxRequests: 1 });
  enter(guest());
  const [older, younger] = [guest('a', 5), guest('a', 5)];
  enter(older);
  enter(younger);
  enter(guest('a', 1));
  t.same([older.state, younger.state], ['outside', 'displaced']);
});

t.test('a caller has at most its share, and the others have theirs', async (t) => {
  const { enter } = made({ maxRequests: 10, maxQueue: 5, maxSharePercent: 50 });
  const slow = Array.from({ length: 20 }, () => enter(guest('tenant')));
  t.equal(slow.filter((each) => each === 'admitted').length, 5);
  t.equal(slow.filter((each) => each === 'share').length, 15);
  t.same(
    Array.from({ length: 6 }, () => enter(guest('other'))),
    ['admitted', 'admitted', 'admitted', 'admitted', 'admitted', 'share'],
  );
  t.equal(enter(guest('third')), 'waiting');
});

t.test('a share is one place at least', async (t) => {
  const { enter } = made({ maxRequests: 3, maxSharePercent: 10 });
  t.same([enter(guest()), enter(guest()), enter(guest('b'))], ['admitted', 'share', 'admitted']);
});

t.test('what is given back can be taken again', async (t) => {
  const { enter, gate } = made({ maxRequests: 2, maxSharePercent: 50 });
  for (let i = 0; i < 100; i++) {
    const each = guest();
    t.equal(enter(each), 'admitted');
    gate.leave(each, 2);
  }
});

t.test('giving up: only who waits can', async (t) => {
  const { enter, gate } = made({ maxRequests: 1 });
  const [first, second] = [guest(), guest()];
  enter(first);
  enter(second);
  t.notOk(gate.giveUp(first));
  t.ok(gate.giveUp(second));
  t.notOk(gate.giveUp(second));
  gate.leave(first, 1);
  t.equal(second.state, 'outside');
  t.same([gate.active, gate.waiting], [0, 0]);
});

t.test('a lower limit lets nobody in until enough have gone; a higher one lets in who waits', async (t) => {
  const { enter, gate } = made();
  const [a, b, c, d] = [guest(), guest(), guest(), guest()];
  for (const each of [a, b, c, d]) enter(each);
  gate.leave(a, 1);
  t.equal(c.state, 'outside');
  gate.moveUp(3);
  t.same([c.state, d.state], ['admitted', 'admitted']);
});

t.test('whatever happens, the counts are those of who is there', async (t) => {
  const random = seededRandom(11);
  const { gate, policy } = made({ maxRequests: 5, maxQueue: 4, maxSharePercent: 60 });
  const inside = new Set<TestGuest>();
  const waiting = new Set<TestGuest>();
  const settle = (): void => {
    for (const each of waiting) {
      if (each.state === 'outside') continue;
      waiting.delete(each);
      if (each.state === 'admitted') inside.add(each);
    }
  };
  for (let step = 0; step < 20_000; step++) {
    const limit = 1 + Math.floor(random() * policy.maxRequests);
    const draw = random();
    const [oldest] = inside;
    const [waiter] = waiting;
    if (draw < 0.5) {
      const each = guest('abc'.charAt(Math.floor(random() * 3)), Math.floor(random() * 8));
      const entrance = gate.enter(each, limit);
      if (entrance === 'admitted') inside.add(each);
      if (entrance === 'waiting') waiting.add(each);
    } else if (draw < 0.9 && oldest !== undefined) {
      inside.delete(oldest);
      gate.leave(oldest, limit);
    } else if (waiter !== undefined) {
      gate.giveUp(waiter);
      waiting.delete(waiter);
    }
    settle();
    if (gate.active !== inside.size || gate.waiting !== waiting.size || waiting.size > 4) {
      t.fail(`step ${step}: ${gate.active} ${inside.size} ${gate.waiting} ${waiting.size}`);
      break;
    }
  }
  for (const each of inside) gate.leave(each, 100);
  settle();
  for (const each of inside) if (each.state === 'admitted') gate.leave(each, 100);
  t.pass('20,000 steps');
});
