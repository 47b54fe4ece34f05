import { type Any, any } from '../any.ts';
import { bool, message, signedDuration, string } from '../kinds.ts';
import { mapOf, repeated, type Schema, schema, single } from '../schema.ts';
import { type Node, nodeSchema } from './node.ts';
import { type Status, statusSchema } from './status.ts';

/** `envoy.service.discovery.v3.DiscoveryRequest`: state of the world. */
export interface DiscoveryRequest {
  readonly version_info: string;
  readonly node: Node | undefined;
  readonly resource_names: readonly string[];
  readonly type_url: string;
  readonly response_nonce: string;
  readonly error_detail: Status | undefined;
}

export const discoveryRequest: Schema<DiscoveryRequest> = schema<DiscoveryRequest>(
  'envoy.service.discovery.v3.DiscoveryRequest',
  {
    fields: {
      version_info: single(1, string),
      node: single(
        2,
        message(() => nodeSchema),
      ),
      resource_names: repeated(3, string),
      type_url: single(4, string),
      response_nonce: single(5, string),
      error_detail: single(
        6,
        message(() => statusSchema),
      ),
    },
    ignored: { 7: 'resource_locators' },
  },
);

interface ControlPlane {
  readonly identifier: string;
}

const controlPlane: Schema<ControlPlane> = schema<ControlPlane>('envoy.config.core.v3.ControlPlane', {
  fields: { identifier: single(1, string) },
});

interface ResourceName {
  readonly name: string;
}

const resourceName: Schema<ResourceName> = schema<ResourceName>('envoy.service.discovery.v3.ResourceName', {
  fields: { name: single(1, string) },
  ignored: { 2: 'dynamic_parameter_constraints' },
});

/** Why a resource that was asked for does not come (xDS proposal TP3). */
export interface ResourceErrorDetail {
  readonly resource_name: ResourceName | undefined;
  readonly error_detail: Status | undefined;
}

const resourceErrorDetail: Schema<ResourceErrorDetail> = schema<ResourceErrorDetail>(
  'envoy.service.discovery.v3.ResourceError',
  {
    fields: {
      resource_name: single(
        1,
        message(() => resourceName),
      ),
      error_detail: single(
        2,
        message(() => statusSchema),
      ),
    },
  },
);

/** `envoy.service.discovery.v3.DiscoveryResponse`. */
export interface DiscoveryResponse {
  readonly version_info: string;
  readonly resources: readonly Any[];
  readonly type_url: string;
  readonly nonce: string;
  readonly control_plane: ControlPlane | undefined;
  readonly resource_errors: readonly ResourceErrorDetail[];
}

export const discoveryResponse: Schema<DiscoveryResponse> = schema<DiscoveryResponse>(
  'envoy.service.discovery.v3.DiscoveryResponse',
  {
    fields: {
      version_info: single(1, string),
      resources: repeated(2, any),
      type_url: single(4, string),
      nonce: single(5, string),
      control_plane: single(
        6,
        message(() => controlPlane),
      ),
      resource_errors: repeated(
        7,
        message(() => resourceErrorDetail),
      ),
    },
    ignored: { 3: 'canary' },
  },
);

/** `envoy.service.discovery.v3.DeltaDiscoveryRequest`. */
export interface DeltaDiscoveryRequest {
  readonly node: Node | undefined;
  readonly type_url: string;
  readonly resource_names_subscribe: readonly string[];
  readonly resource_names_unsubscribe: readonly string[];
  readonly initial_resource_versions: ReadonlyMap<string, string>;
  readonly response_nonce: string;
  readonly error_detail: Status | undefined;
}

export const deltaDiscoveryRequest: Schema<DeltaDiscoveryRequest> = schema<DeltaDiscoveryRequest>(
  'envoy.service.discovery.v3.DeltaDiscoveryRequest',
  {
    fields: {
      node: single(
        1,
        message(() => nodeSchema),
      ),
      type_url: single(2, string),
      resource_names_subscribe: repeated(3, string),
      resource_names_unsubscribe: repeated(4, string),
      initial_resource_versions: mapOf(5, string),
      response_nonce: single(6, string),
      error_detail: single(
        7,
        message(() => statusSchema),
      ),
    },
    ignored: { 8: 'resource_locators_subscribe', 9: 'resource_locators_unsubscribe' },
  },
);

interface CacheControl {
  readonly do_not_cache: boolean;
}

const cacheControl: Schema<CacheControl> = schema<CacheControl>('envoy.service.discovery.v3.Resource.CacheControl', {
  fields: { do_not_cache: single(1, bool) },
});

/** `envoy.service.discovery.v3.Resource`: what delta sends, and what may be around any resource of the other protocol. */
export interface Resource {
  readonly version: string;
  readonly resource: Any | undefined;
  readonly name: string;
  readonly aliases: readonly string[];
  /** Milliseconds until it is gone unless it comes again. */
  readonly ttl: number | undefined;
  readonly cache_control: CacheControl | undefined;
  readonly resource_name: ResourceName | undefined;
}

export const resourceSchema: Schema<Resource> = schema<Resource>('envoy.service.discovery.v3.Resource', {
  fields: {
    version: single(1, string),
    resource: single(2, any),
    name: single(3, string),
    aliases: repeated(4, string),
    ttl: single(6, signedDuration),
    cache_control: single(
      7,
      message(() => cacheControl),
    ),
    resource_name: single(
      8,
      message(() => resourceName),
    ),
  },
  ignored: { 9: 'metadata' },
});

/** `envoy.service.discovery.v3.DeltaDiscoveryResponse`. */
export interface DeltaDiscoveryResponse {
  readonly system_version_info: string;
  readonly resources: readonly Resource[];
  readonly type_url: string;
  readonly nonce: string;
  readonly removed_resources: readonly string[];
  readonly control_plane: ControlPlane | undefined;
  readonly removed_resource_names: readonly ResourceName[];
  readonly resource_errors: readonly ResourceErrorDetail[];
}

export const deltaDiscoveryResponse: Schema<DeltaDiscoveryResponse> = schema<DeltaDiscoveryResponse>(
  'envoy.service.discovery.v3.DeltaDiscoveryResponse',
  {
    fields: {
      system_version_info: single(1, string),
      resources: repeated(
        2,
        message(() => resourceSchema),
      ),
      type_url: single(4, string),
      nonce: single(5, string),
      removed_resources: repeated(6, string),
      control_plane: single(
        7,
        message(() => controlPlane),
      ),
      removed_resource_names: repeated(
        8,
        message(() => resourceName),
      ),
      resource_errors: repeated(
        9,
        message(() => resourceErrorDetail),
      ),
    },
  },
);
