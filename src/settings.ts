import { resolve } from 'node:path';
import type { ForeignRoutes } from './config/foreign-routes.ts';
import { MeshError } from './errors.ts';
import type { FileLayout } from './identity/file-layouts.ts';
import { systemClock } from './lib/clock.ts';
import { jsonLogger } from './lib/json-logger.ts';
import type { Logger } from './lib/logger.ts';
import type { MeshOptions } from './mesh-api.ts';
import type { OutboundPolicy } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';
import { defaultRetryBudget } from './retry/limit.ts';
import { defaultRetrySettings, type RetrySettings } from './retry/settings.ts';
import { checkOptions } from './settings-options.ts';
import { type Environment, type Layer, readEnvironment, readSettingsFile } from './settings-sources.ts';
import { type LogLevel, type SettingKey, type SettingValue, settingsTable } from './settings-table.ts';
import type { AcceptorLimits } from './transport/limits.ts';

/** Where certificates come from. */
export type IdentitySettings =
  | {
      readonly kind: 'ca';
      readonly url: string;
      /** Path of a PEM file. */
      readonly trustRoot: string;
      /** One of the two. */
      readonly token?: string;
      readonly tokenFile?: string;
    }
  | {
      readonly kind: 'files';
      /** At least one of the two. */
      readonly directory?: string;
      readonly layout?: FileLayout;
      readonly crlFile?: string;
    }
  | { readonly kind: 'none' };

/** Everything that options, environment and `inmesh.yaml` say, checked, with defaults. Paths are absolute. */
export interface ResolvedSettings {
  readonly workload: Workload;
  /** File or folder of Istio YAML; absent when a source was given, or nothing. */
  readonly configPath?: string;
  /** `none` also when the options bring a source of their own. */
  readonly identity: IdentitySettings;
  /** Absent: what the configuration says. */
  readonly outboundPolicy?: OutboundPolicy;
  readonly foreignRoutes: ForeignRoutes;
  /** Nobody chose the trust domain of the workload. */
  readonly trustDomainIsDefault: boolean;
  readonly onFailure: 'response' | 'throw';
  readonly logLevel: LogLevel;
  /** The caller's, or one that writes JSON lines to stderr from `logLevel` on. */
  readonly logger: Logger;
  readonly drainDelayMs: number;
  readonly drainGraceMs: number;
  readonly closeOn: readonly NodeJS.Signals[];
  readonly propagateHeaders: readonly string[];
  /** Absent: one at random. */
  readonly instance?: string;
  readonly loadReports: 'asked' | 'always' | 'never';
  readonly retries: RetrySettings;
  readonly mirrorCredentials: 'own' | 'all';
  readonly untrustedConnections: 'refuse' | 'close';
  readonly policyPaths: 'views' | 'literal';
  /** Path of a PEM file. */
  readonly jwksCa?: string;
  /** Where the configuration may name files for access logs; absolute. */
  readonly accessLogFolder?: string;
  readonly jwksRefreshMs: number;
  readonly tokenExpiry: 'optional' | 'required';
  readonly slowTokenKeys: 'bounded' | 'always';
  readonly errorFormat: 'text' | 'problem';
  /** What was said; the rest are defaults. */
  readonly limits: Partial<AcceptorLimits>;
  /** The `inmesh.yaml` that was read. */
  readonly settingsFile?: string;
}

type Lookup = <K extends SettingKey>(key: K) => SettingValue<K> | undefined;

/**
 * The settings of this process. What `options` leave open comes from `INMESH_*` variables, then from
 * `inmesh.yaml` in `cwd` (or the file that `INMESH_SETTINGS` names), then from defaults. Reads that
 * file and nothing else. An empty variable counts as absent.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` with one line for each wrong or unknown setting.
 */
