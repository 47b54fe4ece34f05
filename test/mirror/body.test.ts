import t from 'tap';
import { FormData as UndiciFormData } from 'undici';
import { sizeOf } from '../../src/mirror/body.ts';

t.test('the size of bodies that are in memory', async (t) => {
  const form = new FormData();
  form.set('a', 'text');
  form.set('b', new Blob(['12345']));
  const other = new UndiciFormData();
  other.set('a', 'text');
  const table: readonly (readonly [name: string, body: unknown, size: number])[] = [
    ['none', null, 0],
    ['undefined', undefined, 0],
    ['text', 'four', 4],
    ['Buffer', Buffer.from('äö'), 4],
    ['view', new Uint16Array(3), 6],
    ['ArrayBuffer', new ArrayBuffer(7), 7],
    ['Blob', new Blob(['12345678']), 8],
    ['FormData', form, 9],
    ['FormData of undici', other, 4],
  ];
  for (const [name, body, size] of table) t.equal(sizeOf(body), size, name);
});
