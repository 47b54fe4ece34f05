import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { MeshError } from '../errors.ts';
import type { PeerIdentity } from '../identity/verify-peer.ts';
import type { Clock } from '../lib/clock.ts';
import type { Connection } from '../pipeline/connection.ts';

/** What all requests of one real connection share. */
export interface Carrier {
  readonly encrypted: boolean;
  readonly localPort: number;
  readonly forwardedClientCert: string;
  readonly clock: Clock;
  /** Verified again when the trust bundle changed; throws when it is no longer trusted. */
  readonly identity: () => PeerIdentity | undefined;
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

  get forwardedClientCert(): string {
    return this.#carrier.forwardedClientCert;
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
    // Expired since the handshake: requests on their way are served, the next connection brings a new certificate.
    if (identity !== undefined && this.#carrier.clock.wallNow() > identity.notAfter) this.retire();
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

/**
 * Envoy's `x-forwarded-client-cert` for a verified client (SANITIZE_SET). The values are hex and
 * SPIFFE IDs, which contain nothing that would need quoting.
 */
export function forwardedClientCert(socket: TLSSocket, peer: PeerIdentity, own: string): string {
  const certificate = socket.getPeerCertificate();
  const hash = createHash('sha256').update(certificate.raw).digest('hex');
  const subject = Object.keys(certificate.subject ?? {}).length === 0 ? ';Subject=""' : '';
  return `By=${own};Hash=${hash}${subject};URI=${peer.spiffeId}`;
}
