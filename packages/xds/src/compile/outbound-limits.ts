import {
  type ConnectionLimits,
  defaultConnectionLimits,
  type Cluster as ModelCluster,
  type RetryBudget,
} from 'inmesh/model';
import type { TcpKeepalive } from '../proto/envoy/address.ts';
import type { Thresholds } from '../proto/envoy/circuit-breakers.ts';
import type { Cluster } from '../proto/envoy/cluster.ts';
import {
  type CommonHttpProtocolOptions,
  type Http2ProtocolOptions,
  type HttpProtocolOptions,
  httpProtocolOptionsSchema,
  type UpstreamHttpProtocolOptions,
} from '../proto/envoy/http-protocol-options.ts';
import { ResourceError } from '../resources.ts';
import type { Remarks } from './outbound-remarks.ts';
import { unpackAt } from './unpack.ts';

const unlimited = Number.POSITIVE_INFINITY;
const maxUint32 = 4_294_967_295;
/** The most that Envoy allows is no limit in practice, and what Istio writes for it. */
const maxStreams = 1_073_741_824;

/** Envoy's limits of a cluster without a word on them. */
const envoyDefaults = { connections: 1_024, pending: 1_024, requests: 1_024, retries: 3 };
const envoyConnectMs = 5_000;

/** How HTTP is spoken, from where it stands now and from where it stood in older versions of the API. */
export interface ReadProtocol {
  readonly http2?: NonNullable<ModelCluster['http2']>;
  readonly common: CommonHttpProtocolOptions | undefined;
  readonly http2Options: Http2ProtocolOptions | undefined;
  readonly upstream: UpstreamHttpProtocolOptions | undefined;
}

export function protocolOf(cluster: Cluster, remarks: Remarks): ReadProtocol {
  const name = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  const packed = cluster.typed_extension_protocol_options.get(name);
  for (const other of cluster.typed_extension_protocol_options.keys()) {
    if (other !== name) remarks.ignored(`typed_extension_protocol_options[${JSON.stringify(other)}]`, 'not known here');
  }
  const path = `typed_extension_protocol_options[${JSON.stringify(name)}]`;
  const options = unpackAt(httpProtocolOptionsSchema, packed, path, (field) => remarks.ignored(field, 'not read'));
  if (options !== undefined) return newProtocol(options, path, remarks);
  const isAsCaller = cluster.protocol_selection === 'USE_DOWNSTREAM_PROTOCOL';
  return {
    ...(isAsCaller ? { http2: 'asCaller' } : cluster.http2_protocol_options === undefined ? {} : { http2: 'always' }),
    common: cluster.common_http_protocol_options,
    http2Options: cluster.http2_protocol_options,
    upstream: cluster.upstream_http_protocol_options,
  };
}

function newProtocol(options: HttpProtocolOptions, path: string, remarks: Remarks): ReadProtocol {
  const rest = { common: options.common_http_protocol_options, upstream: options.upstream_http_protocol_options };
  const { auto_config: auto, explicit_http_config: explicit, use_downstream_protocol_config: asCaller } = options;
  if (asCaller !== undefined) return { ...rest, http2: 'asCaller', http2Options: asCaller.http2_protocol_options };
  if (auto !== undefined) {
    remarks.approximated(`${path}.auto_config`, 'the version is not negotiated: it is HTTP/1.1');
    return { ...rest, http2Options: auto.http2_protocol_options };
  }
  if (explicit?.http3_protocol_options !== undefined) {
    throw new ResourceError(`${path}.explicit_http_config.http3_protocol_options`, 'HTTP/3 is not spoken here');
  }
  const http2Options = explicit?.http2_protocol_options;
  return { ...rest, ...(http2Options === undefined ? {} : { http2: 'always' }), http2Options };
}

/** Limits of the connections and requests to a cluster. */
export function limitsOf(cluster: Cluster, { common, http2Options }: ReadProtocol): ConnectionLimits {
  const thresholds = thresholdsOf(cluster);
  const connectMs = cluster.connect_timeout ?? envoyConnectMs;
  if (connectMs <= 0) throw new ResourceError('connect_timeout', 'expected a time above 0', { value: connectMs });
  const keepalive = cluster.upstream_connection_options?.tcp_keepalive;
  const pings = http2Options?.connection_keepalive;
  const perConnection = common?.max_requests_per_connection ?? cluster.max_requests_per_connection;
  return {
    maxConnections: limit(thresholds?.max_connections, envoyDefaults.connections),
    maxRequests: limit(thresholds?.max_requests, envoyDefaults.requests),
    maxPendingRequests: limit(thresholds?.max_pending_requests, envoyDefaults.pending),
    // A budget takes the place of the number.
    maxRetries:
      thresholds?.retry_budget === undefined ? limit(thresholds?.max_retries, envoyDefaults.retries) : unlimited,
    maxRequestsPerConnection: perConnection === undefined || perConnection === 0 ? unlimited : perConnection,
    maxConcurrentStreams: streams(http2Options?.max_concurrent_streams),
    connectTimeoutMs: connectMs,
    idleTimeoutMs: common?.idle_timeout ?? defaultConnectionLimits.idleTimeoutMs,
    maxConnectionMs: positive(common?.max_connection_duration) ?? unlimited,
    ...(keepalive === undefined ? {} : { tcpKeepalive: keepaliveOf(keepalive) }),
    ...(pings === undefined
      ? {}
      : {
          http2Keepalive: {
            ...(pings.interval === undefined ? {} : { intervalMs: pings.interval }),
            ...(pings.timeout === undefined ? {} : { timeoutMs: pings.timeout }),
          },
        }),
  };
}

function limit(value: number | undefined, byDefault: number): number {
  const given = value ?? byDefault;
  return given === maxUint32 ? unlimited : given;
}

function streams(value: number | undefined): number {
  return value === undefined || value >= maxStreams ? unlimited : value;
}

function positive(ms: number | undefined): number | undefined {
  return ms === undefined || ms <= 0 ? undefined : ms;
}

/** Envoy counts them in seconds. */
function keepaliveOf(message: TcpKeepalive): NonNullable<ConnectionLimits['tcpKeepalive']> {
  const { keepalive_interval: interval, keepalive_probes: probes, keepalive_time: time } = message;
  return {
    ...(probes === undefined || probes === 0 ? {} : { probes }),
    ...(time === undefined ? {} : { timeMs: time * 1_000 }),
    ...(interval === undefined ? {} : { intervalMs: interval * 1_000 }),
  };
}

/** Those of normal priority, which all calls have. */
function thresholdsOf({ circuit_breakers: breakers }: Cluster): Thresholds | undefined {
  return breakers?.thresholds.find(({ priority }) => priority === 'DEFAULT');
}

export function retryBudgetOf(cluster: Cluster, remarks: Remarks): RetryBudget | undefined {
  for (const [index, { priority }] of (cluster.circuit_breakers?.thresholds ?? []).entries()) {
    if (priority !== 'DEFAULT') {
      remarks.ignored(`circuit_breakers.thresholds[${index}]`, 'all calls have normal priority');
    }
  }
  const budget = thresholdsOf(cluster)?.retry_budget;
  if (budget === undefined) return undefined;
  return {
    percent: Math.min(100, budget.budget_percent?.value ?? 20),
    intervalMs: 0,
    minRetryConcurrency: budget.min_retry_concurrency ?? 3,
  };
}