export function resolveSettings(
  options: MeshOptions = {},
  env: Environment = process.env,
  cwd: string = process.cwd(),
): ResolvedSettings {
  const problems: string[] = [];
  checkOptions(options, problems);
  const environment = readEnvironment(env, cwd, problems);
  const file = readSettingsFile(env, cwd, problems);
  const layers = file === undefined ? [environment] : [environment, file.layer];
  refuseIf(problems);
  const identity = resolveIdentity(options.identity, layers, problems);
  refuseIf(problems);

  const value: Lookup = (key) => layers.find((layer) => layer.values[key] !== undefined)?.values[key];
  const config = options.config ?? value('config');
  const outboundPolicy = options.outboundPolicy ?? value('outboundPolicy');
  const instance = options.instance ?? value('instance');
  const jwksCa = options.jwksCa ?? value('jwksCa');
  const accessLogFolder = options.accessLogFolder ?? value('accessLogFolder');
  const inKubernetes = Boolean(env['KUBERNETES_SERVICE_HOST']);
  const logLevel = value('logLevel') ?? 'warn';
  return {
    workload: resolveWorkload(options.workload ?? {}, value),
    ...(typeof config === 'string' ? { configPath: resolve(cwd, config) } : {}),
    identity,
    ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
    foreignRoutes: options.foreignRoutes ?? value('foreignRoutes') ?? 'allow',
    trustDomainIsDefault: (options.workload?.trustDomain ?? value('trustDomain')) === undefined,
    onFailure: options.onFailure ?? value('onFailure') ?? 'response',
    logLevel,
    logger: options.logger ?? jsonLogger({ clock: options.clock ?? systemClock, level: logLevel }),
    drainDelayMs: options.drainDelayMs ?? value('drainDelayMs') ?? (inKubernetes ? 5_000 : 0),
    drainGraceMs: options.drainGraceMs ?? value('drainGraceMs') ?? 10_000,
    closeOn: options.closeOn ?? value('closeOn') ?? [],
    propagateHeaders: (options.propagateHeaders ?? value('propagateHeaders') ?? []).map((name) => name.toLowerCase()),
    ...(instance === undefined ? {} : { instance }),
    loadReports: options.loadReports ?? value('loadReports') ?? 'asked',
    retries: {
      budget: retryBudget(options.retryBudget ?? value('retryBudget')),
      nested: (options.nestedRetries ?? value('nestedRetries')) === 'allow',
      replayBytes: options.replayBodyBytes ?? value('replayBodyBytes') ?? defaultRetrySettings.replayBytes,
      overrides: (options.overrideHeaders ?? value('overrideHeaders')) === 'obey',
    },
    mirrorCredentials: options.mirrorCredentials ?? value('mirrorCredentials') ?? 'own',
    untrustedConnections: options.untrustedConnections ?? value('untrustedConnections') ?? 'refuse',
    policyPaths: options.policyPaths ?? value('policyPaths') ?? 'views',
    ...(accessLogFolder === undefined ? {} : { accessLogFolder: resolve(cwd, accessLogFolder) }),
    ...(jwksCa === undefined ? {} : { jwksCa: resolve(cwd, jwksCa) }),
    jwksRefreshMs: options.jwksRefreshMs ?? value('jwksRefreshMs') ?? 300_000,
    tokenExpiry: options.tokenExpiry ?? value('tokenExpiry') ?? 'optional',
    slowTokenKeys: options.slowTokenKeys ?? value('slowTokenKeys') ?? 'bounded',
    errorFormat: options.errorFormat ?? value('errorFormat') ?? 'text',
    limits: { ...(options.limits ?? value('limits')) },
    ...(file === undefined ? {} : { settingsFile: file.path }),
  };
}

function retryBudget(percent: number | 'off' = defaultRetryBudget.percent): RetrySettings['budget'] {
  return percent === 'off' ? 'unlimited' : { ...defaultRetryBudget, percent };
}

function refuseIf(problems: readonly string[]): void {
  if (problems.length > 0) throw new MeshError('ERR_MESH_OPTION_INVALID', problems.join('\n'));
}

