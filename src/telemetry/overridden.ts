import type { DirectionMetrics, IstioMetric, MetricOverrides } from '../model/metric-overrides.ts';
import type { SeriesLabels } from './labels.ts';
import type { MetricSample } from './metric-family.ts';

type Labels = Readonly<Record<string, string>>;

/** Istio's labels; one that a metric does not have is not added by an override, as in Istio. */
const ofHttp: ReadonlySet<string> = new Set(['response_code', 'grpc_response_status', 'response_flags']);
/** What every metric of a sidecar has, and none here. */
const notHere: ReadonlySet<string> = new Set(['source_cluster', 'destination_cluster']);

/** What overrides make of the labels of one sample; nothing: the metric is disabled. */
export function overriddenLabels(
  metric: IstioMetric,
  series: SeriesLabels,
  labels: Labels,
  overrides: MetricOverrides | undefined,
): Labels | undefined {
  if (overrides === undefined) return labels;
  const { disabled, metrics }: DirectionMetrics = series.reporter === 'source' ? overrides.client : overrides.server;
  if (disabled) return undefined;
  const override = metrics.get(metric);
  if (override === undefined) return labels;
  if (override.disabled) return undefined;
  const changed: Record<string, string> = { ...labels };
  for (const [name, text] of override.tags) {
    if (text === undefined) {
      // Only Istio's own labels can be removed, and there are no others.
      delete changed[name];
    } else if (Object.hasOwn(labels, name) || notHere.has(name) || !ofHttp.has(name)) {
      // What was counted before there was such an override does not know.
      changed[name] = series.tags?.[text] ?? 'unknown';
    }
  }
  return changed;
}

/** Are there samples whose labels may have become the same? */
export function mayCoincide(overrides: MetricOverrides | undefined, all: readonly { labels: SeriesLabels }[]): boolean {
  return overrides !== undefined || all.some(({ labels }) => labels.tags !== undefined);
}

/** Adds up samples with the same labels. */
export function addedUp(samples: readonly MetricSample[]): readonly MetricSample[] {
  const byLabels = new Map<string, MetricSample>();
  for (const sample of samples) {
    const names = Object.keys(sample.labels).sort();
    const key = JSON.stringify(names.map((name) => [name, sample.labels[name]]));
    const known = byLabels.get(key);
    byLabels.set(key, known === undefined ? sample : sum(known, sample));
  }
  return [...byLabels.values()];
}

function sum(a: MetricSample, b: MetricSample): MetricSample {
  const { histogram } = a;
  if (histogram === undefined || b.histogram === undefined) return { ...a, value: a.value + b.value };
  const more = b.histogram;
  return {
    ...a,
    value: a.value + b.value,
    histogram: {
      ...histogram,
      buckets: histogram.buckets.map((count, at) => count + (more.buckets[at] ?? 0)),
      count: histogram.count + more.count,
    },
  };
}
