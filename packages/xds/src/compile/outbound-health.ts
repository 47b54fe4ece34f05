import type { GrpcProbe, HeaderValue, HealthCheckPolicy, HttpProbe, StatusRange, TcpProbe } from 'inmesh/model';
import type { HeaderValueOption } from '../proto/envoy/base.ts';
import type {
  GrpcHealthCheck,
  HealthCheck,
  HealthCheckPayload,
  HttpHealthCheck,
  TcpHealthCheck,
} from '../proto/envoy/health-check.ts';
import type { Int64Range } from '../proto/envoy/ranges.ts';
import { ResourceError } from '../resources.ts';
import { isToken } from './outbound-headers.ts';
import { lineOf } from './outbound-matchers.ts';
import type { Remarks } from './outbound-remarks.ts';

/** What of the rest of the cluster health checks need. */
export interface HealthContext {
  /** Host header, where a check has none. */
  readonly host: string;
  readonly minHealthPercent: number;
  readonly ignoreNew: boolean;
}

/** The active health check of a cluster: the first, where there are several. */
export function healthCheckOf(
  checks: readonly HealthCheck[],
  context: HealthContext,
  remarks: Remarks,
): HealthCheckPolicy | undefined {
  const [check] = checks;
  if (check === undefined) return undefined;
  for (let index = 1; index < checks.length; index += 1) {
    remarks.ignored(`health_checks[${index}]`, 'an endpoint has one health check, the first');
  }
  const path = 'health_checks[0]';
  const probe = probeOf(check, context.host, path, remarks);
  if (probe === undefined) return undefined;
  const { alt_port: port } = check;
  if (port !== undefined && port > 65_535) {
    throw new ResourceError(`${path}.alt_port`, 'expected a port', { value: port });
  }
  // One without an end would keep the process busy with nothing else.
  const time = (field: string, ms: number | undefined): number => {
    if (ms !== undefined && ms > 0) return ms;
    throw new ResourceError(`${path}.${field}`, 'expected a time above 0', { value: ms });
  };
  const interval = time('interval', check.interval);
  const unhealthyIntervalMs = time('unhealthy_interval', check.unhealthy_interval ?? interval);
  return {
    probe,
    ...(port === undefined || port === 0 ? {} : { port }),
    intervalMs: interval,
    timeoutMs: time('timeout', check.timeout),
    unhealthyThreshold: check.unhealthy_threshold ?? 1,
    healthyThreshold: check.healthy_threshold ?? 1,
    unhealthyIntervalMs,
    unhealthyEdgeIntervalMs: time('unhealthy_edge_interval', check.unhealthy_edge_interval ?? unhealthyIntervalMs),
    healthyEdgeIntervalMs: time('healthy_edge_interval', check.healthy_edge_interval ?? interval),
    initialJitterMs: check.initial_jitter ?? 0,
    intervalJitterMs: check.interval_jitter ?? 0,
    intervalJitterPercent: check.interval_jitter_percent,
    ignoreNew: context.ignoreNew,
    minHealthPercent: context.minHealthPercent,
  };
}

function probeOf(
  check: HealthCheck,
  host: string,
  path: string,
  remarks: Remarks,
): HttpProbe | TcpProbe | GrpcProbe | undefined {
  const {
    custom_health_check: custom,
    grpc_health_check: grpc,
    http_health_check: http,
    tcp_health_check: tcp,
  } = check;
  if (http !== undefined) return httpProbe(http, host, `${path}.http_health_check`, remarks);
  if (tcp !== undefined) return tcpProbe(tcp, `${path}.tcp_health_check`);
  if (grpc !== undefined) return grpcProbe(grpc, host, `${path}.grpc_health_check`, remarks);
  if (custom !== undefined) {
    remarks.ignored(`${path}.custom_health_check`, `${custom.name} is not known here: there are no health checks`);
    return undefined;
  }
  throw new ResourceError(path, 'needs one of http_health_check, tcp_health_check and grpc_health_check');
}

function httpProbe(check: HttpHealthCheck, host: string, path: string, remarks: Remarks): HttpProbe {
  if (!check.path.startsWith('/')) {
    throw new ResourceError(`${path}.path`, 'expected a path that begins with /', { value: check.path });
  }
  const method = check.method === 'METHOD_UNSPECIFIED' ? 'GET' : check.method;
  if (typeof method === 'number' || method === 'CONNECT') {
    throw new ResourceError(`${path}.method`, 'expected a method other than CONNECT', { value: method });
  }
  const expected = check.expected_statuses.map((each, index) => rangeOf(each, `${path}.expected_statuses[${index}]`));
  return {
    kind: 'http',
    method,
    path: lineOf(check.path, `${path}.path`),
    host: check.host === '' ? host : lineOf(check.host, `${path}.host`),
    headers: headersOf(check.request_headers_to_add, `${path}.request_headers_to_add`, remarks),
    expected: expected.length === 0 ? [{ from: 200, to: 200 }] : expected,
    retriable: check.retriable_statuses.map((each, index) => rangeOf(each, `${path}.retriable_statuses[${index}]`)),
  };
}

/** `end` is not part of Envoy's range. */
function rangeOf({ end, start }: Int64Range, path: string): StatusRange {
  if (start < 100 || end > 600 || start >= end) {
    throw new ResourceError(path, 'expected start below end, both from 100 to 600', { value: [start, end] });
  }
  return { from: start, to: end - 1 };
}

function tcpProbe({ receive, send }: TcpHealthCheck, path: string): TcpProbe {
  const sent = send === undefined ? undefined : payloadOf(send, `${path}.send`);
  return {
    kind: 'tcp',
    ...(sent === undefined ? {} : { send: sent }),
    receive: receive.map((each, index) => payloadOf(each, `${path}.receive[${index}]`)),
  };
}

/** Envoy: `text` is in hexadecimal. */
function payloadOf({ binary, text }: HealthCheckPayload, path: string): Uint8Array {
  if (binary !== undefined && binary.length > 0) return binary;
  if (text === undefined || text === '' || !/^([0-9a-fA-F]{2})+$/.test(text)) {
    throw new ResourceError(`${path}.text`, 'expected bytes in hexadecimal', { value: text });
  }
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

function grpcProbe(check: GrpcHealthCheck, host: string, path: string, remarks: Remarks): GrpcProbe {
  return {
    kind: 'grpc',
    service: check.service_name,
    host: check.authority === '' ? host : lineOf(check.authority, `${path}.authority`),
    headers: headersOf(check.initial_metadata, `${path}.initial_metadata`, remarks),
  };
}

function headersOf(options: readonly HeaderValueOption[], path: string, remarks: Remarks): readonly HeaderValue[] {
  return options.flatMap(({ header }, index) => {
    if (header === undefined || !isToken(header.key)) {
      throw new ResourceError(`${path}[${index}].header`, 'expected a header with a name');
    }
    if (header.value.includes('%')) remarks.approximated(`${path}[${index}]`, 'the value is sent as it is written');
    return { name: header.key.toLowerCase(), value: lineOf(header.value, `${path}[${index}].header.value`) };
  });
}
