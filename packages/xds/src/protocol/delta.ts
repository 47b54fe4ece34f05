import { deltaDiscoveryRequest, deltaDiscoveryResponse } from '../proto/envoy/discovery.ts';
import { decode, encode } from '../proto/schema.ts';
import type { ResourceType } from '../resources.ts';
import { nackOf } from './nack.ts';
import { type ProtocolSession, type SessionParts, typeOfUrl, typeUrls } from './session.ts';
import { requestOrder, type Watches } from './watches.ts';

/**
 * Incremental: requests and responses say what changes. Answers to responses carry no changes, and
 * changes of what is asked for go without a nonce: istiod would not honour one that is late. On
 * a new stream the names of all that is held go along, also those without a version: istiod tells
 * by them what is gone.
 */
export function createDeltaSession({ node, cache, known }: SessionParts): ProtocolSession {
  const nonces = new Map<ResourceType, string>();
  const asked = new Map<ResourceType, Watches[ResourceType]>();
  /** Types whose first response has all that there is. */
  const fresh = new Set<ResourceType>();
  let first = true;
  if (!known) cache.forgetVersions();

  const introduction = (): { node?: typeof node } => {
    const parts = first ? { node } : {};
    first = false;
    return parts;
  };

  return {
    nonce: (type) => nonces.get(type) ?? '',
    requests(watches) {
      const requests: Uint8Array[] = [];
      for (const type of requestOrder) {
        const next = watches[type];
        const before = asked.get(type);
        if (before === undefined) {
          // A first request without names would ask for everything.
          if (!next.wildcard && next.names.size === 0) continue;
          asked.set(type, next);
          const held = known ? cache.versions(type) : new Map<string, string>();
          if (next.wildcard && held.size === 0) fresh.add(type);
          requests.push(
            encode(deltaDiscoveryRequest, {
              ...introduction(),
              type_url: typeUrls[type],
              resource_names_subscribe: [...next.names],
              initial_resource_versions: held,
            }),
          );
          continue;
        }
        const subscribe = [...next.names].filter((name) => !before.names.has(name));
        const unsubscribe = [...before.names].filter((name) => !next.names.has(name));
        if (subscribe.length === 0 && unsubscribe.length === 0) continue;
        asked.set(type, next);
        requests.push(
          encode(deltaDiscoveryRequest, {
            type_url: typeUrls[type],
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
          }),
        );
      }
      return requests;
    },
    receive(bytes) {
      const response = decode(deltaDiscoveryResponse, bytes);
      const { nonce, type_url } = response;
      const controlPlane = response.control_plane?.identifier ?? '';
      const type = typeOfUrl(type_url);
      if (type === undefined || !asked.has(type)) {
        return { nonce, controlPlane, update: undefined, answer: () => new Uint8Array() };
      }
      nonces.set(type, nonce);
      const removed = [...response.removed_resources, ...response.removed_resource_names.map(({ name }) => name)];
      return {
        nonce,
        controlPlane,
        update: {
          type,
          resources: response.resources.map(({ name, resource, resource_name, ttl, version }) => ({
            name: name || (resource_name?.name ?? ''),
            version,
            resource,
            ttlMs: ttl,
          })),
          removed,
          complete: fresh.delete(type),
          errors: response.resource_errors.map(({ error_detail, resource_name }) => ({
            name: resource_name?.name ?? '',
            code: error_detail?.code ?? 0,
            message: error_detail?.message ?? '',
          })),
          version: response.system_version_info,
        },
        answer(problems) {
          if (problems.length === 0) cache.setVersion(type, response.system_version_info);
          return encode(deltaDiscoveryRequest, {
            type_url,
            response_nonce: nonce,
            error_detail: nackOf(problems),
          });
        },
      };
    },
  };
}
