import fc from 'fast-check';
import t from 'tap';
import { Layered } from '../../src/config/layered.ts';

t.test('a copy answers like a copied map, and what it was made from stays as it was', async (t) => {
  const step = fc.record({ key: fc.nat(30), value: fc.option(fc.nat(9), { nil: undefined }), copies: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const first = new Map(Array.from({ length: 10 }, (_, key) => [key, key]));
      let plain = new Map<number, number>(first);
      let layered = Layered.of<number, number>(first);
      const left: [Layered<number, number>, Map<number, number>][] = [];
      for (const { copies, key, value } of steps) {
        if (copies) {
          left.push([layered, plain]);
          plain = new Map(plain);
          layered = Layered.of(layered);
        }
        if (value === undefined) plain.delete(key);
        else plain.set(key, value);
        layered.set(key, value);
      }
      left.push([layered, plain]);
      for (const [one, other] of left) same(one, other);
    }),
  );
  t.pass('in 100 histories');
});

/** In every way in which a map can be asked. */
function same(one: ReadonlyMap<number, number>, other: ReadonlyMap<number, number>): void {
  for (let key = 0; key <= 30; key++) {
    if (one.get(key) !== other.get(key) || one.has(key) !== other.has(key)) throw new Error(`${key} differs`);
  }
  const sorted = (each: Iterable<readonly [number, number]>): string =>
    JSON.stringify([...each].sort(([a], [b]) => a - b));
  const each: [number, number][] = [];
  one.forEach((value, key, map) => {
    if (map === one) each.push([key, value]);
  });
  const views = [[...one], [...one.entries()], each, [...one.keys()].map((key) => [key, one.get(key)] as const)];
  for (const view of views) if (sorted(view as [number, number][]) !== sorted(other)) throw new Error('entries differ');
  if ([...one.values()].sort().join() !== [...other.values()].sort().join()) throw new Error('values differ');
  if (one.size !== other.size) throw new Error(`size ${one.size}, not ${other.size}`);
}

t.test('very many changes become a base of their own', async (t) => {
  const layered = Layered.of(new Map([[-1, 'a']]));
  layered.set(-1, undefined);
  for (let key = 0; key < 2_000; key++) layered.set(key, String(key));
  const copy = Layered.of(layered);
  copy.set(0, undefined);
  t.same([copy.get(-1), copy.get(0), copy.get(1_999), copy.size], [undefined, undefined, '1999', 1_999]);
  t.same([layered.get(0), layered.size], ['0', 2_000]);
});
