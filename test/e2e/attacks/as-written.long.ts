import t from 'tap';
import { check } from './check.ts';
import { fullLayer } from './full.ts';

t.test('cases of the catalogue as they are written: real time, full size', { timeout: 180_000 }, async (t) => {
  await check(t, [fullLayer], [], 5, true);
});
