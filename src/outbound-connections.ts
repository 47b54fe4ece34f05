import type { Dispatcher } from 'undici';
import type { Cluster, Endpoint } from './model/cluster.ts';
import type { ConnectionBudget } from './transport/budget.ts';
import type { ConnectTarget } from './transport/connector.ts';
import { HttpPools } from './transport/http-pools.ts';
import { Http2Pool } from './transport/http2-pool.ts';
import { createPool } from './transport/pool.ts';

/** The connections to one endpoint. */
export interface EndpointConnections {
  /** Host header of requests that have none of their own. */
  readonly host: string;
  readonly target: ConnectTarget;
  /** Where a new connection leads. */
  current(): Pick<Endpoint, 'address' | 'otherFamily'>;
  readonly budget: ConnectionBudget | undefined;
  /** Which version of HTTP; absent: 1.1, but for gRPC. */
  readonly http2: Cluster['http2'];
}

/** Makes the connections to an endpoint as its cluster has them: HTTP/1.1, HTTP/2, or both. */
export function openConnections(
  { limits }: Cluster,
  { budget, current, host, http2, target }: EndpointConnections,
): Dispatcher {
  const { idleTimeoutMs, maxConcurrentStreams, maxConnectionMs, maxRequestsPerConnection } = limits;
  const common = { ...target, host, budget, idleTimeoutMs, maxConnectionMs, maxRequestsPerConnection };
  const http1 = (): Dispatcher => createPool(withAddress(common, current));
  const pings = limits.http2Keepalive;
  return new HttpPools(
    http1,
    () => new Http2Pool(withAddress({ ...common, http2: true, maxConcurrentStreams, pings }, current)),
    http2 ?? 'forGrpc',
  );
}

/** The addresses are read for each new connection. */
function withAddress<T extends object>(
  options: T,
  current: EndpointConnections['current'],
): T & Pick<ConnectTarget, 'address' | 'otherFamily'> {
  const read = (get: () => string | undefined): PropertyDescriptor => ({ get, enumerable: true });
  return Object.defineProperties(
    { ...options },
    { address: read(() => current().address), otherFamily: read(() => current().otherFamily) },
  ) as never;
}
