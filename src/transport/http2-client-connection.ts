import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import type { DeadlineClass } from '../lib/deadlines.ts';
import type { Http2Keepalive } from '../model/cluster.ts';
import type { Passenger } from './connection.ts';
import { hasEnded, lifeOf, usableUntil } from './connection-life.ts';
import { type ConnectTarget, openConnection } from './connector.ts';
import { Exchange, type ExchangeCarrier } from './http2-exchange.ts';

/** What one HTTP/2 connection may do, and where it leads. */
export interface Http2ConnectionOptions {
  readonly target: ConnectTarget;
  readonly clock: Clock;
  deadlines(timeoutMs: number): DeadlineClass;
  /** `:authority` of requests that have no Host header. */
  readonly authority: string;
  /** {@link originOf} it. */
  readonly origin: string;
  /** Streams at once, whatever the server allows. */
  readonly maxStreams: number;
  /** Requests in all. Infinity: no limit. */
  readonly maxRequests: number;
  /** Takes no requests after this time. Infinity: no limit. */
  readonly maxConnectionMs: number;
  /** Closed after this time without requests. 0: never. */
  readonly idleTimeoutMs: number;
  readonly pings?: Http2Keepalive | undefined;
}

/** Whom a connection belongs to. */
export interface Http2ConnectionOwner {
  /** How many streams the server allows, as far as earlier connections know. */
  readonly streamsAllowed: number;
  /** The server has said how many streams it allows. */
  told(streams: number): void;
  /** It can be used, or can take more requests than before. */
  roomier(connection: Http2Connection): void;
  /** It takes no more requests: it failed to connect, was closed, or is ending. `error`: it never could be used. */
  gone(connection: Http2Connection, error: Error | undefined): void;
  /** Its last stream has ended, and it is closed. */
  closed(connection: Http2Connection): void;
}

/** Streams before a server has said how many it allows: what nearly all allow (RFC 9113 section 6.5.2). */
export const untoldStreams = 100;
/** How long a server may take to answer a PING before its connection counts as dead. */
const defaultPingTimeoutMs = 5_000;
/** How long a server may take to close a connection that has nothing left to carry. */
const lingerMs = 1_000;
/** Of one stream, and of a whole connection, so that a response nobody reads does not stop the others. */
const streamWindow = 262_144;
const connectionWindow = 8_388_608;
/** Bodies that are written faster than the server reads them count too; the default of 10 is for servers. */
const maxSessionMegabytes = 256;

/** One HTTP/2 connection to an endpoint, carrying many requests at a time. */
export class Http2Connection implements ExchangeCarrier {
  readonly authority: string;
  secure: boolean;
  failure: Error | undefined;
  /** How many streams the server allows just now; a first guess before it has said so. */
  allowed: number;
  streams: number;
  readonly #options: Http2ConnectionOptions;
  readonly #owner: Http2ConnectionOwner;
  #session: ClientHttp2Session | undefined;
  #socket: Socket | undefined;
  #started: number;
  /** Takes requests, once there is a session. */
  #open: boolean;
  #closed: boolean;
  #doubted: boolean;
  #lastOfGoAway: number;
  #idleSince: number;
  /** It takes no requests after this moment, milliseconds since the epoch. */
  #until: number;
  #idleArmed: boolean;
  #cancelIdle: () => void;
  #cancelAge: () => void;
  #cancelAsking: () => void;
  #cancelLinger: () => void;

