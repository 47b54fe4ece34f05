import type { CaseResult, ChaosCase } from './case.ts';

const marks = { ok: 'ok', failed: 'FAILED', defect: 'DEFECT', skipped: 'skipped', pending: 'pending' } as const;

/** One case as lines of text: what was done, what was expected, what was measured. */
export function describe({ expected, fault, id }: ChaosCase, result: CaseResult): string {
  const { measures, reason, seconds, status } = result;
  const lines = [
    `${id.padEnd(7)} ${marks[status].padEnd(7)} ${fault}  (${seconds} s)`,
    `        expected: ${expected}`,
  ];
  for (const { ok, text } of measures) lines.push(`        ${ok ? 'measured' : 'NOT OK  '}: ${text}`);
  if (reason !== undefined) lines.push(`        ${marks[status]}: ${reason.replaceAll('\n', '\n          ')}`);
  return `${lines.join('\n')}\n`;
}

/** The last lines: how many of what, and which failed. */
export function summarize(results: readonly CaseResult[]): string {
  const of = (status: CaseResult['status']): readonly string[] =>
    results.filter((result) => result.status === status).map(({ id }) => id);
  const counts = (['ok', 'failed', 'defect', 'skipped', 'pending'] as const).map(
    (status) => `${of(status).length} ${status}`,
  );
  const lines = [
    `
${counts.join(', ')}`,
  ];
  for (const status of ['failed', 'defect', 'skipped', 'pending'] as const) {
    if (of(status).length > 0) lines.push(`${status}: ${of(status).join(' ')}`);
  }
  return `${lines.join('\n')}\n`;
}
