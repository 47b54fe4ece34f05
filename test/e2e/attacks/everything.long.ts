import t from 'tap';
import { check } from './check.ts';
import { layers } from './layers.ts';
import { frameworkWays, grpcWays, meshWays } from './ways.ts';

const patience = { timeout: 300_000 };

t.test('the whole catalogue of attacks on mesh.listen', patience, async (t) => {
  await check(t, layers, meshWays, 800);
});

t.test('the whole catalogue of attacks on a port that serves gRPC as well', patience, async (t) => {
  await check(t, layers, grpcWays, 570);
});

t.test('the whole catalogue on frameworks and on servers of the application', patience, async (t) => {
  await check(t, layers, frameworkWays, 2_500);
});
