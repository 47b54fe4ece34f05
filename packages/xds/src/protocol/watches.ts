import type { Any } from '../proto/any.ts';
import type { ResourceType } from '../resources.ts';

/** What is asked for, of one type. */
export interface Watch {
  /** Everything that the control plane has for this process; there are no names then. */
  readonly wildcard: boolean;
  readonly names: ReadonlySet<string>;
}

export type Watches = Readonly<Record<ResourceType, Watch>>;

/** What arrived for one type, whichever way the protocol says it. */
export interface Update {
  readonly type: ResourceType;
  readonly resources: readonly Incoming[];
  /** Names of resources that are no more, or never were. */
  readonly removed: readonly string[];
  /** What was there before and is not in `resources` is no more. */
  readonly complete: boolean;
  /** What the control plane says of resources that it does not send. */
  readonly errors: readonly { readonly name: string; readonly code: number; readonly message: string }[];
  /** Of the response; '' where there is none. */
  readonly version: string;
}

/** One resource of a response. */
export interface Incoming {
  /** As the control plane calls it; '' where only the resource itself knows. */
  readonly name: string;
  readonly version: string;
  /** Absent in a heartbeat, which only renews the time to live. */
  readonly resource: Any | undefined;
  readonly ttlMs: number | undefined;
}

/** Order in which requests go out: clusters before what refers to them, as Envoy asks. */
export const requestOrder: readonly ResourceType[] = ['clusters', 'endpoints', 'listeners', 'routes'];