function resolveWorkload(given: Partial<Workload>, value: Lookup): Workload {
  const labels = given.labels ?? value('labels') ?? {};
  const serviceAccount = given.serviceAccount ?? value('serviceAccount') ?? 'default';
  const locality = given.locality ?? value('locality');
  return {
    name: given.name ?? value('workload') ?? labels['app'] ?? serviceAccount,
    namespace: given.namespace ?? value('namespace') ?? 'default',
    serviceAccount,
    labels: { ...labels },
    ...(locality === undefined ? {} : { locality }),
    trustDomain: given.trustDomain ?? value('trustDomain') ?? 'cluster.local',
    clusterDomain: given.clusterDomain ?? value('clusterDomain') ?? 'cluster.local',
  };
}

/** The uppermost place that says anything about identity decides its kind; each detail comes from where it is. */
function resolveIdentity(
  given: MeshOptions['identity'],
  layers: readonly Layer[],
  problems: string[],
): IdentitySettings {
  if (given !== undefined) return { kind: 'none' };
  const kind = kindOfIdentity(layers, problems);
  const find = (...keys: readonly SettingKey[]): Layer | undefined =>
    layers.find(({ values }) => keys.some((key) => values[key] !== undefined));
  const need = (reason: string, ...keys: readonly ('caUrl' | 'caRoot')[]): string[] =>
    keys.map((key) => {
      const found = find(key)?.values[key];
      if (found === undefined) problems.push(missing(key, reason));
      return found ?? '';
    });
  const lists = find('crlFile');
  if (kind === 'files') {
    const crlFile = lists?.values.crlFile;
    const directory = find('certDir')?.values.certDir;
    const layout = find('certLayout')?.values.certLayout;
    if (directory === undefined && layout === undefined) {
      problems.push(missing('certDir', 'identity is files', ' (or certLayout, INMESH_CERT_LAYOUT)'));
    }
    return {
      kind,
      ...(directory === undefined ? {} : { directory }),
      ...(layout === undefined ? {} : { layout }),
      ...(crlFile === undefined ? {} : { crlFile }),
    };
  }
  // Who asks for revocations must not go without in silence.
  if (lists !== undefined) problems.push(`${lists.name('crlFile')}: is for identity files, and identity is ${kind}`);
  if (kind === 'none') return { kind };
  const [url = '', trustRoot = ''] = need('identity is ca', 'caUrl', 'caRoot');
  const proof = find('caToken', 'caTokenFile');
  const { caToken: token, caTokenFile: tokenFile } = proof?.values ?? {};
  if (proof === undefined) problems.push(missing('caTokenFile', 'identity is ca', ' (or caToken, INMESH_CA_TOKEN)'));
  if (token !== undefined && tokenFile !== undefined) {
    problems.push(`${proof?.name('caTokenFile')}: must not be there together with ${proof?.name('caToken')}`);
  }
  return {
    kind,
    url,
    trustRoot,
    ...(token === undefined ? {} : { token }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
  };
}

function kindOfIdentity(layers: readonly Layer[], problems: string[]): 'ca' | 'files' | 'none' {
  for (const { values, name } of layers) {
    if (values.identity !== undefined) return values.identity;
    const files = values.certDir !== undefined ? 'certDir' : values.certLayout !== undefined ? 'certLayout' : undefined;
    if (values.caUrl !== undefined && files !== undefined) {
      const both = `${name('caUrl')} and ${name(files)}`;
      problems.push(`${both}: which of the two is meant? Set identity (INMESH_IDENTITY) to ca or files`);
      return 'none';
    }
    if (values.caUrl !== undefined) return 'ca';
    if (files !== undefined) return 'files';
  }
  return 'none';
}

function missing(key: SettingKey, reason: string, more = ''): string {
  return `${settingsTable[key].variable} (${key} in inmesh.yaml): is missing, because ${reason}${more}`;
}
