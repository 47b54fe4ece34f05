import type { OutlierPolicy } from '../model/cluster.ts';
import type { GrpcProbe, HealthCheckPolicy, HttpProbe, StatusRange, TcpProbe } from '../model/health-check.ts';
import type { HeaderValue } from '../model/route.ts';
import type { Collector } from './collector.ts';
import { createDestinationPolicies, type DestinationPolicyBody } from './destination-policies.ts';
import type { Path } from './document.ts';
import { rememberPart } from './remember.ts';
import type { Resource } from './resource.ts';
import { durationMs } from './values.ts';

export interface HealthCheckBody extends DestinationPolicyBody {
  readonly spec: DestinationPolicyBody['spec'] & {
    readonly http?: {
      readonly path: string;
      readonly host?: string;
      readonly method?: string;
      readonly headers?: HeadersSpec;
      readonly expectedStatuses?: readonly RangeSpec[];
      readonly retriableStatuses?: readonly RangeSpec[];
    };
    readonly tcp?: { readonly send?: PayloadSpec; readonly receive?: readonly PayloadSpec[] };
    readonly grpc?: { readonly service?: string; readonly authority?: string; readonly headers?: HeadersSpec };
    readonly checkPort?: number;
    readonly interval?: string;
    readonly timeout?: string;
    readonly unhealthyThreshold?: number;
    readonly healthyThreshold?: number;
    readonly unhealthyInterval?: string;
    readonly unhealthyEdgeInterval?: string;
    readonly healthyEdgeInterval?: string;
    readonly initialJitter?: string;
    readonly intervalJitter?: string;
    readonly intervalJitterPercent?: number;
    readonly ignoreNewHostsUntilFirstCheck?: boolean;
    readonly minHealthPercent?: number;
  };
}

type HeadersSpec = Readonly<Record<string, string>>;
/** Envoy's `Int64Range`: `end` is not part of it. */
interface RangeSpec {
  readonly start: number;
  readonly end: number;
}
interface PayloadSpec {
  readonly string?: string;
  readonly hex?: string;
}

/** The health checks that this workload makes of what it calls. */
export interface HealthChecks {
  find(
    service: { readonly host: string; readonly namespace: string },
    port: number,
    subset: string,
  ): Resource<HealthCheckBody> | undefined;
}

export function createHealthChecks(
  resources: readonly Resource<HealthCheckBody>[],
  options: Parameters<typeof createDestinationPolicies>[1],
): HealthChecks {
  for (const each of resources) check(each, options.collector);
  return createDestinationPolicies(resources, options);
}

/** Envoy takes these from elsewhere: they are not for an author to give. */
const managed: readonly string[] = [
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'te',
  'content-type',
];

function check(resource: Resource<HealthCheckBody>, collector: Collector): void {
  const { grpc, http, tcp } = resource.body.spec;
  if (http === undefined && tcp === undefined && grpc === undefined) {
    collector.problem(resource, ['spec'], 'needs one of http, tcp and grpc');
  }
  for (const [name, ranges = []] of [
    ['expectedStatuses', http?.expectedStatuses],
    ['retriableStatuses', http?.retriableStatuses],
  ] as const) {
    for (const [index, { end, start }] of ranges.entries()) {
      if (start < end) continue;
      collector.problem(resource, ['spec', 'http', name, index, 'end'], 'must be greater than start', end);
    }
  }
  if (http?.method === 'CONNECT') {
    collector.problem(resource, ['spec', 'http', 'method'], 'cannot be CONNECT', http.method);
  }
  checkHeaders(resource, http?.headers, ['spec', 'http', 'headers'], collector);
  checkHeaders(resource, grpc?.headers, ['spec', 'grpc', 'headers'], collector);
  if (tcp?.send !== undefined && (tcp.receive ?? []).length === 0) {
    const note = 'nothing is sent: without receive a connection is enough, as in Envoy';
    collector.warn(resource, ['spec', 'tcp', 'send'], 'ignored', note);
  }
  for (const [index, payload] of [tcp?.send ?? { hex: '00' }, ...(tcp?.receive ?? [])].entries()) {
    if (bytesOf(payload).length > 0) continue;
    const at = index === 0 ? ['send'] : ['receive', index - 1];
    collector.problem(resource, ['spec', 'tcp', ...at], 'needs one of string and hex, and that not empty');
  }
}

