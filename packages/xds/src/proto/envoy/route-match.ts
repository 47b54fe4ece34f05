import { bool, bytes, message, string, wrapped } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';
import {
  type RuntimeFractionalPercent,
  runtimeFractionalPercentSchema,
  type TypedExtensionConfig,
  typedExtensionConfigSchema,
} from './base.ts';
import { type RegexMatcher, regexMatcherSchema, type StringMatcher, stringMatcherSchema } from './matchers.ts';
import { type Int64Range, int64RangeSchema } from './ranges.ts';

/** `envoy.config.route.v3.RouteMatch`. */
export interface RouteMatch {
  readonly prefix: string | undefined;
  readonly path: string | undefined;
  readonly safe_regex: RegexMatcher | undefined;
  readonly connect_matcher: ConnectMatcher | undefined;
  readonly path_separated_prefix: string | undefined;
  readonly path_match_policy: TypedExtensionConfig | undefined;
  readonly case_sensitive: boolean | undefined;
  readonly runtime_fraction: RuntimeFractionalPercent | undefined;
  readonly headers: readonly HeaderMatcher[];
  readonly query_parameters: readonly QueryParameterMatcher[];
  readonly grpc: GrpcRouteMatchOptions | undefined;
  readonly tls_context: TlsContextMatchOptions | undefined;
  readonly dynamic_metadata: readonly MetadataMatcher[];
  readonly filter_state: readonly Uint8Array[];
  readonly cookies: readonly Uint8Array[];
}

export const routeMatchSchema: Schema<RouteMatch> = schema<RouteMatch>('envoy.config.route.v3.RouteMatch', {
  fields: {
    prefix: optional(1, string),
    path: optional(2, string),
    safe_regex: single(
      10,
      message(() => regexMatcherSchema),
    ),
    connect_matcher: single(
      12,
      message(() => connectMatcherSchema),
    ),
    path_separated_prefix: optional(14, string),
    path_match_policy: single(
      15,
      message(() => typedExtensionConfigSchema),
    ),
    case_sensitive: single(4, wrapped(bool)),
    runtime_fraction: single(
      9,
      message(() => runtimeFractionalPercentSchema),
    ),
    headers: repeated(
      6,
      message(() => headerMatcherSchema),
    ),
    query_parameters: repeated(
      7,
      message(() => queryParameterMatcherSchema),
    ),
    grpc: single(
      8,
      message(() => grpcRouteMatchOptionsSchema),
    ),
    tls_context: single(
      11,
      message(() => tlsContextMatchOptionsSchema),
    ),
    dynamic_metadata: repeated(
      13,
      message(() => metadataMatcherSchema),
    ),
    filter_state: repeated(16, bytes),
    cookies: repeated(17, bytes),
  },
  oneofs: [['prefix', 'path', 'safe_regex', 'connect_matcher', 'path_separated_prefix', 'path_match_policy']],
});

/** `envoy.config.route.v3.RouteMatch.ConnectMatcher`: it says all by being there. */
export type ConnectMatcher = Readonly<Record<string, never>>;

export const connectMatcherSchema: Schema<ConnectMatcher> = schema<ConnectMatcher>(
  'envoy.config.route.v3.RouteMatch.ConnectMatcher',
  {
    fields: {},
  },
);

/** `envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions`: it says all by being there. */
export type GrpcRouteMatchOptions = Readonly<Record<string, never>>;

export const grpcRouteMatchOptionsSchema: Schema<GrpcRouteMatchOptions> = schema<GrpcRouteMatchOptions>(
  'envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions',
  {
    fields: {},
  },
);

/** `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`: it says all by being there. */
export type TlsContextMatchOptions = Readonly<Record<string, never>>;

export const tlsContextMatchOptionsSchema: Schema<TlsContextMatchOptions> = schema<TlsContextMatchOptions>(
  'envoy.config.route.v3.RouteMatch.TlsContextMatchOptions',
  {
    fields: {},
    ignored: { 1: 'presented', 2: 'validated' },
  },
);

/** `envoy.config.route.v3.HeaderMatcher`. */
export interface HeaderMatcher {
  readonly name: string;
  readonly exact_match: string | undefined;
  readonly safe_regex_match: RegexMatcher | undefined;
  readonly range_match: Int64Range | undefined;
  readonly present_match: boolean | undefined;
  readonly prefix_match: string | undefined;
  readonly suffix_match: string | undefined;
  readonly contains_match: string | undefined;
  readonly string_match: StringMatcher | undefined;
  readonly invert_match: boolean;
  readonly treat_missing_header_as_empty: boolean;
}

export const headerMatcherSchema: Schema<HeaderMatcher> = schema<HeaderMatcher>('envoy.config.route.v3.HeaderMatcher', {
  fields: {
    name: single(1, string),
    exact_match: optional(4, string),
    safe_regex_match: single(
      11,
      message(() => regexMatcherSchema),
    ),
    range_match: single(
      6,
      message(() => int64RangeSchema),
    ),
    present_match: optional(7, bool),
    prefix_match: optional(9, string),
    suffix_match: optional(10, string),
    contains_match: optional(12, string),
    string_match: single(
      13,
      message(() => stringMatcherSchema),
    ),
    invert_match: single(8, bool),
    treat_missing_header_as_empty: single(14, bool),
  },
  oneofs: [
    [
      'exact_match',
      'safe_regex_match',
      'range_match',
      'present_match',
      'prefix_match',
      'suffix_match',
      'contains_match',
      'string_match',
    ],
  ],
});

/** `envoy.config.route.v3.QueryParameterMatcher`. */
export interface QueryParameterMatcher {
  readonly name: string;
  readonly string_match: StringMatcher | undefined;
  readonly present_match: boolean | undefined;
}

export const queryParameterMatcherSchema: Schema<QueryParameterMatcher> = schema<QueryParameterMatcher>(
  'envoy.config.route.v3.QueryParameterMatcher',
  {
    fields: {
      name: single(1, string),
      string_match: single(
        5,
        message(() => stringMatcherSchema),
      ),
      present_match: optional(6, bool),
    },
    oneofs: [['string_match', 'present_match']],
  },
);

/** `envoy.type.matcher.v3.MetadataMatcher`. */
export interface MetadataMatcher {
  readonly filter: string;
}

export const metadataMatcherSchema: Schema<MetadataMatcher> = schema<MetadataMatcher>(
  'envoy.type.matcher.v3.MetadataMatcher',
  {
    fields: {
      filter: single(1, string),
    },
    ignored: { 2: 'path', 3: 'value', 4: 'invert' },
  },
);

/** `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`. */
export interface UriTemplateMatchConfig {
  readonly path_template: string;
}

export const uriTemplateMatchConfigSchema: Schema<UriTemplateMatchConfig> = schema<UriTemplateMatchConfig>(
  'envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
  {
    fields: {
      path_template: single(1, string),
    },
  },
);

/** `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`. */
export interface UriTemplateRewriteConfig {
  readonly path_template_rewrite: string;
}

export const uriTemplateRewriteConfigSchema: Schema<UriTemplateRewriteConfig> = schema<UriTemplateRewriteConfig>(
  'envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig',
  {
    fields: {
      path_template_rewrite: single(1, string),
    },
  },
);
