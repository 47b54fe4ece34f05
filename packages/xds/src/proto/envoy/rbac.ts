import { bool, enumOf, message, uint32 } from '../kinds.ts';
import { mapOf, optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type CidrRange, cidrRangeSchema } from './address.ts';
import { type TypedExtensionConfig, typedExtensionConfigSchema } from './base.ts';
import { type StringMatcher, stringMatcherSchema } from './matchers.ts';
import { type Int32Range, int32RangeSchema } from './ranges.ts';
import { type HeaderMatcher, headerMatcherSchema } from './route-match.ts';
import {
  type FilterStateMatcher,
  filterStateMatcherSchema,
  type MetadataMatcher,
  metadataMatcherSchema,
  type PathMatcher,
  pathMatcherSchema,
} from './value-matchers.ts';

/** `RbacAction`, by its names. */
export type RbacAction = 'ALLOW' | 'DENY' | 'LOG';
const rbacActionEnum = enumOf<RbacAction>('ALLOW', 'DENY', 'LOG');

/** `envoy.config.rbac.v3.RBAC`. */
export interface Rbac {
  readonly action: RbacAction | number;
  readonly policies: ReadonlyMap<string, RbacPolicy | undefined>;
}

export const rbacSchema: Schema<Rbac> = schema<Rbac>('envoy.config.rbac.v3.RBAC', {
  fields: {
    action: single(1, rbacActionEnum),
    policies: mapOf(
      2,
      message(() => rbacPolicySchema),
    ),
  },
  ignored: { 3: 'audit_logging_options' },
});

/** `envoy.config.rbac.v3.Policy`. */
export interface RbacPolicy {
  readonly permissions: readonly Permission[];
  readonly principals: readonly Principal[];
}

export const rbacPolicySchema: Schema<RbacPolicy> = schema<RbacPolicy>('envoy.config.rbac.v3.Policy', {
  fields: {
    permissions: repeated(
      1,
      message(() => permissionSchema),
    ),
    principals: repeated(
      2,
      message(() => principalSchema),
    ),
  },
  ignored: { 3: 'condition', 4: 'checked_condition' },
});

/** `envoy.config.rbac.v3.Permission`. */
export interface Permission {
  readonly and_rules: PermissionSet | undefined;
  readonly or_rules: PermissionSet | undefined;
  readonly any: boolean | undefined;
  readonly header: HeaderMatcher | undefined;
  readonly destination_ip: CidrRange | undefined;
  readonly destination_port: number | undefined;
  readonly metadata: MetadataMatcher | undefined;
  readonly not_rule: Permission | undefined;
  readonly requested_server_name: StringMatcher | undefined;
  readonly url_path: PathMatcher | undefined;
  readonly destination_port_range: Int32Range | undefined;
  readonly matcher: TypedExtensionConfig | undefined;
  readonly uri_template: TypedExtensionConfig | undefined;
}

export const permissionSchema: Schema<Permission> = schema<Permission>('envoy.config.rbac.v3.Permission', {
  fields: {
    and_rules: single(
      1,
      message(() => permissionSetSchema),
    ),
    or_rules: single(
      2,
      message(() => permissionSetSchema),
    ),
    any: optional(3, bool),
    header: single(
      4,
      message(() => headerMatcherSchema),
    ),
    destination_ip: single(
      5,
      message(() => cidrRangeSchema),
    ),
    destination_port: optional(6, uint32),
    metadata: single(
      7,
      message(() => metadataMatcherSchema),
    ),
    not_rule: single(
      8,
      message(() => permissionSchema),
    ),
    requested_server_name: single(
      9,
      message(() => stringMatcherSchema),
    ),
    url_path: single(
      10,
      message(() => pathMatcherSchema),
    ),
    destination_port_range: single(
      11,
      message(() => int32RangeSchema),
    ),
    matcher: single(
      12,
      message(() => typedExtensionConfigSchema),
    ),
    uri_template: single(
      13,
      message(() => typedExtensionConfigSchema),
    ),
  },
  oneofs: [
    [
      'and_rules',
      'or_rules',
      'any',
      'header',
      'url_path',
      'destination_ip',
      'destination_port',
      'destination_port_range',
      'metadata',
      'not_rule',
      'requested_server_name',
      'matcher',
      'uri_template',
    ],
  ],
});

/** `envoy.config.rbac.v3.Permission.Set`. */
export interface PermissionSet {
  readonly rules: readonly Permission[];
}

export const permissionSetSchema: Schema<PermissionSet> = schema<PermissionSet>('envoy.config.rbac.v3.Permission.Set', {
  fields: {
    rules: repeated(
      1,
      message(() => permissionSchema),
    ),
  },
});

/** `envoy.config.rbac.v3.Principal`. */
export interface Principal {
  readonly and_ids: PrincipalSet | undefined;
  readonly or_ids: PrincipalSet | undefined;
  readonly any: boolean | undefined;
  readonly authenticated: PrincipalAuthenticated | undefined;
  readonly source_ip: CidrRange | undefined;
  readonly header: HeaderMatcher | undefined;
  readonly metadata: MetadataMatcher | undefined;
  readonly not_id: Principal | undefined;
  readonly url_path: PathMatcher | undefined;
  readonly direct_remote_ip: CidrRange | undefined;
  readonly remote_ip: CidrRange | undefined;
  readonly filter_state: FilterStateMatcher | undefined;
}

export const principalSchema: Schema<Principal> = schema<Principal>('envoy.config.rbac.v3.Principal', {
  fields: {
    and_ids: single(
      1,
      message(() => principalSetSchema),
    ),
    or_ids: single(
      2,
      message(() => principalSetSchema),
    ),
    any: optional(3, bool),
    authenticated: single(
      4,
      message(() => principalAuthenticatedSchema),
    ),
    source_ip: single(
      5,
      message(() => cidrRangeSchema),
    ),
    header: single(
      6,
      message(() => headerMatcherSchema),
    ),
    metadata: single(
      7,
      message(() => metadataMatcherSchema),
    ),
    not_id: single(
      8,
      message(() => principalSchema),
    ),
    url_path: single(
      9,
      message(() => pathMatcherSchema),
    ),
    direct_remote_ip: single(
      10,
      message(() => cidrRangeSchema),
    ),
    remote_ip: single(
      11,
      message(() => cidrRangeSchema),
    ),
    filter_state: single(
      12,
      message(() => filterStateMatcherSchema),
    ),
  },
  oneofs: [
    [
      'and_ids',
      'or_ids',
      'any',
      'authenticated',
      'source_ip',
      'direct_remote_ip',
      'remote_ip',
      'header',
      'url_path',
      'metadata',
      'filter_state',
      'not_id',
    ],
  ],
});

/** `envoy.config.rbac.v3.Principal.Set`. */
export interface PrincipalSet {
  readonly ids: readonly Principal[];
}

export const principalSetSchema: Schema<PrincipalSet> = schema<PrincipalSet>('envoy.config.rbac.v3.Principal.Set', {
  fields: {
    ids: repeated(
      1,
      message(() => principalSchema),
    ),
  },
});

/** `envoy.config.rbac.v3.Principal.Authenticated`. */
export interface PrincipalAuthenticated {
  readonly principal_name: StringMatcher | undefined;
}

export const principalAuthenticatedSchema: Schema<PrincipalAuthenticated> = schema<PrincipalAuthenticated>(
  'envoy.config.rbac.v3.Principal.Authenticated',
  {
    fields: {
      principal_name: single(
        2,
        message(() => stringMatcherSchema),
      ),
    },
  },
);
