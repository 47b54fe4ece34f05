import { enumOf, type Kind, message, string, uint32, unread, wrapped } from '../kinds.ts';
import { type Field, mapOf, optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type Address, addressSchema } from './address.ts';
import { type Locality, localitySchema, type Metadata, metadataSchema } from './base.ts';
import { type FractionalPercent, fractionalPercentSchema } from './ranges.ts';

/** `envoy.config.core.v3.HealthStatus`. */
export type HealthStatus = 'UNKNOWN' | 'HEALTHY' | 'UNHEALTHY' | 'DRAINING' | 'TIMEOUT' | 'DEGRADED';

const healthStatusKind = enumOf('UNKNOWN', 'HEALTHY', 'UNHEALTHY', 'DRAINING', 'TIMEOUT', 'DEGRADED');

/** `envoy.config.endpoint.v3.ClusterLoadAssignment`; `E`: its endpoints, as messages or as bytes. */
export interface ClusterLoadAssignment<E = LbEndpoint> {
  readonly cluster_name: string;
  readonly endpoints: readonly LocalityLbEndpoints<E>[];
  readonly named_endpoints: ReadonlyMap<string, Endpoint | undefined>;
  readonly policy: LoadAssignmentPolicy | undefined;
}

const assignmentSchema = <E>(locality: () => Schema<LocalityLbEndpoints<E>>): Schema<ClusterLoadAssignment<E>> =>
  schema<ClusterLoadAssignment<E>>('envoy.config.endpoint.v3.ClusterLoadAssignment', {
    fields: {
      cluster_name: single(1, string),
      endpoints: repeated(2, message(locality)),
      named_endpoints: mapOf(
        5,
        message(() => endpointSchema),
      ),
      policy: single(
        4,
        message(() => loadAssignmentPolicySchema),
      ),
    },
  });

export const clusterLoadAssignmentSchema: Schema<ClusterLoadAssignment> = assignmentSchema(
  () => localityLbEndpointsSchema,
);

/** The same message of which the endpoints stay bytes: where there are many, most are as they were before. */
export const unreadLoadAssignmentSchema: Schema<ClusterLoadAssignment<Uint8Array>> = assignmentSchema(
  () => unreadLocalitySchema,
);

/** `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy`. */
export interface LoadAssignmentPolicy {
  readonly drop_overloads: readonly DropOverload[];
  readonly overprovisioning_factor: number | undefined;
}

export const loadAssignmentPolicySchema: Schema<LoadAssignmentPolicy> = schema<LoadAssignmentPolicy>(
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy',
  {
    fields: {
      drop_overloads: repeated(
        2,
        message(() => dropOverloadSchema),
      ),
      overprovisioning_factor: single(3, wrapped(uint32)),
    },
    ignored: { 4: 'endpoint_stale_after', 6: 'weighted_priority_health' },
  },
);

/** `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload`. */
export interface DropOverload {
  readonly category: string;
  readonly drop_percentage: FractionalPercent | undefined;
}

export const dropOverloadSchema: Schema<DropOverload> = schema<DropOverload>(
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload',
  {
    fields: {
      category: single(1, string),
      drop_percentage: single(
        2,
        message(() => fractionalPercentSchema),
      ),
    },
  },
);

/** `envoy.config.endpoint.v3.Endpoint`. */
export interface Endpoint {
  readonly address: Address | undefined;
  readonly health_check_config: EndpointHealthCheckConfig | undefined;
  readonly additional_addresses: readonly AdditionalAddress[];
}

export const endpointSchema: Schema<Endpoint> = schema<Endpoint>('envoy.config.endpoint.v3.Endpoint', {
  fields: {
    address: single(
      1,
      message(() => addressSchema),
    ),
    health_check_config: single(
      2,
      message(() => endpointHealthCheckConfigSchema),
    ),
    additional_addresses: repeated(
      4,
      message(() => additionalAddressSchema),
    ),
  },
  ignored: { 3: 'hostname' },
});

/** `envoy.config.endpoint.v3.Endpoint.HealthCheckConfig`. */
export interface EndpointHealthCheckConfig {
  readonly port_value: number;
}

export const endpointHealthCheckConfigSchema: Schema<EndpointHealthCheckConfig> = schema<EndpointHealthCheckConfig>(
  'envoy.config.endpoint.v3.Endpoint.HealthCheckConfig',
  {
    fields: {
      port_value: single(1, uint32),
    },
    ignored: { 2: 'hostname', 3: 'address', 4: 'disable_active_health_check' },
  },
);

/** `envoy.config.endpoint.v3.Endpoint.AdditionalAddress`. */
export interface AdditionalAddress {
  readonly address: Address | undefined;
}

export const additionalAddressSchema: Schema<AdditionalAddress> = schema<AdditionalAddress>(
  'envoy.config.endpoint.v3.Endpoint.AdditionalAddress',
  {
    fields: {
      address: single(
        1,
        message(() => addressSchema),
      ),
    },
  },
);

/** `envoy.config.endpoint.v3.LbEndpoint`. */
export interface LbEndpoint {
  readonly endpoint: Endpoint | undefined;
  readonly endpoint_name: string | undefined;
  readonly health_status: HealthStatus | number;
  readonly metadata: Metadata | undefined;
  readonly load_balancing_weight: number | undefined;
}

export const lbEndpointSchema: Schema<LbEndpoint> = schema<LbEndpoint>('envoy.config.endpoint.v3.LbEndpoint', {
  fields: {
    endpoint: single(
      1,
      message(() => endpointSchema),
    ),
    endpoint_name: optional(5, string),
    health_status: single(2, healthStatusKind),
    metadata: single(
      3,
      message(() => metadataSchema),
    ),
    load_balancing_weight: single(4, wrapped(uint32)),
  },
  oneofs: [['endpoint', 'endpoint_name']],
});

/** `envoy.config.endpoint.v3.LocalityLbEndpoints`. */
export interface LocalityLbEndpoints<E = LbEndpoint> {
  readonly locality: Locality | undefined;
  readonly lb_endpoints: readonly E[];
  readonly load_balancer_endpoints: LbEndpointList<E> | undefined;
  readonly load_balancing_weight: number | undefined;
  readonly priority: number;
}

const localitySchemaOf = <E>(lbEndpoint: Kind<E | undefined>): Schema<LocalityLbEndpoints<E>> => {
  const endpoints = repeated(2, lbEndpoint) as Field<readonly E[]>;
  const list = schema<LbEndpointList<E>>('envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList', {
    fields: { lb_endpoints: repeated(1, lbEndpoint) as Field<readonly E[]> },
  });
  return schema<LocalityLbEndpoints<E>>('envoy.config.endpoint.v3.LocalityLbEndpoints', {
    fields: {
      locality: single(
        1,
        message(() => localitySchema),
      ),
      lb_endpoints: endpoints,
      load_balancer_endpoints: single(
        7,
        message(() => list),
      ),
      load_balancing_weight: single(3, wrapped(uint32)),
      priority: single(5, uint32),
    },
    ignored: { 6: 'proximity', 8: 'leds_cluster_locality_config', 9: 'metadata' },
  });
};

export const localityLbEndpointsSchema: Schema<LocalityLbEndpoints> = localitySchemaOf(message(() => lbEndpointSchema));
const unreadLocalitySchema: Schema<LocalityLbEndpoints<Uint8Array>> = localitySchemaOf(unread(() => lbEndpointSchema));

/** `envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList`. */
export interface LbEndpointList<E = LbEndpoint> {
  readonly lb_endpoints: readonly E[];
}
