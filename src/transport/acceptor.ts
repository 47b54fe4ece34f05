import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type { MeshError } from '../errors.ts';
import { rootNames } from '../identity/root-names.ts';
import type { ActiveIdentity } from '../identity/store.ts';
import { type PeerIdentity, peerOfSocket } from '../identity/verify-peer.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { MtlsMode } from '../model/inbound.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import { setConnection } from '../pipeline/connection.ts';
import { rememberClientCert } from './client-cert.ts';
import { type ConnectionCounts, createConnectionCounts, type InboundConnections } from './connection-counts.ts';
import { createDrain } from './drain.ts';
import { grpcAcceptor } from './grpc-exchange.ts';
import { flowOnData } from './hand-out.ts';
import { createHttp1Server, type Http1Hooks } from './http1-server.ts';
import { acceptHttp2 } from './http2-session.ts';
import { type AcceptorLimits, resolveLimits } from './limits.ts';
import { type Carrier, ServedConnection } from './served-connection.ts';
import { sniff } from './sniff.ts';
import { createTlsServer, type TlsHooks } from './tls-server.ts';
import type { TrustWatch } from './trust-watch.ts';

/** Options of {@link createAcceptor}. */
export interface AcceptorOptions {
  /** The identity in force; nothing: TLS handshakes are refused. */
  identity(): ActiveIdentity | undefined;
  /** Tells about each new identity. Returns a function that ends the subscription. */
  subscribe(listener: (identity: ActiveIdentity) => void): () => void;
  /** PeerAuthentication mode of a port; asked for each connection. */
  mode(localPort: number): MtlsMode;
  /** What clients may speak on the port; asked for each connection. Absent: all that the mesh speaks. */
  parameters?(port: number): TlsParameters | undefined;
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  /**
   * Takes connections as they are, for protocols that are not read here: nothing is parsed, and
   * `onRequest` is not called. Nothing is read before somebody listens for data.
   */
  readonly onStream?: (socket: Socket, peer: PeerIdentity | undefined) => void;
  /** Takes calls of gRPC, as requests of that kind. Absent: they are requests like others, for `onRequest`. */
  readonly onGrpc?: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** Bytes that were refused before they became a request. */
  readonly onProtocolError?: (error: MeshError) => void;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly limits?: Partial<AcceptorLimits>;
  /** Cuts connections of clients that are no longer trusted. Absent: their requests are refused. */
  readonly trustWatch?: TrustWatch | undefined;
  /** Counts of several acceptors together. Default: its own. */
  readonly counts?: ConnectionCounts;
}

/** One port that speaks TLS or plaintext, HTTP/1.1 and HTTP/2. */
export interface Acceptor {
  /** @throws the error of the system, for example `EADDRINUSE` */
  listen(options?: { readonly port?: number; readonly host?: string }): Promise<AddressInfo>;
  /**
   * Stops accepting, tells clients to go elsewhere, waits for running requests, closes idle
   * connections, and after `graceMs` whatever is left.
   */
  drain(graceMs: number): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
  counters(): InboundConnections;
}

/** How often at most one kind of refusal is logged, milliseconds: strangers must not fill the disk. */
const logEveryMs = 1_000;

