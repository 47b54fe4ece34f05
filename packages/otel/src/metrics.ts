import type { Attributes, HrTime } from '@opentelemetry/api';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import { type Mesh, type MetricFamiliesOptions, metricFamilies } from 'inmesh';
import { systemClock } from 'inmesh/identity';

type Family = ReturnType<typeof metricFamilies>[number];

/**
 * Everything that a mesh counts, for a metric reader of OpenTelemetry: the names and labels of Istio and
 * Envoy, as the Prometheus page of the mesh has them, with whole histograms. Cumulative since the mesh was made.
 *
 * @example
 * new PeriodicExportingMetricReader({ exporter, metricProducers: [meshMetrics(mesh)] });
 */
export function meshMetrics(mesh: Pick<Mesh, 'stats' | 'health'>, options: MetricFamiliesOptions = {}): MetricProducer {
  const startTime = toHrTime(systemClock.wallNow());
  return {
    async collect(): Promise<CollectionResult> {
      const endTime = toHrTime(systemClock.wallNow());
      const metrics = metricFamilies(mesh, options)
        .filter(({ samples }) => samples.length > 0)
        .map((family) => metricOf(family, startTime, endTime));
      return {
        errors: [],
        resourceMetrics: { resource: emptyResource(), scopeMetrics: [{ scope: { name: 'inmesh' }, metrics }] },
      };
    },
  };
}

function metricOf({ help, name, samples, type }: Family, startTime: HrTime, endTime: HrTime): MetricData {
  const point = <T>(labels: Attributes, value: T) => ({ startTime, endTime, attributes: labels, value });
  const descriptor = { name, description: help, unit: unitOf(name), valueType: 1, advice: {} };
  const aggregationTemporality = AggregationTemporality.CUMULATIVE;
  if (type === 'histogram') {
    return {
      descriptor,
      aggregationTemporality,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: samples.map(({ histogram, labels, value }) =>
        point(labels, {
          sum: value,
          count: histogram?.count ?? 0,
          buckets: { boundaries: [...(histogram?.bounds ?? [])], counts: [...(histogram?.buckets ?? [])] },
        }),
      ),
    };
  }
  const dataPoints = samples.map(({ labels, value }) => point(labels, value));
  return type === 'counter'
    ? { descriptor, aggregationTemporality, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    : { descriptor, aggregationTemporality, dataPointType: DataPointType.GAUGE, dataPoints };
}

function unitOf(name: string): string {
  if (/_milliseconds(_|$)/.test(name)) return 'ms';
  if (/_seconds(_|$)/.test(name)) return 's';
  return /_bytes(_|$)/.test(name) ? 'By' : '';
}

function toHrTime(ms: number): HrTime {
  return [Math.trunc(ms / 1_000), Math.round((ms % 1_000) * 1e6)];
}
