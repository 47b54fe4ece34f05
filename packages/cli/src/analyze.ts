import { describePlace, describeProblem, describeResource, type EnforcementEntry } from 'inmesh/config';
import { describeOptions, type OptionTable, readArguments } from './arguments.ts';
import { load, type Surroundings, workloadOptions } from './load.ts';
import { count, type Output } from './output.ts';

const options: OptionTable = {
  ...workloadOptions,
  all: { type: 'boolean', help: 'Show enforced fields too, not only how many there are.' },
  json: { type: 'boolean', help: 'Print the report as JSON.' },
};

export const analyzeHelp: string = `Usage: inmesh analyze [<path> …] [options]

Says what inmesh does with each configured field: enforced as Istio documents it,
approximated, or ignored. Without a path it reads that of INMESH_CONFIG.

${describeOptions(options)}

Exit code 0: there is a report; 1: the configuration is refused; 2: the command line is wrong.`;

/** `inmesh analyze`. */
export async function analyze(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const parsed = readArguments('analyze', args, options);
  const { result } = await load('analyze', parsed, surroundings);
  if (!result.ok) {
    for (const problem of result.problems) output.note(describeProblem(problem));
    return 1;
  }
  const { entries } = result.report;
  if (parsed.flag('json')) {
    output.line(JSON.stringify({ version: result.snapshot.version, entries }, undefined, 2));
    return 0;
  }
  for (const group of groupByResource(entries)) output.line(describeGroup(group, parsed.flag('all')));
  const total = (status: EnforcementEntry['status']): number => entries.filter((each) => each.status === status).length;
  const warnings = entries.filter((each) => each.warning === true).length;
  output.line(
    `${count(total('enforced'), 'field')} enforced, ${total('approximated')} approximated, ${total('ignored')} ignored; ${count(warnings, 'warning')}`,
  );
  return 0;
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
