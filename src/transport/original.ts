import { Agent, type Dispatcher } from 'undici';
import { type ConnectTarget, openConnection } from './connector.ts';

/**
 * Connections to whatever address a request names, each made as `target` says: for hosts that are
 * not resolved by the mesh but have a policy of it. `secure`: the application called `https:`.
 */
export function createOriginalDispatcher(
  target: (hostname: string, port: number, secure: boolean) => ConnectTarget,
): Dispatcher {
  return new Agent({
    connect: ({ hostname, port, protocol }, callback) => {
      const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
      const secure = protocol === 'https:';
      openConnection(
        target(address, Number(port || (secure ? 443 : 80)), secure),
        callback as Parameters<typeof openConnection>[1],
      );
    },
    pipelining: 1,
  });
}
