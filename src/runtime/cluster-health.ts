import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { createShortMemory, type ShortMemory } from '../lib/short-memory.ts';
import type { Cluster } from '../model/cluster.ts';
import { createOutlierDetector, type OutlierDetector } from '../outlier/detector.ts';
import { isBlank, newOutlierHost, type OutlierHost } from '../outlier/host.ts';
import { newOutlierStats, type OutlierStats } from '../outlier/stats.ts';
import type { EndpointState } from './endpoint.ts';

/** What is remembered of endpoints that have left, by their address. */
export type Departed = ShortMemory<OutlierHost>;

/** An endpoint that comes back within a minute is the one that it was. */
const departedLifeMs = 60_000;
/** Of one cluster. */
const maxDeparted = 1_024;

export function createDeparted(clock: Clock): Departed {
  return createShortMemory({ now: () => clock.now(), lifeMs: departedLifeMs, maxEntries: maxDeparted });
}

/** Who of a cluster may be chosen: outlier detection, and what is remembered for it. */
export interface ClusterHealth {
  /** Counters of outlier detection since the cluster was first used. */
  readonly stats: OutlierStats;
  /** How many endpoints are ejected. */
  readonly ejected: number;
  /** {@link OutlierDetector.report}. */
  report(endpoint: EndpointState, status: number): void;
  /** {@link OutlierDetector.connected}. */
  connected(endpoint: EndpointState): void;
  /** {@link OutlierDetector.opened}. */
  opened(endpoint: EndpointState): void;
  /** Takes over a changed policy. */
  update(cluster: Cluster): void;
  /** New endpoints, about to be among those of the cluster. */
  joined(endpoint: EndpointState): void;
  /** It has just left. */
  left(endpoint: EndpointState): void;
  /** The list of endpoints is complete again. */
  membersChanged(): void;
  /** The cluster is gone. */
  close(): void;
}

export function createClusterHealth(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly departed: Departed;
  /** All endpoints of the cluster at this moment. */
  endpoints(): readonly EndpointState[];
  /** May these be chosen? The answer is another one now. */
  changed(endpoints: readonly EndpointState[]): void;
}): ClusterHealth {
  const { clock, random, departed, endpoints, changed } = options;
  const stats = newOutlierStats();
  let policy: Cluster['outlier'];
  let detector: OutlierDetector<EndpointState> | undefined;

  const left = (endpoint: EndpointState): void => {
    if (!isBlank(endpoint.outlier)) departed.keep(endpoint.name, endpoint.outlier);
  };

  return {
    stats,
    get ejected() {
      return detector?.active ?? 0;
    },
    report: (endpoint, status) => detector?.report(endpoint, status),
    connected: (endpoint) => detector?.connected(endpoint),
    opened: (endpoint) => detector?.opened(endpoint),
    update(cluster) {
      if (isDeepStrictEqual(policy, cluster.outlier)) return;
      detector?.close();
      policy = cluster.outlier;
      detector = policy && createOutlierDetector({ policy, clock, random, stats, hosts: endpoints, changed });
      if (policy !== undefined) return;
      // Without a policy nobody would let them back in.
      const pardoned = endpoints().filter(({ available }) => !available);
      for (const endpoint of endpoints()) endpoint.outlier = newOutlierHost();
      if (pardoned.length > 0) changed(pardoned);
    },
    joined(endpoint) {
      const known = departed.take(endpoint.name);
      if (known === undefined || policy === undefined) return;
      endpoint.outlier = known;
      // Its time may have passed while it was away.
      if (known.ejectedUntil !== 0 && known.ejectedUntil <= clock.now()) {
        known.ejectedUntil = 0;
        known.cause = undefined;
        known.returnedAt = clock.now();
      }
    },
    left,
    membersChanged: () => detector?.membersChanged(),
    close() {
      detector?.close();
      for (const endpoint of endpoints()) left(endpoint);
    },
  };
}
