import t from 'tap';
import { check } from './check.ts';
import { layers } from './layers.ts';
import { grpcWays, meshWays } from './ways.ts';

/**
 * Requests of people with bad intentions, with the decision that must be taken: each is written to
 * a socket byte by byte, and the policies are compiled from YAML, as in production. Cases:
 * `test/fixtures/attacks`; the matrix: `npm run attacks`.
 */
t.test('the catalogue of attacks on mesh.listen', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  await check(t, light, meshWays, 235);
});

t.test('the catalogue of attacks, as calls of gRPC', async (t) => {
  const light = layers.filter(({ heavy }) => heavy !== true);
  await check(t, light, grpcWays, 520);
});
