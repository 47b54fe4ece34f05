import t from 'tap';
import { layers } from './layers.ts';
import { runAttacks } from './runner.ts';
import { meshWays } from './ways.ts';

/**
 * Requests of people with bad intentions, with the decision that must be taken: each is written to
 * a socket byte by byte, and the policies are compiled from YAML, as in production.
 */
t.test('the catalogue of attacks on mesh.listen', async (t) => {
  const results = await runAttacks(layers, meshWays);
  for (const { attack, way, verdict, detail } of results) {
    if (verdict !== 'n/a') t.equal(verdict, 'pass', `${attack.id} ${attack.title} (${way}): ${detail}`);
  }
  t.ok(results.filter(({ verdict }) => verdict === 'pass').length > 230);
});
