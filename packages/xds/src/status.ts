import type { XdsProfile } from './compile/compile.ts';
import type { ServerStatus } from './connection/follow.ts';
import type { Servers } from './connection/servers.ts';
import type { ResourceCache, ResourceStatus } from './protocol/cache.ts';
import { type ResourceType, resourceTypes } from './resources.ts';
import type { XdsSettings } from './setup/resolve.ts';

/** How a source stands. */
export interface XdsStatus {
  readonly profile: XdsProfile;
  readonly protocol: 'delta' | 'sotw';
  /** In order of preference. */
  readonly servers: readonly ServerStatus[];
  /** Address of the one whose resources are in use; absent before the first response. */
  readonly active?: string;
  readonly types: Readonly<Record<ResourceType, TypeStatus>>;
  /** Members of the bootstrap that have no effect here, by their JSON paths. */
  readonly ignoredBootstrap: readonly string[];
}

/** One type of resources. */
export interface TypeStatus {
  /** Of the last response that was accepted as a whole; '' where there is none. */
  readonly version: string;
  /** Of the last response on the stream that is open; '' where there is none. */
  readonly nonce: string;
  readonly resources: readonly ResourceStatus[];
}

export function statusOf(
  { ignoredBootstrap, profile, protocol, servers }: XdsSettings,
  running: { readonly cache: ResourceCache; readonly servers: Servers } | undefined,
): XdsStatus {
  const types: Partial<Record<ResourceType, TypeStatus>> = {};
  const session = running?.servers.session();
  for (const type of resourceTypes) {
    types[type] = {
      version: running?.cache.version(type) ?? '',
      nonce: session?.nonce(type) ?? '',
      resources: running?.cache.status(type) ?? [],
    };
  }
  const active = servers[running?.servers.active() ?? -1]?.address;
  return {
    profile,
    protocol,
    servers:
      running?.servers.status() ?? servers.map(({ address }) => ({ address, state: 'idle' as const, streams: 0 })),
    types: types as XdsStatus['types'],
    ignoredBootstrap,
    ...(active === undefined ? {} : { active }),
  };
}
