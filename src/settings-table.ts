import { constants } from 'node:os';
import type { ForeignRoutes } from './config/foreign-routes.ts';
import { isHostName } from './config/values.ts';
import { type FileLayout, fileLayouts } from './identity/file-layouts.ts';
import { mayPropagate } from './trace/propagated.ts';
import { type AcceptorLimits, limitRanges } from './transport/limits.ts';

/** One setting: a key of `inmesh.yaml`, and a variable of the environment. */
export interface Setting<T> {
  readonly variable: `INMESH_${string}`;
  /** Completes "must be …". */
  readonly mustBe: string;
  /** Reads the trimmed text of a variable. Nothing: the text is bad. */
  readonly parse: (text: string) => T | undefined;
  /** Reads a value of `inmesh.yaml` or of an option. Nothing: the value is bad. */
  readonly accept: (value: unknown) => T | undefined;
  /** A name of a file or folder: relative to where it is written. */
  readonly path?: true;
  /** Never repeated in a message. */
  readonly secret?: true;
  /** A variable that Kubernetes manifests commonly set; used when nothing says otherwise in the environment. */
  readonly fallbackVariable?: string;
}

/** Levels of messages, each including those after it. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** A setting that is text everywhere. */
function fromText<T>(variable: Setting<T>['variable'], mustBe: string, parse: Setting<T>['parse']): Setting<T> {
  return {
    variable,
    mustBe,
    parse,
    accept: (value) => (typeof value === 'string' && value.trim() !== '' ? parse(value.trim()) : undefined),
  };
}

const text = (
  variable: Setting<string>['variable'],
  mustBe: string,
  good: (given: string) => boolean,
): Setting<string> => fromText(variable, mustBe, (given) => (good(given) ? given : undefined));

const oneOf = <T extends string>(variable: Setting<T>['variable'], ...words: readonly T[]): Setting<T> =>
  fromText(variable, `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`, (given) =>
    words.find((word) => word === given),
  );

const path = (variable: Setting<string>['variable'], mustBe: string): Setting<string> => ({
  ...text(variable, mustBe, (given) => !given.includes('\0')),
  path: true,
});

/** Longest time that a timer of Node takes. */
const maxMs = 2_147_483_647;

const milliseconds = (variable: Setting<number>['variable']): Setting<number> => {
  const accept = (value: unknown): number | undefined =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maxMs ? value : undefined;
  const parse = (given: string): number | undefined => (/^\d+$/.test(given) ? accept(Number(given)) : undefined);
  return { variable, mustBe: 'a whole number of milliseconds', parse, accept };
};

/** More often than once in a second is no help to anybody. */
const jwksRefreshMs: Setting<number> = {
  variable: 'INMESH_JWKS_REFRESH_MS',
  mustBe: 'a whole number of milliseconds, at least 1000',
  parse: (given) => atLeastASecond(milliseconds('INMESH_JWKS_REFRESH_MS').parse(given)),
  accept: (value) => atLeastASecond(milliseconds('INMESH_JWKS_REFRESH_MS').accept(value)),
};

function atLeastASecond(ms: number | undefined): number | undefined {
  return ms === undefined || ms < 1_000 ? undefined : ms;
}

/** 0 to 100; nothing is no number. */
const asPercent = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value <= 100 ? value : undefined;

const retryBudget: Setting<number | 'off'> = {
  variable: 'INMESH_RETRY_BUDGET',
  mustBe: 'a percentage from 0 to 100, or off',
  parse: (given) => (given === 'off' ? given : /^\d+(\.\d+)?$/.test(given) ? asPercent(Number(given)) : undefined),
  accept: (value) => (value === 'off' ? value : asPercent(value)),
};

const signals: Setting<readonly NodeJS.Signals[]> = {
  variable: 'INMESH_CLOSE_ON',
  mustBe: 'names of signals that a process can catch, such as SIGTERM,SIGINT (a list in inmesh.yaml)',
  parse: (given) => acceptSignals(given.split(',').map((name) => name.trim())),
  accept: acceptSignals,
};

function acceptSignals(value: unknown): readonly NodeJS.Signals[] | undefined {
  const good = (name: unknown): boolean =>
    typeof name === 'string' && Object.hasOwn(constants.signals, name) && name !== 'SIGKILL' && name !== 'SIGSTOP';
  return Array.isArray(value) && value.every(good) ? [...new Set(value as NodeJS.Signals[])] : undefined;
}

const propagateHeaders: Setting<readonly string[]> = {
  variable: 'INMESH_PROPAGATE_HEADERS',
  mustBe:
    'names of headers, such as end-user,x-canary (a list in inmesh.yaml), but none that belong to one connection, to a body or to the mesh',
  parse: (given) => acceptHeaders(given.split(',').map((name) => name.trim())),
  accept: acceptHeaders,
};

