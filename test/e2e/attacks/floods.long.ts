import t from 'tap';
import { check } from './check.ts';
import { layers } from './layers.ts';
import { frameworkWays } from './ways.ts';

t.test('floods and stalls on frameworks and on servers of the application', async (t) => {
  const heavy = layers.filter((layer) => layer.heavy);
  await check(t, heavy, frameworkWays, 60);
});
