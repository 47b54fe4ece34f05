import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { type Clock, type Logger, meshTlsOptions, silentLogger, systemClock } from 'inmesh/identity';
import { type Attestor, certificateAttestor, joinTokenAttestor } from './attest.ts';
import type { Authority } from './authority-types.ts';
import { createBundleRoute } from './bundle-route.ts';
import { acceptUnary, type UnaryConnection, type UnaryService } from './grpc-unary.ts';
import { createHandler } from './handler.ts';
import { istioService } from './istio-service.ts';
import { knowCallers } from './known-callers.ts';
import { type KubernetesCluster, kubernetesAttestor } from './kubernetes.ts';
import { checkRange } from './options.ts';
import { onOwnChange } from './own-change.ts';
import { createRateLimiter } from './rate-limit.ts';
import { closeServer, defaultNames, listenOn, type OtherConnections, urlOf } from './server-address.ts';

const maxConnections = 4_000;
/** How often the authority looks for what other processes changed in its folder, and for what is due. */
const lookMs = 1_000;

/** Options of {@link serveAuthority}. */
export interface ServeOptions {
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 0: a port that the system chooses. */
  readonly port?: number;
  /** Host names and addresses by which clients call it. Default: those of `host` and of this machine. */
  readonly names?: readonly string[];
  /** Requests a second from one address. Default 20, with bursts of 100. */
  readonly requestsPerSecond?: number;
  readonly burst?: number;
  /** Clusters whose service accounts may have certificates, by their projected tokens. Default none. */
  readonly kubernetes?: readonly KubernetesCluster[];
  /** Further ways to prove an identity, asked after all others. */
  readonly attestors?: readonly Attestor[];
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** A serving authority. */
export interface AuthorityServer {
  /** `https://127.0.0.1:8443`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Stops serving. Requests in progress get five seconds. */
  close(): Promise<void>;
}

/**
 * Serves an authority over HTTPS. Its server certificate comes from the authority itself and is
 * renewed at half of its life (24 hours). Clients prove themselves with a join token, or with the
 * certificate that they have.
 *
 * | request | answer |
 * |---|---|
 * | `POST /v1/certificates` `{"csr": "…", "token": "…"}` | `{"spiffeId", "certificateChain", "trustBundles", "notBefore", "notAfter"}` |
 * | `GET /v1/bundle` | `{"trustDomain", "trustBundles", "crls"}`; waits for a change when asked to (`prefer: wait=…`) |
 * | `GET /v1/crl` | revocation lists, PEM |
 * | `GET /healthz` | `{"status": "ok", "trustDomain"}` |
 *
 * gRPC on the same port (HTTP/2 by ALPN) is Istio's `istio.v1.auth.IstioCertificateService`.
 *
 * A refusal is `{"error": "<reason>", "message": "…"}`; the reasons are the keys of `refusals`.
 */
export async function serveAuthority(authority: Authority, options: ServeOptions = {}): Promise<AuthorityServer> {
  const { host = '127.0.0.1', port = 0, clock = systemClock, logger = silentLogger } = options;
  const { requestsPerSecond = 20, burst = 100 } = options;
  checkRange('requestsPerSecond', requestsPerSecond, 0.001, 1_000_000);
  checkRange('burst', burst, 1, 1_000_000);
  const names = options.names ?? defaultNames(host);
  const limiter = createRateLimiter(requestsPerSecond, burst, clock);

  const { attestors: further = [], kubernetes = [] } = options;
  const attestors = [
    certificateAttestor(authority, clock),
    joinTokenAttestor(authority),
    ...(kubernetes.length === 0 ? [] : [kubernetesAttestor(kubernetes, authority.trustDomain, clock)]),
    ...further,
  ];
  const bundles = createBundleRoute(authority, clock);
  const parts = { authority, attestors, bundles, limiter, clock, logger };

  let current = authority.issueServer(names);
  let shown = authority.ownBundles;
  const tlsOptions = (): SecureContextOptions => {
    // The mesh's rules for suites and tickets, with the authority's own certificate.
    const { certificateChainPem, privateKeyPem, notAfter } = current;
    shown = authority.ownBundles;
    return meshTlsOptions({
      spiffeId: '',
      certificateChainPem,
      privateKeyPem,
      // What TLS verifies against is what the callers are held against: never roots of others.
      trustBundles: shown,
      notBefore: 0,
      notAfter,
    });
  };
  const server = createServer(
    {
      ...tlsOptions(),
      ALPNProtocols: ['h2', 'http/1.1'],
      // A client without certificate comes with a token; what is presented is checked by the handler.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: 10_000,
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      keepAliveTimeout: 5_000,
      maxHeaderSize: 16_384,
    },
    createHandler(parts),
  );
  // One for every member that waits to hear of a new bundle, and room for those that ask for certificates.
  server.maxConnections = maxConnections;
  const grpc = serveGrpc(server, istioService(parts));
  const verifyBy = knowCallers(server, { bundles: () => authority.ownBundles, clock });
  verifyBy(shown);
  server.on('tlsClientError', (error) => logger.debug({ error: error.message }, 'a TLS handshake failed'));
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    else socket.destroy();
  });
  await listenOn(server, host, port);

  let cancel = (): void => {};
  const rotate = (): void => {
    cancel();
    let nextMs = 60_000;
    try {
      current = authority.issueServer(names);
      server.setSecureContext(tlsOptions());
      verifyBy(shown);
      nextMs = halfOf(current.notAfter);
    } catch (error) {
      logger.error({ error: (error as Error).message }, 'the server certificate could not be renewed; trying again');
    }
    cancel = clock.after(nextMs, rotate);
  };
  const halfOf = (notAfter: number): number => Math.max(1_000, (notAfter - clock.wallNow()) / 2);
  cancel = clock.after(halfOf(current.notAfter), rotate);
  // Another root signs, or is trusted: the own certificate and whose certificates count here change with it.
  const unsubscribe = onOwnChange(authority, rotate);
  let stopLooking = (): void => {};
  const look = (): void => {
    try {
      authority.refresh();
    } catch (error) {
      logger.error({ error: (error as Error).message }, 'the authority could not do what was due; trying again');
    }
    stopLooking = clock.after(lookMs, look);
  };
  stopLooking = clock.after(lookMs, look);

  const address = server.address() as AddressInfo;
  const url = urlOf(host, address.port);
  logger.info({ url, trustDomain: authority.trustDomain }, 'the certificate authority serves');
  return {
    url,
    host,
    port: address.port,
    close: () => {
      cancel();
      stopLooking();
      unsubscribe();
      bundles.close();
      return closeServer(server, clock, grpc);
    },
  };
}

/** Hands connections that agreed on HTTP/2 to the service, all others stay with HTTP/1. */
function serveGrpc(server: Server, service: UnaryService): OtherConnections {
  const open = new Map<TLSSocket, UnaryConnection>();
  const [http1] = server.listeners('secureConnection');
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket) => {
    if (socket.alpnProtocol !== 'h2') {
      http1?.call(server, socket);
      return;
    }
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    open.set(socket, acceptUnary(socket, service));
  });
  return {
    end: () => {
      for (const connection of open.values()) connection.close();
    },
    destroy: () => {
      for (const socket of open.keys()) socket.destroy();
    },
  };
}
