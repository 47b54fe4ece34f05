import { type CelType, compileCel } from '../lib/cel.ts';
import { callAttributeType } from '../model/call-attributes.ts';
import {
  type DirectionMetrics,
  type IstioMetric,
  type MetricOverride,
  type MetricOverrides,
  type MetricSelectorName,
  metricNames,
} from '../model/metric-overrides.ts';
import { checkedNames } from './attribute-names.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { MetricProviders } from './metric-providers.ts';
import type { Resource } from './resource.ts';
import type { TelemetryScope } from './telemetries.ts';

interface MatchSpec {
  readonly metric?: MetricSelectorName | 'ALL_METRICS';
  readonly customMetric?: string;
  readonly mode?: 'CLIENT_AND_SERVER' | 'CLIENT' | 'SERVER';
}

interface OverrideSpec {
  readonly match?: MatchSpec;
  readonly disabled?: boolean | null;
  readonly tagOverrides?: Readonly<
    Record<string, { readonly operation?: 'UPSERT' | 'REMOVE'; readonly value?: string }>
  >;
}

interface MetricsSpec {
  readonly providers?: readonly { readonly name: string }[];
  readonly overrides?: readonly OverrideSpec[];
  readonly reportingInterval?: string;
}

export interface MetricsBody {
  readonly spec?: TelemetryScope & { readonly metrics?: readonly MetricsSpec[] };
}

type Telemetry = Resource<MetricsBody>;

interface Entry {
  readonly resource: Telemetry;
  readonly spec: MetricsSpec;
  readonly path: Path;
}

/**
 * What becomes of Istio's metrics, merged as Istio does: for the Prometheus provider that is named last, override after
 * override, metric by metric and tag by tag. Nothing where nothing changes.
 *
 * @param applied see `applicableTelemetries`
 */
export function compileMetricOverrides(
  applied: readonly Telemetry[],
  mesh: MetricProviders,
  collector: Collector,
): MetricOverrides | undefined {
  const entries = applied.flatMap((resource) =>
    (resource.body.spec?.metrics ?? []).map(
      (spec, index): Entry => ({ resource, spec, path: ['spec', 'metrics', index] }),
    ),
  );
  let named = mesh.defaults;
  for (const { spec } of entries) named = namesOf(spec).length > 0 ? namesOf(spec) : named;
  const isPrometheus = (name: string): boolean => mesh.prometheus.some((each) => same(each, name));
  const inScope = named.find(isPrometheus);
  const client = new Side();
  const server = new Side();
  let inherited = mesh.defaults;
  for (const entry of entries) {
    const { path, resource, spec } = entry;
    const own = namesOf(spec);
    inherited = own.length > 0 ? own : inherited;
    for (const [index, name] of own.entries()) {
      if (isPrometheus(name)) continue;
      const note = `MeshConfig has no extension provider ${name} of kind prometheus: it has no metrics of this process`;
      collector.warn(resource, [...path, 'providers', index], 'ignored', note);
    }
    if (inScope === undefined || !inherited.includes(inScope)) {
      collector.warn(resource, path, 'ignored', 'is for providers that are not in force');
      continue;
    }
    for (const [index, override] of (spec.overrides ?? []).entries()) {
      const at = [...path, 'overrides', index];
      const metrics = metricsOf(override, resource, at, collector);
      const tags = tagsOf(override, resource, [...at, 'tagOverrides'], collector);
      const mode = override.match?.mode ?? 'CLIENT_AND_SERVER';
      if (mode !== 'SERVER') client.add(override, metrics, tags);
      if (mode !== 'CLIENT') server.add(override, metrics, tags);
    }
  }
  const result = { client: client.result(), server: server.result() };
  const isEmpty = ({ disabled, metrics }: DirectionMetrics): boolean => !disabled && metrics.size === 0;
  return isEmpty(result.client) && isEmpty(result.server) ? undefined : result;
}

type Tags = ReadonlyMap<string, string | undefined>;

/** Istio's `mergeMetrics` for one side of one provider. */
class Side {
  #disabled = false;
  readonly #metrics = new Map<IstioMetric, { disabled: boolean; tags: Map<string, string | undefined> }>();

  add({ disabled, match }: OverrideSpec, metrics: readonly IstioMetric[], tags: Tags): void {
    // All of them at once: no matter what else it says.
    if (isAll(match) && disabled === true) {
      this.#disabled = true;
      return;
    }
    this.#disabled = false;
    for (const metric of metrics) {
      let known = this.#metrics.get(metric);
      if (known === undefined) this.#metrics.set(metric, (known = { disabled: false, tags: new Map() }));
      if (disabled !== undefined && disabled !== null) known.disabled = disabled;
      for (const [name, value] of tags) known.tags.set(name, value);
    }
  }

  result(): DirectionMetrics {
    const changed = [...this.#metrics].filter(([, { disabled, tags }]) => disabled || tags.size > 0);
    const metrics: ReadonlyMap<IstioMetric, MetricOverride> = this.#disabled ? new Map() : new Map(changed);
    return { disabled: this.#disabled, metrics };
  }
}

const namesOf = ({ providers = [] }: MetricsSpec): readonly string[] => providers.map(({ name }) => name);
const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
const allMetrics: readonly IstioMetric[] = Object.values(metricNames);

function isAll(selector: MatchSpec | undefined): boolean {
  return selector?.customMetric === undefined && (selector?.metric ?? 'ALL_METRICS') === 'ALL_METRICS';
}

function metricsOf(
  { match }: OverrideSpec,
  resource: Resource,
  path: Path,
  collector: Collector,
): readonly IstioMetric[] {
  if (isAll(match)) return allMetrics;
  const { customMetric, metric } = match ?? {};
  if (metric !== undefined && metric !== 'ALL_METRICS') return [metricNames[metric]];
  // Istio hands the name on as it is: the name of a standard metric is that metric.
  const found = allMetrics.filter((each) => each === customMetric);
  if (found.length === 0) {
    const note = 'no metric of this name is made here: those of Istio are';
    collector.warn(resource, [...path, 'match', 'customMetric'], 'ignored', note);
  }
  return found;
}

const tagTypes: ReadonlySet<CelType> = new Set(['string', 'int', 'uint', 'double', 'bool']);

function tagsOf({ tagOverrides = {} }: OverrideSpec, resource: Resource, path: Path, collector: Collector): Tags {
  const tags = new Map<string, string | undefined>();
  for (const [given, { operation = 'UPSERT', value = '' }] of Object.entries(tagOverrides)) {
    // As Envoy writes them for Prometheus.
    const name = given.replace(/[^a-zA-Z0-9_]/g, '_').replace(/^(?=\d)/, '_');
    const at = [...path, given];
    if (name === '' || name === 'le' || name.startsWith('__') || tags.has(name)) {
      collector.warn(resource, at, 'ignored', 'is no name of a label of its own for Prometheus');
      continue;
    }
    if (operation === 'UPSERT') checkTag(value, resource, [...at, 'value'], collector);
    tags.set(name, operation === 'REMOVE' ? undefined : value);
  }
  return tags;
}

function checkTag(expression: string, resource: Resource, path: Path, collector: Collector): void {
  // Said by the rules of Istio's own.
  if (expression === '') return;
  try {
    const { type } = compileCel(expression, checkedNames(callAttributeType), { makesTexts: true });
    if (!tagTypes.has(type)) collector.refuse(resource, path, `is a ${type}, and no value of a label`, expression);
  } catch (error) {
    collector.refuse(resource, path, (error as Error).message, expression);
  }
}
