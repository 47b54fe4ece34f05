import type { IncomingMessage, ServerResponse } from 'node:http';
import { MeshError } from '../errors.ts';
import type { PeerIdentity } from '../identity/verify-peer.ts';
import type { Clock } from '../lib/clock.ts';
import type { ClientCertDetails } from '../lib/forwarded-client-cert.ts';
import type { Connection } from '../pipeline/connection.ts';

/** What all requests of one real connection share. */
export interface Carrier {
  readonly encrypted: boolean;
  readonly localPort: number;
  /** Remembers what it said last. */
  readonly clientCert: (details: ClientCertDetails) => string;
  readonly clock: Clock;
  /** Verified again when the trust bundle changed; throws when it is no longer trusted. */
  readonly identity: () => PeerIdentity | undefined;
  /** End of the life of our own newest certificate, milliseconds since the epoch. */
  readonly ownNotAfter: () => number;
  /** Ends the real connection after its running requests; only HTTP/2 needs to. */
  goAway: (() => void) | undefined;
}

/** One HTTP/1 connection: a real one, or that of an HTTP/2 stream in memory. */
export class ServedConnection implements Connection {
  request: IncomingMessage | undefined;
  response: ServerResponse | undefined;
  awaitsContinue: ServerResponse | undefined;
  readonly #carrier: Carrier;

  constructor(carrier: Carrier) {
    this.#carrier = carrier;
    this.request = undefined;
    this.response = undefined;
    this.awaitsContinue = undefined;
  }

  get encrypted(): boolean {
    return this.#carrier.encrypted;
  }

  get overHttp2(): boolean {
    return this.#carrier.goAway !== undefined;
  }

  get localPort(): number {
    return this.#carrier.localPort;
  }

  clientCert(details: ClientCertDetails): string {
    return this.#carrier.clientCert(details);
  }

  peer(): PeerIdentity | undefined {
    if (!this.#carrier.encrypted) return undefined;
    let identity: PeerIdentity | undefined;
    try {
      identity = this.#carrier.identity();
    } catch (cause) {
      this.retire();
      throw new MeshError('ERR_MESH_MTLS_REQUIRED', 'the identity of this connection is no longer trusted', { cause });
    }
    // Expired since the handshake, theirs or ours: requests on their way are served, the next
    // connection brings a new certificate.
    const now = this.#carrier.clock.wallNow();
    if (identity !== undefined && (now > identity.notAfter || now > this.#carrier.ownNotAfter())) this.retire();
    return identity;
  }

  retire(): void {
    if (this.response !== undefined && !this.response.headersSent) this.response.shouldKeepAlive = false;
    this.#carrier.goAway?.();
  }

  /** A request is being answered. */
  get busy(): boolean {
    return this.response !== undefined && !this.response.writableFinished && !this.response.destroyed;
  }
}
