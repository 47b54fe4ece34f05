import type { ConfigProblem, ConfigSink } from 'inmesh/config';
import type { Clock } from 'inmesh/identity';
import type { CompileContext, Compiled } from './compile/compile.ts';
import type { ResourceCache } from './protocol/cache.ts';
import type { Watches } from './protocol/watches.ts';
import { kindOf, type ResourceProblem, type ResourceSet, type Wanted } from './resources.ts';
import type { Steps, Turns } from './turns.ts';

/**
 * How long a cluster that a route names may be missing before routes to it are used all the same,
 * milliseconds: in the one push that brings both it is seconds at most.
 */
const clusterGraceMs = 5_000;

/**
 * A snapshot that took a while to make is followed by a rest of so many times as long, and of so many milliseconds at
 * most: what changes without a pause is put together, and requests have most of the processor.
 */
const restTimes = 4;
const maxRestMs = 200;

/** Most problems that are told of at once: the newest. Of the others the status of the source tells. */
const maxTold = 100;

export interface PublishParts {
  readonly context: CompileContext;
  readonly cache: ResourceCache;
  readonly clock: Clock;
  readonly sink: ConfigSink;
  compile(set: ResourceSet, context: CompileContext, version: string): Compiled;
  /** Does most of that ahead and in steps. */
  prepare?(set: ResourceSet, context: CompileContext): Steps<void>;
  readonly turns: Turns;
  /** What is to be asked for from now on. */
  watch(watches: Watches): void;
  /** A snapshot was made of this and is in force. */
  published?(set: ResourceSet): void;
}

/** Turns what the control plane said into snapshots, each of them whole. */
export interface Publisher {
  /** Something has changed: looks at it when what has arrived at the same time was read too. */
  changed(): void;
  /** The source was out of reach and is back: says again what is in force. */
  recovered(): void;
  /** Whether all is there that was asked for. */
  complete(): boolean;
  close(): void;
}

const nobody: ReadonlySet<string> = new Set();
const nothing: Wanted = { routes: nobody, clusters: nobody, endpoints: nobody };

/**
 * A snapshot is published when everything is there, or known not to exist, that its resources mention
 * (gRFC A74). Until then the one before stays, with all that it mentions: make before break.
 * Endpoints of clusters that are in force do not wait for others.
 */
