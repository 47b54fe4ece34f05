import { bool, duration, message, string } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type RegexMatchAndSubstitute, regexMatchAndSubstituteSchema } from './matchers.ts';

/** `envoy.config.route.v3.RouteAction.HashPolicy`. */
export interface HashPolicy {
  readonly header: HashPolicyHeader | undefined;
  readonly cookie: HashPolicyCookie | undefined;
  readonly connection_properties: HashPolicyConnectionProperties | undefined;
  readonly query_parameter: HashPolicyQueryParameter | undefined;
  readonly filter_state: HashPolicyFilterState | undefined;
  readonly terminal: boolean;
}

export const hashPolicySchema: Schema<HashPolicy> = schema<HashPolicy>('envoy.config.route.v3.RouteAction.HashPolicy', {
  fields: {
    header: single(
      1,
      message(() => hashPolicyHeaderSchema),
    ),
    cookie: single(
      2,
      message(() => hashPolicyCookieSchema),
    ),
    connection_properties: single(
      3,
      message(() => hashPolicyConnectionPropertiesSchema),
    ),
    query_parameter: single(
      5,
      message(() => hashPolicyQueryParameterSchema),
    ),
    filter_state: single(
      6,
      message(() => hashPolicyFilterStateSchema),
    ),
    terminal: single(4, bool),
  },
  oneofs: [['header', 'cookie', 'connection_properties', 'query_parameter', 'filter_state']],
});

/** `envoy.config.route.v3.RouteAction.HashPolicy.Header`. */
export interface HashPolicyHeader {
  readonly header_name: string;
  readonly regex_rewrite: RegexMatchAndSubstitute | undefined;
}

export const hashPolicyHeaderSchema: Schema<HashPolicyHeader> = schema<HashPolicyHeader>(
  'envoy.config.route.v3.RouteAction.HashPolicy.Header',
  {
    fields: {
      header_name: single(1, string),
      regex_rewrite: single(
        2,
        message(() => regexMatchAndSubstituteSchema),
      ),
    },
  },
);

/** `envoy.config.route.v3.RouteAction.HashPolicy.Cookie`. */
export interface HashPolicyCookie {
  readonly name: string;
  readonly ttl: number | undefined;
  readonly path: string;
  readonly attributes: readonly HashPolicyCookieAttribute[];
}

export const hashPolicyCookieSchema: Schema<HashPolicyCookie> = schema<HashPolicyCookie>(
  'envoy.config.route.v3.RouteAction.HashPolicy.Cookie',
  {
    fields: {
      name: single(1, string),
      ttl: single(2, duration),
      path: single(3, string),
      attributes: repeated(
        4,
        message(() => hashPolicyCookieAttributeSchema),
      ),
    },
  },
);

/** `envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute`. */
export interface HashPolicyCookieAttribute {
  readonly name: string;
  readonly value: string;
}

export const hashPolicyCookieAttributeSchema: Schema<HashPolicyCookieAttribute> = schema<HashPolicyCookieAttribute>(
  'envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute',
  {
    fields: {
      name: single(1, string),
      value: single(2, string),
    },
  },
);

/** `envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties`. */
export interface HashPolicyConnectionProperties {
  readonly source_ip: boolean;
}

export const hashPolicyConnectionPropertiesSchema: Schema<HashPolicyConnectionProperties> =
  schema<HashPolicyConnectionProperties>('envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties', {
    fields: {
      source_ip: single(1, bool),
    },
  });

/** `envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter`. */
export interface HashPolicyQueryParameter {
  readonly name: string;
}

export const hashPolicyQueryParameterSchema: Schema<HashPolicyQueryParameter> = schema<HashPolicyQueryParameter>(
  'envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter',
  {
    fields: {
      name: single(1, string),
    },
  },
);

/** `envoy.config.route.v3.RouteAction.HashPolicy.FilterState`. */
export interface HashPolicyFilterState {
  readonly key: string;
}

export const hashPolicyFilterStateSchema: Schema<HashPolicyFilterState> = schema<HashPolicyFilterState>(
  'envoy.config.route.v3.RouteAction.HashPolicy.FilterState',
  {
    fields: {
      key: single(1, string),
    },
  },
);
