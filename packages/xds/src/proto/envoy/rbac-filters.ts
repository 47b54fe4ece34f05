import { message, string } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';
import { type Rbac, rbacSchema } from './rbac.ts';

/** `envoy.extensions.filters.http.rbac.v3.RBAC`. */
export interface HttpRbac {
  readonly rules: Rbac | undefined;
  readonly shadow_rules: Rbac | undefined;
  readonly shadow_rules_stat_prefix: string;
  readonly rules_stat_prefix: string;
}

export const httpRbacSchema: Schema<HttpRbac> = schema<HttpRbac>('envoy.extensions.filters.http.rbac.v3.RBAC', {
  fields: {
    rules: single(
      1,
      message(() => rbacSchema),
    ),
    shadow_rules: single(
      2,
      message(() => rbacSchema),
    ),
    shadow_rules_stat_prefix: single(3, string),
    rules_stat_prefix: single(6, string),
  },
  ignored: { 4: 'matcher', 5: 'shadow_matcher', 7: 'track_per_rule_stats' },
});

/** `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`. */
export interface RbacPerRoute {
  readonly rbac: HttpRbac | undefined;
}

export const rbacPerRouteSchema: Schema<RbacPerRoute> = schema<RbacPerRoute>(
  'envoy.extensions.filters.http.rbac.v3.RBACPerRoute',
  {
    fields: {
      rbac: single(
        2,
        message(() => httpRbacSchema),
      ),
    },
  },
);

/** `envoy.extensions.filters.network.rbac.v3.RBAC`. */
export interface NetworkRbac {
  readonly rules: Rbac | undefined;
  readonly shadow_rules: Rbac | undefined;
  readonly stat_prefix: string;
  readonly shadow_rules_stat_prefix: string;
}

export const networkRbacSchema: Schema<NetworkRbac> = schema<NetworkRbac>(
  'envoy.extensions.filters.network.rbac.v3.RBAC',
  {
    fields: {
      rules: single(
        1,
        message(() => rbacSchema),
      ),
      shadow_rules: single(
        2,
        message(() => rbacSchema),
      ),
      stat_prefix: single(3, string),
      shadow_rules_stat_prefix: single(5, string),
    },
    ignored: { 4: 'enforcement_type', 6: 'matcher', 7: 'shadow_matcher' },
  },
);
