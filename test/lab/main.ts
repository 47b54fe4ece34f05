// The balancing laboratory: `npm run lab`. Simulates a fleet with the balancers of src/balance.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseLabArguments, usage } from './arguments.ts';
import { chartOf } from './chart.ts';
import { runAll } from './results.ts';
import { tablesOf, updatePage } from './tables.ts';

const options = parseLabArguments(process.argv.slice(2));
if (typeof options === 'string') {
  process.stderr.write(`${options}\n\n${usage}\n`);
  process.exitCode = 2;
} else {
  const { seed, clients, servers, isDefault } = options;
  const startedAt = performance.now();
  const results = runAll({ clients, servers }, seed, (text) => {
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
    process.stderr.write(`${seconds.padStart(4)} s  ${text}\n`);
  });
  for (const [name, table] of tablesOf(results)) process.stdout.write(`\n${name}\n\n${table}\n`);
  if (isDefault) {
    const docs = new URL('../../docs/', import.meta.url);
    const page = new URL('load-balancing.md', docs);
    writeFileSync(new URL('load-balancing.json', docs), `${JSON.stringify(results, undefined, 2)}\n`);
    writeFileSync(new URL('load-balancing.svg', docs), chartOf(results));
    writeFileSync(page, updatePage(readFileSync(page, 'utf8'), results));
  }
}
