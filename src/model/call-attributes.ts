import type { CelType } from '../lib/cel.ts';

/**
 * What expressions of Telemetries may name: those of Envoy's attributes that a process knows of a request when it has
 * ended. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
 */
export const callAttributes: ReadonlyMap<string, CelType> = new Map<string, CelType>([
  ['request.path', 'string'],
  ['request.url_path', 'string'],
  ['request.query', 'string'],
  ['request.host', 'string'],
  ['request.method', 'string'],
  ['request.headers', 'strings'],
  ['request.referer', 'string'],
  ['request.useragent', 'string'],
  ['request.id', 'string'],
  ['request.protocol', 'string'],
  ['request.size', 'int'],
  ['request.duration', 'duration'],
  ['response.code', 'int'],
  ['response.code_details', 'string'],
  ['response.flags', 'int'],
  ['response.grpc_status', 'int'],
  ['response.headers', 'strings'],
  ['response.size', 'int'],
  ['connection.mtls', 'bool'],
  ['connection.requested_server_name', 'string'],
  ['connection.uri_san_peer_certificate', 'string'],
  ['source.address', 'string'],
  ['source.port', 'int'],
  ['destination.address', 'string'],
  ['destination.port', 'int'],
  ['upstream.address', 'string'],
  ['upstream.port', 'int'],
  ['upstream.request_attempt_count', 'uint'],
  ['upstream.transport_failure_reason', 'string'],
  ['xds.cluster_name', 'string'],
  ['xds.route_name', 'string'],
]);

/** Type of an attribute; nothing where expressions may not name it. */
export function callAttributeType(path: string): CelType | undefined {
  return callAttributes.get(path);
}
