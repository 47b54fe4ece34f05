import type { AccessLogFormat, AccessLogSink, JsonFormat } from '../model/access-log.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

/** The fields of Istio's MeshConfig. */
export interface AccessLogSpec {
  readonly accessLogFile?: string;
  readonly accessLogFormat?: string;
  readonly accessLogEncoding?: 'TEXT' | 'JSON';
  readonly defaultProviders?: { readonly accessLogging?: readonly string[] };
  readonly extensionProviders?: readonly LogProviderSpec[];
}

/** One of `extensionProviders`, as far as it takes access logs. */
export interface LogProviderSpec {
  readonly name: string;
  readonly envoyFileAccessLog?: {
    readonly path?: string;
    readonly logFormat?: { readonly text?: string; readonly labels?: unknown };
    readonly omitEmptyValues?: boolean;
  };
  readonly envoyHttpAls?: unknown;
  readonly envoyTcpAls?: unknown;
  readonly envoyOtelAls?: unknown;
}

/** A provider by its name; without a sink it is none that can be written to here. */
export interface LogProvider {
  readonly name: string;
  readonly kind: 'file' | 'service' | 'none';
  readonly sink?: AccessLogSink;
}

/** What a MeshConfig says of access logs. */
export interface MeshAccessLogging {
  /** `accessLogFile`: counts where no provider does. */
  readonly legacy?: AccessLogSink;
  readonly providers: readonly LogProvider[];
  /** `defaultProviders.accessLogging`. */
  readonly defaults: readonly string[];
}

const builtIn = 'envoy';

/** Istio's, without a MeshConfig. */
export const noAccessLogging: MeshAccessLogging = {
  providers: [{ name: builtIn, kind: 'file', sink: { name: builtIn, to: 'stdout', encoding: 'text' } }],
  defaults: [],
};

/** The log of the whole mesh, and the providers that Telemetries may name; `envoy` is there without a word. */
export function compileLogProviders(
  resource: Resource,
  spec: AccessLogSpec,
  path: Path,
  collector: Collector,
): MeshAccessLogging {
  const { accessLogFile = '', defaultProviders, extensionProviders = [] } = spec;
  const look = lookOf(resource, spec, path, collector);
  const to = destination(accessLogFile, resource, [...path, 'accessLogFile'], collector);
  const own = extensionProviders.map((provider, index): LogProvider => {
    const { envoyFileAccessLog: file, envoyHttpAls, envoyOtelAls, envoyTcpAls, name } = provider;
    const at = [...path, 'extensionProviders', index, 'envoyFileAccessLog'];
    if (file === undefined) {
      const isService = envoyHttpAls !== undefined || envoyOtelAls !== undefined || envoyTcpAls !== undefined;
      return { name, kind: isService ? 'service' : 'none' };
    }
    const place = destination(file.path || '/dev/stdout', resource, [...at, 'path'], collector);
    if (place === undefined) return { name, kind: 'service' };
    const omitEmpty = file.omitEmptyValues === true;
    // Istio: the built-in provider looks like the log of the mesh, unless it says more.
    const isPlain = name === builtIn && file.logFormat === undefined && !omitEmpty;
    const format = isPlain ? look : formatOf(file.logFormat, resource, [...at, 'logFormat', 'labels'], collector);
    return {
      name,
      kind: 'file',
      sink: { name, to: place, ...format, ...(omitEmpty ? { omitEmpty: true as const } : {}) },
    };
  });
  const isOwn = own.some(({ name }) => name === builtIn);
  const standard: LogProvider = { name: builtIn, kind: 'file', sink: { name: builtIn, to: 'stdout', ...look } };
  return {
    ...(to === undefined || accessLogFile === '' ? {} : { legacy: { name: '', to, ...look } }),
    // Istio's order: its own first, which others of the same name replace.
    providers: isOwn ? own : [standard, ...own],
    defaults: defaultProviders?.accessLogging ?? [],
  };
}

type Look = Pick<AccessLogSink, 'encoding' | 'format'>;

/** `accessLogEncoding` and `accessLogFormat`. */
function lookOf(
  resource: Resource,
  { accessLogEncoding, accessLogFormat = '' }: AccessLogSpec,
  path: Path,
  collector: Collector,
): Look {
  if (accessLogEncoding !== 'JSON') return textLook(accessLogFormat);
  if (accessLogFormat === '') return { encoding: 'json' };
  const format = jsonFormatOf(parsed(accessLogFormat));
  if (format === undefined) {
    const note = 'is no JSON object: the default format is written';
    collector.warn(resource, [...path, 'accessLogFormat'], 'ignored', note);
  }
  return { encoding: 'json', ...(format === undefined ? {} : { format }) };
}

function formatOf(
  given: NonNullable<LogProviderSpec['envoyFileAccessLog']>['logFormat'],
  resource: Resource,
  path: Path,
  collector: Collector,
): Look {
  if (given?.labels === undefined) return textLook(given?.text ?? '');
  const format = jsonFormatOf(given.labels);
  if (format === undefined) collector.problem(resource, path, 'must be a map with at most 16 levels');
  return { encoding: 'json', ...(format === undefined || Object.keys(format).length === 0 ? {} : { format }) };
}

const textLook = (format: AccessLogFormat): Look => ({ encoding: 'text', ...(format === '' ? {} : { format }) });

/** Where lines go; nothing where nobody could say where that is. */
function destination(file: string, resource: Resource, path: Path, collector: Collector): string | undefined {
  if (file === '/dev/stdout') return 'stdout';
  if (file === '/dev/stderr') return 'stderr';
  if (file === '') return undefined;
  if (!file.startsWith('/')) {
    collector.warn(resource, path, 'ignored', 'must be an absolute path: nothing is written');
    return undefined;
  }
  collector.warn(resource, path, 'approximated', 'is written where the option accessLogFolder names its folder');
  return file;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function jsonFormatOf(value: unknown): JsonFormat | undefined {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isMap && !isDeeper(value, 16) ? (value as JsonFormat) : undefined;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((each) => isDeeper(each, levels - 1));
}
