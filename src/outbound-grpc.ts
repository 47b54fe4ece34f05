import type { Dispatcher } from 'undici';
import type { Clock } from './lib/clock.ts';
import type { DeadlineClass } from './lib/deadlines.ts';
import { defaultConnectionLimits } from './model/cluster.ts';
import type { CallEndpoint, ClientCall, Reply } from './pipeline/client-call.ts';
import { compose, type Service } from './pipeline/filter.ts';
import { deadlineFilter } from './timeout/deadline-filter.ts';
import type { ConnectTarget } from './transport/connector.ts';
import { Http2Pool } from './transport/http2-pool.ts';
import { createOriginalDispatcher } from './transport/original.ts';
import { sendTry } from './transport/terminal.ts';

/** gRPC to hosts that no configuration knows: HTTP/2 with prior knowledge, or TLS that the application asked for. */
export interface OutsideGrpc {
  readonly send: Service<ClientCall, Reply>;
  /** Where a call goes that names its own address. */
  endpointOf(call: ClientCall): CallEndpoint;
  close(): Promise<void>;
}

export function createOutsideGrpc(clock: Clock, deadlines: (timeoutMs: number) => DeadlineClass): OutsideGrpc {
  const cluster = 'PassthroughCluster';
  const { connectTimeoutMs: timeoutMs, ...limits } = defaultConnectionLimits;
  const options = { ...limits, pings: limits.http2Keepalive };
  let network: Dispatcher | undefined;
  const overNetwork = (): Dispatcher =>
    (network ??= createOriginalDispatcher(
      (address, port, secure) => ({
        cluster,
        address,
        port,
        timeoutMs,
        clock,
        security: () => (secure ? { kind: 'tls', serverName: address } : { kind: 'plaintext' }),
      }),
      { ...options, use: 'always' },
    ));
  const endpoint: CallEndpoint = { name: 'passthrough', host: '', dispatcher: overNetwork };

  const sockets = new Map<string, { readonly endpoint: CallEndpoint; readonly pool: Http2Pool }>();
  const socketAt = (path: string): CallEndpoint => {
    let known = sockets.get(path);
    if (known === undefined) {
      const address = `unix://${path}`;
      const target: ConnectTarget = {
        cluster,
        address,
        port: 0,
        timeoutMs,
        clock,
        http2: true,
        security: () => ({ kind: 'plaintext' }),
      };
      const pool = new Http2Pool({ ...options, ...target, host: 'localhost' });
      known = { pool, endpoint: { name: address, host: '', dispatcher: () => pool } };
      sockets.set(path, known);
    }
    return known.endpoint;
  };

  const endpointOf = (call: ClientCall): CallEndpoint => {
    const path = call.request.grpc?.socketPath;
    return path === undefined ? endpoint : socketAt(path);
  };
  const toAddress: Service<ClientCall, Reply> = (call) => {
    call.endpoint = endpointOf(call);
    return sendTry(call);
  };
  const timed = deadlineFilter({ timeoutMs: undefined, perTryMs: undefined, grpc: true, clock, deadlines });

  return {
    send: compose([timed], toAddress),
    endpointOf,
    async close() {
      await Promise.all([network?.close(), ...[...sockets.values()].map(({ pool }) => pool.close())]);
    },
  };
}
