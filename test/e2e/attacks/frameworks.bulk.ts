import t from 'tap';
import { layers } from './layers.ts';
import { runAttacks } from './runner.ts';
import { frameworkWays } from './ways.ts';

t.test('the catalogue of attacks on frameworks and on servers of the application', async (t) => {
  const results = await runAttacks(layers, frameworkWays);
  for (const { attack, way, verdict, detail } of results) {
    if (verdict === 'fail') t.fail(`${attack.id} ${attack.title} (${way}): ${detail}`);
  }
  t.ok(results.filter(({ verdict }) => verdict === 'pass').length > 700);
});
