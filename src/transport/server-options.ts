import { type AcceptorLimits, resolveLimits } from './limits.ts';

/** Options for `http.createServer`, `https.createServer` and `http2.createSecureServer`: what the mesh sets on its own servers. */
export interface MeshServerOptions {
  readonly insecureHTTPParser: false;
  readonly maxHeaderSize: number;
  readonly headersTimeout: number;
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly connectionsCheckingInterval: number;
  readonly noDelay: true;
  /** HTTP/2; other servers do not look at it. */
  readonly maxSessionMemory: number;
  /** HTTP/2; other servers do not look at it. */
  readonly settings: { readonly maxConcurrentStreams: number; readonly maxHeaderListSize: number };
}

/**
 * The limits of `mesh.listen` as options for a server of your own, as far as Node has them: it has none
 * for pauses in bodies and responses, and `maxConnections` is a property of the server.
 *
 * @example
 * const server = createServer(meshServerOptions(), (req, res) => mesh.handle(req, res, () => res.end('hello')));
 * server.maxConnections = 10_000;
 */
export function meshServerOptions(limits: Partial<AcceptorLimits> = {}): MeshServerOptions {
  const all = resolveLimits(limits);
  return {
    insecureHTTPParser: false,
    maxHeaderSize: all.maxHeaderBytes,
    headersTimeout: Math.min(all.headersTimeoutMs, all.requestTimeoutMs),
    requestTimeout: all.requestTimeoutMs,
    keepAliveTimeout: all.keepAliveMs,
    // Node looks every 30 seconds, which is late for 10.
    connectionsCheckingInterval: Math.max(1, Math.min(5_000, all.headersTimeoutMs / 2)),
    noDelay: true,
    maxSessionMemory: all.maxSessionMegabytes,
    settings: { maxConcurrentStreams: all.maxStreams, maxHeaderListSize: all.maxHeaderBytes },
  };
}
