import type { Test } from 'tap';
import type { Layer } from './layers.ts';
import { type RunOptions, runAttacks } from './runner.ts';
import type { Way } from './ways.ts';

/** Runs layers on ways; each case that does not give its decision is a failure, and too few runs are one. */
export async function check(
  t: Test,
  layers: readonly Layer[],
  ways: readonly Way[],
  atLeast: number,
  options: RunOptions = {},
): Promise<void> {
  const results = await runAttacks(layers, ways, options);
  for (const { attack, way, verdict, detail, figures } of results) {
    if (figures !== undefined) t.comment(`${attack.id} (${way}): ${figures}`);
    if (verdict === 'fail') t.fail(`${attack.id} ${attack.title} (${way}): ${detail}`);
  }
  const passed = results.filter(({ verdict }) => verdict === 'pass').length;
  t.ok(passed >= atLeast, `${passed} runs passed, at least ${atLeast} are known`);
}
