import { createBalancer } from '../balance/balancer.ts';
import type { Picker } from '../balance/candidate.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { Cluster } from '../model/cluster.ts';
import type { OwnLocality } from '../model/workload.ts';
import type { EndpointState } from './endpoint.ts';

/** Which endpoint of a cluster gets a try. */
export interface LoadBalancer {
  /**
   * The endpoint for a try, not one of those to avoid if there is another. `hash` is that of the
   * request where the cluster has a consistent hash. Nothing: no endpoint is usable.
   */
  pick(avoid: readonly object[] | undefined, hash: bigint | undefined): EndpointState | undefined;
  /** What it chooses from and by has changed: the policy, the endpoints, or the health of one. */
  rebuild(cluster: Cluster, endpoints: readonly EndpointState[]): void;
}

/** What balancing needs from outside. */
export interface LoadBalancerDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Where this workload is. */
  readonly own: OwnLocality;
}

/** Spreads the tries of one cluster over its endpoints. Only {@link EndpointState.available} says who is healthy. */
export function createLoadBalancer({ clock, random }: LoadBalancerDependencies): LoadBalancer {
  let usable: readonly EndpointState[] = [];
  let picker: Picker<EndpointState> = () => undefined;

  return {
    pick(avoid, _hash) {
      const first = picker();
      if (avoid === undefined || first === undefined || !avoid.includes(first)) return first;
      for (let i = 0; i < reselections; i++) {
        const next = picker();
        if (next !== undefined && !avoid.includes(next)) return next;
      }
      return usable.find((endpoint) => !avoid.includes(endpoint)) ?? first;
    },
    rebuild(cluster, endpoints) {
      const healthy = endpoints.filter((endpoint) => endpoint.available);
      const share = (100 * healthy.length) / Math.max(1, endpoints.length);
      // Panic: with too few healthy endpoints left, spreading over all is the smaller harm.
      const panic = share < (cluster.outlier?.minHealthPercent ?? 0);
      usable = panic ? endpoints : healthy;
      picker = createBalancer(cluster.balance, usable, { clock, random });
    },
  };
}

/** How often another endpoint is drawn before looking for one (Istio: 5). */
const reselections = 5;
