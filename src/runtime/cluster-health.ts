import { isDeepStrictEqual } from 'node:util';
import { createSubset, type Subset } from '../balance/subset.ts';
import { createHealthChecker, type HealthChecker, type HealthStats, newHealthStats } from '../health/checker.ts';
import type { Gate } from '../health/gate.ts';
import { type HealthHost, newHealthHost, uncheckedHost } from '../health/host.ts';
import { verdictOf } from '../health/verdict.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { createShortMemory, type ShortMemory } from '../lib/short-memory.ts';
import type { Cluster } from '../model/cluster.ts';
import type { HealthCheckPolicy, ProbeAnswer } from '../model/health-check.ts';
import { createOutlierDetector, type OutlierDetector } from '../outlier/detector.ts';
import { isBlank, letBackIn, newOutlierHost, type OutlierHost } from '../outlier/host.ts';
import { newOutlierStats, type OutlierStats } from '../outlier/stats.ts';
import type { EndpointState } from './endpoint.ts';

/** What is remembered of endpoints that have left, by their address. */
export type Departed = ShortMemory<DepartedEndpoint>;

interface DepartedEndpoint {
  readonly outlier: OutlierHost;
  /** As far as checks know. */
  readonly health: HealthHost | undefined;
}

/** An endpoint that comes back within a minute is the one that it was. */
const departedLifeMs = 60_000;
/** Of one cluster. */
const maxDeparted = 1_024;

export function createDeparted(clock: Clock): Departed {
  return createShortMemory({ now: () => clock.now(), lifeMs: departedLifeMs, maxEntries: maxDeparted });
}

/** Asks one endpoint for its health: given by whoever makes connections. */
export interface EndpointProber {
  ask(done: (answer: ProbeAnswer) => void): () => void;
  renew(): void;
  close(): void;
}

/** What active health checks need from outside. */
export interface HealthDependencies {
  /** How many checks of the whole process run at once. */
  readonly gate: Gate;
  prober(cluster: Cluster, endpoint: EndpointState, policy: HealthCheckPolicy): EndpointProber;
}

/** There must be others to call when some of those that a process calls fail. */
const askedPerCalled = 2;

/** Nobody asks it, so nobody calls it. */
const passedOver = { healthy: false, excluded: true } as const;

/** Who of a cluster may be chosen: outlier detection, health checks, and what is remembered for them. */
export interface ClusterHealth {
  /** Counters since the cluster was first used. */
  readonly outlierStats: OutlierStats;
  readonly checkStats: HealthStats;
  /** How many endpoints are ejected. */
  readonly ejected: number;
  /** {@link OutlierDetector.report}. */
  report(endpoint: EndpointState, status: number): void;
  /** {@link OutlierDetector.connected}. */
  connected(endpoint: EndpointState): void;
  /** {@link OutlierDetector.opened}. */
  opened(endpoint: EndpointState): void;
  /** It asked, on an answer, to be left alone. Without health checks that means nothing, as in Envoy. */
  failNow(endpoint: EndpointState): void;
  /** Resolves when it is known of the endpoints who is healthy; absent when some are, or all have been checked. */
  warming(): Promise<void> | undefined;
  /** Takes over a changed policy. */
  update(cluster: Cluster): void;
  /** A new endpoint, about to be among those of the cluster. */
  joined(endpoint: EndpointState): void;
  /** It has just left. */
  left(endpoint: EndpointState): void;
  /** The list of endpoints is complete again. */
  membersChanged(): void;
  /** Checks go out on new connections. */
  renew(): void;
  /** The cluster is gone. */
  close(): void;
}

