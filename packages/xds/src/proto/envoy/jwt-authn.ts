import { bool, duration, message, string, uint32 } from '../kinds.ts';
import { mapOf, optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type DataSource, dataSourceSchema, type Empty, emptySchema } from './base.ts';
import { type HttpUri, httpUriSchema } from './remote-service.ts';
import { type RouteMatch, routeMatchSchema } from './route-match.ts';

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`. */
export interface JwtAuthentication {
  readonly providers: ReadonlyMap<string, JwtProvider | undefined>;
  readonly rules: readonly RequirementRule[];
  readonly bypass_cors_preflight: boolean;
  readonly requirement_map: ReadonlyMap<string, JwtRequirement | undefined>;
}

export const jwtAuthenticationSchema: Schema<JwtAuthentication> = schema<JwtAuthentication>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
  {
    fields: {
      providers: mapOf(
        1,
        message(() => jwtProviderSchema),
      ),
      rules: repeated(
        2,
        message(() => requirementRuleSchema),
      ),
      bypass_cors_preflight: single(4, bool),
      requirement_map: mapOf(
        5,
        message(() => jwtRequirementSchema),
      ),
    },
    ignored: { 3: 'filter_state_rules', 6: 'strip_failure_response' },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtProvider`. */
export interface JwtProvider {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly remote_jwks: RemoteJwks | undefined;
  readonly local_jwks: DataSource | undefined;
  readonly forward: boolean;
  readonly from_headers: readonly JwtHeader[];
  readonly from_params: readonly string[];
  readonly forward_payload_header: string;
  readonly payload_in_metadata: string;
  readonly clock_skew_seconds: number;
  readonly pad_forward_payload_header: boolean;
  readonly from_cookies: readonly string[];
  readonly claim_to_headers: readonly JwtClaimToHeader[];
  readonly normalize_payload_in_metadata: NormalizePayload | undefined;
  readonly require_expiration: boolean;
}

export const jwtProviderSchema: Schema<JwtProvider> = schema<JwtProvider>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtProvider',
  {
    fields: {
      issuer: single(1, string),
      audiences: repeated(2, string),
      remote_jwks: single(
        3,
        message(() => remoteJwksSchema),
      ),
      local_jwks: single(
        4,
        message(() => dataSourceSchema),
      ),
      forward: single(5, bool),
      from_headers: repeated(
        6,
        message(() => jwtHeaderSchema),
      ),
      from_params: repeated(7, string),
      forward_payload_header: single(8, string),
      payload_in_metadata: single(9, string),
      clock_skew_seconds: single(10, uint32),
      pad_forward_payload_header: single(11, bool),
      from_cookies: repeated(13, string),
      claim_to_headers: repeated(
        15,
        message(() => jwtClaimToHeaderSchema),
      ),
      normalize_payload_in_metadata: single(
        18,
        message(() => normalizePayloadSchema),
      ),
      require_expiration: single(20, bool),
    },
    ignored: {
      12: 'jwt_cache_config',
      14: 'header_in_metadata',
      16: 'failed_status_in_metadata',
      17: 'clear_route_cache',
      19: 'subjects',
      21: 'max_lifetime',
    },
    oneofs: [['remote_jwks', 'local_jwks']],
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload`. */
export interface NormalizePayload {
  readonly space_delimited_claims: readonly string[];
}

export const normalizePayloadSchema: Schema<NormalizePayload> = schema<NormalizePayload>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload',
  {
    fields: {
      space_delimited_claims: repeated(1, string),
    },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks`. */
export interface RemoteJwks {
  readonly http_uri: HttpUri | undefined;
  readonly cache_duration: number | undefined;
}

export const remoteJwksSchema: Schema<RemoteJwks> = schema<RemoteJwks>(
  'envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks',
  {
    fields: {
      http_uri: single(
        1,
        message(() => httpUriSchema),
      ),
      cache_duration: single(2, duration),
    },
    ignored: { 3: 'async_fetch', 4: 'retry_policy' },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtHeader`. */
export interface JwtHeader {
  readonly name: string;
  readonly value_prefix: string;
}

export const jwtHeaderSchema: Schema<JwtHeader> = schema<JwtHeader>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtHeader',
  {
    fields: {
      name: single(1, string),
      value_prefix: single(2, string),
    },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader`. */
export interface JwtClaimToHeader {
  readonly header_name: string;
  readonly claim_name: string;
}

export const jwtClaimToHeaderSchema: Schema<JwtClaimToHeader> = schema<JwtClaimToHeader>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader',
  {
    fields: {
      header_name: single(1, string),
      claim_name: single(2, string),
    },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.RequirementRule`. */
export interface RequirementRule {
  readonly match: RouteMatch | undefined;
  readonly requires: JwtRequirement | undefined;
  readonly requirement_name: string | undefined;
}

export const requirementRuleSchema: Schema<RequirementRule> = schema<RequirementRule>(
  'envoy.extensions.filters.http.jwt_authn.v3.RequirementRule',
  {
    fields: {
      match: single(
        1,
        message(() => routeMatchSchema),
      ),
      requires: single(
        2,
        message(() => jwtRequirementSchema),
      ),
      requirement_name: optional(3, string),
    },
    oneofs: [['requires', 'requirement_name']],
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement`. */
export interface JwtRequirement {
  readonly provider_name: string | undefined;
  readonly provider_and_audiences: ProviderWithAudiences | undefined;
  readonly requires_any: JwtRequirementOrList | undefined;
  readonly requires_all: JwtRequirementAndList | undefined;
  readonly allow_missing_or_failed: Empty | undefined;
  readonly allow_missing: Empty | undefined;
}

export const jwtRequirementSchema: Schema<JwtRequirement> = schema<JwtRequirement>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement',
  {
    fields: {
      provider_name: optional(1, string),
      provider_and_audiences: single(
        2,
        message(() => providerWithAudiencesSchema),
      ),
      requires_any: single(
        3,
        message(() => jwtRequirementOrListSchema),
      ),
      requires_all: single(
        4,
        message(() => jwtRequirementAndListSchema),
      ),
      allow_missing_or_failed: single(
        5,
        message(() => emptySchema),
      ),
      allow_missing: single(
        6,
        message(() => emptySchema),
      ),
    },
    oneofs: [
      [
        'provider_name',
        'provider_and_audiences',
        'requires_any',
        'requires_all',
        'allow_missing_or_failed',
        'allow_missing',
      ],
    ],
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences`. */
export interface ProviderWithAudiences {
  readonly provider_name: string;
  readonly audiences: readonly string[];
}

export const providerWithAudiencesSchema: Schema<ProviderWithAudiences> = schema<ProviderWithAudiences>(
  'envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences',
  {
    fields: {
      provider_name: single(1, string),
      audiences: repeated(2, string),
    },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList`. */
export interface JwtRequirementOrList {
  readonly requirements: readonly JwtRequirement[];
}

export const jwtRequirementOrListSchema: Schema<JwtRequirementOrList> = schema<JwtRequirementOrList>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList',
  {
    fields: {
      requirements: repeated(
        1,
        message(() => jwtRequirementSchema),
      ),
    },
  },
);

/** `envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList`. */
export interface JwtRequirementAndList {
  readonly requirements: readonly JwtRequirement[];
}

export const jwtRequirementAndListSchema: Schema<JwtRequirementAndList> = schema<JwtRequirementAndList>(
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList',
  {
    fields: {
      requirements: repeated(
        1,
        message(() => jwtRequirementSchema),
      ),
    },
  },
);
