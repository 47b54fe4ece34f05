import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { AuthorizationObserver } from './authz/authorizer.ts';
import { type AuthorizeConnection, type ConnectionFacts, compileConnectionAuthorizer } from './authz/connection.ts';
import { rbacNames } from './authz/rbac.ts';
import type { Tallies } from './authz/tallies.ts';
import { nameOf } from './authz/verdicts.ts';
import { plainAddress } from './lib/ip-address.ts';
import type { Logger } from './lib/logger.ts';
import type { ListenOptions, MeshServer } from './mesh-api.ts';
import type { InboundPolicy } from './model/inbound.ts';
import type { InboundPoolMemory } from './overload/inbound-pools.ts';
import type { Peer } from './pipeline/scope.ts';

/** A connection that was let in, for a protocol that the mesh does not read. */
export interface TcpConnection {
  /** Who called, as its certificate proves; nothing in plaintext. */
  readonly peer: Peer | undefined;
  /** Server name that the TLS client asked for; '' without one. */
  readonly sni: string;
}

/** Serves a connection. What it throws, or rejects with, ends the connection, and is logged. */
export type TcpHandler = (socket: Socket, connection: TcpConnection) => unknown;

/** The part of a mesh that serves protocols which it does not read. */
export interface TcpServing {
  /**
   * Hands out connections for a protocol that the mesh does not read (a database, a queue): TLS or plaintext by
   * PeerAuthentication, the caller's identity verified, and AuthorizationPolicies asked about the connection
   * as Istio asks them on TCP ports; what is refused is closed without a word. Where plaintext is possible
   * beside TLS (PERMISSIVE) the client has to send the first byte. Waits for `ready()` first.
   */
  listenTcp(handler: TcpHandler, portOrOptions?: number | ListenOptions): Promise<MeshServer>;
}

interface GuardDependencies {
  readonly logger: Logger;
  readonly tallies: Tallies;
  readonly observer: AuthorizationObserver;
  /** Counts a connection that was let in. */
  opened?(socket: Socket, peer: Peer | undefined): void;
  /** What the ports have under way. Absent: no limits. */
  readonly pools?: InboundPoolMemory;
  /** Nothing: no configuration yet. */
  policy(): InboundPolicy | undefined;
}

/** Hands connections to the handler that policies let in, and closes all others. */
export function guardStreams(
  handler: TcpHandler,
  { logger, observer, opened, policy, pools, tallies }: GuardDependencies,
): (socket: Socket, peer: Peer | undefined) => void {
  let compiled: InboundPolicy | undefined;
  let authorize: AuthorizeConnection | undefined;
  const authorizeNow = (): AuthorizeConnection | undefined => {
    const current = policy();
    if (current !== compiled) {
      authorize = undefined;
      if (current !== undefined) {
        const { authorization, rbac = [] } = current;
        tallies.keep(new Set([...authorization.map(({ provenance }) => nameOf(provenance)), ...rbacNames(rbac)]));
        authorize = compileConnectionAuthorizer(authorization, tallies, rbac);
        pools?.adopt(current.pools);
      }
      compiled = current;
    }
    return authorize;
  };
  /** Until its end. A port without limits counts nothing. */
  const takesPlace = (socket: Socket, port: number): boolean => {
    if (pools === undefined || compiled?.pools === undefined) return true;
    const pool = pools.of(port);
    if (!pool.connect()) return false;
    socket.once('close', () => pool.disconnect());
    return true;
  };
  return (socket, peer) => {
    const facts = factsOf(socket, peer);
    const failed = (error: unknown): void => {
      logger.error({ error, port: facts.localPort }, 'serving a connection failed; it is closed');
      socket.destroy();
    };
    try {
      const verdict = authorizeNow()?.(facts, observer);
      if (verdict?.allowed === true) {
        if (!takesPlace(socket, facts.localPort)) {
          logger.debug({ port: facts.localPort, peer: peer?.spiffeId }, 'a port has as many connections as it may');
          socket.destroy();
          return;
        }
        opened?.(socket, peer);
        const served = handler(socket, { peer, sni: facts.sni });
        if (served instanceof Promise) served.catch(failed);
        return;
      }
      const fields = { port: facts.localPort, peer: peer?.spiffeId, detail: verdict?.detail };
      logger.debug(fields, 'a connection is refused by authorization policies');
      socket.destroy();
    } catch (error) {
      failed(error);
    }
  };
}

function factsOf(socket: Socket, peer: Peer | undefined): ConnectionFacts {
  const name = socket instanceof TLSSocket ? socket.servername : undefined;
  return {
    peer,
    localPort: socket.localPort ?? 0,
    sourceAddress: plainAddress(socket.remoteAddress),
    destinationAddress: plainAddress(socket.localAddress),
    sni: typeof name === 'string' ? name : '',
  };
}
