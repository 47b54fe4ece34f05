/** What is traced of the requests that a workload serves, and of the calls that it makes: Istio's `Telemetry` tracing. */
export interface TracingPolicy {
  readonly server: TracingDirection;
  readonly client: TracingDirection;
}

export interface TracingDirection {
  /** No spans (`disableSpanReporting`) when false; contexts are handed on as they came. */
  readonly enabled: boolean;
  /** Of the traces that begin here, 0 to 100. */
  readonly samplingPercent: number;
  /** Which ones is read from `x-request-id`, so that all who see one request decide alike. */
  readonly byRequestId: boolean;
  /** Attributes `istio.…`. */
  readonly istioTags: boolean;
  /** Calls carry trace headers. */
  readonly propagate: boolean;
  readonly customTags: readonly CustomTag[];
  /** Longest path that is recorded, characters. */
  readonly maxPathLength: number;
  /** Where spans go; absent: the tracer knows by itself. */
  readonly provider?: TracingProvider;
}

/** An attribute of each span. */
export type CustomTag =
  | { readonly kind: 'literal'; readonly name: string; readonly value: string }
  /** A variable of the environment of this process. */
  | { readonly kind: 'environment'; readonly name: string; readonly variable: string; readonly fallback: string }
  /** A header of the request, lower case. */
  | { readonly kind: 'header'; readonly name: string; readonly header: string; readonly fallback: string };

/** A header of requests to a collector. */
export interface ProviderHeader {
  readonly name: string;
  /** One of the two. */
  readonly value?: string;
  readonly variable?: string;
}

interface Collector {
  readonly name: string;
  /** Host of the service, without namespace. */
  readonly service: string;
  readonly port: number;
  readonly path: string;
  readonly headers: readonly ProviderHeader[];
  /** Time for one batch, milliseconds; absent: the tracer's own. */
  readonly timeoutMs?: number;
}

/** One of MeshConfig's `extensionProviders`, as far as it takes traces. */
export type TracingProvider =
  | (Collector & { readonly kind: 'zipkin'; readonly w3c: boolean })
  | (Collector & { readonly kind: 'opentelemetry'; readonly protocol: 'http' | 'grpc' });

const direction: TracingDirection = {
  enabled: true,
  samplingPercent: 1,
  byRequestId: true,
  istioTags: true,
  propagate: true,
  customTags: [],
  maxPathLength: 256,
};

/** Istio's defaults: one of a hundred traces. */
export const defaultTracingPolicy: TracingPolicy = { server: direction, client: direction };
