/** What becomes of a field that is read, where it is not simply done. */
export interface FieldNote {
  readonly status: 'approximated' | 'refused' | 'ignored' | 'never';
  readonly note: string;
}

const approximated = (note: string): FieldNote => ({ status: 'approximated', note });
const refused = (note: string): FieldNote => ({ status: 'refused', note });
const ignored = (note: string): FieldNote => ({ status: 'ignored', note });
/** The route takes no request. */
const never = (note: string): FieldNote => ({ status: 'never', note });

const stays = ignored('the authority stays that of the request');
const answered = approximated('calls are answered with 503');

/** By the full name of the message; what is not here has the effect that Envoy documents. */
export const fieldNotes: Readonly<Record<string, Readonly<Record<string, FieldNote>>>> = {
  'envoy.config.route.v3.RouteConfiguration': {
    ignore_port_in_host_matching: approximated('a domain without a port is always one for the port of its listener'),
  },
  'envoy.config.route.v3.VirtualHost': {
    domains: approximated('names with `*` at their end are not served in profile `istio`'),
    require_tls: ignored('the caller is the process itself'),
  },
  'envoy.config.route.v3.Route': {
    filter_action: answered,
    non_forwarding_action: answered,
  },
  'envoy.config.route.v3.RouteMatch': {
    connect_matcher: never('requests of CONNECT are not routed'),
    runtime_fraction: never('below 100 %: shares are given by weights of clusters'),
    tls_context: never('the caller has no TLS'),
    dynamic_metadata: never('no filter leaves any'),
    filter_state: never('no filter leaves any'),
    cookies: never('not looked at'),
  },
  'envoy.config.route.v3.QueryParameterMatcher': { present_match: refused('`false` cannot be asked') },
  'envoy.config.route.v3.RouteAction': {
    cluster_header: answered,
    cluster_specifier_plugin: answered,
    inline_cluster_specifier_plugin: answered,
    auto_host_rewrite: stays,
    host_rewrite_header: stays,
    host_rewrite_path_regex: stays,
    idle_timeout: ignored('there is one for each try (`per_try_idle_timeout`)'),
    max_grpc_timeout: ignored('deadlines of callers are kept anyway'),
  },
  'envoy.config.route.v3.WeightedCluster': { total_weight: ignored('the sum of the weights counts') },
  'envoy.config.route.v3.WeightedCluster.ClusterWeight': {
    cluster_header: answered,
    typed_per_filter_config: ignored('filters are set for whole routes'),
  },
  'envoy.config.route.v3.RouteAction.RequestMirrorPolicy': { cluster_header: ignored('no copy is sent') },
  'envoy.config.route.v3.RouteAction.HashPolicy': { filter_state: ignored('') },
  'envoy.config.route.v3.RouteAction.HashPolicy.Header': { regex_rewrite: ignored('the value is hashed as it is') },
  'envoy.config.route.v3.RetryPolicy': {
    retry_host_predicate: approximated('`previous_hosts` alone'),
    retry_priority: approximated('`previous_priorities` alone, after each two tries'),
    retriable_request_headers: ignored('requests are retried whatever headers they have'),
  },
  'envoy.config.route.v3.RetryPolicy.RetryBackOff': { max_interval: approximated('ten times the base interval') },
  'envoy.config.route.v3.RedirectAction': { strip_query: ignored('the query stays') },
  'envoy.config.core.v3.DataSource': {
    filename: approximated('for certificates and roots; no bodies of answers'),
    environment_variable: ignored('not read'),
  },
  'envoy.config.cluster.v3.Cluster': {
    cluster_type: refused('other than `aggregate` and `dynamic_forward_proxy`'),
    transport_socket_matches: refused('other than mesh TLS for some endpoints and plaintext for the rest'),
  },
  'envoy.config.cluster.v3.Cluster.RingHashLbConfig': {
    hash_function: approximated('it is xxHash'),
    maximum_ring_size: approximated('it is checked; rings are as large as their minimum asks'),
  },
  'envoy.config.cluster.v3.Cluster.OriginalDstLbConfig': {
    use_http_header: refused('callers do not choose addresses by headers'),
  },
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds': {
    priority: approximated('those of `HIGH` are ignored: all calls have normal priority'),
  },
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    auto_config: approximated('HTTP/1.1'),
    upstream_http_protocol_options: approximated('a name to ask for and a name to verify are always there'),
  },
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig': { http3_protocol_options: refused('') },
  'envoy.config.core.v3.HealthCheck': { custom_health_check: ignored('no health checks') },
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy': {
    overprovisioning_factor: approximated('140'),
  },
  'envoy.config.endpoint.v3.Endpoint': {
    additional_addresses: ignored('the first address is called'),
    health_check_config: ignored('the port to ask is that of the cluster (`alt_port`)'),
  },
  'envoy.config.endpoint.v3.LbEndpoint': {
    health_status: approximated(
      'endpoints that are not well do not count in panic; degraded ones are called where their locality has no others',
    ),
  },
  'envoy.config.core.v3.Address': { envoy_internal_address: ignored('the endpoint is left out') },
  'envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash': {
    hash_function: approximated('it is xxHash'),
    maximum_ring_size: approximated('it is checked; rings are as large as their minimum asks'),
  },
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext': { allow_renegotiation: ignored('never') },
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext': {
    alpn_protocols: approximated('those that sidecars announce'),
    custom_handshaker: refused(''),
    tls_certificates: approximated('files; with contents no connection is made'),
    tls_certificate_sds_secret_configs: approximated('`default` and `file-cert:`; with others no connection is made'),
    validation_context_sds_secret_config: approximated('`ROOTCA` and `file-root:`; with others no connection is made'),
  },
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters': {
    tls_minimum_protocol_version: approximated('at least TLS 1.2'),
    tls_maximum_protocol_version: approximated('`TLS_AUTO` is TLS 1.3'),
    cipher_suites: approximated('in the mesh none without forward secrecy and AEAD; unknown ones are refused'),
    ecdh_curves: refused('unknown ones'),
    signature_algorithms: ignored("Node's"),
  },
  'envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext': {
    allow_expired_certificate: ignored('never'),
    verify_certificate_hash: refused(''),
    verify_certificate_spki: refused(''),
    require_signed_certificate_timestamp: refused(''),
    custom_validator_config: refused(''),
    match_subject_alt_names: refused('other than exact names'),
    match_typed_subject_alt_names: refused('other than exact names'),
    crl: refused('other than a file, and for mesh TLS'),
  },
};
