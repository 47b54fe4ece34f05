import { isDeepStrictEqual } from 'node:util';
import { MeshError } from '../errors.ts';
import type { Cluster, ConnectionLimits } from '../model/cluster.ts';
import type { Passenger } from './connection.ts';

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

/**
 * Lets a request wait, if not too many do: for a free connection, or for one that is made for it.
 * One too many is told so at once.
 */
export function admitWaiting(budget: ConnectionBudget, cluster: string, handler: Passenger): boolean {
  if (budget.pending < budget.maxPending) {
    budget.pending++;
    return true;
  }
  const message = `cluster ${cluster} is at its limit of ${budget.maxPending} requests that wait for a connection`;
  handler.onResponseError?.(null as never, new MeshError('ERR_MESH_OVERFLOW', message, { cluster }));
  return false;
}
