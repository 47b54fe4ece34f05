import { createShortMemory, type ShortMemory } from '../lib/short-memory.ts';
import type { Cluster } from '../model/cluster.ts';
import type { Callers, Snapshot } from '../model/snapshot.ts';
import { type ClusterDependencies, type ClusterMemory, ClusterState } from './cluster.ts';
import { createDeparted, type Departed } from './cluster-health.ts';

/** All clusters that were called so far. */
export interface Clusters {
  /** The live cluster of this name, made on first use; nothing when the snapshot has none. */
  get(name: string): ClusterState | undefined;
  /**
   * The same endpoints for connections on which the application itself speaks TLS to `host`:
   * other connections, and a memory of their own. Of very many hosts (a wildcard, names that users
   * write) those that were asked for longest ago are forgotten while nothing is under way to them.
   */
  getForTls(name: string, host: string): ClusterState | undefined;
  /** The cluster of this name as the snapshot has it, whether it is live or not. */
  configured(name: string): Cluster | undefined;
  /** Takes over a new snapshot: costs what changed among the clusters in use. */
  reconcile(snapshot: Snapshot): void;
  all(): Iterable<ClusterState>;
  close(): Promise<void>;
}

/** As for endpoints: {@link createDeparted}. */
const goneLifeMs = 60_000;
const maxGone = 256;
/** Hosts to which the application itself speaks TLS. */
const maxTlsHosts = 1_000;

interface Live {
  readonly name: string;
  readonly tls: boolean;
  readonly state: ClusterState;
  readonly departed: Departed;
}

export function createClusters(dependenciesFor: (tlsHost: string | undefined) => ClusterDependencies): Clusters {
  let configured: ReadonlyMap<string, Cluster> = new Map();
  let callers: Callers | undefined;
  const live = new Map<string, Live>();
  // What clusters that are gone are remembered by: a resource that is replaced is gone for a moment.
  let gone: ShortMemory<ClusterMemory> | undefined;
  let tlsHosts = 0;

  const forget = (key: string, { departed, state, tls }: Live): void => {
    live.delete(key);
    if (tls) tlsHosts--;
    const breaker = state.breaker?.remains();
    void state.close();
    if (departed.size > 0 || breaker !== undefined) gone?.keep(key, { departed, breaker });
  };

  /** In the order in which they were asked for. */
  const makeRoom = (): void => {
    for (const [key, each] of live) {
      if (tlsHosts < maxTlsHosts) return;
      if (each.tls && each.state.idle) forget(key, each);
    }
  };

  const find = (key: string, name: string, tlsHost: string | undefined): ClusterState | undefined => {
    const found = live.get(key);
    if (found !== undefined) {
      if (found.tls && tlsHosts >= maxTlsHosts / 2) {
        live.delete(key);
        live.set(key, found);
      }
      return found.state;
    }
    const cluster = configured.get(name);
    if (cluster === undefined) return undefined;
    const tls = tlsHost !== undefined;
    if (tls) {
      makeRoom();
      tlsHosts++;
    }
    const dependencies = { ...dependenciesFor(tlsHost), callers: () => callers };
    const { clock } = dependencies;
    gone ??= createShortMemory({ now: () => clock.now(), lifeMs: goneLifeMs, maxEntries: maxGone });
    const memory = gone.take(key) ?? { departed: createDeparted(clock) };
    const state = new ClusterState(cluster, dependencies, memory);
    live.set(key, { name, tls, state, departed: memory.departed });
    return state;
  };

  return {
    get: (name) => find(name, name, undefined),
    configured: (name) => configured.get(name),
    getForTls: (name, host) => find(`${name}\0${host}`, name, host),
    reconcile(snapshot) {
      configured = snapshot.clusters;
      const others = callers !== snapshot.callers;
      callers = snapshot.callers;
      for (const [key, each] of live) {
        const { name, state } = each;
        const next = configured.get(name);
        if (next === state.cluster) {
          if (others) state.rebalance();
          continue;
        }
        if (next !== undefined) state.update(next);
        else forget(key, each);
      }
    },
    *all() {
      for (const { state } of live.values()) yield state;
    },
    async close() {
      const states = [...live.values()];
      live.clear();
      await Promise.all(states.map(({ state }) => state.close()));
    },
  };
}
