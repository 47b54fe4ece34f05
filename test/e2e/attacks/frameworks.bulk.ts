import t from 'tap';
import { check } from './check.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';
import { frameworkWays, meshWays } from './ways.ts';

t.test('the catalogue of attacks on frameworks and on servers of the application', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  await check(t, light, frameworkWays, 800);
});

t.test('floods and stalls on mesh.listen', async (t) => {
  const heavy = layers.filter((layer) => layer.heavy);
  await check(t, heavy, meshWays, 40);
});

t.test('paths, hosts and identities on Koa, Hono and NestJS', async (t) => {
  const some = layers.filter(({ name }) => ['path', 'host', 'idh'].includes(name));
  await check(t, some, furtherWays, 500);
});
