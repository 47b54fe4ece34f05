import { type Attributes, trace } from '@opentelemetry/api';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import {
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { MeshTracer, TracingProvider, TracingSettings } from 'inmesh';
import { systemClock } from 'inmesh/identity';
import { boundedProcessor, type QueueOptions, type SpanCounts } from './bounded-processor.ts';
import {
  type ChosenExporter,
  type Environment,
  exporterFor,
  exporterFromEnvironment,
  namesExporter,
  nowhere,
} from './exporters.ts';
import { lateExporter } from './late-exporter.ts';
import { type OtelTracingOptions, otelTracing, sampledByMesh } from './tracing.ts';

/** Options of {@link startOtel}. */
export interface StartOtelOptions extends Omit<OtelTracingOptions, 'tracerProvider'>, QueueOptions {
  /** Goes before the environment and the mesh's configuration. */
  readonly exporter?: SpanExporter;
  /** Attributes of the resource beside those of the workload; `OTEL_RESOURCE_ATTRIBUTES` goes before them. */
  readonly resourceAttributes?: Attributes;
  /** Of the application's libraries, started with the SDK. Leave out those of HTTP and undici. Default none. */
  readonly instrumentations?: NodeSDKConfiguration['instrumentations'];
  /** Percent of the traces that the application begins itself, outside of requests and calls. Default 100. */
  readonly applicationSamplingPercent?: number;
  /** How long closing may take, milliseconds; what was not taken by then is lost. Default 5,000; a mesh waits 30,000 at most. */
  readonly shutdownTimeoutMs?: number;
  /** Default: `process.env`. OpenTelemetry's own parts read that one in any case. */
  readonly environment?: Environment;
}

/** A tracer that brings OpenTelemetry's SDK with it. */
export interface StartedOtel extends MeshTracer {
  /** What became of spans so far. */
  counts(): SpanCounts;
  /** Where they go; nothing before the mesh is configured. */
  readonly target: string | undefined;
  close(): Promise<void>;
}

/**
 * Starts `@opentelemetry/sdk-node` for a mesh, and ends it with the mesh. Spans go where `OTEL_EXPORTER_…`
 * variables say, else to the provider that Istio's Telemetry or MeshConfig names (`zipkin`,
 * `opentelemetry`), else nowhere. The resource is the workload: `service.name` is its canonical service.
 *
 * The SDK starts with the first configuration of the mesh, and becomes the process's global one unless there is one.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for variables that are wrong
 *
 * @example
 * const mesh = createMesh({ tracing: startOtel() });
 */
export function startOtel(options: StartOtelOptions = {}): StartedOtel {
  const environment = options.environment ?? process.env;
  // OpenTelemetry's switch for everything: calls and requests then have no spans, and traces go on through them.
  const disabled = environment['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true';
  const late = lateExporter();
  const processor = boundedProcessor(late, options);
  const fixed: ChosenExporter | undefined =
    options.exporter !== undefined
      ? { target: 'the exporter of the options', exporter: options.exporter, cut() {} }
      : namesExporter(environment)
        ? exporterFromEnvironment(environment)
        : undefined;
  let sdk: NodeSDK | undefined;
  let provider: TracerProvider | undefined;
  // Its own, also where the process has several meshes, or a global provider that was there before.
  const tracing = otelTracing({
    ...options,
    tracerProvider: { getTracer: (name) => (provider ?? trace).getTracer(name) },
  });
  let chosen: ChosenExporter | undefined;
  /** Those from before which still send what they had. */
  const leaving = new Map<ChosenExporter, Promise<void>>();
  let collector: TracingProvider | undefined;

  const choose = ({ policy }: TracingSettings): void => {
    const next = policy.server.provider ?? policy.client.provider;
    if (chosen !== undefined && (fixed !== undefined || next === collector)) return;
    const made = fixed ?? (next === undefined ? nowhere : exporterFor(next, environment));
    const before = chosen;
    collector = next;
    chosen = made;
    const left = late.use(made.exporter).then(() => {
      if (before === undefined) return;
      before.cut();
      leaving.delete(before);
    });
    if (before !== undefined) leaving.set(before, left);
  };

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    const { promise: tooLong, resolve } = Promise.withResolvers<void>();
    const cancel = systemClock.after(options.shutdownTimeoutMs ?? 5_000, resolve, true);
    const ended = Promise.allSettled([provider?.shutdown(), sdk?.shutdown(), ...leaving.values()]);
    await Promise.race([ended, tooLong]);
    cancel();
    chosen?.cut();
    for (const each of leaving.keys()) each.cut();
  };

  return {
    ...tracing,
    configure(settings) {
      if (disabled) return;
      choose(settings);
      if (sdk !== undefined || closing !== undefined) return;
      const { instrumentations = [], resourceAttributes } = options;
      const resource = defaultResource()
        .merge(resourceFromAttributes({ ...workloadAttributes(settings, environment), ...resourceAttributes }))
        // Others tell command lines and names of users.
        .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] }));
      provider = new TracerProvider({
        resource,
        sampler: meshSampler(options.applicationSamplingPercent ?? 100),
        spanProcessors: [processor],
      });
      // Context, propagators, instrumentations; metrics and logs where the environment asks for them.
      sdk = new NodeSDK({
        resource,
        autoDetectResources: false,
        spanProcessors: [],
        ...(environment['OTEL_METRICS_EXPORTER'] ? {} : { metricReaders: [] }),
        ...(environment['OTEL_LOGS_EXPORTER'] ? {} : { logRecordProcessors: [] }),
        instrumentations: [...instrumentations],
      });
      sdk.start();
      trace.setGlobalTracerProvider(provider);
    },
    counts: processor.counts,
    get target() {
      return chosen?.target;
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** Resource attributes of OpenTelemetry for what the mesh knows of the workload. */
export function workloadAttributes(
  { revision, service, workload }: Pick<TracingSettings, 'revision' | 'service' | 'workload'>,
  environment: Environment,
): Attributes {
  const inKubernetes = (environment['KUBERNETES_SERVICE_HOST'] ?? '') !== '';
  const pod = environment['POD_NAME'] ?? environment['HOSTNAME'];
  return {
    'service.name': service,
    'service.namespace': workload.namespace,
    ...(revision === 'latest' ? {} : { 'service.version': revision }),
    ...(inKubernetes
      ? {
          'k8s.namespace.name': workload.namespace,
          ...(pod === undefined ? {} : { 'k8s.pod.name': pod }),
        }
      : {}),
  };
}

/** The mesh has decided about its own; parents are followed; the rest are traces of the application's. */
function meshSampler(percent: number): Sampler {
  const limit = Math.round((percent / 100) * 0xffff_ffff);
  const root: Sampler = {
    shouldSample(parent, traceId) {
      const sampled = parent.getValue(sampledByMesh) === true || Number.parseInt(traceId.slice(-8), 16) <= limit;
      return { decision: sampled ? SamplingDecision.RECORD_AND_SAMPLED : SamplingDecision.NOT_RECORD };
    },
    toString: () => `InmeshSampler{${percent}}`,
  };
  return new ParentBasedSampler({
    root: percent >= 100 ? new AlwaysOnSampler() : root,
  });
}
