import { connect as connectTcp, isIP, type NetConnectOpts, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { stallMs } from '../lib/deadlines.ts';
import type { TcpKeepalive, TunnelPolicy } from '../model/cluster.ts';
import { madeWith } from './connection-life.ts';
import { type Attempt, type Done, eitherFamily } from './either-family.ts';
import { proxyHeader } from './proxy-header.ts';
import { checkServerNames } from './server-names.ts';
import { askForTunnel } from './tunnel.ts';

/** How to speak on one new connection. */
export type ConnectionSecurity =
  | { readonly kind: 'plaintext' }
  /** mTLS with the identity of this process, Istio's way. */
  | {
      readonly kind: 'mutual';
      readonly context: SecureContext;
      /** `outbound_.9080_.v1_.reviews.bookinfo.svc.cluster.local`. */
      readonly serverName: string;
      /** End of the own certificate, milliseconds since the epoch: the connection takes no requests after it. */
      readonly notAfter?: number;
      /** Which roots servers are checked against, for messages. */
      trusted?(): string;
      /** Checks the identity that the server proved; throws `ERR_MESH_PEER_IDENTITY`. */
      verify(socket: TLSSocket): void;
    }
  /** TLS that the mesh speaks with a server outside of it, for an application that called `http:`. */
  | {
      readonly kind: 'originated';
      readonly context: SecureContext;
      /** SNI; '' for none. */
      readonly serverName: string;
      /** The certificate must have one of these. Absent: any certificate will do. */
      readonly names: readonly string[] | undefined;
      /** The certificate must have this name besides. */
      readonly called?: string;
      /** Protocols to offer; none where it is not HTTP that is spoken. */
      readonly alpn: readonly string[];
    }
  /** TLS that the application itself asked for (`https:`): public roots and the host name. */
  | { readonly kind: 'tls'; readonly serverName: string };

export interface ConnectTarget {
  /** Name of the cluster, for messages. */
  readonly cluster: string;
  /** IP address, name, or `unix://` and the path of a Unix socket. */
  readonly address: string;
  /** Tried beside `address` when that does not answer for a moment, or fails (RFC 8305). */
  readonly otherFamily?: string | undefined;
  readonly port: number;
  readonly timeoutMs: number;
  /** When and how often an idle connection is probed. Default: after 60,000 ms. */
  readonly keepalive?: TcpKeepalive | undefined;
  readonly clock: Clock;
  /** HTTP/2 is spoken on it; TLS offers that and nothing else. */
  readonly http2?: boolean | undefined;
  /** What is spoken on it is not HTTP, as far as the mesh knows. */
  readonly bytes?: boolean | undefined;
  /** Asked for each new connection, so that a new certificate serves the next one. */
  security(): ConnectionSecurity;
  /** Version of the PROXY protocol with which it begins, before TLS and before a tunnel is asked for. */
  readonly proxyProtocol?: 1 | 2 | undefined;
  /** The connection goes through the HTTP proxy that listens there. */
  readonly tunnel?: Tunnel | undefined;
}

/** A way through an HTTP proxy. */
export interface Tunnel {
  readonly policy: TunnelPolicy;
  /** How the proxy itself is spoken to; what the connection is for comes inside of the tunnel. */
  security(): ConnectionSecurity;
}

// What Istio's sidecars offer for HTTP/1.1: the first value leads to the mTLS filter chain of a
// PERMISSIVE sidecar, the last is what both sides then speak.
const istioAlpn = ['istio-http/1.1', 'istio', 'http/1.1'];
const istioHttp2Alpn = ['istio-h2', 'istio', 'h2'];
// The other name that their TCP clusters offer, `istio-peer-exchange`, announces bytes that we do not send.
const istioTcpAlpn = ['istio'];

/**
 * Opens a connection and hands it over only when it may be used: TCP connected, TLS complete, the
 * server's identity verified.
 *
 * @returns through `done`: the socket, or `ERR_MESH_CONNECT_FAILED`, `ERR_MESH_TLS_FAILED`,
 *   `ERR_MESH_PEER_IDENTITY`, `ERR_MESH_NO_IDENTITY`.
 */
export function openConnection(target: ConnectTarget, done: Done): void {
  const { cluster, tunnel } = target;
  if (tunnel === undefined) {
    openEndpoint(target, done);
    return;
  }
  openEndpoint({ ...direct(target), bytes: true, security: () => tunnel.security() }, (failure, socket) => {
    if (socket === null) {
      done(failure, null);
      return;
    }
    askForTunnel(socket, tunnel.policy, target, (error) => {
      if (error === null) {
        openDirect({ ...direct(target), through: socket }, done);
        return;
      }
      socket.on('error', () => {}).destroy();
      const endpoint = nameOf(target);
      const { targetHost, targetPort } = tunnel.policy;
      const message = `the proxy ${endpoint} opens no tunnel to ${targetHost}:${targetPort}: ${error.message}`;
      done(new MeshError('ERR_MESH_CONNECT_FAILED', message, { cause: error, cluster, endpoint }), null);
    });
  });
}

function openEndpoint(target: ConnectTarget, done: Done): void {
  if (target.proxyProtocol === undefined) openDirect(target, done);
  else openBehindHeader(target, target.proxyProtocol, done);
}

/** TCP first: the header says from where to where it leads, and goes before the first byte of TLS. */
function openBehindHeader(target: ConnectTarget, version: 1 | 2, done: Done): void {
  const { clock } = target;
  const asked = direct(target);
  const dueAt = clock.now() + asked.timeoutMs;
  openDirect({ ...asked, security: () => plaintext }, (failure, socket) => {
    if (socket === null) {
      done(failure, null);
      return;
    }
    socket.write(proxyHeader(version, socket));
    openDirect({ ...asked, timeoutMs: Math.max(1, dueAt - clock.now()), through: socket }, done);
  });
}

/** To one place, or inside of a connection that there is. */
interface DirectTarget extends ConnectTarget {
  readonly through?: Socket;
}

/** Its addresses may be read from elsewhere: they are taken as they are now. */
function direct(target: ConnectTarget): ConnectTarget {
  return { ...target, tunnel: undefined, security: () => target.security() };
}

function openDirect(target: DirectTarget, done: Done): void {
  if (target.otherFamily === undefined || target.through !== undefined) openOne(target, done);
  else openEither(target, target.otherFamily, done);
}

/** To either of two addresses of one server; what is spoken there comes when one of them has answered. */
function openEither(target: DirectTarget, otherAddress: string, done: Done): void {
  const { clock, cluster } = target;
  const asked = direct(target);
  const dueAt = clock.now() + target.timeoutMs;
  const left = (): number => Math.max(1, dueAt - clock.now());
  const to =
    (address: string): Attempt =>
    (taken) =>
      openOne({ ...asked, address, otherFamily: undefined, timeoutMs: left(), security: () => plaintext }, taken);
  eitherFamily(clock, to(asked.address), to(otherAddress), (cause, socket) => {
    if (socket !== null) {
      openOne({ ...asked, timeoutMs: left(), through: socket }, done);
      return;
    }
    const endpoint = nameOf(asked);
    const message = `connection to ${endpoint} failed: ${messageOf(cause as Error)}`;
    done(new MeshError('ERR_MESH_CONNECT_FAILED', message, { cause, cluster, endpoint }), null);
  });
}

const plaintext: ConnectionSecurity = { kind: 'plaintext' };

const nothingToLeave = (): void => {};

/** @returns leaves it, as long as nobody has heard of it */
function openOne(target: DirectTarget, done: Done): () => void {
  const endpoint = nameOf(target);
  const { cluster } = target;
  let security: ConnectionSecurity;
  try {
    security = target.security();
  } catch (error) {
    // Nobody else has it, and an error of a socket that nobody listens to ends the process.
    target.through?.on('error', () => {}).destroy();
    // Never from within the call that asked: undici is not ready for an answer yet.
    queueMicrotask(() => done(error as Error, null));
    return nothingToLeave;
  }
  const secure = security.kind !== 'plaintext';
  if (!secure && target.through !== undefined) {
    done(null, target.through);
    return nothingToLeave;
  }
  const socket = security.kind === 'plaintext' ? startTcp(target) : startTls(target, security);
  let settled = false;
  let connected = target.through !== undefined;

  const settle = (error: Error | null): void => {
    if (settled) return;
    settled = true;
    cancelTimer();
    if (error === null) {
      socket.off('error', onError);
      // Node tells of a TLS record that cannot be read, and leaves the connection open: whoever reads
      // from it would wait for ever.
      if (secure) socket.on('error', () => socket.destroy());
      done(null, socket);
    } else {
      socket.destroy();
      done(error, null);
    }
  };
  const onError = (cause: Error): void => {
    // Said by a check of ours, which knows more.
    if (cause instanceof MeshError) {
      settle(new MeshError(cause.code, cause.message, { cluster, endpoint }));
      return;
    }
    const inTls = secure && connected;
    const code = inTls ? 'ERR_MESH_TLS_FAILED' : 'ERR_MESH_CONNECT_FAILED';
    const what = inTls ? 'TLS handshake with' : 'connection to';
    // Whoever reads this has to know which root is missing here.
    const { code: reason = '' } = cause as NodeJS.ErrnoException;
    const trusted = security.kind === 'mutual' && unknownIssuer.has(reason) ? security.trusted?.() : undefined;
    const why = trusted === undefined ? messageOf(cause) : `${messageOf(cause)} (trusted: ${trusted})`;
    settle(new MeshError(code, `${what} ${endpoint} failed: ${why}`, { cause, cluster, endpoint }));
  };
  const expire = (): void => {
    const message = `connection to ${endpoint} was not ready within ${target.timeoutMs} ms`;
    settle(new MeshError('ERR_MESH_CONNECT_FAILED', message, { cluster, endpoint }));
  };
  const { clock, timeoutMs } = target;
  const dueAt = clock.now() + timeoutMs;
  // In a process that was busy the timer is noticed before the connection that was ready in time. If it
  // was busy for long, it has not answered the handshake either: that is no fault of the endpoint.
  let cancelTimer = clock.after(timeoutMs, () => {
    if (clock.now() - dueAt <= stallMs) clock.afterIo(expire);
    else cancelTimer = clock.after(Math.min(timeoutMs, longestGraceMs), () => clock.afterIo(expire));
  });

  // Errors after hand-over belong to undici, which adds its own listener; this one stays silent.
  socket.on('error', onError);
  socket.once('close', () => onError(new Error('closed by the other side')));
  socket.once('connect', () => {
    connected = true;
    socket.setNoDelay(true);
    probe(socket, target.keepalive);
    if (!secure) settle(null);
  });
  if (security.kind !== 'plaintext') {
    socket.once('secureConnect', () => {
      try {
        if (security.kind === 'mutual') {
          security.verify(socket as TLSSocket);
          if (security.notAfter !== undefined) madeWith(socket, security.notAfter);
        }
        settle(null);
      } catch (error) {
        settle(error as Error);
      }
    });
  }
  return () => {
    if (settled) return;
    settled = true;
    cancelTimer();
    socket.destroy();
  };
}

/** So long a handshake may still take that this process has held up itself. */
const longestGraceMs = 1_000;

/** What OpenSSL says of chains that end in none of the roots. */
const unknownIssuer: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** `10.0.0.7:9080`, `[::1]:9080`, `unix:///run/reviews.sock`. */
function nameOf({ address, port }: ConnectTarget): string {
  if (address.startsWith(unixPrefix)) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const unixPrefix = 'unix://';

type Where =
  | { readonly path: string }
  | { readonly socket: Socket }
  | {
      readonly host: string;
      readonly port: number;
      readonly autoSelectFamily: true;
    };

function whereOf({ address, port, through }: DirectTarget): Where {
  if (through !== undefined) return { socket: through };
  if (!address.startsWith(unixPrefix)) return { host: address, port, autoSelectFamily: true };
  const path = address.slice(unixPrefix.length);
  // An abstract name is written with @, as Envoy does.
  return { path: path.startsWith('@') ? `\0${path.slice(1)}` : path };
}

/** Node.js takes the last two parameters since 24; before, the operating system decides. */
type KeepAlive = (enable: boolean, initialDelayMs: number, intervalMs?: number, count?: number) => void;

/** Whole seconds, and at least one: what the operating system knows. */
const inSeconds = (ms: number): number => Math.max(1_000, ms);

function probe(socket: Socket, { intervalMs, probes, timeMs = 60_000 }: TcpKeepalive = {}): void {
  const setKeepAlive = socket.setKeepAlive as unknown as KeepAlive;
  const everyMs = intervalMs === undefined ? undefined : inSeconds(intervalMs);
  setKeepAlive.call(socket, true, inSeconds(timeMs), everyMs, probes);
}

function startTcp(target: ConnectTarget): Socket {
  return connectTcp(whereOf(target) as NetConnectOpts);
}

function startTls(target: DirectTarget, security: Exclude<ConnectionSecurity, { kind: 'plaintext' }>): TLSSocket {
  const { serverName } = security;
  const common = whereOf(target);
  if (security.kind === 'tls') {
    return connectTls({
      ...common,
      // An address is not announced (RFC 6066 section 3), but it is verified: the one that the
      // application called, not that of the endpoint.
      servername: isIP(serverName) === 0 ? serverName : '',
      checkServerIdentity: (_, certificate) => checkServerIdentity(serverName, certificate),
      ALPNProtocols: [target.http2 === true ? 'h2' : 'http/1.1'],
    });
  }
  if (security.kind === 'originated') {
    const { called, names } = security;
    const alpn = target.http2 === true ? ['h2'] : security.alpn;
    return connectTls({
      ...common,
      servername: serverName,
      secureContext: security.context,
      ...(alpn.length === 0 ? {} : { ALPNProtocols: alpn }),
      // Said explicitly: it is the configuration that decides, not NODE_TLS_REJECT_UNAUTHORIZED.
      rejectUnauthorized: names !== undefined,
      checkServerIdentity: (_, certificate) =>
        (names && checkServerNames(names, certificate.raw)) ??
        (called === undefined ? undefined : checkServerNames([called], certificate.raw)),
    });
  }
  return connectTls({
    ...common,
    servername: serverName,
    secureContext: security.context,
    ALPNProtocols: istioAlpnOf(target),
    // Said explicitly: NODE_TLS_REJECT_UNAUTHORIZED must not be able to turn the mesh's TLS off.
    rejectUnauthorized: true,
    // The chain is checked against our roots as ever; the name is a SPIFFE ID, which Node does not
    // know. `verify` checks it on the certificate itself before the first byte is sent.
    checkServerIdentity: () => undefined,
  });
}

function istioAlpnOf({ bytes, http2 }: ConnectTarget): string[] {
  if (bytes === true) return istioTcpAlpn;
  return http2 === true ? istioHttp2Alpn : istioAlpn;
}

function messageOf(error: Error): string {
  // happy eyeballs reports several failures with an empty message of its own
  if (error instanceof AggregateError) return error.errors.map((e: Error) => e.message).join('; ');
  return error.message;
}
