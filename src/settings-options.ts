import { showValue } from './config/problem.ts';
import { unknownName } from './lib/known-options.ts';
import type { MeshOptions } from './mesh-api.ts';
import type { Workload } from './model/workload.ts';
import { type Setting, settingsTable } from './settings-table.ts';
import { formatOf } from './telemetry/access-log.ts';

/** Says what is wrong with a value, or nothing. */
type Check = (value: unknown) => string | undefined;

const like =
  (setting: Setting<unknown>): Check =>
  (value) =>
    setting.accept(value) === undefined ? `must be ${setting.mustBe}, got ${showValue(value)}` : undefined;

const withMethods =
  (mustBe: string, ...names: readonly string[]): Check =>
  (value) =>
    hasMethods(value, names) ? undefined : `must be ${mustBe}, got ${showValue(value)}`;

// The types make sure that a new option is added here.
const checks: { readonly [K in keyof Required<MeshOptions>]: Check } = {
  workload: (value) => (isObject(value) ? undefined : `must be an object, got ${showValue(value)}`),
  config: (value) =>
    hasMethods(value, ['run']) ? undefined : like(settingsTable.config)(value)?.replace(',', ', or a ConfigSource,'),
  identity: (value) => (value === false ? undefined : withMethods('an IdentitySource or false', 'run')(value)),
  outboundPolicy: like(settingsTable.outboundPolicy),
  foreignRoutes: like(settingsTable.foreignRoutes),
  onFailure: like(settingsTable.onFailure),
  drainDelayMs: like(settingsTable.drainDelayMs),
  drainGraceMs: like(settingsTable.drainGraceMs),
  closeOn: like(settingsTable.closeOn),
  propagateHeaders: like(settingsTable.propagateHeaders),
  instance: like(settingsTable.instance),
  loadReports: like(settingsTable.loadReports),
  retryBudget: like(settingsTable.retryBudget),
  nestedRetries: like(settingsTable.nestedRetries),
  replayBodyBytes: like(settingsTable.replayBodyBytes),
  overrideHeaders: like(settingsTable.overrideHeaders),
  mirrorCredentials: like(settingsTable.mirrorCredentials),
  untrustedConnections: like(settingsTable.untrustedConnections),
  policyPaths: like(settingsTable.policyPaths),
  jwksCa: like(settingsTable.jwksCa),
  accessLogFolder: like(settingsTable.accessLogFolder),
  jwksRefreshMs: like(settingsTable.jwksRefreshMs),
  tokenExpiry: like(settingsTable.tokenExpiry),
  slowTokenKeys: like(settingsTable.slowTokenKeys),
  errorFormat: like(settingsTable.errorFormat),
  limits: like(settingsTable.limits),
  fallbacks: (value) =>
    isObject(value) && Object.values(value).every((each) => typeof each === 'function')
      ? undefined
      : `must be an object of functions, got ${showValue(value)}`,
  rateLimitService: withMethods('a RateLimitService', 'shouldRateLimit'),
  externalAuthorization: withMethods('an ExternalAuthorization', 'check'),
  tracing: withMethods('a tracer', 'start'),
  accessLog: accessLogProblem,
  logger: withMethods('an object with the methods debug, info, warn and error', 'debug', 'info', 'warn', 'error'),
  clock: withMethods('a Clock', 'now', 'wallNow', 'after'),
  random: (value) => (typeof value === 'function' ? undefined : `must be a function, got ${showValue(value)}`),
};

const workloadChecks: { readonly [K in keyof Required<Workload>]: Check } = {
  name: like(settingsTable.workload),
  namespace: like(settingsTable.namespace),
  serviceAccount: like(settingsTable.serviceAccount),
  labels: like(settingsTable.labels),
  locality: like(settingsTable.locality),
  trustDomain: like(settingsTable.trustDomain),
  clusterDomain: like(settingsTable.clusterDomain),
};

/** Checks what a caller without types may get wrong. `undefined` is as good as absent. */
export function checkOptions(options: MeshOptions, problems: string[]): void {
  if (!isObject(options)) problems.push(`options: must be an object, got ${showValue(options)}`);
  else {
    checkAll('', options, checks, problems);
    if (isObject(options.workload)) checkAll('workload.', options.workload, workloadChecks, problems);
  }
}

function checkAll(prefix: string, given: object, known: Readonly<Record<string, Check>>, problems: string[]): void {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const check = Object.hasOwn(known, key) ? known[key] : undefined;
    const problem = check === undefined ? unknownName('option', key, Object.keys(known)) : check(value);
    if (problem !== undefined) problems.push(`option ${prefix}${key}: ${problem}`);
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return isObject(value) && names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function');
}

function accessLogProblem(value: unknown): string | undefined {
  if (value === false) return undefined;
  const example = "such as { to: 'stdout', encoding: 'json' }, or false";
  if (!isObject(value)) return `must be an object ${example}, got ${showValue(value)}`;
  const { encoding, format, query, to, ...others } = value as Readonly<Record<string, unknown>>;
  const [other] = Object.keys(others);
  if (other !== undefined) return `${other} ${unknownName('field', other, ['to', 'encoding', 'format', 'query'])}`;
  if (typeof to !== 'function' && (typeof to !== 'string' || to === '')) {
    return `to: must be stdout, stderr, a file or a function, got ${showValue(to)}`;
  }
  if (encoding !== undefined && encoding !== 'text' && encoding !== 'json') {
    return `encoding: must be text or json, got ${showValue(encoding)}`;
  }
  if (query !== undefined && query !== 'redact' && query !== 'keep' && query !== 'omit') {
    return `query: must be redact, keep or omit, got ${showValue(query)}`;
  }
  if (format === undefined) return undefined;
  const texts = typeof format === 'string' ? [format] : isObject(format) ? Object.values(format) : [undefined];
  if (!texts.every((each) => typeof each === 'string')) {
    return `format: must be a text or an object of texts, got ${showValue(format)}`;
  }
  const unknownOperators = formatOf({ format: format as string | Record<string, string> }).unknown;
  return unknownOperators.length === 0
    ? undefined
    : `format: has operators that are not known here: ${unknownOperators.join(' ')}`;
}
