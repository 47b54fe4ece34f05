import type { Result } from './runner.ts';

const signs = { pass: '+', fail: 'FAIL', 'n/a': '-' } as const;

/** Cases × ways, for people: `+` the decision was taken, `-` does not apply, and why. */
export function matrixOf(results: readonly Result[]): string {
  const ways = [...new Set(results.map(({ way }) => way))];
  const rows = new Map<string, Map<string, Result>>();
  for (const result of results) {
    const row = rows.get(result.attack.id) ?? new Map<string, Result>();
    rows.set(result.attack.id, row.set(result.way, result));
  }
  const lines = ways.map((way, i) => `${String.fromCharCode(65 + i)}  ${way}`);
  lines.push('', `${'case'.padEnd(12)}${ways.map((_, i) => String.fromCharCode(65 + i).padEnd(5)).join('')}`);
  for (const [id, row] of rows) {
    const cells = ways.map((way) => {
      const result = row.get(way);
      return (result === undefined ? '' : signs[result.verdict]).padEnd(5);
    });
    const first = [...row.values()][0];
    lines.push(`${id.padEnd(12)}${cells.join('')}${first?.attack.title ?? ''}`);
  }
  const reasons = new Map<string, number>();
  for (const { verdict, detail } of results) {
    if (verdict === 'n/a') reasons.set(detail, (reasons.get(detail) ?? 0) + 1);
  }
  lines.push(
    '',
    'does not apply:',
    ...[...reasons].map(([reason, count]) => `${String(count).padStart(5)}  ${reason}`),
  );
  const measured = results.filter(({ figures }) => figures !== undefined);
  if (measured.length > 0) lines.push('', 'measured:');
  for (const { attack, figures, way } of measured) lines.push(`${attack.id.padEnd(12)}${way}: ${figures}`);
  const early = results.filter(({ detail, verdict }) => verdict === 'pass' && detail.startsWith('400 in place'));
  if (early.length > 0) {
    lines.push('', 'refused with 400 where the route is chosen before the mesh sees the request (docs/adapters.md):');
    lines.push(...early.map(({ attack, detail, way }) => `${attack.id.padEnd(12)}${way}: ${detail}`));
  }
  const slow = results
    .filter(({ ms = 0 }) => ms > 500)
    .map(({ attack, ms = 0, way }) => `${attack.id} on ${way}: ${Math.round(ms)} ms`);
  if (slow.length > 0) lines.push('', 'slow:', ...slow);
  const failed = results.filter(({ verdict }) => verdict === 'fail');
  for (const { attack, way, detail } of failed) lines.push(`FAIL ${attack.id} on ${way}: ${detail}`);
  const passed = results.filter(({ verdict }) => verdict === 'pass').length;
  lines.push('', `${rows.size} cases, ${passed} runs passed, ${failed.length} failed`);
  return lines.join('\n');
}
