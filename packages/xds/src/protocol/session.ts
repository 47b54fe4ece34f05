import type { Node } from '../proto/envoy/node.ts';
import { messageNames, type ResourceProblem, type ResourceType, resourceTypes } from '../resources.ts';
import type { ResourceCache } from './cache.ts';
import type { Update, Watches } from './watches.ts';

/** One response, read. */
export interface Received {
  readonly nonce: string;
  /** Who answered, by its own name; '' where it does not say. */
  readonly controlPlane: string;
  /** Absent where nobody asked for resources of this type. */
  readonly update: Update | undefined;
  /** The request that tells the control plane what became of it. */
  answer(problems: readonly ResourceProblem[]): Uint8Array;
}

/**
 * One stream's side of a protocol: which requests to send, what responses mean. Knows no sockets.
 * Nonces live as long as the session; what was accepted lives in the cache.
 */
export interface ProtocolSession {
  /** What to send at first, and after the watches have changed. */
  requests(watches: Watches): readonly Uint8Array[];
  /** @throws Error when the bytes are no response */
  receive(bytes: Uint8Array): Received;
  /** Nonce of the last response, by type. */
  nonce(type: ResourceType): string;
}

/** How sessions are made. */
export interface SessionParts {
  readonly node: Partial<Node>;
  readonly cache: ResourceCache;
  /** What the cache holds came from this very control plane: it may be told the versions. */
  readonly known: boolean;
}

const prefix = 'type.googleapis.com/';

export const typeUrls: Readonly<Record<ResourceType, string>> = Object.fromEntries(
  resourceTypes.map((type) => [type, prefix + messageNames[type]]),
) as Record<ResourceType, string>;

/** The type that a URL names. */
export function typeOfUrl(url: string): ResourceType | undefined {
  return resourceTypes.find((type) => typeUrls[type] === url);
}