function acceptHeaders(value: unknown): readonly string[] | undefined {
  const good = (name: unknown): boolean => typeof name === 'string' && mayPropagate(name.toLowerCase());
  if (!Array.isArray(value) || !value.every(good)) return undefined;
  return [...new Set((value as string[]).map((name) => name.toLowerCase()))];
}

const labels: Setting<Readonly<Record<string, string>>> = {
  variable: 'INMESH_LABELS',
  mustBe: 'Kubernetes labels: name=value,name=value in the environment, a map in inmesh.yaml',
  parse: parseLabels,
  accept: (value) => (areLabels(value) ? value : undefined),
};

const limits: Setting<Partial<AcceptorLimits>> = {
  variable: 'INMESH_LIMITS',
  mustBe: `limits of inbound connections: name=number,name=number in the environment, a map in inmesh.yaml; ${Object.entries(
    limitRanges,
  )
    .map(([name, [from, to]]) => `${name} from ${from} to ${to}`)
    .join(', ')}`,
  parse: (given) => {
    const entries = given.split(',').map((pair) => pair.split('=').map((part) => part.trim()));
    const names = new Set(entries.map(([name]) => name));
    const good = entries.every(([, count = '', ...more]) => more.length === 0 && /^\d+$/.test(count));
    if (!good || names.size < entries.length) return undefined;
    return acceptLimits(Object.fromEntries(entries.map(([name, count]) => [name, Number(count)])));
  },
  accept: acceptLimits,
};

function acceptLimits(value: unknown): Partial<AcceptorLimits> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const good = Object.entries(value).every(([name, limit]) => {
    const range = Object.hasOwn(limitRanges, name) ? limitRanges[name as keyof AcceptorLimits] : undefined;
    return range !== undefined && Number.isInteger(limit) && limit >= range[0] && limit <= range[1];
  });
  return good ? { ...value } : undefined;
}

const namePattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Kubernetes' rule for names of namespaces: lower case, unlike DNS itself. */
const isLabel = (name: string): boolean => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name);

/** Kubernetes' rule for names of service accounts: a DNS subdomain. */
const isSubdomain = (name: string): boolean => name.length <= 253 && name.split('.').every(isLabel);

/** What each setting is, once it was read. */
interface SettingValues {
  readonly config: string;
  readonly workload: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly locality: string;
  readonly trustDomain: string;
  readonly clusterDomain: string;
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY';
  readonly foreignRoutes: ForeignRoutes;
  readonly identity: 'ca' | 'files' | 'none';
  readonly caUrl: string;
  readonly caRoot: string;
  readonly caToken: string;
  readonly caTokenFile: string;
  readonly certDir: string;
  readonly certLayout: FileLayout;
  readonly crlFile: string;
  readonly onFailure: 'response' | 'throw';
  readonly logLevel: LogLevel;
  readonly drainDelayMs: number;
  readonly drainGraceMs: number;
  readonly closeOn: readonly NodeJS.Signals[];
  readonly propagateHeaders: readonly string[];
  readonly instance: string;
  readonly loadReports: 'asked' | 'always' | 'never';
  readonly retryBudget: number | 'off';
  readonly nestedRetries: 'stop' | 'allow';
  readonly replayBodyBytes: number;
  readonly overrideHeaders: 'ignore' | 'obey';
  readonly mirrorCredentials: 'own' | 'all';
  readonly untrustedConnections: 'refuse' | 'close';
  readonly policyPaths: 'views' | 'literal';
  readonly jwksCa: string;
  readonly accessLogFolder: string;
  readonly jwksRefreshMs: number;
  readonly tokenExpiry: 'optional' | 'required';
  readonly slowTokenKeys: 'bounded' | 'always';
  readonly errorFormat: 'text' | 'problem';
  readonly limits: Partial<AcceptorLimits>;
}

export type SettingKey = keyof SettingValues;

/** The type of a setting's value. */
export type SettingValue<K extends SettingKey> = SettingValues[K];