function checkHeaders(resource: Resource, headers: HeadersSpec = {}, path: Path, collector: Collector): void {
  for (const name of Object.keys(headers)) {
    if (!managed.includes(name.toLowerCase())) continue;
    collector.problem(resource, [...path, name], 'must not be given: it has its own meaning here', name);
  }
}

/** Everything but what the cluster adds. */
type Template = Omit<HealthCheckPolicy, 'probe' | 'minHealthPercent'> & {
  probe(host: string): HealthCheckPolicy['probe'];
};

const compiled = rememberPart<Resource, Template>();

/**
 * The policy of one cluster.
 *
 * @param host of the service, for requests
 * @param outlier says when to panic, where the resource does not
 */
export function healthCheckOf(
  resource: Resource<HealthCheckBody>,
  host: string,
  outlier: OutlierPolicy | undefined,
): HealthCheckPolicy {
  const { probe, ...rest } = compiled(resource, 'policy', [], () => compile(resource.body.spec));
  const minHealthPercent = resource.body.spec.minHealthPercent ?? outlier?.minHealthPercent ?? 50;
  return { ...rest, probe: probe(host), minHealthPercent };
}

function compile(spec: HealthCheckBody['spec']): Template {
  const intervalMs = durationMs(spec.interval) ?? 10_000;
  const unhealthyIntervalMs = durationMs(spec.unhealthyInterval) ?? intervalMs;
  return {
    probe: (host) => compileProbe(spec, host),
    ...(spec.checkPort === undefined ? {} : { port: spec.checkPort }),
    intervalMs,
    timeoutMs: durationMs(spec.timeout) ?? 1_000,
    unhealthyThreshold: spec.unhealthyThreshold ?? 3,
    healthyThreshold: spec.healthyThreshold ?? 1,
    unhealthyIntervalMs,
    unhealthyEdgeIntervalMs: durationMs(spec.unhealthyEdgeInterval) ?? unhealthyIntervalMs,
    healthyEdgeIntervalMs: durationMs(spec.healthyEdgeInterval) ?? intervalMs,
    initialJitterMs: durationMs(spec.initialJitter) ?? 0,
    intervalJitterMs: durationMs(spec.intervalJitter) ?? 0,
    intervalJitterPercent: spec.intervalJitterPercent ?? 10,
    ignoreNew: spec.ignoreNewHostsUntilFirstCheck ?? true,
  };
}

function compileProbe({ grpc, http, tcp }: HealthCheckBody['spec'], host: string): HttpProbe | TcpProbe | GrpcProbe {
  if (http !== undefined) {
    return {
      kind: 'http',
      method: http.method ?? 'GET',
      path: http.path,
      host: http.host ?? host,
      headers: headersOf(http.headers),
      expected: rangesOf(http.expectedStatuses ?? [{ start: 200, end: 201 }]),
      retriable: rangesOf(http.retriableStatuses ?? []),
    };
  }
  if (grpc !== undefined) {
    const { authority = host, headers, service = '' } = grpc;
    return { kind: 'grpc', service, host: authority, headers: headersOf(headers) };
  }
  const { receive = [], send } = tcp ?? {};
  const sends = send !== undefined && receive.length > 0;
  return { kind: 'tcp', ...(sends ? { send: bytesOf(send) } : {}), receive: receive.map(bytesOf) };
}

function headersOf(headers: HeadersSpec = {}): HeaderValue[] {
  return Object.entries(headers).map(([name, value]) => ({ name: name.toLowerCase(), value }));
}

function rangesOf(ranges: readonly RangeSpec[]): StatusRange[] {
  return ranges.map(({ end, start }) => ({ from: start, to: end - 1 }));
}

function bytesOf({ hex = '', string = '' }: PayloadSpec): Uint8Array {
  return string === '' ? Buffer.from(hex, 'hex') : Buffer.from(string);
}
