import t from 'tap';
import { baggageMember, maxBaggageLength, withBaggageMember } from '../../src/lib/baggage.ts';

t.test('a member is found by its name', async (t) => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['a=1', 'a', '1'],
    ['a=1,b=2', 'b', '2'],
    [' a = 1 , b = 2 ', 'a', '1'],
    ['a=1;secret;ttl=5,b=2', 'a', '1'],
    ['a=x%20y%2C', 'a', 'x y,'],
    ['a=100%', 'a', '100%'],
    ['a=1,a=2', 'a', '1'],
    ['a=b=c', 'a', 'b=c'],
    ['a=', 'a', ''],
    ['aa=1', 'a', undefined],
    ['A=1', 'a', undefined],
    ['b=a=1', 'a', undefined],
    ['a,b=1', 'a', undefined],
    ['', 'a', undefined],
  ];
  for (const [header, name, value] of rows) t.equal(baggageMember(header, name), value, `${name} of "${header}"`);
});

t.test('a member is set beside those of others', async (t) => {
  t.equal(withBaggageMember(undefined, 'v', 'v2'), 'v=v2');
  t.equal(withBaggageMember('', 'v', 'v2'), 'v=v2');
  t.equal(withBaggageMember('a=1;p', 'v', 'v2'), 'a=1;p,v=v2');
  t.equal(withBaggageMember('v=v1;p,a=1, v=v0', 'v', 'v2'), 'a=1,v=v2');
  t.equal(withBaggageMember('a=1', 'v', 'x y,z'), 'a=1,v=x%20y%2Cz');
  t.equal(baggageMember(withBaggageMember('a=1', 'v', 'x y,z'), 'v'), 'x y,z');
});

t.test('what would become too long stays as it was', async (t) => {
  const long = `a=${'x'.repeat(maxBaggageLength - 4)}`;
  t.equal(withBaggageMember(long, 'v', 'v2'), long);
});
