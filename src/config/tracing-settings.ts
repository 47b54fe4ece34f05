import { isSecretName } from '../lib/redact.ts';
import type { CustomTag, ProviderHeader, TracingProvider } from '../model/tracing.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { canonicalHost } from './host-syntax.ts';
import type { Resource } from './resource.ts';
import { durationMs } from './values.ts';

/** One of `customTags`, checked by its table. */
export interface CustomTagSpec {
  readonly literal?: { readonly value: string };
  readonly environment?: { readonly name: string; readonly defaultValue?: string };
  readonly header?: { readonly name: string; readonly defaultValue?: string };
  readonly formatter?: unknown;
}

/** `defaultConfig.tracing`. */
export interface ProxyTracingSpec {
  readonly sampling?: number;
  readonly maxPathTagLength?: number;
  readonly customTags?: Readonly<Record<string, CustomTagSpec>>;
  readonly enableIstioTags?: boolean;
  readonly zipkin?: { readonly address?: string };
}

interface HeaderSpec {
  readonly name: string;
  readonly value?: string;
  readonly envName?: string;
}

interface ServiceSpec {
  readonly service: string;
  readonly port: number;
  readonly maxTagLength?: number;
}

/** The kinds of extension providers that take traces. */
export interface TracingProviderSpec {
  readonly name: string;
  readonly zipkin?: ServiceSpec & {
    readonly path?: string;
    readonly timeout?: string;
    readonly headers?: readonly HeaderSpec[];
    readonly traceContextOption?: string;
  };
  readonly opentelemetry?: ServiceSpec & {
    readonly http?: { readonly path?: string; readonly timeout?: string; readonly headers?: readonly HeaderSpec[] };
    readonly grpc?: { readonly timeout?: string; readonly initialMetadata?: readonly HeaderSpec[] };
  };
}

/** A provider, and what it says of the spans themselves. */
export interface NamedTracer {
  readonly provider: TracingProvider;
  /** 0: it does not say. */
  readonly maxPathLength: number;
}

/** What a MeshConfig says of tracing. */
export interface MeshTracing {
  /** `enableTracing`; counts where no Telemetry says anything. */
  readonly enabled: boolean;
  readonly samplingPercent: number;
  readonly maxPathLength: number;
  readonly istioTags: boolean;
  readonly customTags: readonly CustomTag[];
  readonly tracers: readonly NamedTracer[];
  /** The first of `defaultProviders.tracing`. */
  readonly defaultTracer?: string;
  /** `defaultConfig.tracing.zipkin`. */
  readonly zipkin?: TracingProvider;
}

/** Who logs in must not be told to whoever reads traces. */
const isHidden = (name: string): boolean => isSecretName(name) || name === 'x-forwarded-client-cert';

/** Compiles custom tags; those that cannot be had are reported. */
export function compileCustomTags(
  specs: Readonly<Record<string, CustomTagSpec>> = {},
  resource: Resource,
  path: Path,
  collector: Collector,
): readonly CustomTag[] {
  const names = Object.keys(specs).sort();
  return names.flatMap((name): readonly CustomTag[] => {
    const { environment, header, literal } = specs[name] as CustomTagSpec;
    if (literal !== undefined) return [{ kind: 'literal', name, value: literal.value }];
    if (environment !== undefined) {
      if (isHidden(environment.name)) {
        const note = `${environment.name} is not shown to those who read traces`;
        collector.warn(resource, [...path, name, 'environment'], 'ignored', note);
        return [];
      }
      return [{ kind: 'environment', name, variable: environment.name, fallback: environment.defaultValue ?? '' }];
    }
    if (header === undefined) return [];
    const lower = header.name.toLowerCase();
    if (isHidden(lower)) {
      collector.warn(resource, [...path, name, 'header'], 'ignored', `${lower} is not shown to those who read traces`);
      return [];
    }
    return [{ kind: 'header', name, header: lower, fallback: header.defaultValue ?? '' }];
  });
}

/** Those of the extension providers that take traces. */
export function compileTracers(providers: readonly TracingProviderSpec[] = []): readonly NamedTracer[] {
  return providers.flatMap(({ name, opentelemetry, zipkin }): readonly NamedTracer[] => {
    if (zipkin !== undefined) {
      const { maxTagLength = 0, path = '', port, service, timeout, traceContextOption } = zipkin;
      const provider: TracingProvider = {
        kind: 'zipkin',
        name,
        service: hostOf(service),
        port,
        path: pathOf(path, '/api/v2/spans'),
        headers: headersOf(zipkin.headers),
        ...timeoutOf(timeout),
        w3c: traceContextOption === 'USE_B3_WITH_W3C_PROPAGATION',
      };
      return [{ provider, maxPathLength: maxTagLength }];
    }
    if (opentelemetry === undefined) return [];
    const { grpc, http, maxTagLength = 0, port, service } = opentelemetry;
    const provider: TracingProvider = {
      kind: 'opentelemetry',
      name,
      service: hostOf(service),
      port,
      protocol: http === undefined ? 'grpc' : 'http',
      path: http === undefined ? '' : pathOf(http.path ?? '', '/v1/traces'),
      headers: headersOf(http?.headers ?? grpc?.initialMetadata),
      ...timeoutOf(http === undefined ? grpc?.timeout : http.timeout),
    };
    return [{ provider, maxPathLength: maxTagLength }];
  });
}

/** `zipkin.istio-system:9411`. */
export function zipkinAt(address: string): TracingProvider | undefined {
  const url = URL.parse(`http://${address}`);
  if (url === null || url.hostname === '' || url.port === '') return undefined;
  return {
    kind: 'zipkin',
    name: 'zipkin',
    service: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port),
    path: '/api/v2/spans',
    headers: [],
    w3c: false,
  };
}

/** Without the namespace in front, which says where Istio looks it up. */
function hostOf(service: string): string {
  return canonicalHost(service.slice(service.indexOf('/') + 1));
}

function pathOf(path: string, otherwise: string): string {
  if (path === '') return otherwise;
  return path.startsWith('/') ? path : `/${path}`;
}

function headersOf(specs: readonly HeaderSpec[] = []): readonly ProviderHeader[] {
  return specs.map(({ envName, name, value }) => ({
    name,
    ...(value === undefined ? {} : { value }),
    ...(envName === undefined ? {} : { variable: envName }),
  }));
}

function timeoutOf(text: string | undefined): { readonly timeoutMs?: number } {
  const timeoutMs = durationMs(text);
  return timeoutMs === undefined ? {} : { timeoutMs };
}
