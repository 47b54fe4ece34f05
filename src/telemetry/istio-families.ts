import type { IstioMetric, MetricOverrides } from '../model/metric-overrides.ts';
import type { SeriesLabels } from './labels.ts';
import type { MetricFamily, MetricHistogram, MetricSample } from './metric-family.ts';
import { bucketBoundsMs, istioBounds, type OutcomeSnapshot, type SizeSnapshot } from './outcome.ts';
import { addedUp, mayCoincide, overriddenLabels } from './overridden.ts';
import type { SeriesSnapshot } from './series.ts';
import type { TcpSeriesSnapshot } from './tcp-series.ts';

/** Istio's standard metrics, with its names, labels and buckets, and what Telemetries make of them. */
export function istioFamilies(
  requests: readonly SeriesSnapshot[],
  connections: readonly TcpSeriesSnapshot[],
  overrides?: MetricOverrides,
): readonly MetricFamily[] {
  const coincide = mayCoincide(overrides, requests) || mayCoincide(overrides, connections);
  const family = (metric: IstioMetric, rest: Omit<MetricFamily, 'name' | 'samples'>, all: readonly Sample[]) => {
    const samples = all.flatMap(({ series, ...sample }): readonly MetricSample[] => {
      const labels = overriddenLabels(metric, series, sample.labels, overrides);
      return labels === undefined ? [] : [{ ...sample, labels }];
    });
    return { name: `istio_${metric}`, ...rest, samples: coincide ? addedUp(samples) : samples };
  };
  const outcomes = requests.flatMap(({ labels: series, outcomes }) =>
    outcomes.map((outcome) => ({ outcome, series, labels: requestLabels(series, outcome) })),
  );
  const sizes = (of: (outcome: OutcomeSnapshot) => SizeSnapshot): readonly Sample[] =>
    outcomes.flatMap(({ labels, outcome, series }) => {
      const { buckets, count, sum } = of(outcome);
      return count === 0 ? [] : [{ series, labels, value: sum, histogram: { bounds: istioBounds, buckets, count } }];
    });
  const messages = (of: (series: SeriesSnapshot) => number): readonly Sample[] =>
    requests.flatMap((each) => {
      const value = of(each);
      const { labels: series } = each;
      return value === 0 ? [] : [{ series, labels: { ...istioLabels(series), request_protocol: 'grpc' }, value }];
    });
  const tcp = (of: (series: TcpSeriesSnapshot) => number): readonly Sample[] =>
    connections.map((each) => ({
      series: each.labels,
      labels: { ...istioLabels(each.labels), request_protocol: 'tcp', response_flags: '-' },
      value: of(each),
    }));
  return [
    family(
      'requests_total',
      { help: 'Requests, by who reports, who called, who was called, and how it ended.', type: 'counter' },
      outcomes.map(({ labels, outcome, series }) => ({ series, labels, value: outcome.requests })),
    ),
    family(
      'request_duration_milliseconds',
      {
        help: 'Time from the start of a request to the last byte of its response, all tries included.',
        type: 'histogram',
      },
      outcomes.map(({ labels, outcome, series }) => ({
        series,
        labels,
        value: outcome.sumMs,
        histogram: durations(outcome),
      })),
    ),
    family(
      'request_bytes',
      { help: 'Sizes of request bodies.', type: 'histogram' },
      sizes(({ requestBytes }) => requestBytes),
    ),
    family(
      'response_bytes',
      {
        help: 'Sizes of responses: of their bodies where this process called, with headers where it served.',
        type: 'histogram',
      },
      sizes(({ responseBytes }) => responseBytes),
    ),
    family(
      'request_messages_total',
      { help: 'Messages of gRPC calls from client to server.', type: 'counter' },
      messages(({ requestMessages }) => requestMessages),
    ),
    family(
      'response_messages_total',
      { help: 'Messages of gRPC calls from server to client.', type: 'counter' },
      messages(({ responseMessages }) => responseMessages),
    ),
    family(
      'tcp_connections_opened_total',
      { help: 'Connections of mesh.connect and mesh.listenTcp that were opened.', type: 'counter' },
      tcp(({ opened }) => opened),
    ),
    family(
      'tcp_connections_closed_total',
      { help: 'Connections of mesh.connect and mesh.listenTcp that are closed.', type: 'counter' },
      tcp(({ closed }) => closed),
    ),
    family(
      'tcp_sent_bytes_total',
      { help: 'Bytes that servers have sent on these connections.', type: 'counter' },
      tcp(({ sentBytes }) => sentBytes),
    ),
    family(
      'tcp_received_bytes_total',
      { help: 'Bytes that clients have sent on these connections.', type: 'counter' },
      tcp(({ receivedBytes }) => receivedBytes),
    ),
  ];
}

type Sample = MetricSample & { readonly series: SeriesLabels };

/** Labels that all of Istio's metrics have. */
function istioLabels(labels: SeriesLabels): Readonly<Record<string, string>> {
  return {
    reporter: labels.reporter,
    source_workload: known(labels.sourceWorkload),
    source_workload_namespace: known(labels.sourceNamespace),
    source_principal: known(labels.sourcePrincipal),
    source_app: known(labels.sourceApp),
    source_version: known(labels.sourceVersion),
    source_canonical_service: known(labels.sourceCanonicalService),
    source_canonical_revision: known(labels.sourceCanonicalRevision),
    destination_workload: known(labels.destinationWorkload),
    destination_workload_namespace: known(labels.destinationNamespace),
    destination_principal: known(labels.destinationPrincipal),
    destination_app: known(labels.destinationApp),
    destination_version: known(labels.destinationVersion),
    destination_service: known(labels.destinationService),
    destination_service_name: known(labels.destinationServiceName),
    destination_service_namespace: known(labels.destinationServiceNamespace),
    destination_canonical_service: known(labels.destinationCanonicalService),
    destination_canonical_revision: known(labels.destinationCanonicalRevision),
    connection_security_policy: labels.securityPolicy ?? 'unknown',
  };
}

const known = (value: string | undefined): string => (value === undefined || value === '' ? 'unknown' : value);

function requestLabels(labels: SeriesLabels, { flag, grpcStatus, status }: OutcomeSnapshot): Record<string, string> {
  return {
    ...istioLabels(labels),
    request_protocol: grpcStatus === undefined ? 'http' : 'grpc',
    response_code: String(status),
    grpc_response_status: grpcStatus === undefined ? '' : String(grpcStatus),
    response_flags: flag === '' ? '-' : flag,
  };
}

/** Istio's buckets, of ours, which are finer. */
function durations({ buckets, requests }: OutcomeSnapshot): MetricHistogram {
  const merged: number[] = [];
  let sum = 0;
  bucketBoundsMs.forEach((bound, at) => {
    sum += buckets[at] as number;
    if (!istioBounds.includes(bound)) return;
    merged.push(sum);
    sum = 0;
  });
  merged.push(sum + (buckets.at(-1) as number));
  return { bounds: istioBounds, buckets: merged, count: requests };
}
