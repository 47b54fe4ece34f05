import { defaultTracingPolicy, type TracingDirection, type TracingPolicy } from '../model/tracing.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { byAge, type Resource } from './resource.ts';
import { type CustomTagSpec, compileCustomTags, type MeshTracing } from './tracing-settings.ts';
import { selects } from './values.ts';

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
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly targetRef?: unknown;
    readonly targetRefs?: readonly unknown[];
    readonly tracing?: readonly TracingSpec[];
  };
}

type Telemetry = Resource<TelemetryTracingBody>;

/**
 * What is traced of a workload: Telemetries of the root namespace, then of its own, then those that select it,
 * each overriding what came before field by field, as Istio merges them; without any, what the MeshConfig says.
 * Nothing where nobody says anything.
 */
export function compileTracing(
  resources: readonly Telemetry[],
  workload: Workload,
  { rootNamespace, tracing: mesh }: MeshSettings,
  collector: Collector,
): TracingPolicy | undefined {
  const entries = applicable(resources, workload, rootNamespace, collector);
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

/** One for the whole mesh, one for the namespace (the oldest counts), all that select the workload. */
function applicable(
  resources: readonly Telemetry[],
  workload: Workload,
  rootNamespace: string,
  collector: Collector,
): readonly Entry[] {
  const sorted = [...resources].sort(byAge);
  for (const each of sorted) {
    if (hasTargets(each)) collector.warn(each, ['spec'], 'ignored', 'is for gateways and waypoints');
  }
  const plain = sorted.filter((each) => !hasTargets(each));
  const isWide = (each: Telemetry): boolean => Object.keys(labelsOf(each)).length === 0;
  const wideIn = (namespace: string): readonly Telemetry[] => {
    const [first, ...others] = plain.filter((each) => each.namespace === namespace && isWide(each));
    for (const other of others) {
      collector.warn(other, ['spec'], 'ignored', `${first?.name} is older and counts for ${namespace} instead`);
    }
    return first === undefined ? [] : [first];
  };
  const { labels, namespace } = workload;
  const chosen = [
    ...wideIn(rootNamespace),
    ...(namespace === rootNamespace ? [] : wideIn(namespace)),
    ...plain.filter((each) => each.namespace === namespace && !isWide(each) && selects(labelsOf(each), labels)),
  ];
  return chosen.flatMap((resource) =>
    (resource.body.spec?.tracing ?? []).map((spec, index) => ({ resource, spec, index })),
  );
}

function hasTargets({ body: { spec = {} } }: Telemetry): boolean {
  return spec.targetRef !== undefined || (spec.targetRefs ?? []).length > 0;
}

function labelsOf({ body }: Telemetry): Readonly<Record<string, string>> {
  return body.spec?.selector?.matchLabels ?? {};
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
