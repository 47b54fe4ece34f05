import {
  analyzeConfig,
  type ConfigDocument,
  documentOf,
  type Finding,
  parseYaml,
  reaches,
  type Severity,
  severities,
  type Workload,
} from 'inmesh/config';
import { type Arguments, describeOptions, type OptionTable, readArguments } from './arguments.ts';
import { describeAnalysis } from './describe-analysis.ts';
import { answerLines, BadLine, isRecord } from './lines.ts';
import { read, type Surroundings, settingsOf, workloadOptions } from './load.ts';
import type { Output } from './output.ts';
import { sarifOf } from './sarif.ts';
import { UsageError } from './usage-error.ts';

const formats = ['text', 'json', 'sarif'] as const;
type Format = (typeof formats)[number];

const options: OptionTable = {
  ...workloadOptions,
  output: { type: 'string', value: '<format>', help: 'text (default), json, or sarif.' },
  json: { type: 'boolean', help: 'The same as --output json.' },
  all: { type: 'boolean', help: 'Show enforced fields too, not only how many there are.' },
  'failure-threshold': {
    type: 'string',
    value: '<severity>',
    help: 'Exit with 1 from this severity on: error (default), warning, or info.',
  },
  suppress: {
    type: 'string',
    multiple: true,
    value: '<code>[=<kind> <namespace>/<name>]',
    help: 'Leave out a code, everywhere or for one resource (* stands for any text). May be repeated.',
  },
  stdin: {
    type: 'boolean',
    help: 'Read JSON Lines {"id","config":{"resources":[…]}}, answer each with {"id","valid","messages"}.',
  },
};

export const analyzeHelp: string = `Usage: inmesh analyze [<path> …] [options]

Says what is wrong with configuration, and what inmesh does with it: is each resource
valid for Istio, do they fit together, and which fields are enforced, approximated or
ignored. Without a path it reads that of INMESH_CONFIG.

${describeOptions(options)}

Exit code 0: nothing at or above the threshold; 1: something; 2: the command line is wrong.`;

/** `inmesh analyze`. */
export async function analyze(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const parsed = readArguments('analyze', args, options);
  const format = oneOf(parsed, 'output', formats) ?? (parsed.flag('json') ? 'json' : 'text');
  const threshold = oneOf(parsed, 'failure-threshold', severities) ?? 'error';
  const suppressed = suppressions(parsed);
  if (parsed.flag('stdin')) return analyzeLines(parsed, output, surroundings, suppressed);
  const { settings, files, documents, problems } = await read('analyze', parsed, surroundings);
  const analysis = analyzeConfig(documents, { workload: settings.workload, problems });
  const findings = analysis.findings.filter((finding) => !suppressed(finding));
  const failed = findings.some(({ severity }) => reaches(severity, threshold));
  const result = { ...analysis, findings };
  if (format === 'json') {
    const { valid, entries } = result;
    output.line(JSON.stringify({ valid, files, messages: findings, entries }, undefined, 2));
  } else if (format === 'sarif') output.line(JSON.stringify(sarifOf(findings), undefined, 2));
  else for (const line of describeAnalysis(result, parsed.flag('all'))) output.line(line);
  return failed ? 1 : 0;
}

function oneOf<T extends Format | Severity>(args: Arguments, name: string, values: readonly T[]): T | undefined {
  const text = args.text(name)?.toLowerCase();
  if (text === undefined) return undefined;
  const found = values.find((value) => value === text);
  if (found === undefined) {
    const shown = JSON.stringify(args.text(name));
    throw new UsageError(`--${name} must be one of ${values.join(', ')}, got ${shown}`, 'analyze');
  }
  return found;
}

/** `--suppress IST0101`, or `--suppress "IST0101=VirtualService shop/*"`. */
function suppressions(args: Arguments): (finding: Finding) => boolean {
  const rules = args.texts('suppress').map((text) => {
    const equals = text.indexOf('=');
    const code = equals === -1 ? text : text.slice(0, equals);
    return { code, parts: (equals === -1 ? '*' : text.slice(equals + 1)).split('*') };
  });
  return ({ code, resource }) => rules.some((rule) => rule.code === code && matches(rule.parts, resource));
}

/** A text that begins with the first part, ends with the last, and has the others between in order. */
function matches(parts: readonly string[], text: string): boolean {
  const [first = '', ...others] = parts;
  const last = others.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let from = first.length;
  for (const part of others) {
    const at = text.indexOf(part, from);
    if (at === -1) return false;
    from = at + part.length;
  }
  return text.length - last.length >= from && text.endsWith(last);
}

async function analyzeLines(
  args: Arguments,
  output: Output,
  surroundings: Surroundings,
  suppressed: (finding: Finding) => boolean,
): Promise<number> {
  const [extra] = args.positionals;
  if (extra !== undefined) throw new UsageError(`--stdin takes no path, got ${extra}`, 'analyze');
  const { workload } = settingsOf('analyze', args, surroundings);
  await answerLines(surroundings.stdin ?? nothing(), output, async ({ body }) => {
    const documents = documentsOf(body['config']);
    const { valid, findings } = analyzeConfig(documents, { workload: workloadOf(body, workload) });
    return { valid, messages: findings.filter((finding) => !suppressed(finding)) };
  });
  return 0;
}

async function* nothing(): AsyncGenerator<string> {}

function documentsOf(config: unknown): readonly ConfigDocument[] {
  if (!isRecord(config)) throw new BadLine('needs the field config: {"resources": […]}');
  const { resources, mesh } = config;
  if (!Array.isArray(resources)) throw new BadLine('config.resources must be a list of resources');
  const given = isRecord(mesh) ? [documentOf({ apiVersion: 'inmesh.dev/v1', kind: 'MeshConfig', spec: mesh })] : [];
  const documents = resources.flatMap((resource: unknown, index) => {
    if (typeof resource !== 'string') return [documentOf(resource)];
    const { documents, problems } = parseYaml(resource);
    const [problem] = problems;
    if (problem !== undefined) throw new BadLine(`config.resources[${index}] is not YAML: ${problem.message}`);
    return documents;
  });
  return [...given, ...documents];
}

/** A line may name the process for which it asks, as for `inmesh explain`. */
function workloadOf({ workload }: Readonly<Record<string, unknown>>, fallback: Workload): Workload {
  if (!isRecord(workload)) return fallback;
  const { namespace, labels } = workload;
  return {
    ...fallback,
    ...(typeof namespace === 'string' && namespace !== '' ? { namespace } : {}),
    ...(isRecord(labels) ? { labels: labels as Workload['labels'] } : {}),
  };
}
