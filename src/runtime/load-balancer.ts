import type { Picker } from '../balance/candidate.ts';
import { createPickers } from '../balance/pickers.ts';
import { priorityLoads } from '../locality/priority-load.ts';
import { retryLoads } from '../locality/retry-priority.ts';
import type { Cluster } from '../model/cluster.ts';
import { EndpointState } from './endpoint.ts';
import { Level, type LevelDependencies } from './level.ts';

/** Which endpoint of a cluster gets a try. */
export interface LoadBalancer {
  /**
   * The endpoint for a try, not one of those to avoid if there is another. `hash` is that of the
   * request where the cluster has a consistent hash. `tried`: endpoints of the earlier tries of the
   * call, where it shall go on to other priorities. Nothing: no endpoint is usable.
   */
  pick(
    avoid: readonly object[] | undefined,
    hash: bigint | undefined,
    tried?: readonly object[] | undefined,
  ): EndpointState | undefined;
  /**
   * What it chooses from and by has changed: the policy, the endpoints, the health of one, who else
   * calls. Costs nothing until the next pick: many changes in a row are one.
   */
  rebuild(cluster: Cluster, endpoints: readonly EndpointState[]): void;
  /** Stops its timers. */
  close(): void;
}

/**
 * Spreads the tries of one cluster over its endpoints as Envoy does: first a priority by its load,
 * in it a locality where they count, in that an endpoint. {@link EndpointState.available} alone says
 * who is healthy.
 */
export function createLoadBalancer(dependencies: LevelDependencies): LoadBalancer {
  let cluster: Cluster | undefined;
  let endpoints: readonly EndpointState[] = [];
  let changed = false;
  let levels: readonly Level[] = [];
  let loads: readonly number[] = [];
  const pickers = createPickers<EndpointState>({
    ...dependencies,
    warm: () => {
      changed = true;
    },
  });
  /** The picker of the one priority that gets everything; nothing where several share. */
  let only: Picker<EndpointState> | undefined;

  const build = (): void => {
    changed = false;
    const policy = cluster as Cluster;
    const groups = byPriority(endpoints);
    const sizes = groups.map(sizeOf);
    const shares = priorityLoads(sizes, panicPercentOf(policy));
    loads = shares.loads;
    levels = groups.map((group, priority) => {
      const panics = shares.panic[priority] === true;
      return new Level({
        policy,
        priority,
        endpoints: group,
        size: sizes[priority] as Size,
        panics,
        dependencies,
        pickers,
      });
    });
    only = levels[loads.indexOf(100)]?.picker;
  };

  const levelFor = (hash: bigint | undefined, shares: readonly number[]): Level | undefined => {
    // The same key leads to the same priority.
    let left = hash === undefined ? dependencies.random() * 100 : Number(hash % 100n);
    for (let priority = 0; priority < shares.length; priority++) {
      left -= shares[priority] as number;
      if (left < 0) return levels[priority];
    }
    return levels[0];
  };

  const draw = (hash: bigint | undefined, attempt: number, shares: readonly number[] | undefined) => {
    if (shares === undefined && only !== undefined) return only(hash, attempt);
    return levelFor(hash, shares ?? loads)?.picker(hash, attempt);
  };

  /** Where the call may go on now, if that is not as ever. Keys keep their priority, as in Envoy. */
  const sharesAfter = (tried: readonly object[]): readonly number[] | undefined => {
    if (levels.length < 2 || cluster?.hash !== undefined) return undefined;
    const priorities = tried.flatMap((each) => (each instanceof EndpointState ? (each.endpoint.priority ?? 0) : []));
    return retryLoads(levels, priorities);
  };

  return {
    pick(avoid, hash, tried) {
      if (changed) build();
      const shares = tried === undefined || tried.length === 0 ? undefined : sharesAfter(tried);
      const first = draw(hash, 0, shares);
      if (avoid === undefined || first === undefined || !avoid.includes(first)) return first;
      for (let attempt = 1; attempt <= reselections; attempt++) {
        const next = draw(hash, attempt, shares);
        if (next !== undefined && !avoid.includes(next)) return next;
      }
      // Unlike Envoy, which leaves it at that: an endpoint that has not failed yet is worth a look.
      return other(levels, shares ?? loads, avoid) ?? first;
    },
    rebuild(policy, all) {
      cluster = policy;
      endpoints = all;
      changed = true;
      pickers.use(policy, all);
    },
    close: () => pickers.close(),
  };
}

/** How often another endpoint is drawn before looking for one (Istio: 5). */
const reselections = 5;

/** With less available, all are called. Envoy's default; Istio's of 0 comes with outlier detection. */
const defaultPanicPercent = 50;

type Size = Level['size'];

function byPriority(endpoints: readonly EndpointState[]): readonly (readonly EndpointState[])[] {
  const groups: EndpointState[][] = [];
  for (const state of endpoints) (groups[state.endpoint.priority ?? 0] ??= []).push(state);
  for (let priority = 0; priority < groups.length; priority++) groups[priority] ??= [];
  return groups;
}

/** Health checks have a share of their own, made of that of outlier detection where nothing else is said. */
function panicPercentOf({ healthCheck, outlier }: Cluster): number {
  return (healthCheck ?? outlier)?.minHealthPercent ?? defaultPanicPercent;
}

function sizeOf(endpoints: readonly EndpointState[]): Size {
  let available = 0;
  let total = 0;
  for (const endpoint of endpoints) {
    if (endpoint.available) available++;
    if (!endpoint.excluded) total++;
  }
  return { total, available };
}

function other(
  levels: readonly Level[],
  shares: readonly number[],
  avoid: readonly object[],
): EndpointState | undefined {
  for (const [priority, level] of levels.entries()) {
    const found = (shares[priority] ?? 0) > 0 && level.other(avoid);
    if (found) return found;
  }
  return undefined;
}
