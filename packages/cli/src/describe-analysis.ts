import { type Analysis, describePlace, describeResource, type EnforcementEntry, type Finding } from 'inmesh/config';
import { count } from './output.ts';

/** An analysis for people: findings first, then what happens with each resource, then the sums. */
export function describeAnalysis({ valid, findings, entries }: Analysis, all: boolean): readonly string[] {
  // What is ignored or approximated is shown with its resource.
  const shown = findings.filter(({ class: about, severity }) => about !== 'enforcement' || severity === 'error');
  const total = (status: EnforcementEntry['status']): number => entries.filter((each) => each.status === status).length;
  const of = (severity: Finding['severity']): number => shown.filter((each) => each.severity === severity).length;
  const fields = `${count(total('enforced'), 'field')} enforced, ${total('approximated')} approximated, ${total('ignored')} ignored`;
  return [
    ...shown.map(describeFinding),
    ...groupByResource(entries).map((group) => describeGroup(group, all)),
    `${fields}; ${count(of('warning'), 'warning')}`,
    ...(shown.length === 0 ? [] : ['What the codes mean: docs/reference/analysis.md']),
    `${valid ? '✓ valid' : '✗ not valid'} for Istio${of('error') === 0 ? '' : `; ${count(of('error'), 'error')}`}`,
  ];
}

/** `mesh/a.yaml:7:3: error IST0106: VirtualService shop/reviews: spec.http[0].timeout: must be …, got "x"`. */
function describeFinding({ code, severity, message, resource, file, line, column, field, value }: Finding): string {
  const place = file === undefined ? '' : `${file}:${line ?? 1}:${column ?? 1}: `;
  const where = [resource, field].filter((part) => part !== undefined && part !== '').map((part) => `${part}: `);
  return `${place}${severity} ${code}: ${where.join('')}${message}${value === undefined ? '' : `, got ${value}`}`;
}

function groupByResource(entries: readonly EnforcementEntry[]): readonly (readonly EnforcementEntry[])[] {
  const groups = new Map<string, EnforcementEntry[]>();
  for (const entry of entries) {
    const key = `${entry.at.file ?? ''} ${describeResource(entry.at)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  return [...groups.values()];
}

function describeGroup(entries: readonly EnforcementEntry[], all: boolean): string {
  const [first] = entries as readonly [EnforcementEntry];
  const enforced = entries.filter((entry) => isPlain(entry));
  const shown = all ? entries : entries.filter((entry) => !isPlain(entry));
  const file = first.at.file === undefined ? '' : ` (${first.at.file})`;
  const summary = enforced.length === 0 ? '' : `: ${count(enforced.length, 'field')} enforced`;
  return [`${describeResource(first.at)}${file}${summary}`, ...shown.map(describeEntry)].join('\n');
}

function isPlain(entry: EnforcementEntry): boolean {
  return entry.status === 'enforced' && entry.warning !== true;
}

function describeEntry({ at, field, status, note, warning }: EnforcementEntry): string {
  const line = at.line === undefined ? '' : `  line ${describePlace(at).split(':').slice(-2).join(':')}`;
  const mark = warning === true ? '!' : ' ';
  const remark = note === undefined ? '' : `: ${note}`;
  return `${mark} ${status.padEnd(12)} ${field === '' ? 'the whole resource' : field}${remark}${line}`;
}
