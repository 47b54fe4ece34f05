import t from 'tap';
import {
  type HeaderInput,
  type HeaderList,
  headerValue,
  setHeader,
  takeHeader,
  toHeaderList,
} from '../../src/lib/header-list.ts';

t.test('every shape that undici takes becomes a flat list of its own', async (t) => {
  const wanted = ['a', '1', 'b', '2'];
  const shapes: readonly HeaderInput[] = [
    { a: '1', b: '2' },
    ['a', '1', 'b', '2'],
    new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
    new Headers({ a: '1', b: '2' }),
    Object.assign(Object.create({ inherited: 'no' }) as Record<string, string>, { a: '1', b: '2' }),
  ];
  for (const shape of shapes) t.same(toHeaderList(shape), wanted);
  t.same(toHeaderList(null), []);
  t.same(toHeaderList(undefined), []);
});

t.test('the input is not changed', async (t) => {
  const input = ['a', '1'];
  toHeaderList(input).push('b', '2');
  t.same(input, ['a', '1']);
});

t.test('undefined values are left out, lists stay lists', async (t) => {
  t.same(toHeaderList({ a: undefined, b: ['1', '2'] }), ['b', ['1', '2']]);
  t.same(toHeaderList(new Map([['a', undefined]])), []);
});

t.test('what has none of these shapes is refused', async (t) => {
  t.throws(() => toHeaderList('host: x' as unknown as HeaderInput), { message: /object or an array/ });
  t.throws(() => toHeaderList(7 as unknown as HeaderInput), { message: /object or an array/ });
  t.throws(() => toHeaderList(new Set(['ab']) as unknown as HeaderInput), { message: /key-value pair/ });
});

t.test('values are found without regard to the case of the name', async (t) => {
  const list: HeaderList = [
    'End-User',
    'jason',
    'X-Number',
    7 as unknown as string,
    'x-null',
    null as unknown as string,
  ];
  t.equal(headerValue(list, 'end-user'), 'jason');
  t.equal(headerValue(list, 'x-number'), '7');
  t.equal(headerValue(list, 'x-null'), '', 'undici sends null as an empty value');
  t.equal(headerValue(list, 'absent'), undefined);
  t.equal(headerValue([], 'absent'), undefined);
});

t.test('several values are one, joined with commas (RFC 9110 section 5.3)', async (t) => {
  t.equal(headerValue(['x-a', ['1', '2']], 'x-a'), '1,2');
  t.equal(headerValue(['x-a', '1', 'other', 'x', 'X-A', ['2', '3']], 'x-a'), '1,2,3');
});

t.test('setting replaces every occurrence, or adds', async (t) => {
  const list: HeaderList = ['Host', 'a', 'x', '1', 'HOST', 'b', 'host', 'c'];
  setHeader(list, 'host', 'new');
  t.same(list, ['Host', 'new', 'x', '1']);
  setHeader(list, 'y', '2');
  t.same(list, ['Host', 'new', 'x', '1', 'y', '2']);
});

t.test('taking removes every occurrence and gives the value', async (t) => {
  const list: HeaderList = ['Host', 'a', 'x', '1', 'HOST', 'b', 'host'.toUpperCase(), 'c'];
  t.equal(takeHeader(list, 'host'), 'a,b,c');
  t.same(list, ['x', '1']);
  t.equal(takeHeader(list, 'host'), undefined);
  t.same(list, ['x', '1']);
});