/** Makes an acceptor; it serves from `listen` on. */
export function createAcceptor(options: AcceptorOptions): Acceptor {
  const { clock, logger } = options;
  const limits = resolveLimits(options.limits);
  const counters = options.counts ?? createConnectionCounts();
  const drain = createDrain(clock);
  const hooks: Http1Hooks = {
    onRequest: (request, response) => {
      if (drain.started()) response.shouldKeepAlive = false;
      options.onRequest(request, response);
    },
    onProtocolError: (error) => options.onProtocolError?.(error),
  };
  const http1 = createHttp1Server(limits, hooks, clock);
  let tls: TlsServer | undefined;
  let tlsParameters: TlsParameters | undefined;
  let lastIdentity: ActiveIdentity | undefined;
  let lastParameters: TlsParameters | undefined;
  let ownPort = 0;
  let lastLogged = Number.NEGATIVE_INFINITY;

  const warn = (fields: object, message: string, more?: () => object): void => {
    const now = clock.now();
    if (now - lastLogged < logEveryMs) return;
    lastLogged = now;
    logger.warn({ ...fields, ...more?.(), counters: counters.snapshot() }, message);
  };

  /** What may be spoken now. The same object as long as it says the same. */
  const spoken = (): TlsParameters | undefined => {
    const parameters = options.parameters?.(ownPort);
    if (!isDeepStrictEqual(parameters, lastParameters)) lastParameters = parameters;
    return lastParameters;
  };

  const hooksOf = (identity: ActiveIdentity, parameters: TlsParameters | undefined): TlsHooks => ({
    onSecure: (socket) => {
      if (spoken() !== parameters) throw new Error('what TLS may be spoken has just changed');
      onSecure(socket, identity);
    },
    onFailure: (error) => {
      counters.handshakeFailed((error as NodeJS.ErrnoException).code ?? 'unknown');
      // Only when it is said: to name all roots costs more than it costs a stranger to fail.
      warn({ error: error.message }, 'a TLS handshake failed', () => ({
        trusted: rootNames(lastIdentity?.credentials.trustBundles ?? new Map()),
      }));
    },
  });

  const tlsServer = (identity: ActiveIdentity, parameters: TlsParameters | undefined): TlsServer => {
    if (tls !== undefined && lastIdentity === identity && tlsParameters === parameters) return tls;
    lastIdentity = identity;
    // If the new one cannot be made, nobody is served by the old one.
    tls = undefined;
    const made = createTlsServer(identity, limits.handshakeTimeoutMs, hooksOf(identity, parameters), parameters);
    tlsParameters = parameters;
    tls = made;
    return made;
  };

  let unsubscribe = (): void => {};
  const followIdentity = (): void => {
    unsubscribe = options.subscribe((identity) => {
      if (tls === undefined) lastIdentity = identity;
      else tlsServer(identity, tlsParameters);
    });
  };

  const onConnection = (socket: Socket): void => {
    counters.accepted++;
    drain.add(socket);
    // What breaks a connection also closes it, and 'close' is where it is forgotten.
    socket.on('error', ignore);
    if (options.onStream !== undefined && options.mode(socket.localPort ?? 0) === 'DISABLE') {
      // Nobody has to wait for the other to begin: in some protocols the server does.
      options.onStream(socket, undefined);
      return;
    }
    waitForBytes(socket, (first) => {
      const mode = options.mode(socket.localPort ?? 0);
      if (first === 'tls') startTls(socket, mode);
      else if (mode === 'STRICT') {
        counters.plaintextRefused++;
        warn({ remote: socket.remoteAddress, port: socket.localPort }, 'plaintext refused: the port is STRICT');
        socket.destroy();
      } else if (options.onStream !== undefined) {
        flowOnData(socket);
        options.onStream(socket, undefined);
      } else serve(socket, socket, first === 'http2', plaintextCarrier(socket, clock));
    });
  };

  const waitForBytes = (socket: Duplex, onBytes: Parameters<typeof sniff>[1]): void => {
    const giveUp = (): void => {
      stop();
      socket.destroy();
    };
    const cancel = clock.after(limits.handshakeTimeoutMs, giveUp);
    drain.waiting(socket, giveUp);
    const stop = sniff(
      socket,
      (first) => {
        cancel();
        drain.waiting(socket, undefined);
        onBytes(first);
      },
      () => {
        cancel();
        socket.destroy();
      },
    );
  };

  const startTls = (socket: Socket, mode: MtlsMode): void => {
    const identity = options.identity();
    if (mode === 'DISABLE' || identity === undefined) {
      counters.tlsRefused++;
      const why =
        mode === 'DISABLE' ? 'the port speaks plaintext only (DISABLE)' : 'there is no valid certificate to show';
      warn({ remote: socket.remoteAddress, port: socket.localPort }, `TLS refused: ${why}`);
      socket.destroy();
      return;
    }
    let server: TlsServer;
    try {
      server = tlsServer(identity, spoken());
    } catch (error) {
      // A source of configuration may say what this Node.js cannot speak.
      counters.tlsRefused++;
      warn({ error: String(error), port: socket.localPort }, 'TLS refused: it cannot be set up');
      socket.destroy();
      return;
    }
    server.emit('connection', socket);
  };

  const onSecure = (socket: TLSSocket, shown: ActiveIdentity): void => {
    // A TLS record that cannot be read does not close the connection by itself.
    socket.on('error', () => socket.destroy());
    socket.disableRenegotiation();
    const identity = (): PeerIdentity | undefined =>
      lastIdentity === undefined ? undefined : peerOfSocket(socket, lastIdentity.credentials.trustBundles, clock);
    // Throws when the certificate proves no identity; the caller ends the connection.
    const { trustBundles } = (lastIdentity ?? shown).credentials;
    const peer = peerOfSocket(socket, trustBundles, clock, shown.credentials.trustBundles);
    // It may have expired during the handshake.
    if (options.identity() === undefined) throw new Error('there is no valid certificate to show any more');
    if (peer === undefined) throw new Error('no client certificate');
    const own = lastIdentity?.credentials.spiffeId ?? '';
    const carrier: Carrier = {
      encrypted: true,
      localPort: socket.localPort ?? 0,
      clientCert: rememberClientCert(socket, own),
      clock,
      identity,
      ownNotAfter: () => lastIdentity?.credentials.notAfter ?? 0,
      goAway: undefined,
    };
    drain.add(socket);
    options.trustWatch?.add(socket, identity);
    if (options.onStream !== undefined) options.onStream(socket, peer);
    else if (socket.alpnProtocol === 'h2') serve(socket, socket, true, carrier);
    else if (socket.alpnProtocol === 'http/1.1') serve(socket, socket, false, carrier);
    else {
      waitForBytes(socket, (first) => {
        if (first === 'tls') socket.destroy();
        else serve(socket, socket, first === 'http2', carrier);
      });
    }
  };

  const serve = (socket: Duplex, real: Socket, http2: boolean, carrier: Carrier): void => {
    if (!http2) {
      serveHttp1(socket, carrier);
      return;
    }
    const connection = acceptHttp2(socket, real, {
      limits,
      clock,
      grpc: options.onGrpc && grpcAcceptor(real, carrier, clock, options.onGrpc),
      serve: (bridge) => serveHttp1(bridge, carrier),
    });
    carrier.goAway = connection.goAway;
    drain.serving(socket, connection.goAway);
  };

  const serveHttp1 = (socket: Duplex, carrier: Carrier): void => {
    const connection = new ServedConnection(carrier);
    setConnection(socket, connection);
    // A connection in memory ends with its session.
    if (carrier.goAway === undefined) drain.serving(socket, connection);
    http1.emit('connection', socket);
    socket.resume();
  };

  const server: Server = createServer({ noDelay: true });
  server.maxConnections = limits.maxConnections;
  server.on('connection', onConnection);

  const end = async (graceMs: number): Promise<void> => {
    unsubscribe();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await drain.run(graceMs);
    await closed;
    http1.close();
  };
  let ended: Promise<void> | undefined;

  return {
    listen: ({ port = 0, host } = {}) =>
      new Promise((resolve, reject) => {
        server.once('error', (error) => {
          // Nothing was opened: leave nothing behind.
          http1.close();
          reject(error);
        });
        server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
          server.removeAllListeners('error');
          const address = server.address() as AddressInfo;
          ownPort = address.port;
          followIdentity();
          // Failing to accept (no file descriptors left) is one client's loss, not the process's.
          server.on('error', (error) => logger.error({ error: error.message }, 'accepting a connection failed'));
          resolve(address);
        });
      }),
    drain: (graceMs) => {
      // Whoever is out of patience in the middle of a longer grace.
      if (graceMs <= 0) drain.destroyAll();
      return (ended ??= end(graceMs));
    },
    close: () => {
      drain.destroyAll();
      return (ended ??= end(0));
    },
    counters: () => counters.snapshot(),
  };
}

function plaintextCarrier(socket: Socket, clock: Clock): Carrier {
  return {
    encrypted: false,
    localPort: socket.localPort ?? 0,
    clientCert: () => '',
    clock,
    identity: () => undefined,
    ownNotAfter: () => Number.POSITIVE_INFINITY,
    goAway: undefined,
  };
}

function ignore(): void {}
