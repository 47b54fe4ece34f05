import { Agent, type Dispatcher, Pool } from 'undici';
import { type ConnectTarget, openConnection } from './connector.ts';
import { type Http2Use, HttpPools } from './http-pools.ts';
import { Http2Pool, type Http2PoolOptions } from './http2-pool.ts';

/** HTTP/2 to the addresses that requests name. */
export interface OriginalHttp2 extends Omit<Http2PoolOptions, keyof ConnectTarget | 'host'> {
  /** For which calls. */
  readonly use: Http2Use;
}

/**
 * Connections to whatever address a request names, each made as `target` says: for hosts that are
 * not resolved by the mesh but have a policy of it. `secure`: the application called `https:`, and
 * speaks HTTP/1.1 inside of that.
 */
export function createOriginalDispatcher(
  target: (hostname: string, port: number, secure: boolean) => ConnectTarget,
  http2: OriginalHttp2,
): Dispatcher {
  const targetOf = (hostname: string, port: string, protocol: string): ConnectTarget => {
    const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
    const secure = protocol === 'https:';
    return target(address, Number(port || (secure ? 443 : 80)), secure);
  };
  const options: Pool.Options = {
    connect: ({ hostname, port, protocol }, callback) => {
      openConnection(targetOf(hostname, port, protocol), callback as Parameters<typeof openConnection>[1]);
    },
    pipelining: 1,
  };
  const factory = (origin: string | URL): Dispatcher => {
    const { host, hostname, port, protocol } = new URL(origin);
    const http1 = (): Dispatcher => new Pool(origin, options);
    const pool = (): Dispatcher =>
      new Http2Pool({ ...http2, ...targetOf(hostname, port, protocol), host, http2: true });
    // TLS of the application has HTTP/1.1 in it, but for gRPC.
    return new HttpPools(http1, pool, protocol === 'https:' ? 'forGrpc' : http2.use);
  };
  return new Agent({ ...options, factory });
}
