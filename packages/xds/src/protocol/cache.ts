import type { Clock } from 'inmesh/identity';
import { type Any, sameAny } from '../proto/any.ts';
import {
  nameOf,
  problemOf,
  type ResourceProblem,
  type ResourceSet,
  type ResourceType,
  resourceTypes,
} from '../resources.ts';
import type { Steps } from '../turns.ts';
import type { Incoming, Update, Watches } from './watches.ts';

/** How a resource stands, in the words of CSDS (gRFC A40, A88). */
export type ResourceState = 'REQUESTED' | 'ACKED' | 'NACKED' | 'DOES_NOT_EXIST' | 'TIMEOUT' | 'RECEIVED_ERROR';

/** One resource, for people. */
export interface ResourceStatus {
  readonly name: string;
  readonly state: ResourceState;
  /** Of what is in use; '' where there is none, or the control plane gives none. */
  readonly version: string;
  /** Why the newest was refused, or does not come. */
  readonly error?: string;
}

/** All that a control plane said and that can be used; outlives streams and servers. */
export interface ResourceCache {
  /**
   * Takes what arrived; the resources that are refused, with the reasons. The others are in use with the last step, all
   * of them at the same time.
   */
  receive(update: Update): Steps<readonly ResourceProblem[]>;
  /** What is asked for from now on; what nobody asks for any more is dropped. */
  watch(watches: Watches): void;
  /** Requests are on their way: from now on a name that is asked for may turn out not to exist. */
  requested(): void;
  /** The stream is lost: silence means nothing until there is another. */
  disconnected(): void;
  /** What is in use. Its maps, and the resources in them, are the same objects as long as nothing changes. */
  set(): ResourceSet;
  /** Whether something is known of a name: a resource, or that there is none. */
  settled(type: ResourceType, name: string): boolean;
  /** Whether anything was said of a name, if only what is refused. */
  knows(type: ResourceType, name: string): boolean;
  /** Whether there was any response for the type. */
  answered(type: ResourceType): boolean;
  /** Resources whose newest version is refused. */
  problems(): readonly ResourceProblem[];
  /** Version of all resources of a type that was accepted last. */
  version(type: ResourceType): string;
  setVersion(type: ResourceType, version: string): void;
  /** Versions of what is held, by name. */
  versions(type: ResourceType): ReadonlyMap<string, string>;
  /** What is held came from another control plane, and its versions mean nothing to this one. */
  forgetVersions(): void;
  status(type: ResourceType): readonly ResourceStatus[];
  /** Puts back what an earlier process held. */
  restore(set: ResourceSet): void;
  close(): void;
}

export interface CacheParts {
  readonly clock: Clock;
  /** Checks a resource by itself. */
  readonly readers: Readonly<Record<ResourceType, (any: Any) => unknown>>;
  /** Does the same ahead and in steps, for resources that are large. `before`: what is in use. */
  readonly stepReaders?: Partial<Readonly<Record<ResourceType, (any: Any, before: Any | undefined) => Steps<void>>>>;
  /** Something has changed: what is in use, what is known not to exist. */
  changed(): void;
  /** How long a resource that was asked for may take before it does not exist, milliseconds. */
  readonly missingMs: number;
  /** Most resources of one type. */
  readonly maxResources: number;
  /** Whether what the control plane deletes stays in use (gRFC A53). */
  readonly ignoreDeletion: boolean;
}

interface Entry {
  any?: Any;
  version: string;
  state: ResourceState;
  problem?: ResourceProblem;
  error?: string;
  cancelMissing?: (() => void) | undefined;
  cancelTtl?: (() => void) | undefined;
}

interface TypeState {
  readonly entries: Map<string, Entry>;
  version: string;
  answered: boolean;
  /** Entries for what was refused and never known before; no fewer than there are. */
  strangers: number;
  /** Problems of what has no name. */
  nameless: readonly ResourceProblem[];
  /** Made when somebody asks. */
  set: ReadonlyMap<string, Any> | undefined;
}

/** Most names of a type that are remembered only for having been refused. */
const maxStrangers = 1_000;

/** Error codes of gRPC that say that there is no such resource for us: xDS proposal TP3. */
const gone: ReadonlySet<number> = new Set([5, 7]);

