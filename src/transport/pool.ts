import { Pool } from 'undici';
import { type ConnectTarget, openConnection } from './connector.ts';

export interface PoolOptions extends ConnectTarget {
  /** `http` even over our TLS: undici must not derive names from the Host header. */
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
}

/**
 * The connections to one endpoint. undici takes the URL of the pool only for the Host header of
 * requests without one, and every request of ours has one; the real address and the TLS are ours.
 */
export function createPool(options: PoolOptions): Pool {
  const host = options.address.includes(':') ? `[${options.address}]` : options.address;
  return new Pool(`http://${host}:${options.port}`, {
    connect: (_, callback) => openConnection(options, callback as Parameters<typeof openConnection>[1]),
    ...(Number.isFinite(options.maxConnections) ? { connections: options.maxConnections } : {}),
    // A server that says how long it keeps idle connections is believed; for one that does not,
    // stay below the 60 s that is the shortest of common defaults.
    keepAliveTimeout: Math.min(options.idleTimeoutMs, 55_000),
    keepAliveMaxTimeout: Math.min(options.idleTimeoutMs, 600_000),
    pipelining: 1,
  });
}
