import { bool, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import {
  type HeaderValue,
  headerValueSchema,
  type RuntimeFractionalPercent,
  runtimeFractionalPercentSchema,
} from './base.ts';
import { type HttpStatus, httpStatusSchema } from './http-status.ts';
import { type GrpcService, grpcServiceSchema, type HttpUri, httpUriSchema } from './remote-service.ts';
import {
  type ListStringMatcher,
  listStringMatcherSchema,
  type MetadataMatcher,
  metadataMatcherSchema,
} from './value-matchers.ts';

/** `ApiVersion`, by its names. */
export type ApiVersion = 'AUTO' | 'V2' | 'V3';
const apiVersionEnum = enumOf<ApiVersion>('AUTO', 'V2', 'V3');

/** `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`. */
export interface ExtAuthz {
  readonly grpc_service: GrpcService | undefined;
  readonly failure_mode_allow: boolean;
  readonly http_service: ExtAuthzHttpService | undefined;
  readonly with_request_body: BufferSettings | undefined;
  readonly status_on_error: HttpStatus | undefined;
  readonly filter_enabled: RuntimeFractionalPercent | undefined;
  readonly include_peer_certificate: boolean;
  readonly deny_at_disable: RuntimeFeatureFlag | undefined;
  readonly transport_api_version: ApiVersion | number;
  readonly filter_enabled_metadata: MetadataMatcher | undefined;
  readonly allowed_headers: ListStringMatcher | undefined;
}

export const extAuthzSchema: Schema<ExtAuthz> = schema<ExtAuthz>(
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
  {
    fields: {
      grpc_service: single(
        1,
        message(() => grpcServiceSchema),
      ),
      failure_mode_allow: single(2, bool),
      http_service: single(
        3,
        message(() => extAuthzHttpServiceSchema),
      ),
      with_request_body: single(
        5,
        message(() => bufferSettingsSchema),
      ),
      status_on_error: single(
        7,
        message(() => httpStatusSchema),
      ),
      filter_enabled: single(
        9,
        message(() => runtimeFractionalPercentSchema),
      ),
      include_peer_certificate: single(10, bool),
      deny_at_disable: single(
        11,
        message(() => runtimeFeatureFlagSchema),
      ),
      transport_api_version: single(12, apiVersionEnum),
      filter_enabled_metadata: single(
        14,
        message(() => metadataMatcherSchema),
      ),
      allowed_headers: single(
        17,
        message(() => listStringMatcherSchema),
      ),
    },
    ignored: {
      6: 'clear_route_cache',
      8: 'metadata_context_namespaces',
      13: 'stat_prefix',
      15: 'bootstrap_metadata_labels_key',
      16: 'typed_metadata_context_namespaces',
      18: 'include_tls_session',
      19: 'failure_mode_allow_header_add',
      20: 'charge_cluster_response_stats',
      21: 'route_metadata_context_namespaces',
      22: 'route_typed_metadata_context_namespaces',
      23: 'encode_raw_headers',
      24: 'validate_mutations',
      25: 'disallowed_headers',
      26: 'decoder_header_mutation_rules',
      27: 'enable_dynamic_metadata_ingestion',
    },
    oneofs: [['grpc_service', 'http_service']],
  },
);

/** `envoy.extensions.filters.http.ext_authz.v3.BufferSettings`. */
export interface BufferSettings {
  readonly max_request_bytes: number;
  readonly allow_partial_message: boolean;
  readonly pack_as_bytes: boolean;
}

export const bufferSettingsSchema: Schema<BufferSettings> = schema<BufferSettings>(
  'envoy.extensions.filters.http.ext_authz.v3.BufferSettings',
  {
    fields: {
      max_request_bytes: single(1, uint32),
      allow_partial_message: single(2, bool),
      pack_as_bytes: single(3, bool),
    },
  },
);

/** `envoy.extensions.filters.http.ext_authz.v3.HttpService`. */
export interface ExtAuthzHttpService {
  readonly server_uri: HttpUri | undefined;
  readonly path_prefix: string;
  readonly authorization_request: AuthorizationRequest | undefined;
  readonly authorization_response: AuthorizationResponse | undefined;
}

export const extAuthzHttpServiceSchema: Schema<ExtAuthzHttpService> = schema<ExtAuthzHttpService>(
  'envoy.extensions.filters.http.ext_authz.v3.HttpService',
  {
    fields: {
      server_uri: single(
        1,
        message(() => httpUriSchema),
      ),
      path_prefix: single(2, string),
      authorization_request: single(
        7,
        message(() => authorizationRequestSchema),
      ),
      authorization_response: single(
        8,
        message(() => authorizationResponseSchema),
      ),
    },
  },
);

/** `envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest`. */
export interface AuthorizationRequest {
  readonly allowed_headers: ListStringMatcher | undefined;
  readonly headers_to_add: readonly HeaderValue[];
}

export const authorizationRequestSchema: Schema<AuthorizationRequest> = schema<AuthorizationRequest>(
  'envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest',
  {
    fields: {
      allowed_headers: single(
        1,
        message(() => listStringMatcherSchema),
      ),
      headers_to_add: repeated(
        2,
        message(() => headerValueSchema),
      ),
    },
  },
);

/** `envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse`. */
export interface AuthorizationResponse {
  readonly allowed_upstream_headers: ListStringMatcher | undefined;
  readonly allowed_client_headers: ListStringMatcher | undefined;
  readonly allowed_upstream_headers_to_append: ListStringMatcher | undefined;
  readonly allowed_client_headers_on_success: ListStringMatcher | undefined;
  readonly dynamic_metadata_from_headers: ListStringMatcher | undefined;
}

export const authorizationResponseSchema: Schema<AuthorizationResponse> = schema<AuthorizationResponse>(
  'envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse',
  {
    fields: {
      allowed_upstream_headers: single(
        1,
        message(() => listStringMatcherSchema),
      ),
      allowed_client_headers: single(
        2,
        message(() => listStringMatcherSchema),
      ),
      allowed_upstream_headers_to_append: single(
        3,
        message(() => listStringMatcherSchema),
      ),
      allowed_client_headers_on_success: single(
        4,
        message(() => listStringMatcherSchema),
      ),
      dynamic_metadata_from_headers: single(
        5,
        message(() => listStringMatcherSchema),
      ),
    },
  },
);

/** `envoy.config.core.v3.RuntimeFeatureFlag`. */
export interface RuntimeFeatureFlag {
  readonly default_value: boolean | undefined;
  readonly runtime_key: string;
}

export const runtimeFeatureFlagSchema: Schema<RuntimeFeatureFlag> = schema<RuntimeFeatureFlag>(
  'envoy.config.core.v3.RuntimeFeatureFlag',
  {
    fields: {
      default_value: single(1, wrapped(bool)),
      runtime_key: single(2, string),
    },
  },
);
