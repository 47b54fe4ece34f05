import { defaultTracingPolicy, type TracingDirection, type TracingPolicy } from '../model/tracing.ts';
import type { Collector } from './collector.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import type { TelemetryScope } from './telemetries.ts';
import { type CustomTagSpec, compileCustomTags, type MeshTracing } from './tracing-settings.ts';

interface TracingSpec {
  readonly match?: { readonly mode?: 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER' };
  readonly providers?: readonly { readonly name: string }[];
  readonly randomSamplingPercentage?: number;
  readonly disableSpanReporting?: boolean;
  readonly customTags?: Readonly<Record<string, CustomTagSpec>>;
  readonly useRequestIdForTraceSampling?: boolean;
  readonly enableIstioTags?: boolean;
  readonly disableContextPropagation?: boolean;
}

export interface TelemetryTracingBody {
  readonly spec?: TelemetryScope & { readonly tracing?: readonly TracingSpec[] };
}

type Telemetry = Resource<TelemetryTracingBody>;

/**
 * What is traced of a workload: Telemetries of the root namespace, then of its own, then those that select it,
 * each overriding what came before field by field, as Istio merges them; without any, what the MeshConfig says.
 * Nothing where nobody says anything.
 *
 * @param applied see `applicableTelemetries`
 */
export function compileTracing(
  applied: readonly Telemetry[],
  { tracing: mesh }: MeshSettings,
  collector: Collector,
): TracingPolicy | undefined {
  const entries = entriesOf(applied);
  if (entries.length === 0 && mesh?.defaultTracer === undefined) return mesh && fromMesh(mesh);
  let server = base(mesh);
  let client = base(mesh);
  const byDefault = mesh?.tracers.find(({ provider }) => provider.name === mesh.defaultTracer);
  const reportTo = (direction: TracingDirection, named: typeof byDefault): TracingDirection =>
    named === undefined
      ? direction
      : {
          ...direction,
          provider: named.provider,
          ...(named.maxPathLength === 0 ? {} : { maxPathLength: named.maxPathLength }),
        };
  server = reportTo(server, byDefault);
  client = reportTo(client, byDefault);
  for (const { index, resource, spec } of entries) {
    const path = ['spec', 'tracing', index];
    const named = namedTracer(spec, resource, path, mesh, collector);
    const tags = compileCustomTags(spec.customTags, resource, [...path, 'customTags'], collector);
    const merge = (before: TracingDirection): TracingDirection => {
      const { disableContextPropagation, disableSpanReporting, enableIstioTags, randomSamplingPercentage } = spec;
      return {
        ...reportTo(before, named),
        ...(disableSpanReporting === undefined ? {} : { enabled: !disableSpanReporting }),
        ...(Object.keys(spec.customTags ?? {}).length === 0 ? {} : { customTags: tags }),
        ...(randomSamplingPercentage === undefined ? {} : { samplingPercent: randomSamplingPercentage }),
        ...(spec.useRequestIdForTraceSampling === undefined ? {} : { byRequestId: spec.useRequestIdForTraceSampling }),
        ...(enableIstioTags === undefined ? {} : { istioTags: enableIstioTags }),
        ...(disableContextPropagation === undefined ? {} : { propagate: !disableContextPropagation }),
      };
    };
    const mode = spec.match?.mode ?? 'CLIENT_AND_SERVER';
    if (mode !== 'CLIENT') server = merge(server);
    if (mode !== 'SERVER') client = merge(client);
  }
  return { server, client };
}

/** Istio: the settings of the MeshConfig are below those of Telemetries. */
function base(mesh: MeshTracing | undefined): TracingDirection {
  const { server } = defaultTracingPolicy;
  if (mesh === undefined) return server;
  const { customTags, maxPathLength, samplingPercent } = mesh;
  return { ...server, customTags, maxPathLength, samplingPercent };
}

/** Nobody has a Telemetry: what Istio calls legacy. */
function fromMesh(mesh: MeshTracing): TracingPolicy {
  const direction: TracingDirection = {
    ...base(mesh),
    enabled: mesh.enabled,
    istioTags: mesh.istioTags,
    ...(mesh.zipkin === undefined ? {} : { provider: mesh.zipkin }),
  };
  return { server: direction, client: direction };
}

interface Entry {
  readonly resource: Telemetry;
  readonly spec: TracingSpec;
  readonly index: number;
}

function entriesOf(resources: readonly Telemetry[]): readonly Entry[] {
  return resources.flatMap((resource) =>
    (resource.body.spec?.tracing ?? []).map((spec, index) => ({ resource, spec, index })),
  );
}

function namedTracer(
  { providers = [] }: TracingSpec,
  resource: Resource,
  path: readonly (string | number)[],
  mesh: MeshTracing | undefined,
  collector: Collector,
): MeshTracing['tracers'][number] | undefined {
  const [first, second] = providers;
  if (first === undefined) return undefined;
  const at = [...path, 'providers'];
  if (second !== undefined) collector.warn(resource, at, 'ignored', `as in Istio only the first counts: ${first.name}`);
  const found = mesh?.tracers.find(({ provider }) => provider.name === first.name);
  if (found === undefined) {
    const what = `MeshConfig has no extension provider ${first.name} of kind zipkin or opentelemetry`;
    collector.warn(resource, at, 'ignored', `${what}: the tracer of the process decides where spans go`);
  }
  return found;
}
