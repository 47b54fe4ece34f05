import t from 'tap';
import { check } from './check.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';

t.test('the whole catalogue on Koa, Hono and NestJS', { timeout: 900_000 }, async (t) => {
  await check(t, layers, furtherWays, 2_500);
});