/** An empty cache. Nothing in it is asked for yet. */
export function createCache(parts: CacheParts): ResourceCache {
  const { clock, readers, changed, stepReaders = {} } = parts;
  const types = Object.fromEntries(
    resourceTypes.map((type) => [
      type,
      {
        entries: new Map(),
        version: '',
        answered: false,
        strangers: 0,
        nameless: [],
        set: undefined,
      } satisfies TypeState,
    ]),
  ) as unknown as Record<ResourceType, TypeState>;
  let watches: Watches | undefined;

  const isWatched = (type: ResourceType, name: string): boolean =>
    watches !== undefined && (watches[type].wildcard || watches[type].names.has(name));

  const stopTimers = (entry: Entry): void => {
    entry.cancelMissing?.();
    entry.cancelTtl?.();
    entry.cancelMissing = entry.cancelTtl = undefined;
  };

  /** The resource is no more. A name that is asked for stays, as one that does not exist. */
  const remove = (type: ResourceType, name: string, state: ResourceState = 'DOES_NOT_EXIST', error?: string): void => {
    const of = types[type];
    const entry = of.entries.get(name);
    if (entry?.any !== undefined) of.set = undefined;
    if (entry !== undefined) stopTimers(entry);
    const wanted = watches?.[type].names.has(name) === true;
    if (wanted) of.entries.set(name, { version: '', state, ...(error === undefined ? {} : { error }) });
    else of.entries.delete(name);
  };

  /** What is held, where that is the same; else a copy that can be read: the bytes are part of a whole response. */
  function* read(type: ResourceType, resource: Any, name: string): Steps<Any> {
    const held = types[type].entries.get(name)?.any;
    if (held !== undefined && sameAny(held, resource)) return held;
    const any = { type_url: resource.type_url, value: Uint8Array.from(resource.value ?? []) };
    const steps = stepReaders[type];
    if (steps !== undefined) yield* steps(any, held);
    readers[type](any);
    return any;
  }

  const take = (type: ResourceType, { resource, ttlMs, version }: Incoming, name: string, read?: Any): void => {
    const of = types[type];
    const before = of.entries.get(name);
    const any = read ?? before?.any;
    if (any !== before?.any) of.set = undefined;
    // A heartbeat for what is not there is none of ours.
    if (any === undefined) return;
    if (before !== undefined) stopTimers(before);
    const isHeartbeat = resource === undefined;
    const entry: Entry =
      // Which says nothing new of what is refused.
      isHeartbeat && before?.state === 'NACKED'
        ? { ...before }
        : { any, version: isHeartbeat ? (before?.version ?? '') : version, state: 'ACKED' };
    if (ttlMs !== undefined && ttlMs > 0) {
      entry.cancelTtl = clock.after(ttlMs, () => {
        remove(type, name);
        changed();
      });
    }
    of.entries.set(name, entry);
  };

  const refuse = (type: ResourceType, name: string, error: unknown): ResourceProblem => {
    const problem = problemOf(type, name, error);
    const of = types[type];
    if (name === '') return problem;
    const entry = of.entries.get(name);
    if (entry === undefined) {
      // Never known, and perhaps one of many: a control plane that makes up names must not fill the memory.
      if (of.strangers >= maxStrangers) return problem;
      of.strangers++;
    }
    entry?.cancelMissing?.();
    of.entries.set(name, { version: '', ...entry, cancelMissing: undefined, state: 'NACKED', problem });
    return problem;
  };

  const receiveError = (type: ResourceType, name: string, code: number, message: string): void => {
    const of = types[type];
    const entry = of.entries.get(name);
    const text = message.slice(0, 1_000);
    if (entry?.any !== undefined && (!gone.has(code) || parts.ignoreDeletion)) {
      of.entries.set(name, { ...entry, state: 'RECEIVED_ERROR', error: text });
    } else {
      remove(type, name, 'RECEIVED_ERROR', text);
    }
  };

  return {
    *receive({ complete, errors, removed, resources, type }) {
      const of = types[type];
      const problems: ResourceProblem[] = [];
      const nameless: ResourceProblem[] = [];
      const seen = new Set<string>();
      const doubled = new Set<string>();
      if (resources.length > parts.maxResources) {
        // Not one of them: which ones would be chance.
        const message = `expected ${parts.maxResources} resources at most, got ${resources.length}`;
        of.answered = true;
        of.nameless = [{ type, resource: '', field: '', message }];
        changed();
        return of.nameless;
      }
      const named: (ReturnType<typeof nameOfIncoming> & {
        readonly incoming: Incoming;
        any?: Any;
        refused?: unknown;
      })[] = [];
      for (const incoming of resources) {
        const name = nameOfIncoming(incoming);
        if (name.name !== '' && seen.has(name.name)) doubled.add(name.name);
        seen.add(name.name);
        named.push({ incoming, ...name });
        if ((named.length & 63) === 0) yield;
      }
      // What nobody asked for is checked nevertheless, and not kept.
      for (const each of named) {
        const { error, incoming, name } = each;
        if (error !== undefined || name === '' || doubled.has(name) || incoming.resource === undefined) continue;
        try {
          each.any = yield* read(type, incoming.resource, name);
        } catch (reason) {
          each.refused = reason;
        }
        yield;
      }
      // From here on without a pause: nobody sees half of it.
      of.answered = true;
      for (const { any, incoming, name, error, ...each } of named) {
        try {
          if (error !== undefined) throw error;
          if (name === '') throw new Error('the resource has no name');
          if (doubled.has(name)) throw new Error('the name comes twice in one response');
          if (!of.entries.has(name) && of.entries.size >= parts.maxResources) {
            throw new Error(`there are ${parts.maxResources} resources of this type already, the most there may be`);
          }
          if ('refused' in each) throw each.refused;
          if (isWatched(type, name)) take(type, incoming, name, any);
        } catch (reason) {
          const problem = refuse(type, isWatched(type, name) ? name : '', reason);
          problems.push({ ...problem, resource: name });
          if (name === '') nameless.push(problem);
        }
      }
      of.nameless = nameless;
      // Counted anew now and then, rather than with each that goes.
      if (of.strangers >= maxStrangers) of.strangers = countStrangers(of.entries);
      if (!parts.ignoreDeletion) {
        for (const name of removed) if (isWatched(type, name)) remove(type, name);
        if (complete) {
          for (const [name, entry] of of.entries)
            if ((entry.any !== undefined || entry.problem !== undefined) && !seen.has(name)) remove(type, name);
        }
      } else {
        for (const name of removed)
          if (of.entries.get(name)?.any === undefined && isWatched(type, name)) remove(type, name);
      }
      for (const { code, message, name } of errors) if (isWatched(type, name)) receiveError(type, name, code, message);
      changed();
      return problems;
    },
    watch(next) {
      watches = next;
      for (const type of resourceTypes) {
        const of = types[type];
        for (const name of next[type].names) {
          if (!of.entries.has(name)) of.entries.set(name, { version: '', state: 'REQUESTED' });
        }
        for (const [name, entry] of of.entries) {
          if (isWatched(type, name)) continue;
          stopTimers(entry);
          of.entries.delete(name);
          of.set = undefined;
        }
      }
    },
    requested() {
      for (const type of resourceTypes) {
        for (const [name, entry] of types[type].entries) {
          if (entry.state !== 'REQUESTED' || entry.cancelMissing !== undefined) continue;
          entry.cancelMissing = clock.after(parts.missingMs, () => {
            remove(type, name, 'TIMEOUT', `nothing came within ${parts.missingMs} ms`);
            changed();
          });
        }
      }
    },
    disconnected() {
      for (const type of resourceTypes) {
        for (const entry of types[type].entries.values()) {
          entry.cancelMissing?.();
          entry.cancelMissing = undefined;
        }
      }
    },
    set() {
      const set: Partial<Record<ResourceType, ReadonlyMap<string, Any>>> = {};
      for (const type of resourceTypes) set[type] = types[type].set ??= usable(types[type].entries);
      return set as ResourceSet;
    },
    settled(type, name) {
      const entry = types[type].entries.get(name);
      return entry !== undefined
        ? entry.state !== 'REQUESTED'
        : watches?.[type].wildcard === true && types[type].answered;
    },
    knows: (type, name) => types[type].entries.has(name),
    answered: (type) => types[type].answered,
    problems: () =>
      resourceTypes.flatMap((type) => [
        ...types[type].nameless,
        ...[...types[type].entries.values()].flatMap(({ problem }) => (problem === undefined ? [] : [problem])),
      ]),
    version: (type) => types[type].version,
    setVersion: (type, version) => void (types[type].version = version),
    versions(type) {
      const held = new Map<string, string>();
      for (const [name, { any, version }] of types[type].entries) if (any !== undefined) held.set(name, version);
      return held;
    },
    forgetVersions() {
      for (const type of resourceTypes) {
        types[type].version = '';
        for (const entry of types[type].entries.values()) entry.version = '';
      }
    },
    status: (type) =>
      [...types[type].entries].map(([name, { error, problem, state, version }]) => ({
        name,
        state,
        version,
        ...(error === undefined && problem === undefined ? {} : { error: error ?? problem?.message ?? '' }),
      })),
    restore(set) {
      // All or nothing.
      for (const type of resourceTypes) for (const any of set[type].values()) readers[type](any);
      for (const type of resourceTypes) {
        const of = types[type];
        of.set = undefined;
        // No control plane knows of these.
        of.version = '';
        for (const [name, any] of set[type]) {
          const before = of.entries.get(name);
          if (before !== undefined) stopTimers(before);
          of.entries.set(name, { any, version: '', state: 'ACKED' });
        }
        of.answered = true;
      }
    },
    close() {
      for (const type of resourceTypes) for (const entry of types[type].entries.values()) stopTimers(entry);
    },
  };
}

function countStrangers(entries: ReadonlyMap<string, Entry>): number {
  let count = 0;
  for (const { any, problem } of entries.values()) if (any === undefined && problem !== undefined) count++;
  return count;
}

function usable(entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Any> {
  const held = new Map<string, Any>();
  for (const [name, { any }] of entries) if (any !== undefined) held.set(name, any);
  return held;
}

/** Subscriptions go by the name around a resource, and what refers to it by the name in it: both must be one. */
function nameOfIncoming({ name, resource }: Incoming): { readonly name: string; readonly error?: Error } {
  if (resource === undefined) return { name };
  try {
    const inner = nameOf(resource);
    if (name === '' || name === inner) return { name: inner };
    return { name, error: new Error(`the resource calls itself ${JSON.stringify(inner.slice(0, 200))}`) };
  } catch (error) {
    return { name, error: new Error(`the bytes cannot be read: ${error instanceof Error ? error.message : error}`) };
  }
}
