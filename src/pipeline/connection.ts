import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ClientCertDetails } from '../lib/forwarded-client-cert.ts';
import type { Peer } from './scope.ts';

/** What the acceptor knows about the connection that a request came in on. */
export interface Connection {
  /** TLS with a verified client certificate. */
  readonly encrypted: boolean;
  /** The port that the workload listens on, also for a request that came as an HTTP/2 stream. */
  readonly localPort: number;
  /** Requests are streams of HTTP/2. */
  readonly overHttp2: boolean;
  /** `By=…;Hash=…;Subject="";URI=…`, Envoy's form for the certificate of the other end; '' without one. */
  clientCert(details: ClientCertDetails): string;
  /**
   * Identity of the other end; nothing in plaintext.
   *
   * @throws MeshError `ERR_MESH_PEER_IDENTITY` when what was proven once is no longer trusted.
   */
  peer(): Peer | undefined;
  /** Asks the client to go on elsewhere: `Connection: close` on the current response, or GOAWAY. */
  retire(): void;
  /** The newest request of this connection; for drain and idle checks. */
  request: IncomingMessage | undefined;
  response: ServerResponse | undefined;
  /** The response whose client waits for `100 Continue` before it sends a body. */
  awaitsContinue: ServerResponse | undefined;
}

const key = Symbol('inmesh.connection');
interface Marked {
  [key]?: Connection;
}

/** Ties the facts to a socket, real or in memory, so that they are found from `request.socket`. */
export function setConnection(socket: object, connection: Connection): void {
  (socket as Marked)[key] = connection;
}

/** The facts about a socket; nothing when it belongs to a server of the application's own. */
export function connectionOf(socket: object): Connection | undefined {
  return (socket as Marked)[key];
}
