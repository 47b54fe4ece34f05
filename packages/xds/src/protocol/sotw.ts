import { type Any, typeOf, unpack } from '../proto/any.ts';
import { discoveryRequest, discoveryResponse, resourceSchema } from '../proto/envoy/discovery.ts';
import { decode, encode } from '../proto/schema.ts';
import type { ResourceType } from '../resources.ts';
import { nackOf } from './nack.ts';
import { type ProtocolSession, type SessionParts, typeOfUrl, typeUrls } from './session.ts';
import { type Incoming, requestOrder, type Watches } from './watches.ts';

/** Types of which a response has everything: what is not in it is no more. */
const whole: ReadonlySet<ResourceType> = new Set<ResourceType>(['listeners', 'clusters']);

/**
 * State of the world: each request lists all names, each response of listeners and clusters has all
 * of them. Every response is answered once, with its nonce; the version in a request is the last that
 * was accepted, also after the stream was lost, when there is no nonce yet.
 */
export function createSotwSession({ node, cache, known }: SessionParts): ProtocolSession {
  const nonces = new Map<ResourceType, string>();
  /** Names that were asked for last, by type; '*' for everything. */
  const asked = new Map<ResourceType, readonly string[]>();
  let first = true;
  if (!known) cache.forgetVersions();

  const request = (type: ResourceType, parts: { error?: ReturnType<typeof nackOf> } = {}): Uint8Array => {
    const introduction = first ? { node } : {};
    first = false;
    const names = asked.get(type) ?? [];
    return encode(discoveryRequest, {
      ...introduction,
      version_info: cache.version(type),
      resource_names: names[0] === '*' ? [] : names,
      type_url: typeUrls[type],
      response_nonce: nonces.get(type) ?? '',
      error_detail: parts.error,
    });
  };

  return {
    nonce: (type) => nonces.get(type) ?? '',
    requests(watches: Watches) {
      const requests: Uint8Array[] = [];
      for (const type of requestOrder) {
        const { names, wildcard } = watches[type];
        const next = wildcard ? ['*'] : [...names].sort();
        const before = asked.get(type);
        // A first request without names would ask for everything.
        if (before === undefined ? next.length === 0 : same(before, next)) continue;
        asked.set(type, next);
        requests.push(request(type));
      }
      return requests;
    },
    receive(bytes) {
      const response = decode(discoveryResponse, bytes);
      const { nonce, type_url, version_info: version } = response;
      const controlPlane = response.control_plane?.identifier ?? '';
      const type = typeOfUrl(type_url);
      if (type === undefined || !asked.has(type)) {
        return { nonce, controlPlane, update: undefined, answer: () => new Uint8Array() };
      }
      nonces.set(type, nonce);
      return {
        nonce,
        controlPlane,
        update: {
          type,
          resources: response.resources.map(unwrap),
          removed: [],
          complete: whole.has(type),
          errors: response.resource_errors.map(({ error_detail, resource_name }) => ({
            name: resource_name?.name ?? '',
            code: error_detail?.code ?? 0,
            message: error_detail?.message ?? '',
          })),
          version,
        },
        answer(problems) {
          if (problems.length === 0) cache.setVersion(type, version);
          return request(type, { error: nackOf(problems) });
        },
      };
    },
  };
}

/** A resource may come in a wrapper that says more of it. */
function unwrap(any: Any): Incoming {
  if (typeOf(any) !== resourceSchema.name) return { name: '', version: '', resource: any, ttlMs: undefined };
  const { name, resource, resource_name, ttl, version } = unpack(resourceSchema, any) ?? {};
  return { name: name || (resource_name?.name ?? ''), version: version ?? '', resource, ttlMs: ttl };
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}