  constructor(options: Http2ConnectionOptions, owner: Http2ConnectionOwner) {
    this.authority = options.authority;
    this.secure = false;
    this.failure = undefined;
    this.allowed = Math.min(owner.streamsAllowed, options.maxStreams);
    this.streams = 0;
    this.#options = options;
    this.#owner = owner;
    this.#session = undefined;
    this.#socket = undefined;
    this.#started = 0;
    this.#open = true;
    this.#closed = false;
    this.#doubted = false;
    this.#lastOfGoAway = Number.POSITIVE_INFINITY;
    this.#idleSince = 0;
    this.#until = Number.POSITIVE_INFINITY;
    this.#idleArmed = false;
    this.#cancelIdle = nothing;
    this.#cancelAge = nothing;
    this.#cancelAsking = nothing;
    this.#cancelLinger = nothing;
    openConnection(options.target, (error, socket) => this.#connected(error, socket));
  }

  get used(): boolean {
    return this.#started > 1;
  }

  /** Was there ever a connection? */
  get made(): boolean {
    return this.#session !== undefined;
  }

  get connecting(): boolean {
    return this.#open && this.#session === undefined;
  }

  /** Can it take one more request now? */
  get hasRoom(): boolean {
    return (
      this.#open &&
      this.#session !== undefined &&
      !this.#doubted &&
      this.streams < this.allowed &&
      !hasEnded(this.#until, this.#options.clock)
    );
  }

  /** Has its time ended, though no timer has said so yet? */
  get outlived(): boolean {
    return this.#open && this.#session !== undefined && hasEnded(this.#until, this.#options.clock);
  }

  get broken(): boolean {
    return this.#session?.destroyed !== false || this.#socket?.destroyed !== false || !this.#socket.readable;
  }

  get open(): boolean {
    return this.#open;
  }

  deadlines(timeoutMs: number): DeadlineClass {
    return this.#options.deadlines(timeoutMs);
  }

  /** Carries one request; only while it {@link hasRoom}. */
  carry(options: Dispatcher.DispatchOptions, handler: Passenger): void {
    this.streams++;
    this.#started++;
    if (this.streams === 1) this.#session?.ref();
    const last = this.#started >= this.#options.maxRequests;
    new Exchange(this, options, handler).start();
    if (last) this.retire();
  }

  // ---- what an exchange asks

  openStream(headers: OutgoingHttpHeaders, endStream: boolean): ClientHttp2Stream {
    return (this.#session as ClientHttp2Session).request(headers, { endStream });
  }

  leftOut(stream: ClientHttp2Stream): boolean {
    return stream.id === undefined || stream.id > this.#lastOfGoAway;
  }

  ended(): void {
    this.streams--;
    if (this.#closed) return;
    if (this.streams === 0) {
      if (!this.#open) {
        this.#finish();
        return;
      }
      this.#session?.unref();
      this.#rest();
    }
    if (this.#open) this.#owner.roomier(this);
  }

  doubt(): void {
    if (this.#doubted || this.#closed || this.#session === undefined) return;
    this.#doubted = this.#ping(this.#options.pings?.timeoutMs ?? defaultPingTimeoutMs, () => {
      this.#doubted = false;
      if (this.#open) this.#owner.roomier(this);
    });
  }

  // ---- its end

  /** Takes no more requests; closes when the last one has ended. */
  retire(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#owner.gone(this, undefined);
    if (this.streams === 0) this.#finish();
  }

  destroy(error: Error): void {
    if (this.#closed) return;
    this.failure ??= error;
    this.#leave();
    if (this.#session === undefined) {
      this.#end();
      return;
    }
    this.#session.destroy(error);
    this.#socket?.destroy();
  }

  /** Keeps the process alive for requests that wait for room. */
  hold(held: boolean): void {
    if (this.#closed || this.streams > 0) return;
    if (held) this.#session?.ref();
    else this.#session?.unref();
  }

  // ---- life

  #connected(error: Error | null, socket: Socket | null): void {
    if (socket === null) {
      this.#open = false;
      if (this.#closed) return;
      this.#closed = true;
      this.#owner.gone(this, error ?? new Error('no connection'));
      this.#owner.closed(this);
      return;
    }
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.secure = (socket as Partial<TLSSocket>).encrypted === true;
    const session = connect(this.#options.origin, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: streamWindow },
      peerMaxConcurrentStreams: untoldStreams,
      maxSessionMemory: maxSessionMegabytes,
    });
    this.#session = session;
    session.on('connect', () => session.setLocalWindowSize(connectionWindow));
    session.on('remoteSettings', ({ maxConcurrentStreams }) => this.#allow(maxConcurrentStreams));
    session.on('goaway', (_code, last) => {
      this.#lastOfGoAway = Math.min(this.#lastOfGoAway, last);
      this.#leave();
      if (this.streams === 0) this.#finish();
    });
    session.on('error', (failure) => {
      this.failure ??= failure;
    });
    session.on('close', () => this.#end());
    session.unref();
    this.#arm();
    if (this.#open) this.#owner.roomier(this);
    else if (this.streams === 0) this.#finish();
  }

  #arm(): void {
    const { clock, maxConnectionMs, pings } = this.#options;
    this.#until = usableUntil(this.#socket as Socket);
    const lifeMs = lifeOf(this.#socket as Socket, maxConnectionMs, clock);
    if (Number.isFinite(lifeMs)) this.#cancelAge = clock.after(lifeMs, () => this.retire());
    if (pings?.intervalMs !== undefined) this.#keepAsking(pings.intervalMs);
    this.#rest();
  }

  #allow(streams: number | undefined): void {
    const before = this.allowed;
    this.allowed = Math.min(streams ?? Number.POSITIVE_INFINITY, this.#options.maxStreams);
    this.#owner.told(this.allowed);
    if (this.allowed > before && this.#open) this.#owner.roomier(this);
  }

  /** The server takes no more. Node closes the session when its last stream has ended. */
  #leave(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#owner.gone(this, undefined);
  }

  /**
   * The last stream has ended. Node ends its side of the connection then and waits for the server to
   * end its own, which one that still holds streams that we have given up never does.
   */
  #finish(): void {
    this.#session?.close();
    this.#cancelLinger();
    this.#cancelLinger = this.#options.clock.after(lingerMs, () => this.#socket?.destroy());
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelLinger();
    this.#cancelIdle();
    this.#cancelAge();
    this.#cancelAsking();
    this.#leave();
    this.#owner.closed(this);
    this.#socket?.destroy();
  }

  /** One timer for all pauses: it looks how long the last one is. */
  #rest(): void {
    const { clock, idleTimeoutMs } = this.#options;
    if (idleTimeoutMs <= 0) return;
    this.#idleSince = clock.now();
    if (!this.#idleArmed) this.#restFor(idleTimeoutMs);
  }

  #restFor(ms: number): void {
    const { clock, idleTimeoutMs } = this.#options;
    this.#idleArmed = true;
    this.#cancelIdle = clock.after(Math.max(1, ms), () => {
      this.#idleArmed = false;
      if (this.#closed || !this.#open || this.streams > 0) return;
      const left = this.#idleSince + idleTimeoutMs - clock.now();
      if (left > 0) this.#restFor(left);
      else this.retire();
    });
  }

  #keepAsking(intervalMs: number): void {
    const { clock, pings } = this.#options;
    this.#cancelAsking = clock.after(intervalMs, () => {
      this.#ping(pings?.timeoutMs ?? defaultPingTimeoutMs, nothing);
      this.#keepAsking(intervalMs);
    });
  }

  /** Asks whether anybody is there; without an answer in time the connection ends, and all on it. */
  #ping(timeoutMs: number, answered: () => void): boolean {
    const session = this.#session as ClientHttp2Session;
    if (session.destroyed) return false;
    const cancel = this.#options.clock.after(timeoutMs, () =>
      this.destroy(new Error(`no answer to a PING within ${timeoutMs} ms`)),
    );
    const asked = session.ping((error) => {
      cancel();
      if (error === null) answered();
    });
    // Too many are under way already: one of them will tell.
    if (!asked) cancel();
    return asked;
  }
}

function nothing(): void {}
