// The coverage gate: tap itself only knows 100 % or nothing. Raised as the project grows, never
// lowered. Run after tap; with `--report` it also names the files that are furthest below.

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const gate = { lines: 97, branches: 92 };

const root = fileURLToPath(new URL('..', import.meta.url));
let summary;
try {
  summary = JSON.parse(readFileSync(new URL('../.tap/report/coverage-summary.json', import.meta.url), 'utf8'));
} catch {
  console.error('coverage: no report; run tap first');
  process.exit(1);
}

const { total, ...files } = summary;
const short = Object.keys(gate).filter((kind) => total[kind].pct < gate[kind]);
const figures = Object.keys(gate).map((kind) => `${kind} ${total[kind].pct} % (gate ${gate[kind]} %)`);
console.log(`coverage: ${figures.join(', ')}, ${Object.keys(files).length} files`);

if (short.length > 0 || process.argv.includes('--report')) {
  const weakest = Object.entries(files)
    .filter(([, file]) => Object.keys(gate).some((kind) => file[kind].pct < gate[kind]))
    .sort(([, a], [, b]) => a.lines.pct - b.lines.pct || a.branches.pct - b.branches.pct)
    .slice(0, 30);
  for (const [path, file] of weakest) {
    console.log(`  ${relative(root, path)}: lines ${file.lines.pct} %, branches ${file.branches.pct} %`);
  }
}
if (short.length > 0) {
  console.error(`coverage: below the gate: ${short.join(' and ')}`);
  process.exit(1);
}
