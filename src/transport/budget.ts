import { isDeepStrictEqual } from 'node:util';
import type { Cluster, ConnectionLimits } from '../model/cluster.ts';

/** What all connections of one cluster share: Envoy's circuit breakers `max_connections` and `max_pending_requests`. */
export interface ConnectionBudget {
  readonly maxConnections: number;
  readonly maxPending: number;
  /** Connections that there are, to all endpoints of the cluster. */
  connections: number;
  /** Requests that wait for a connection, or for one to be made. */
  pending: number;
}

/** The budgets of all clusters, each for as long as its limits stay. */
export interface ConnectionBudgets {
  /** Nothing for a cluster without limits: counting costs a little. */
  of(cluster: Cluster): ConnectionBudget | undefined;
  /** Forgets clusters that are gone. */
  reconcile(clusters: ReadonlyMap<string, Cluster>): void;
}

export function createConnectionBudgets(): ConnectionBudgets {
  const budgets = new Map<string, { readonly limits: ConnectionLimits; readonly budget: ConnectionBudget }>();
  return {
    of({ limits, name }) {
      const { maxConnections, maxPendingRequests: maxPending } = limits;
      if (!Number.isFinite(maxConnections) && !Number.isFinite(maxPending)) return undefined;
      const known = budgets.get(name);
      if (known !== undefined && isDeepStrictEqual(known.limits, limits)) return known.budget;
      const budget = { maxConnections, maxPending, connections: 0, pending: 0 };
      budgets.set(name, { limits, budget });
      return budget;
    },
    reconcile(clusters) {
      for (const name of budgets.keys()) if (!clusters.has(name)) budgets.delete(name);
    },
  };
}