export function createPublisher(parts: PublishParts): Publisher {
  const { cache, clock, compile, context, prepare, published, sink, turns, watch } = parts;
  let inForce: { readonly set: ResourceSet; readonly compiled: Compiled } | undefined;
  let newest: Wanted = nothing;
  let sequence = 0;
  let scheduled = false;
  let closed = false;
  let again = false;
  let restUntil = Number.NEGATIVE_INFINITY;
  let cancelRest = (): void => {};
  let told = '';
  /** Clusters that routes name and that are not there, with the end of the wait for them. */
  const missing = new Map<string, { readonly cancel: () => void; over: boolean }>();

  const wildcard = context.profile === 'istio';
  const watchFor = (wanted: readonly Wanted[]): Watches => {
    const named = (type: keyof Wanted): ReadonlySet<string> => new Set(wanted.flatMap((one) => [...one[type]]));
    return {
      listeners: { wildcard, names: wildcard ? nobody : new Set([...context.services, ...context.serverListeners]) },
      clusters: { wildcard, names: wildcard ? nobody : named('clusters') },
      routes: { wildcard: false, names: named('routes') },
      endpoints: { wildcard: false, names: named('endpoints') },
    };
  };

  /** Whether a cluster is there, or will not come. */
  const clusterSettled = (name: string): boolean => {
    if (!wildcard) return cache.settled('clusters', name);
    const wait = missing.get(name);
    if (cache.set().clusters.has(name)) {
      wait?.cancel();
      missing.delete(name);
      return true;
    }
    // In the beginning what is not in the first answer is not there.
    if (inForce === undefined || cache.knows('clusters', name)) return true;
    // Routes in force that lead nowhere did so before.
    if (!inForce.set.clusters.has(name) && inForce.compiled.wanted.clusters.has(name)) return true;
    if (wait !== undefined) return wait.over;
    const entry = {
      over: false,
      cancel: clock.after(clusterGraceMs, () => {
        entry.over = true;
        changed();
      }),
    };
    missing.set(name, entry);
    return false;
  };

  const isComplete = (wanted: Wanted): boolean => {
    if (wildcard && !(cache.answered('listeners') && cache.answered('clusters'))) return false;
    const listeners = wildcard ? [] : [...context.services, ...context.serverListeners];
    // No reading but the first matters here: `some` would leave the rest of the clusters without their wait.
    const clusters = [...wanted.clusters].map(clusterSettled);
    for (const [name, { cancel }] of missing) {
      if (wanted.clusters.has(name)) continue;
      cancel();
      missing.delete(name);
    }
    return (
      (inForce !== undefined || !refusesToServe()) &&
      clusters.every(Boolean) &&
      listeners.every((name) => cache.settled('listeners', name)) &&
      [...wanted.routes].every((name) => cache.settled('routes', name)) &&
      [...wanted.endpoints].every((name) => cache.settled('endpoints', name))
    );
  };

  /** What callers must prove is refused and was never known: without it nobody may be let in. */
  const refusesToServe = (): boolean => {
    const held = cache.set().listeners;
    return cache
      .problems()
      .some(
        ({ forCallers, resource, type }) =>
          type === 'listeners' &&
          !held.has(resource) &&
          (wildcard
            ? forCallers === true || resource === 'virtualInbound' || resource === ''
            : context.serverListeners.includes(resource)),
      );
  };

  /** What callers must be stays as it was, as long as the new listeners do not say it. */
  const keepingCallers = (compiled: Compiled): Compiled => {
    if (inForce === undefined || !(compiled.inboundRefused === true || refusesToServe())) return compiled;
    const { trust: _, ...snapshot } = compiled.snapshot;
    const { inbound, trust } = inForce.compiled.snapshot;
    return { ...compiled, snapshot: { ...snapshot, inbound, ...(trust === undefined ? {} : { trust }) } };
  };

  const publish = (set: ResourceSet, compiled: Compiled): void => {
    inForce = { set, compiled };
    again = false;
    sink.update(compiled.snapshot, compiled.report);
    published?.(set);
  };

  const turn = (): void => {
    if (closed) return;
    const from = clock.now();
    const unusable = (error: unknown): void => {
      scheduled = false;
      rest(from);
      // No resource may end the process: what is in force stays.
      const message = `the configuration cannot be used: ${error instanceof Error ? error.message : String(error)}`;
      if (message !== told) sink.reject([{ message }]);
      told = message;
    };
    // What arrives meanwhile is read behind it, and looked at next.
    const ready = (): void => {
      scheduled = false;
      look();
      rest(from);
    };
    turns.run<void>(steps(), ready, unusable);
  };

  /** Of what is there when it begins: responses that are still being read come first. */
  function* steps(): Steps<void> {
    yield* prepare?.(cache.set(), context) ?? [];
  }

  const rest = (from: number): void => {
    const now = clock.now();
    restUntil = now + Math.min(maxRestMs, restTimes * (now - from));
  };

  const look = (): void => {
    const set = cache.set();
    const compiled = keepingCallers(compile(set, context, `xds ${sequence + 1}`));
    newest = compiled.wanted;
    watch(watchFor(inForce === undefined ? [newest] : [inForce.compiled.wanted, newest]));
    if (isComplete(newest)) {
      if (again || !sameSet(inForce?.set, set)) {
        sequence++;
        publish(set, compiled);
        watch(watchFor([newest]));
        // What nobody mentions any more was dropped: no reason to publish again.
        inForce = { set: cache.set(), compiled };
      }
    } else if (inForce !== undefined && inForce.set.endpoints !== set.endpoints) {
      const settled = { ...inForce.set, endpoints: set.endpoints };
      publish(settled, keepingCallers(compile(settled, context, `xds ${++sequence}`)));
    }
    reject([...cache.problems(), ...compiled.problems]);
  };

  /** Each thing that is wrong is told once. */
  const reject = (problems: readonly ResourceProblem[]): void => {
    // A control plane that sends very much garbage must not keep the process busy with talking of it.
    const shown = problems.slice(-maxTold);
    const text = JSON.stringify([problems.length, shown]);
    if (text === told) return;
    told = text;
    if (problems.length === 0) return;
    const message = `${problems.length - shown.length} more resources are refused`;
    sink.reject([
      ...shown.map((problem) => configProblem(problem, context.workload.namespace)),
      ...(shown.length === problems.length ? [] : [{ message }]),
    ]);
  };

  const changed = (): void => {
    if (scheduled || closed) return;
    scheduled = true;
    const wait = restUntil - clock.now();
    if (wait > 0) cancelRest = clock.after(wait, turn);
    else clock.afterIo(turn);
  };

  watch(watchFor([nothing]));
  return {
    changed,
    recovered() {
      again = true;
      changed();
    },
    complete: () => inForce !== undefined && isComplete(newest),
    close() {
      closed = true;
      cancelRest();
      for (const { cancel } of missing.values()) cancel();
    },
  };
}

function configProblem(
  { field, message, resource, type, unenforceable, value }: ResourceProblem,
  namespace: string,
): ConfigProblem {
  return {
    message,
    at: { kind: kindOf(type), namespace, name: resource },
    ...(field === '' ? {} : { field }),
    ...(value === undefined ? {} : { value }),
    ...(unenforceable ? { unenforceable } : {}),
  };
}

function sameSet(a: ResourceSet | undefined, b: ResourceSet): boolean {
  return (
    a !== undefined &&
    a.listeners === b.listeners &&
    a.routes === b.routes &&
    a.clusters === b.clusters &&
    a.endpoints === b.endpoints
  );
}
