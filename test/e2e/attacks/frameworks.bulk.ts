import t from 'tap';
import { check } from './check.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';
import { frameworkWays, meshWays } from './ways.ts';

// A slice that takes seconds; `everything.long.ts` runs each case on each way.
const slice = ['Express 5, HTTP/1.1', 'Fastify, HTTP/1.1', 'own node:http', 'own Express 4', 'own Fastify'];

t.test('the catalogue of attacks on frameworks and on servers of the application', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  const some = frameworkWays.filter(({ name }) => slice.includes(name));
  await check(t, light, some, 1_000);
});

t.test('floods and stalls on mesh.listen', async (t) => {
  const heavy = layers.filter((layer) => layer.heavy);
  await check(
    t,
    heavy,
    meshWays.filter(({ speaks }) => speaks !== 'h2'),
    25,
  );
});

t.test('paths on Koa, Hono and NestJS', async (t) => {
  const some = furtherWays.filter(({ server, speaks }) => server.listens && speaks === 'HTTP/1.1');
  await check(
    t,
    layers.filter(({ name }) => name === 'path'),
    some,
    200,
  );
});
