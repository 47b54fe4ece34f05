import { describePlace, describeProblem, describeResource, type EnforcementEntry } from 'inmesh/config';
import { describeOptions, type OptionTable, readArguments } from './arguments.ts';
import { load, type Surroundings, workloadOptions } from './load.ts';
import { count, type Output } from './output.ts';

const options: OptionTable = {
  ...workloadOptions,
  strict: { type: 'boolean', help: 'Warnings are errors too.' },
  json: { type: 'boolean', help: 'Print the result as JSON.' },
};

export const checkHelp: string = `Usage: inmesh check [<path> …] [options]

Says whether mesh configuration would be accepted: every problem with file, line,
column, resource, field and value. Without a path it checks that of INMESH_CONFIG.

${describeOptions(options)}

Exit code 0: accepted; 1: refused; 2: the command line is wrong.`;

/** `inmesh check`. */
export async function check(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const parsed = readArguments('check', args, options);
  const { files, documents, result } = await load('check', parsed, surroundings);
  const entries = result.ok ? result.report.entries : [];
  const warnings = entries.filter((entry) => entry.warning === true);
  const problems = result.ok ? [] : result.problems;
  const failed = problems.length > 0 || (parsed.flag('strict') && warnings.length > 0);
  if (parsed.flag('json')) {
    const version = result.ok ? { version: result.snapshot.version } : {};
    output.line(JSON.stringify({ ok: !failed, ...version, files, problems, warnings }, undefined, 2));
    return failed ? 1 : 0;
  }
  for (const problem of problems) output.line(describeProblem(problem));
  for (const warning of warnings) output.line(describeWarning(warning));
  const read = `${count(documents.length, 'resource')} in ${count(files.length, 'file')}`;
  const said = warnings.length === 0 ? '' : `, ${count(warnings.length, 'warning')}`;
  output.line(
    result.ok
      ? `${failed ? '✗' : '✓'} ${read}, version ${result.snapshot.version}${said}`
      : `✗ ${count(problems.length, 'problem')}`,
  );
  return failed ? 1 : 0;
}

/** One line for a warning, in the form of a problem. */
export function describeWarning({ at, field, note = '' }: EnforcementEntry): string {
  const place = at.file === undefined ? '' : `${describePlace(at)}: `;
  return `${place}warning: ${describeResource(at)}: ${field === '' ? '' : `${field}: `}${note}`;
}
