/**
 * Prints the matrix of all cases on all ways: `npm run attacks`, or `npm run attacks -- PATH-0 FRAME`
 * for cases whose id begins so. Each in the size that it says; with `--quick` in that of every day's tests.
 */
import { readDemanded, readFixture } from './catalogue.ts';
import { fullLayer } from './full.ts';
import { furtherWays } from './further-ways.ts';
import { layers } from './layers.ts';
import { matrixOf } from './matrix.ts';
import { runAttacks } from './runner.ts';
import { frameworkWays, grpcWays, meshWays } from './ways.ts';

const wanted = process.argv.slice(2).filter((word) => word !== '--quick');
const full = wanted.length === process.argv.length - 2;
const results = await runAttacks(
  full ? [...layers, fullLayer] : layers,
  [...meshWays, ...grpcWays, ...frameworkWays, ...furtherWays],
  { full, only: ({ id }) => wanted.length === 0 || wanted.some((start) => id.startsWith(start)) },
);
process.stdout.write(`${matrixOf(results)}\n`);
for (const { elsewhere = {}, pending = {} } of ['cfg', 're', ...layers.map(({ name }) => name)].map(readFixture)) {
  for (const [id, test] of Object.entries(elsewhere)) process.stdout.write(`${id.padEnd(12)}in ${test}\n`);
  for (const [id, why] of Object.entries(pending)) process.stdout.write(`${id.padEnd(12)}not yet: ${why}\n`);
}
const { demanded, otherwise } = readDemanded();
process.stdout.write('\nrun or decided otherwise than demanded, and why:\n');
for (const [id, why] of Object.entries(otherwise)) {
  process.stdout.write(`${id.padEnd(12)}${demanded[id]}: ${why}\n`);
}
if (results.some(({ verdict }) => verdict === 'fail')) process.exitCode = 1;
