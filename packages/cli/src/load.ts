import {
  type CompileResult,
  type ConfigDocument,
  type ConfigProblem,
  compile,
  type ResolvedSettings,
  readConfigPath,
  resolveSettings,
} from 'inmesh/config';
import type { Arguments, OptionTable } from './arguments.ts';
import { UsageError } from './usage-error.ts';

/** Where a command runs: variables and working directory, given so that tests can choose them. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** What is piped into the command, for `--stdin`. Absent: nothing. */
  readonly stdin?: AsyncIterable<string | Uint8Array>;
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
  locality: {
    type: 'string',
    value: '<region/zone>',
    help: 'Where it runs, which decides what is near. Default: INMESH_LOCALITY.',
  },
  'service-account': { type: 'string', value: '<name>', help: 'Its service account. Default: INMESH_SERVICE_ACCOUNT.' },
  'trust-domain': { type: 'string', value: '<domain>', help: 'SPIFFE trust domain. Default: cluster.local.' },
  'cluster-domain': { type: 'string', value: '<domain>', help: 'DNS suffix of services. Default: cluster.local.' },
};

/** What a command reads, before anything is made of it. */
export interface Read {
  readonly settings: ResolvedSettings;
  readonly files: readonly string[];
  readonly documents: readonly ConfigDocument[];
  /** Files that cannot be read as YAML or JSON. */
  readonly problems: readonly ConfigProblem[];
}

/** What a path holds, compiled for one process. */
export interface Loaded extends Read {
  readonly result: CompileResult;
}

/** For which process, and where its configuration is. @throws UsageError */
export function settingsOf(command: string, args: Arguments, surroundings: Surroundings): ResolvedSettings {
  const labels = args.text('labels');
  const given = {
    namespace: args.text('namespace'),
    locality: args.text('locality'),
    serviceAccount: args.text('service-account'),
    trustDomain: args.text('trust-domain'),
    clusterDomain: args.text('cluster-domain'),
    labels: labels === undefined ? undefined : parseLabels(labels, command),
  };
  const workload = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return resolveSettings({ workload, identity: false }, surroundings.env, surroundings.cwd);
}

/** Reads the paths of a command, or those of the settings. @throws UsageError */
export async function read(command: string, args: Arguments, surroundings: Surroundings): Promise<Read> {
  const settings = settingsOf(command, args, surroundings);
  const paths = args.positionals.length > 0 ? args.positionals : [settings.configPath ?? ''];
  if (paths.includes('')) throw new UsageError('name a file or folder, or set INMESH_CONFIG', command);
  const files: string[] = [];
  const documents: ConfigDocument[] = [];
  const problems: ConfigProblem[] = [];
  for (const path of paths) {
    const found = await readConfigPath(path).catch((error: unknown) => {
      throw new UsageError(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`, command);
    });
    if (found.files.length === 0) throw new UsageError(`no *.yaml, *.yml or *.json file in ${path}`, command);
    files.push(...found.files);
    documents.push(...found.documents);
    problems.push(...found.problems);
  }
  return { settings, files, documents, problems };
}

/** Reads and compiles the paths of a command, or those of the settings. @throws UsageError */
export async function load(command: string, args: Arguments, surroundings: Surroundings): Promise<Loaded> {
  const found = await read(command, args, surroundings);
  const { workload, outboundPolicy, foreignRoutes, trustDomainIsDefault } = found.settings;
  const compiled = compile(found.documents, {
    workload,
    foreignRoutes,
    trustDomainIsDefault,
    ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
  });
  // A file that cannot be read makes others incomplete, so only what is certain is said then.
  return { ...found, result: found.problems.length > 0 ? { ok: false, problems: found.problems } : compiled };
}

function parseLabels(text: string, command: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').map((pair) => pair.trim().split('='));
  if (pairs.some((pair) => pair.length !== 2 || pair[0] === '')) {
    throw new UsageError(`--labels must be <key>=<value>,<key>=<value>, got ${JSON.stringify(text)}`, command);
  }
  return Object.fromEntries(pairs.map(([key = '', value = '']) => [key, value]));
}