/** All settings by their key in `inmesh.yaml`, in the order of the documentation. */
export const settingsTable: { readonly [K in SettingKey]: Setting<SettingValue<K>> } = {
  config: path('INMESH_CONFIG', 'the path of a file or folder'),
  workload: text('INMESH_WORKLOAD', 'a name of letters, digits, ".", "_" and "-"', (name) => namePattern.test(name)),
  namespace: {
    ...text('INMESH_NAMESPACE', 'a DNS label, such as bookinfo', isLabel),
    fallbackVariable: 'POD_NAMESPACE',
  },
  serviceAccount: {
    ...text('INMESH_SERVICE_ACCOUNT', 'a name of lower-case letters, digits, "-" and "."', isSubdomain),
    fallbackVariable: 'SERVICE_ACCOUNT',
  },
  labels,
  locality: text(
    'INMESH_LOCALITY',
    'region/zone/subzone, of which zone and subzone may be absent',
    (place) => place.length <= 253 && place.split('/').every((part) => /^[^\s*]+$/.test(part)),
  ),
  trustDomain: text('INMESH_TRUST_DOMAIN', 'a SPIFFE trust domain, such as cluster.local', (domain) =>
    /^[a-z0-9._-]{1,255}$/.test(domain),
  ),
  clusterDomain: text('INMESH_CLUSTER_DOMAIN', 'a DNS name, such as cluster.local', isHostName),
  outboundPolicy: oneOf('INMESH_OUTBOUND_POLICY', 'ALLOW_ANY', 'REGISTRY_ONLY'),
  foreignRoutes: oneOf('INMESH_FOREIGN_ROUTES', 'allow', 'refuse'),
  identity: oneOf('INMESH_IDENTITY', 'ca', 'files', 'none'),
  caUrl: text('INMESH_CA_URL', 'an https URL', (url) => URL.parse(url)?.protocol === 'https:'),
  caRoot: path('INMESH_CA_ROOT', 'the path of a PEM file'),
  caToken: { ...text('INMESH_CA_TOKEN', 'a token', (token) => /^[\x21-\x7e]+$/.test(token)), secret: true },
  caTokenFile: path('INMESH_CA_TOKEN_FILE', 'the path of a file'),
  certDir: path('INMESH_CERT_DIR', 'the path of a folder'),
  certLayout: oneOf('INMESH_CERT_LAYOUT', ...fileLayouts),
  crlFile: path('INMESH_CRL_FILE', 'the path of a PEM file'),
  onFailure: oneOf('INMESH_ON_FAILURE', 'response', 'throw'),
  logLevel: oneOf('INMESH_LOG_LEVEL', ...logLevels),
  drainDelayMs: milliseconds('INMESH_DRAIN_DELAY_MS'),
  drainGraceMs: milliseconds('INMESH_DRAIN_GRACE_MS'),
  closeOn: signals,
  propagateHeaders,
  instance: {
    ...text('INMESH_INSTANCE', 'a name of letters, digits, ".", "_" and "-"', (name) => namePattern.test(name)),
    fallbackVariable: 'POD_NAME',
  },
  loadReports: oneOf('INMESH_LOAD_REPORTS', 'asked', 'always', 'never'),
  retryBudget,
  nestedRetries: oneOf('INMESH_NESTED_RETRIES', 'stop', 'allow'),
  replayBodyBytes: { ...milliseconds('INMESH_REPLAY_BODY_BYTES'), mustBe: 'a whole number of bytes' },
  overrideHeaders: oneOf('INMESH_OVERRIDE_HEADERS', 'ignore', 'obey'),
  mirrorCredentials: oneOf('INMESH_MIRROR_CREDENTIALS', 'own', 'all'),
  untrustedConnections: oneOf('INMESH_UNTRUSTED_CONNECTIONS', 'refuse', 'close'),
  policyPaths: oneOf('INMESH_POLICY_PATHS', 'views', 'literal'),
  jwksCa: path('INMESH_JWKS_CA', 'the path of a PEM file'),
  jwksRefreshMs,
  accessLogFolder: path('INMESH_ACCESS_LOG_FOLDER', 'the path of a folder'),
  tokenExpiry: oneOf('INMESH_TOKEN_EXPIRY', 'optional', 'required'),
  slowTokenKeys: oneOf('INMESH_SLOW_TOKEN_KEYS', 'bounded', 'always'),
  errorFormat: oneOf('INMESH_ERROR_FORMAT', 'text', 'problem'),
  limits,
};

/** Names the settings file; not a setting itself. */
export const settingsFileVariable = 'INMESH_SETTINGS';

/**
 * Kubernetes gives every container variables for each Service of its namespace. A Service called
 * `inmesh-ca` thus makes `INMESH_CA_PORT_8443_TCP_ADDR`, which is nobody's mistake.
 */
export function isKubernetesServiceVariable(name: string): boolean {
  return /^INMESH_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/.test(
    name,
  );
}

const labelName = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** `app=reviews,version=v1`, with spaces around commas and signs allowed. */
function parseLabels(given: string): Readonly<Record<string, string>> | undefined {
  const entries = given.split(',').map((pair) => {
    const sign = pair.indexOf('=');
    return sign === -1 ? [pair.trim()] : [pair.slice(0, sign).trim(), pair.slice(sign + 1).trim()];
  });
  const names = new Set(entries.map(([name]) => name));
  const good = entries.every(([name, value]) => value !== undefined && areLabels({ [name as string]: value }));
  return good && names.size === entries.length ? Object.fromEntries(entries) : undefined;
}

/** A plain object of well-formed Kubernetes labels. */
function areLabels(value: unknown): value is Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(
    ([name, text]) => labelName.test(name) && typeof text === 'string' && labelValue.test(text),
  );
}