export function createClusterHealth(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly departed: Departed;
  /** Name of this process, by which it chooses whom it calls where it calls only some. */
  readonly instance: string;
  /** Absent: there are no health checks. */
  readonly checks?: HealthDependencies | undefined;
  /** All endpoints of the cluster at this moment. */
  endpoints(): readonly EndpointState[];
  /** May these be chosen? The answer is another one now. */
  changed(endpoints: readonly EndpointState[]): void;
}): ClusterHealth {
  const { clock, random, departed, instance, checks, endpoints, changed } = options;
  const outlierStats = newOutlierStats();
  const checkStats = newHealthStats();
  let cluster: Cluster | undefined;
  let detector: OutlierDetector<EndpointState> | undefined;
  let checker: HealthChecker<EndpointState> | undefined;
  /** Whom it asks, where it calls only some. */
  let asked: Subset<EndpointState> | undefined;
  let warm: { readonly promise: Promise<void>; resolve(): void } | undefined;

  const settled = (endpoint: EndpointState, passed: boolean, moved: boolean): void => {
    const { health } = endpoint;
    if (moved) changed([endpoint]);
    if (passed && health.healthy) detector?.healthy(endpoint);
    if (checker?.unchecked === 0) warm?.resolve();
  };

  const makeChecker = (of: Cluster): HealthChecker<EndpointState> | undefined => {
    const policy = of.healthCheck;
    if (policy === undefined || checks === undefined) return undefined;
    return createHealthChecker<EndpointState>({
      policy,
      clock,
      random,
      gate: checks.gate,
      stats: checkStats,
      settled,
      probe(endpoint) {
        const prober = checks.prober(of, endpoint, policy);
        return { ...prober, ask: (done) => prober.ask((answer) => done(verdictOf(policy.probe, answer))) };
      },
    });
  };

  const updateDetector = (next: Cluster): void => {
    if (cluster !== undefined && isDeepStrictEqual(cluster.outlier, next.outlier)) return;
    detector?.close();
    const policy = next.outlier;
    const hosts = endpoints;
    detector = policy && createOutlierDetector({ policy, clock, random, stats: outlierStats, hosts, changed });
    if (policy !== undefined) return;
    // Without a policy nobody would let them back in.
    const pardoned = endpoints().filter(({ outlier }) => outlier.ejectedUntil !== 0);
    for (const endpoint of endpoints()) endpoint.outlier = newOutlierHost();
    if (pardoned.length > 0) changed(pardoned);
  };

  const updateChecker = (next: Cluster): void => {
    if (cluster !== undefined && !checksMove(cluster, next)) return;
    checker?.close();
    checker = makeChecker(next);
    if (checker === undefined) {
      const pardoned = endpoints().filter(({ health }) => !health.healthy);
      for (const endpoint of endpoints()) endpoint.health = newHealthHost();
      if (pardoned.length > 0) changed(pardoned);
    }
    warm?.resolve();
  };

  /**
   * Begins and ends checks. Where a process calls only some of many endpoints it asks only those, and
   * as many again that come next, so that a thousand processes do not ask a thousand servers each.
   */
  const followMembers = (): void => {
    const all = endpoints();
    if (checker === undefined) return;
    const wanted = asked === undefined ? undefined : new Set(asked.of(all));
    for (const endpoint of all) {
      if (wanted === undefined || wanted.has(endpoint)) {
        if (!checker.has(endpoint)) checker.add(endpoint);
        continue;
      }
      checker.remove(endpoint);
      if (endpoint.health.healthy || !endpoint.health.excluded) endpoint.health = { ...newHealthHost(), ...passedOver };
    }
  };

  const left = (endpoint: EndpointState): void => {
    const { health, outlier } = endpoint;
    checker?.remove(endpoint);
    const known = checker !== undefined && !health.first;
    if (!isBlank(outlier) || known) departed.keep(endpoint.name, { outlier, health: known ? health : undefined });
  };

  return {
    outlierStats,
    checkStats,
    get ejected() {
      return detector?.active ?? 0;
    },
    report: (endpoint, status) => detector?.report(endpoint, status),
    connected: (endpoint) => detector?.connected(endpoint),
    opened: (endpoint) => detector?.opened(endpoint),
    failNow: (endpoint) => checker?.failNow(endpoint),
    warming() {
      if (checker === undefined || checker.unchecked === 0) return undefined;
      if (endpoints().some(({ available }) => available)) return undefined;
      if (warm === undefined) {
        const { promise, resolve } = Promise.withResolvers<void>();
        // Nobody waits longer than one check takes: the others may stand in line.
        const cancel = clock.after(cluster?.healthCheck?.timeoutMs ?? 0, resolve, true);
        warm = { promise, resolve };
        void promise.then(() => {
          cancel();
          warm = undefined;
        });
      }
      return warm.promise;
    },
    update(next) {
      updateDetector(next);
      updateChecker(next);
      // As for balancing: a key leads every process to the same endpoint.
      const size = next.hash === undefined ? next.subsetSize : undefined;
      const most = size === undefined ? undefined : size * askedPerCalled;
      if (most !== asked?.size) asked = most === undefined ? undefined : createSubset(instance, most);
      cluster = next;
      // Those that were in use before anybody checked them stay until a check says otherwise.
      followMembers();
    },
    joined(endpoint) {
      const known = departed.take(endpoint.name);
      if (known !== undefined && cluster?.outlier !== undefined) {
        const { outlier } = known;
        endpoint.outlier = outlier;
        // Its time may have passed while it was away.
        if (outlier.ejectedUntil !== 0 && outlier.ejectedUntil <= clock.now()) letBackIn(outlier, clock.now());
      }
      if (checker !== undefined && known?.health !== undefined) endpoint.health = known.health;
      endpoint.announced = endpoint.available;
      if (checker === undefined || cluster?.healthCheck === undefined) return;
      // Until its first check it may not be chosen, which is no news.
      if (known?.health === undefined) endpoint.health = uncheckedHost(cluster.healthCheck);
    },
    left,
    membersChanged() {
      detector?.membersChanged();
      followMembers();
    },
    renew: () => checker?.renew(),
    close() {
      for (const endpoint of endpoints()) left(endpoint);
      detector?.close();
      checker?.close();
      warm?.resolve();
    },
  };
}

/** Does checking begin anew? Only where what is asked, or how it is reached, is another thing. */
function checksMove(before: Cluster, after: Cluster): boolean {
  return (
    !isDeepStrictEqual(before.healthCheck, after.healthCheck) ||
    (after.healthCheck !== undefined &&
      (!isDeepStrictEqual(before.tls, after.tls) ||
        !isDeepStrictEqual(before.tlsParameters, after.tlsParameters) ||
        before.serverName !== after.serverName ||
        before.proxyProtocol !== after.proxyProtocol ||
        !isDeepStrictEqual(before.serverIdentities, after.serverIdentities) ||
        !isDeepStrictEqual(before.trustDomains, after.trustDomains)))
  );
}
