import fc from 'fast-check';
import t from 'tap';
import { Layered } from '../../src/config/layered.ts';

t.test('a copy answers like a copied map, and what it was made from stays as it was', async (t) => {
  const step = fc.record({ key: fc.nat(3_000), value: fc.option(fc.nat(9), { nil: undefined }), copies: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const first = new Map(Array.from({ length: 10 }, (_, key) => [key, key]));
      let plain = new Map<number, number>(first);
      let layered = new Layered<number, number>(first);
      const left: [Layered<number, number>, Map<number, number>][] = [];
      for (const { copies, key, value } of steps) {
        if (copies) {
          left.push([layered, plain]);
          plain = new Map(plain);
          layered = layered.copy();
        }
        if (value === undefined) plain.delete(key);
        else plain.set(key, value);
        layered.set(key, value);
      }
      left.push([layered, plain]);
      const keys = [...first.keys(), ...steps.map(({ key }) => key)];
      return left.every(([one, other]) => keys.every((key) => one.get(key) === other.get(key)));
    }),
  );
  t.pass('in 100 histories');
});

t.test('very many changes become a base of their own', async (t) => {
  const layered = new Layered(new Map([[-1, 'a']]));
  layered.set(-1, undefined);
  for (let key = 0; key < 2_000; key++) layered.set(key, String(key));
  const copy = layered.copy();
  copy.set(0, undefined);
  t.same([copy.get(-1), copy.get(0), copy.get(1_999)], [undefined, undefined, '1999']);
  t.equal(layered.get(0), '0');
});
