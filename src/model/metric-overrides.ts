/** Istio's metrics, as a MetricSelector names them. */
export const metricNames = {
  REQUEST_COUNT: 'requests_total',
  REQUEST_DURATION: 'request_duration_milliseconds',
  REQUEST_SIZE: 'request_bytes',
  RESPONSE_SIZE: 'response_bytes',
  TCP_OPENED_CONNECTIONS: 'tcp_connections_opened_total',
  TCP_CLOSED_CONNECTIONS: 'tcp_connections_closed_total',
  TCP_SENT_BYTES: 'tcp_sent_bytes_total',
  TCP_RECEIVED_BYTES: 'tcp_received_bytes_total',
  GRPC_REQUEST_MESSAGES: 'request_messages_total',
  GRPC_RESPONSE_MESSAGES: 'response_messages_total',
} as const;

export type MetricSelectorName = keyof typeof metricNames;
/** Without `istio_`. */
export type IstioMetric = (typeof metricNames)[MetricSelectorName];

/** What becomes of one metric. */
export interface MetricOverride {
  readonly disabled: boolean;
  /** Tags by name: an expression in CEL over `callAttributes`, or nothing: removed. */
  readonly tags: ReadonlyMap<string, string | undefined>;
}

/** What Telemetries make of the metrics of one side. */
export interface DirectionMetrics {
  /** None at all. */
  readonly disabled: boolean;
  readonly metrics: ReadonlyMap<IstioMetric, MetricOverride>;
}

/** Istio's Telemetry `metrics`, merged for one workload. */
export interface MetricOverrides {
  readonly client: DirectionMetrics;
  readonly server: DirectionMetrics;
}
