import { MeshError } from '../errors.ts';
import type { CallEndpoint, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';

/** An endpoint that can be chosen; it counts its own tries. */
export interface BalancedEndpoint extends CallEndpoint, TryWatcher {
  inFlight: number;
}

/** What the filter asks of the cluster. */
export interface EndpointChooser {
  /** The next endpoint, avoiding the given ones where others are left. Nothing: none is usable. */
  pick(avoid: readonly CallEndpoint[] | undefined): BalancedEndpoint | undefined;
  /** Resolves when endpoints are known for the first time; absent when they are. */
  warming(): Promise<void> | undefined;
}

/** Chooses the endpoint for one try and counts the try on it until its last byte. */
export function balanceFilter(cluster: string, chooser: EndpointChooser): Filter<ClientCall, Reply> {
  const send = (call: ClientCall, next: Service<ClientCall, Reply>): Promise<Reply> => {
    const endpoint = chooser.pick(call.failedEndpoints);
    if (endpoint === undefined) {
      const message = `cluster ${cluster} has no healthy endpoint`;
      return call.failTry(new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', message, { cluster, route: call.route }));
    }
    call.endpoint = endpoint;
    endpoint.inFlight++;
    call.watchTry(endpoint);
    return next(call);
  };
  return (call, next) => {
    const warming = chooser.warming();
    if (warming === undefined) return send(call, next);
    return call.until(warming).then(
      () => send(call, next),
      (error: unknown) => call.failTry(error as Error),
    );
  };
}
