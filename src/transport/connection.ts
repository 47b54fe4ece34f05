import { Client, type Dispatcher } from 'undici';
import type { ClientRequest } from '../pipeline/client-call.ts';

/** One connection of a pool, as a try sees it. */
export interface Connection {
  /** A request now leaves on this connection. Was it not the first? */
  begin(): boolean;
}

/** Whose request a connection carries. */
export interface Passenger {
  /** On which connection the request goes out. */
  connection: Connection | undefined;
  /** It has given up while it waited for a connection. */
  readonly gone: boolean;
}

/**
 * undici's client for one connection at a time. It tells whether that connection was used before,
 * and does not take who has given up waiting: undici would find out only after the request had its
 * turn, and then close the connection.
 */
export class ConnectionClient extends Client implements Connection {
  #requests: number;

  constructor(origin: string | URL, options: Client.Options) {
    super(origin, options);
    this.#requests = 0;
    this.on('connect', () => {
      this.#requests = 0;
    });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const passenger = handler as Dispatcher.DispatchHandler & Passenger;
    if (passenger.gone) return true;
    passenger.connection = this;
    return super.dispatch(options, handler);
  }

  begin(): boolean {
    return this.#requests++ > 0;
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
  if (!closed.has((error as NodeJS.ErrnoException).code)) return false;
  if (upgrade || !(idempotent ?? idempotentMethods.has(method))) return false;
  return body === null || body === undefined || typeof body === 'string' || ArrayBuffer.isView(body);
}
