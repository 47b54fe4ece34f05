import { type Client, Pool } from 'undici';
import { ConnectionClient } from './connection.ts';
import { type ConnectTarget, openConnection } from './connector.ts';

export interface PoolOptions extends ConnectTarget {
  /** Host header of requests that have none of their own. */
  readonly host: string;
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
}

/**
 * The connections to one endpoint. undici takes the URL of the pool for the Host header only; the
 * real address and the TLS are ours. Always `http:`, even over our TLS: for `https:` undici would
 * derive the server name from the Host header, and drop the connection when that changes.
 */
export function createPool(options: PoolOptions): Pool {
  const { maxConnections } = options;
  // As in Envoy 0 means that idle connections are kept; undici wants a number.
  const idleTimeoutMs = options.idleTimeoutMs > 0 ? options.idleTimeoutMs : Number.POSITIVE_INFINITY;
  return new Pool(`http://${options.host}`, {
    connect: (_, callback) => openConnection(options, callback as Parameters<typeof openConnection>[1]),
    factory: (origin, clientOptions) => new ConnectionClient(origin, clientOptions as Client.Options),
    // undici takes 0 for no limit; as in Envoy an endpoint may always have one connection.
    ...(Number.isFinite(maxConnections) ? { connections: Math.max(1, maxConnections) } : {}),
    // A server that says how long it keeps idle connections is believed; for one that does not,
    // stay below the 60 s that is the shortest of common defaults.
    keepAliveTimeout: Math.min(idleTimeoutMs, 55_000),
    keepAliveMaxTimeout: Math.min(idleTimeoutMs, 600_000),
    pipelining: 1,
  });
}
