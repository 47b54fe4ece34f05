import {
  type CompileResult,
  type ConfigDocument,
  type ConfigProblem,
  compile,
  readConfigPath,
  resolveSettings,
} from 'inmesh/config';
import type { Arguments, OptionTable } from './arguments.ts';
import { UsageError } from './usage-error.ts';

/** Where a command runs: variables and working directory, given so that tests can choose them. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Ends a command that runs until it is told to stop. */
  readonly signal?: AbortSignal;
}

/** Options that say for which process configuration is compiled. What is left out comes from the settings. */
export const workloadOptions: OptionTable = {
  namespace: {
    type: 'string',
    value: '<name>',
    help: 'Namespace of the process. Default: INMESH_NAMESPACE, else default.',
  },
  labels: { type: 'string', value: '<k=v,k=v>', help: 'Its labels. Default: INMESH_LABELS.' },
  'service-account': { type: 'string', value: '<name>', help: 'Its service account. Default: INMESH_SERVICE_ACCOUNT.' },
  'trust-domain': { type: 'string', value: '<domain>', help: 'SPIFFE trust domain. Default: cluster.local.' },
  'cluster-domain': { type: 'string', value: '<domain>', help: 'DNS suffix of services. Default: cluster.local.' },
};

/** What a path holds, compiled for one process. */
export interface Loaded {
  readonly files: readonly string[];
  readonly documents: readonly ConfigDocument[];
  readonly result: CompileResult;
}

/** Reads and compiles the paths of a command, or those of the settings. @throws UsageError */
export async function load(command: string, args: Arguments, surroundings: Surroundings): Promise<Loaded> {
  const labels = args.text('labels');
  const given = {
    namespace: args.text('namespace'),
    serviceAccount: args.text('service-account'),
    trustDomain: args.text('trust-domain'),
    clusterDomain: args.text('cluster-domain'),
    labels: labels === undefined ? undefined : parseLabels(labels, command),
  };
  const workload = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const settings = resolveSettings({ workload, identity: false }, surroundings.env, surroundings.cwd);
  const paths = args.positionals.length > 0 ? args.positionals : [settings.configPath ?? ''];
  if (paths.includes('')) throw new UsageError('name a file or folder, or set INMESH_CONFIG', command);
  const files: string[] = [];
  const documents: ConfigDocument[] = [];
  const problems: ConfigProblem[] = [];
  for (const path of paths) {
    const read = await readConfigPath(path).catch((error: unknown) => {
      throw new UsageError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`, command);
    });
    if (read.files.length === 0) throw new UsageError(`no *.yaml, *.yml or *.json file in ${path}`, command);
    files.push(...read.files);
    documents.push(...read.documents);
    problems.push(...read.problems);
  }
  const compiled = compile(documents, { workload: settings.workload, outboundPolicy: settings.outboundPolicy });
  // A file that cannot be read makes others incomplete, so only what is certain is said then.
  return { files, documents, result: problems.length > 0 ? { ok: false, problems } : compiled };
}

function parseLabels(text: string, command: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair) => pair.trim().split('='));
  if (pairs.some((pair) => pair.length !== 2 || pair[0] === '')) {
    throw new UsageError(`--labels must be <key>=<value>,<key>=<value>, got ${JSON.stringify(text)}`, command);
  }
  return Object.fromEntries(pairs.map(([key = '', value = '']) => [key, value]));
}
