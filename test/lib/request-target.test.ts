import t from 'tap';
import { pathOnly, queryValue } from '../../src/lib/request-target.ts';

t.test('the path ends at query or fragment', async (t) => {
  t.equal(pathOnly('/a'), '/a');
  t.equal(pathOnly('/a?'), '/a');
  t.equal(pathOnly('/a#x?y'), '/a');
  t.equal(pathOnly('?x'), '');
});

t.test('query parameters: by exact name, the first of several, nothing decoded', async (t) => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['/a?x=1', 'x', '1'],
    ['/a?x=1&y=2', 'y', '2'],
    ['/a?y=2&x=1', 'x', '1'],
    ['/a?x=1&x=2', 'x', '1'],
    ['/a?x', 'x', ''],
    ['/a?x=', 'x', ''],
    ['/a?x&y=1', 'x', ''],
    ['/a?x=a=b', 'x', 'a=b'],
    ['/a?x=%20', 'x', '%20'],
    ['/a?%78=1', 'x', undefined],
    ['/a?X=1', 'x', undefined],
    ['/a?xx=1', 'x', undefined],
    ['/a?xx=1&x=2', 'x', '2'],
    ['/a?yx=1', 'x', undefined],
    ['/a?x=1#x=2', 'x', '1'],
    ['/a#?x=1', 'x', undefined],
    ['/a?y#&x=1', 'x', undefined],
    ['/a?&&x=1', 'x', '1'],
    ['/a?', 'x', undefined],
    ['/x=1', 'x', undefined],
    ['/a?b=?x=1', 'x', undefined],
  ];
  for (const [target, name, value] of rows) t.equal(queryValue(target, name), value, `${name} of ${target}`);
});
