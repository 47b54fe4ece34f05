import { MeshError } from '../errors.ts';
import type { CallEndpoint, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';

/** An endpoint that can be chosen; it counts its own tries. */
export interface BalancedEndpoint extends CallEndpoint, TryWatcher {
  inFlight: number;
}

/** What the filter asks of the cluster. */
export interface EndpointChooser {
  /**
   * The next endpoint, avoiding the given ones where others are left. `tried`: those of earlier tries,
   * where the call shall leave their priorities. Nothing: none is usable.
   */
  pick(
    avoid: readonly CallEndpoint[] | undefined,
    hash: bigint | undefined,
    tried: readonly CallEndpoint[] | undefined,
  ): BalancedEndpoint | undefined;
  /** Resolves when endpoints are known for the first time; absent when they are. */
  warming(): Promise<void> | undefined;
}

/** Where retries go. */
export interface RetryPlaces {
  /** To priorities that were not tried yet, after a while (`retryRemoteLocalities`). */
  readonly otherPriorities: boolean;
  /** To endpoints that failed as well as to others (`retryIgnorePreviousHosts: false`); `reached`: if they got the request. */
  readonly anywhere: boolean | 'reached';
}

/** Chooses the endpoint for one try and counts the try on it until its last byte. */
export function balanceFilter(
  cluster: string,
  chooser: EndpointChooser,
  { anywhere, otherPriorities }: RetryPlaces = { anywhere: false, otherPriorities: false },
): Filter<ClientCall, Reply> {
  const send = (call: ClientCall, next: Service<ClientCall, Reply>): Promise<Reply> => {
    const { failedEndpoints: failed } = call;
    const { impostors } = call;
    const endpoint = chooser.pick(
      anywhere === true ? impostors?.endpoints : failed,
      call.hash,
      otherPriorities ? failed : undefined,
    );
    if (endpoint === undefined) {
      const message = `cluster ${cluster} has no healthy endpoint`;
      return call.failTry(new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', message, { cluster, route: call.route }));
    }
    if (impostors?.endpoints.includes(endpoint)) return call.failTry(impostors.error);
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
