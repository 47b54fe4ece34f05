import { Agent, type Dispatcher } from 'undici';
import { type ConnectTarget, openConnection } from './connector.ts';

/**
 * Connections to whatever address a request names, each made as `target` says: for hosts that are
 * not resolved by the mesh but have a policy of it.
 */
export function createOriginalDispatcher(target: (hostname: string, port: number) => ConnectTarget): Dispatcher {
  return new Agent({
    connect: ({ hostname, port }, callback) => {
      const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
      openConnection(target(address, Number(port || 80)), callback as Parameters<typeof openConnection>[1]);
    },
    pipelining: 1,
  });
}
