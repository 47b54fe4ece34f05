import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import {
  type Clock,
  createCsr,
  generateIdentityKey,
  type Logger,
  meshTlsOptions,
  silentLogger,
  systemClock,
} from 'inmesh/identity';
import type { Authority } from './authority-types.ts';
import { type BundleDocument, bundleDocument } from './bundle-document.ts';
import { checkRange, invalid } from './options.ts';
import { onOwnChange } from './own-change.ts';
import { createRateLimiter } from './rate-limit.ts';
import { closeServer, defaultNames, listenOn, urlOf } from './server-address.ts';

/** Options of {@link serveBundleEndpoint}. */
export interface BundleEndpointOptions {
  /**
   * `https_spiffe` (default): proves itself by an X.509-SVID of the authority. `https_web`: by a
   * certificate for its host name.
   */
  readonly profile?: 'https_spiffe' | 'https_web';
  /** Address to listen on. Default `127.0.0.1`. */
  readonly host?: string;
  /** Default 0: a port that the system chooses. */
  readonly port?: number;
  /** Of `https_spiffe`. Default `spiffe://<trust domain>/inmesh/bundle-endpoint`. */
  readonly spiffeId?: string;
  /**
   * Of `https_web`: files (PEM) with a certificate of a public authority and its key, read anew
   * every hour. Without them the authority itself makes one, for `names`; whoever fetches then
   * needs its root.
   */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Host names and addresses by which it is called. Default: those of `host` and of this machine. */
  readonly names?: readonly string[];
  /** How often others should look again, milliseconds: `spiffe_refresh_hint`. Default five minutes, at least a second. */
  readonly refreshMs?: number;
  /** Folder of the authority, for the sequence of the bundle. */
  readonly dir?: string;
  readonly requestsPerSecond?: number;
  readonly burst?: number;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

/** A serving bundle endpoint. */
export interface BundleEndpoint {
  /** What others give as URL of the endpoint. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** What others give as SPIFFE ID of the endpoint; nothing with `https_web`. */
  readonly spiffeId?: string;
  close(): Promise<void>;
}

/** A certificate that the endpoint shows, and when it should have another one. */
interface Shown {
  readonly tls: SecureContextOptions;
  readonly renewInMs: number;
}

/**
 * Serves the bundle of an authority to other trust domains (SPIFFE Federation, 5.2): `GET /`, without
 * any proof of the caller, as the standard has it.
 */
export async function serveBundleEndpoint(
  authority: Authority,
  options: BundleEndpointOptions = {},
): Promise<BundleEndpoint> {
  const { clock = systemClock, host = '127.0.0.1', logger = silentLogger, port = 0 } = options;
  const { burst = 100, dir, profile = 'https_spiffe', refreshMs = 300_000, requestsPerSecond = 20 } = options;
  checkRange('refreshMs', refreshMs, 1_000, 86_400_000);
  checkRange('requestsPerSecond', requestsPerSecond, 0.001, 1_000_000);
  checkRange('burst', burst, 1, 1_000_000);
  if (profile !== 'https_spiffe' && profile !== 'https_web') {
    throw invalid('profile', 'expected https_spiffe or https_web', profile);
  }
  if ((options.certFile === undefined) !== (options.keyFile === undefined)) {
    throw invalid('certFile and keyFile', 'expected both or none');
  }
  if (profile === 'https_spiffe' && options.certFile !== undefined) {
    throw invalid('certFile', 'it belongs to https_web; https_spiffe has certificates of the authority');
  }
  const { spiffeId = `spiffe://${authority.trustDomain}/inmesh/bundle-endpoint` } = options;
  const document = bundleDocument(authority, { refreshMs, clock, ...(dir === undefined ? {} : { dir }) });
  const show = (): Shown =>
    profile === 'https_spiffe' ? showSvid(authority, spiffeId, clock) : showName(authority, options, host, clock);

  const first = show();
  const limiter = createRateLimiter(requestsPerSecond, burst, clock);
  const server = createServer(
    {
      ...first.tls,
      handshakeTimeout: 10_000,
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      keepAliveTimeout: 5_000,
      maxHeaderSize: 16_384,
    },
    (request, response) => {
      const remote = request.socket.remoteAddress ?? 'unknown';
      if (limiter.take(remote)) answer(document, request, response, logger);
      else response.writeHead(429, { 'retry-after': '1', connection: 'close' }).end();
    },
  );
  server.maxConnections = 1_000;
  server.on('tlsClientError', (error) => logger.debug({ error: error.message }, 'a TLS handshake failed'));
  server.on('clientError', (_error, socket) => socket.destroy());
  await listenOn(server, host, port);

  let cancel = (): void => {};
  const renew = (): void => {
    cancel();
    try {
      const next = show();
      server.setSecureContext(next.tls);
      cancel = clock.after(next.renewInMs, renew);
    } catch (error) {
      logger.error(
        { error: (error as Error).message },
        'the certificate of the bundle endpoint was not renewed; trying again',
      );
      cancel = clock.after(60_000, renew);
    }
  };
  cancel = clock.after(first.renewInMs, renew);
  // A new root may sign from now on, or the old one no longer count.
  const unsubscribe = onOwnChange(authority, renew);

  const { port: bound } = server.address() as AddressInfo;
  const url = urlOf(host, bound);
  logger.info({ url, profile, ...(profile === 'https_spiffe' ? { spiffeId } : {}) }, 'the bundle endpoint serves');
  return {
    url,
    host,
    port: bound,
    ...(profile === 'https_spiffe' ? { spiffeId } : {}),
    close: () => {
      cancel();
      unsubscribe();
      return closeServer(server, clock);
    },
  };
}

function showSvid(authority: Authority, spiffeId: string, clock: Clock): Shown {
  const key = generateIdentityKey();
  const issued = authority.certify(createCsr(spiffeId, key), { spiffeId, by: 'bundle endpoint' });
  const tls = meshTlsOptions({
    spiffeId,
    certificateChainPem: issued.certificateChainPem,
    privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    trustBundles: authority.ownBundles,
    notBefore: issued.notBefore,
    notAfter: issued.notAfter,
  });
  return { tls, renewInMs: halfUntil(issued.notAfter, clock) };
}

function showName(authority: Authority, options: BundleEndpointOptions, host: string, clock: Clock): Shown {
  const { certFile, keyFile } = options;
  const common = { spiffeId: '', notBefore: 0, notAfter: 0, trustBundles: authority.ownBundles };
  if (certFile !== undefined && keyFile !== undefined) {
    const certificateChainPem = readFileSync(certFile, 'utf8');
    const privateKeyPem = readFileSync(keyFile, 'utf8');
    return { tls: meshTlsOptions({ ...common, certificateChainPem, privateKeyPem }), renewInMs: 3_600_000 };
  }
  const made = authority.issueServer(options.names ?? defaultNames(host));
  return { tls: meshTlsOptions({ ...common, ...made }), renewInMs: halfUntil(made.notAfter, clock) };
}

function halfUntil(notAfter: number, clock: Clock): number {
  return Math.max(1_000, (notAfter - clock.wallNow()) / 2);
}

function answer(document: BundleDocument, request: IncomingMessage, response: ServerResponse, logger: Logger): void {
  const [path] = (request.url ?? '').split('?', 1);
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  if (path !== '/' || !isRead) {
    response.writeHead(path === '/' ? 405 : 404, { connection: 'close' }).end();
    return;
  }
  try {
    const text = document.text();
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    response.writeHead(200, { ...headers, 'cache-control': 'no-cache' });
    response.end(request.method === 'GET' ? text : undefined);
  } catch (error) {
    logger.error({ error: (error as Error).message }, 'the bundle cannot be served');
    response.writeHead(503, { connection: 'close' }).end();
  }
}
