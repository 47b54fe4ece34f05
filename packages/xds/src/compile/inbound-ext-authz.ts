import type { CheckedBody, ExternalAuthorizer, GrpcChecks, HttpChecks, Provenance, StringMatch } from 'inmesh/model';
import type { ExtAuthz, ExtAuthzHttpService } from '../proto/envoy/ext-authz.ts';
import { statusCodes } from '../proto/envoy/http-status.ts';
import type { ListStringMatcher } from '../proto/envoy/value-matchers.ts';
import { below, cannot, type Place, wrong } from './inbound-unpack.ts';
import { stringMatchOf } from './string-matchers.ts';

/** What only says how something is told of. */
export const harmlessExtAuthz: readonly string[] = [
  'clear_route_cache',
  'stat_prefix',
  'charge_cluster_response_stats',
  'bootstrap_metadata_labels_key',
  'failure_mode_allow_header_add',
  'validate_mutations',
  'metadata_context_namespaces',
  'typed_metadata_context_namespaces',
  'route_metadata_context_namespaces',
  'route_typed_metadata_context_namespaces',
  'include_tls_session',
  'encode_raw_headers',
  'enable_dynamic_metadata_ingestion',
  'filter_metadata',
  'emit_filter_state_stats',
  'retry_policy',
  'max_receive_message_length',
  'skip_envoy_headers',
  'initial_metadata',
];

/** Envoy's ext_authz filter as somebody who is asked. */
export function externalAuthorizer(config: ExtAuthz, provenance: Provenance, place: Place): ExternalAuthorizer {
  const { filter_enabled: enabled, grpc_service: grpc, http_service: http, status_on_error: status } = config;
  const share = enabled?.default_value;
  if (share !== undefined && !(share.denominator === 'HUNDRED' && share.numerator >= 100)) {
    throw cannot(place, 'filter_enabled', 'expected all requests', share);
  }
  const cluster = grpc?.envoy_grpc?.cluster_name ?? http?.server_uri?.cluster ?? '';
  if (cluster === '') throw wrong(place, '', 'expected grpc_service.envoy_grpc or http_service with a cluster');
  if (config.include_peer_certificate) place.note('include_peer_certificate');
  const body = config.with_request_body;
  const checked: CheckedBody | undefined = body && {
    maxBytes: body.max_request_bytes,
    allowPartial: body.allow_partial_message,
    asBytes: body.pack_as_bytes,
  };
  return {
    name: cluster,
    service: serviceOf(cluster),
    timeoutMs: grpc === undefined ? (http?.server_uri?.timeout ?? 200) : (grpc.timeout ?? 200),
    failOpen: config.failure_mode_allow,
    statusOnError: status === undefined ? 403 : statusOf(status.code, below(place, 'status_on_error.code')),
    ...(checked === undefined ? {} : { body: checked }),
    protocol: http === undefined ? grpcChecks(config, place) : httpChecks(http, config, below(place, 'http_service')),
    provenance,
  };
}

/** `host:port` of Istio's cluster names. Others are not known by a host here: nobody can be asked, and it is refused. */
export function serviceOf(cluster: string): string | undefined {
  const [direction, port, subset, host] = cluster.split('|');
  if (direction !== 'outbound' || subset !== '' || host === undefined || !/^\d+$/.test(port ?? '')) return undefined;
  return `${host}:${port}`;
}

function statusOf(code: string | number, place: Place): number {
  const status = typeof code === 'number' ? code : (statusCodes[code] ?? 0);
  if (status < 200 || status > 599) throw wrong(place, '', 'expected a status of an answer', code);
  return status;
}

function grpcChecks({ allowed_headers }: ExtAuthz, place: Place): GrpcChecks {
  // It is told of all headers, which is more.
  if (allowed_headers !== undefined) place.note('allowed_headers');
  return { kind: 'grpc' };
}

function httpChecks(service: ExtAuthzHttpService, { allowed_headers }: ExtAuthz, place: Place): HttpChecks {
  const { authorization_request: request, authorization_response: response, path_prefix: pathPrefix } = service;
  const headers = allowed_headers ?? request?.allowed_headers;
  for (const field of ['allowed_upstream_headers_to_append', 'dynamic_metadata_from_headers'] as const) {
    if (response?.[field] !== undefined) throw cannot(place, `authorization_response.${field}`, 'cannot be done here');
  }
  const names = (list: ListStringMatcher | undefined, field: string): readonly StringMatch[] =>
    (list?.patterns ?? []).map((each, i) => lowerCase(stringMatchOf(each, `${place.path}.${field}.patterns[${i}]`)));
  return {
    kind: 'http',
    pathPrefix,
    requestHeaders: names(headers, 'authorization_request.allowed_headers'),
    addedHeaders: (request?.headers_to_add ?? []).map(({ key, value }) => [key.toLowerCase(), value] as const),
    toUpstreamOnAllow: names(response?.allowed_upstream_headers, 'authorization_response.allowed_upstream_headers'),
    toDownstreamOnAllow: names(
      response?.allowed_client_headers_on_success,
      'authorization_response.allowed_client_headers_on_success',
    ),
    toDownstreamOnDeny: names(response?.allowed_client_headers, 'authorization_response.allowed_client_headers'),
  };
}

/** Names of headers have no case. */
function lowerCase(match: StringMatch): StringMatch {
  return match.kind === 'present' || match.kind === 'regex' ? match : { ...match, value: match.value.toLowerCase() };
}
