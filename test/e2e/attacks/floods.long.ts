import t from 'tap';
import { check } from './check.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';
import { frameworkWays } from './ways.ts';

t.test('floods and stalls on frameworks and on servers of the application', async (t) => {
  const heavy = layers.filter((layer) => layer.heavy);
  await check(t, heavy, frameworkWays, 60);
});

t.test('everything on Koa, Hono and NestJS', async (t) => {
  await check(t, layers, furtherWays, 1_300);
});
