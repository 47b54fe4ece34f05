import t from 'tap';
import { throwAll } from './check.ts';

t.test('no bytes of strangers end the process, many of them', { timeout: 300_000 }, async (t) =>
  throwAll(t, { from: 1_000_000, count: 20_000, atLeast: 300 }),
);
