import { Client, type Dispatcher } from 'undici';
import { isReplayable } from '../lib/replayable.ts';
import type { ClientRequest } from '../pipeline/client-call.ts';
import { StreamFailure } from './stream-failure.ts';
import type { Place } from './waiting-line.ts';

/** One connection of a pool, as a try sees it. */
export interface Connection {
  /** A request now leaves on this connection. Was it not the first? */
  begin(): boolean;
  /** undici has told the last that it has to tell about the request: the connection is free again. */
  end(): void;
}

/** Whose request a connection carries. */
export interface Passenger extends Dispatcher.DispatchHandler {
  /** On which connection the request goes out; it must be told the {@link Connection.end}, once. */
  connection: Connection | undefined;
  /** Where it waits for one; to be left when it gives up. */
  place: Place | undefined;
  /**
   * It was sent on a connection that the server closed at that moment. Others that rest may be about
   * to be closed as well, so it goes out on a new one, where the limits allow that.
   */
  readonly fresh?: boolean;
  /** It is one of a gRPC client: it goes over HTTP/2, and names no length. */
  readonly grpc?: ClientRequest['grpc'];
}

/** Whom a connection belongs to. */
export interface ConnectionOwner {
  /** The request that waited for this connection is on its way, or failed. */
  served(): void;
  freed(connection: ConnectionClient): void;
  /** Its socket was closed. */
  lost(connection: ConnectionClient): void;
}

/** undici's client for one connection at a time, which tells whether that was used before. */
export class ConnectionClient extends Client implements Connection, Place {
  /** The request that it was made for waits until it is. */
  awaited: boolean;
  /** It has lived long enough: no more requests after this one. */
  old: boolean;
  /** It takes no requests after this moment, milliseconds since the epoch: certificates end. */
  until: number;
  /** Is there a socket? */
  up: boolean;
  readonly #owner: ConnectionOwner;
  #requests: number;

  constructor(origin: string | URL, options: Client.Options, owner: ConnectionOwner) {
    super(origin, options);
    this.awaited = false;
    this.old = false;
    this.until = Number.POSITIVE_INFINITY;
    this.up = false;
    this.#owner = owner;
    this.#requests = 0;
    this.on('connect', () => {
      this.#requests = 0;
      this.up = true;
    });
    this.on('disconnect', () => {
      this.up = false;
      owner.lost(this);
    });
  }

  begin(): boolean {
    if (this.awaited) this.#served();
    return this.#requests++ > 0;
  }

  end(): void {
    if (this.awaited) this.#served();
    this.#owner.freed(this);
  }

  /** Nobody waits any more for this connection, which is still being made. */
  leave(): void {
    if (this.awaited) this.#served();
  }

  #served(): void {
    this.awaited = false;
    this.#owner.served();
  }
}

const closed: ReadonlySet<string | undefined> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
const idempotentMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * May a request be sent again whose connection broke before a byte of the response came? A server
 * may close an idle connection in the very moment in which a request leaves on it; if the method is
 * idempotent that needs nobody's policy (RFC 9110 section 9.2.2) and is the same try.
 */
export function mayRepeat({ body, idempotent, method, upgrade }: ClientRequest, error: Error): boolean {
  if (!isBroken(error)) return false;
  if (upgrade || !(idempotent ?? idempotentMethods.has(method))) return false;
  return isReplayable(body);
}

function isBroken(error: Error): boolean {
  if (error instanceof StreamFailure) return error.kind === 'closed';
  const { code = '' } = error as NodeJS.ErrnoException;
  // A TLS record that cannot be read ends a connection as well.
  return closed.has(code) || code.startsWith('ERR_SSL_');
}

/** A server that ends each connection at once must not be asked for ever. */
export const maxLeftOut = 5;
