import type { OddFigures, Results, RunFigures, SubsetFigures } from './results.ts';

type Row = readonly (string | number)[];

/** The generated parts of `docs/load-balancing.md`, by their name. */
export function tablesOf(results: Results): ReadonlyMap<string, string> {
  return new Map([
    ['fleet', fleetTable(results.fleet)],
    ['one-slow', oddTable(results.oneSlow, 'to the slow one')],
    ['one-refusing', oddTable(results.oneRefusing, 'to the one that refuses')],
    ['subsets', subsetTable(results.subsets)],
  ]);
}

/** The page with its generated parts made anew: those between `<!-- lab: name -->` and `<!-- /lab -->`. */
export function updatePage(page: string, results: Results): string {
  let text = page;
  for (const [name, table] of tablesOf(results)) {
    const begin = `<!-- lab: ${name} -->`;
    const from = text.indexOf(begin);
    const to = text.indexOf('<!-- /lab -->', from);
    if (from === -1 || to === -1) throw new Error(`the page has no place for the table ${name}`);
    text = `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`;
  }
  return text;
}

function fleetTable(runs: readonly RunFigures[]): string {
  const head = ['balancer', 'endpoints', 'p50', 'p99', 'p99.9', 'failed', 'busiest', 'connections', 'most'];
  const rows = runs.map(
    (run): Row => [
      `\`${run.policy}\``,
      run.subsetSize ?? 'all',
      `${run.p50Ms} ms`,
      `${run.p99Ms} ms`,
      `${run.p999Ms} ms`,
      `${run.errorPercent} %`,
      `${run.peakToMean}×`,
      count(run.connections),
      count(run.mostConnections),
    ],
  );
  return table(head, rows);
}

function oddTable(runs: readonly OddFigures[], share: string): string {
  const rows = runs.map(
    (run): Row => [`\`${run.policy}\``, `${run.p99Ms} ms`, `${run.timesHealthy}×`, `${run.oddPercent} %`],
  );
  return table(['balancer', 'p99 of all', 'of healthy', share], rows);
}

function subsetTable(subsets: readonly SubsetFigures[]): string {
  const rows = subsets.map(
    (each): Row => [
      each.size,
      count(each.connections),
      `${each.fewest} to ${each.most}`,
      `${each.peakToMean}×`,
      each.movedPerServer,
    ],
  );
  return table(['subset-size', 'connections', 'at one server', 'peak to mean', 'moved when a server leaves'], rows);
}

function table(head: readonly string[], rows: readonly Row[]): string {
  // The first column is words, the others are numbers.
  const rule = head.map((_, i) => (i === 0 ? '---' : '--:'));
  return [head, rule, ...rows]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
    .replace('| --- |', '|---|');
}

function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}
