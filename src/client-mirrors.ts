import { MeshError } from './errors.ts';
import type { Clock } from './lib/clock.ts';
import type { DeadlineClass } from './lib/deadlines.ts';
import { setHeader } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { withoutCredentials } from './mirror/credentials.ts';
import { isEverMirrored, type MirrorTarget, mirrorFilter } from './mirror/filter.ts';
import { createMirrorLanes } from './mirror/lane.ts';
import type { Mirror, Route } from './model/route.ts';
import type { ClientCall, Reply } from './pipeline/client-call.ts';
import { compose, type Filter, type Service } from './pipeline/filter.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';
import type { Series } from './telemetry/metrics.ts';
import { deadlineFilter } from './timeout/deadline-filter.ts';

/** Time for a copy when its route has no `timeout`, milliseconds: a mirror that hangs must end some day. */
export const mirrorTimeoutMs = 15_000;

/** The copies that go to mirrors. */
export interface ClientMirrors {
  /** Nothing for a route that has no mirrors. */
  filterFor(route: Route): Filter<ClientCall, Reply> | undefined;
  /** Cuts off all copies under way: the mesh closes, and does not wait for them. */
  cut(): void;
}

/**
 * Ways of copies to their clusters: like those of calls, with pools, limits, balancing and outlier
 * detection of the mirror's cluster, but without retries, faults or mirrors.
 */
export function createClientMirrors(dependencies: {
  readonly clock: Clock;
  readonly random: Random;
  readonly clusters: Clusters;
  readonly deadlines: (timeoutMs: number) => DeadlineClass;
  /** Counts a copy like a call. */
  readonly counted: Filter<ClientCall, Reply>;
  /** May services of other trust domains see who is logged in? */
  readonly keepsCredentials: boolean;
  /** Series for copies that were dropped. */
  series(cluster: string): Series;
  /** What one try to a cluster passes. */
  composeTry(perTryMs: number | undefined, state: ClusterState): Service<ClientCall, Reply>;
}): ClientMirrors {
  const { clock, clusters, composeTry, counted, deadlines, random } = dependencies;
  const lanes = createMirrorLanes(clock, (cluster) => {
    let series: Series | undefined;
    return () => {
      series ??= dependencies.series(cluster);
      series.record(0, 'UO', 0);
    };
  });

  const targetOf = (route: Route, { cluster, percent }: Mirror): MirrorTarget => {
    const perTryMs = undefined;
    const deadline = deadlineFilter({ timeoutMs: route.timeoutMs ?? mirrorTimeoutMs, perTryMs, clock, deadlines });
    const counts = (route.retry?.attempts ?? 0) > 0;
    let composed: {
      readonly state: ClusterState;
      readonly revision: number;
      readonly service: Service<ClientCall, Reply>;
    };
    const serviceOf = (state: ClusterState): Service<ClientCall, Reply> => {
      if (composed?.state !== state || composed.revision !== state.revision) {
        composed = { state, revision: state.revision, service: compose([deadline], composeTry(perTryMs, state)) };
      }
      return composed.service;
    };
    const send: Service<ClientCall, Reply> = (copy) => {
      const state = clusters.get(cluster);
      if (state === undefined || state.cluster.discovery.kind === 'original') {
        const why = state === undefined ? 'does not exist' : 'has no endpoints of its own';
        const message = `route ${route.name} is mirrored to ${cluster}, which ${why}`;
        return Promise.reject(new MeshError('ERR_MESH_NO_CLUSTER', message, { route: route.name, cluster }));
      }
      // The copy is that of the first try, and there is no second.
      if (counts) setHeader(copy.request.headers, 'x-envoy-attempt-count', '1');
      if (state.cluster.foreign && !dependencies.keepsCredentials) withoutCredentials(copy.request.headers);
      return serviceOf(state)(copy);
    };
    return { percent, lane: lanes.of(cluster), service: compose([counted], send) };
  };

  return {
    filterFor(route) {
      const targets = (route.mirrors ?? []).filter(isEverMirrored).map((mirror) => targetOf(route, mirror));
      return targets.length === 0 ? undefined : mirrorFilter({ targets, clock, random });
    },
    cut: () => lanes.cut(),
  };
}
