import { Agent, type ClientRequest, type ClientRequestArgs, type RequestOptions } from 'node:http';
import { type AgentOptions, Agent as SecureAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { applyTarget, headerOf, headersOf } from './agent-head.ts';
import { Slots } from './agent-slots.ts';
import type { AgentLimit, AgentRequest, AgentRouter, AgentTarget, Routed, RoutedLater } from './agent-target.ts';
import { meshErrorFrom, type Watch, watchRequest } from './agent-watch.ts';

export type { AgentRequest, AgentRouter, AgentTarget, RoutedLater } from './agent-target.ts';

/** Options of {@link createAgent}. */
export interface AgentSettings {
  readonly clock: Clock;
  /** Idle sockets live this long. Default 4,000: less than the 5,000 of a node:http server. */
  readonly idleTimeoutMs?: number;
  /** Requests at a time per target key; more wait. Default: no limit. */
  readonly maxSocketsPerKey?: number;
  /** Idle sockets kept per target key. Default 256. */
  readonly maxIdleSocketsPerKey?: number;
  /** How long this socket may take requests, milliseconds; 0 or less: no longer. Default: for ever. */
  lifeMs?(socket: Socket): number;
}

/** A node:http Agent for http: and https: URLs alike, routed request by request. */
export interface MeshAgent extends Agent {
  /** There in every Agent; with it this is also an Agent of node:https, for `httpsAgent` and the like. */
  readonly options: AgentOptions;
  /** Closes idle sockets, and those with a request after that one. New ones are made for the next. */
  recycle(): void;
  /** Closes idle sockets, keeps none any more, resolves when the last request has ended. */
  drain(): Promise<void>;
}

/**
 * An Agent that asks `router` about each request: axios, got, superagent and `http.request` go
 * through the mesh with it. Routing is per request, one tick after its creation (so headers set
 * then are seen); sockets are pooled per target. Errors of routing, connection and endpoint reach
 * the request as `MeshError`; what the application destroys a request with stays as it is.
 */
export function createAgent(router: AgentRouter, settings: AgentSettings): MeshAgent {
  return new RoutingAgent(router, settings);
}

/** Hands a request to `createConnection` and forgets it there: pooled sockets keep their options. */
interface Baton {
  passage: Passage | undefined;
}
interface Passage {
  readonly request: ClientRequest;
  readonly target: AgentTarget;
  readonly watch: Watch;
}
type PoolOptions = ClientRequestArgs & { [poolKey]?: string; [baton]?: Baton };
const poolKey = Symbol('pool key');
const baton = Symbol('baton');

/**
 * What subclasses of node:http's Agent replace or call. The pool below them stays node:http's own,
 * which knows its sockets best: reuse, listeners, data that arrives on an idle socket.
 */
interface Pool {
  addRequest(request: ClientRequest, options: RequestOptions): void;
  getName(options?: ClientRequestArgs): string;
  reuseSocket(socket: Duplex, request: ClientRequest): void;
}
const pool = Agent.prototype as unknown as Pool;

class RoutingAgent extends Agent {
  /** Without a protocol of its own an Agent serves `http.request` and `https.request`. */
  readonly protocol: undefined = undefined;
  declare readonly options: AgentOptions;
  readonly #router: AgentRouter;
  readonly #clock: Clock;
  readonly #idleTimeoutMs: number;
  readonly #lifeMs: (socket: Socket) => number;
  /** Absent without a limit. */
  readonly #slots = new Slots();
  readonly #atOnce: number | undefined;
  readonly #direct: Agent;
  readonly #directSecure: SecureAgent;
  /** Requests that have not ended, with the key of the slot that they hold. */
  readonly #active = new Map<ClientRequest, string | undefined>();
  readonly #idleClocks = new WeakMap<Duplex, () => void>();
  /** Sockets that get no more requests. */
  readonly #stale = new WeakSet<Duplex>();
  #drained: (() => void)[] = [];
  #draining = false;

  constructor(router: AgentRouter, settings: AgentSettings) {
    const options = { keepAlive: true, maxFreeSockets: settings.maxIdleSocketsPerKey ?? 256 };
    super(options);
    this.#router = router;
    this.#clock = settings.clock;
    this.#idleTimeoutMs = settings.idleTimeoutMs ?? 4_000;
    this.#lifeMs = settings.lifeMs ?? forEver;
    this.#atOnce = settings.maxSocketsPerKey;
    this.#direct = new Agent({ ...options, timeout: this.#idleTimeoutMs });
    this.#directSecure = new SecureAgent({ ...options, timeout: this.#idleTimeoutMs });
  }

  /** Called by node:http from the constructor of each request. */
  addRequest(request: ClientRequest, options: RequestOptions): void {
    this.#active.set(request, undefined);
    request.on('close', () => this.#end(request));
    process.nextTick(() => this.#start(request, options));
  }

  recycle(): void {
    for (const busy of Object.values(this.sockets)) for (const socket of busy ?? []) this.#stale.add(socket);
    for (const idle of Object.values(this.freeSockets)) for (const socket of idle ?? []) this.#drop(socket);
  }

  drain(): Promise<void> {
    this.#draining = true;
    for (const agent of [this, this.#direct, this.#directSecure]) {
      (agent as unknown as { keepAlive: boolean }).keepAlive = false;
      for (const idle of Object.values(agent.freeSockets)) for (const socket of idle ?? []) this.#drop(socket);
    }
    if (this.#active.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Closes all sockets; requests under way fail. */
  override destroy(): void {
    for (const request of this.#active.keys()) {
      if (request.socket === null || request.socket === undefined) {
        request.destroy(new MeshError('ERR_MESH_CLOSED', 'the agent was destroyed'));
      }
    }
    for (const idle of Object.values(this.freeSockets)) for (const socket of idle ?? []) this.#drop(socket);
    super.destroy();
    this.#direct.destroy();
    this.#directSecure.destroy();
  }

  #drop(idle: Duplex): void {
    this.#idleClocks.get(idle)?.();
    idle.destroy();
  }

  #end(request: ClientRequest): void {
    const key = this.#active.get(request);
    this.#active.delete(request);
    // The socket becomes idle right after this event: whoever waits shall find it.
    if (key !== undefined) process.nextTick(() => this.#slots.release(key));
    if (this.#active.size === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  #start(request: ClientRequest, options: RequestOptions): void {
    if (request.destroyed) {
      withoutSocket(request);
      return;
    }
    const port = portOf(request, options);
    let routed: Routed | RoutedLater;
    try {
      // A Unix socket is on this machine and has no name that the mesh could know.
      routed = options.socketPath ? 'direct' : this.#router(viewOf(request, port));
    } catch (error) {
      withoutSocket(request, error as Error);
      return;
    }
    if (typeof routed === 'object' && 'then' in routed) this.#startLater(request, options, routed);
    else this.#send(request, options, routed, undefined);
  }

  #startLater(request: ClientRequest, options: RequestOptions, routed: RoutedLater): void {
    const watch = watchRequest(request, this.#clock);
    watch.stopWaiting = () => {
      watch.stopWaiting = undefined;
      routed.giveUp?.();
      withoutSocket(request);
    };
    routed.then(
      (target) => {
        if (watch.stopWaiting !== undefined) this.#send(request, options, target, watch);
        else if (target !== 'direct') {
          target.done(0);
          target.ended?.();
        }
      },
      (error: Error) => {
        if (watch.stopWaiting === undefined) return;
        watch.stopWaiting = undefined;
        withoutSocket(request, error);
      },
    );
  }

  #send(request: ClientRequest, options: RequestOptions, target: Routed, watched: Watch | undefined): void {
    if (target === 'direct') {
      watched?.end();
      const direct = request.protocol === 'https:' ? this.#directSecure : this.#direct;
      (direct as unknown as Pool).addRequest(request, { ...options, port: portOf(request, options) });
      return;
    }
    const watch = watched ?? watchRequest(request, this.#clock);
    watch.stopWaiting = undefined;
    watch.target = target;
    try {
      applyTarget(request, target);
    } catch (error) {
      withoutSocket(request, meshErrorFrom(error, 'ERR_MESH_UNSUPPORTED'));
      return;
    }
    watch.limit(target.times);
    const { key, limit = this.#ownLimit(key) } = target;
    const pooled: PoolOptions = { ...options, [poolKey]: key, [baton]: { passage: { request, target, watch } } };
    this.#dropEnded(key);
    if (limit === undefined) {
      pool.addRequest.call(this, request, pooled);
      return;
    }
    let leave: (() => void) | undefined;
    try {
      leave = this.#slots.enter(limit, () => {
        watch.stopWaiting = undefined;
        this.#active.set(request, limit.key);
        pool.addRequest.call(this, request, pooled);
      });
    } catch (error) {
      withoutSocket(request, error as Error);
      return;
    }
    if (leave === undefined) return;
    const left = leave;
    watch.stopWaiting = () => {
      watch.stopWaiting = undefined;
      left();
      withoutSocket(request);
    };
  }

  /** node:http takes the socket that was used last. Timers are late in a process that is busy. */
  #dropEnded(key: string): void {
    const idle = this.freeSockets[key];
    for (let socket = idle?.at(-1); socket !== undefined && this.#lifeMs(socket) <= 0; socket = idle?.at(-1)) {
      idle?.pop();
      this.#drop(socket);
    }
  }

  #ownLimit(key: string): AgentLimit | undefined {
    if (this.#atOnce === undefined) return undefined;
    return { key, atOnce: this.#atOnce, waiting: Number.POSITIVE_INFINITY, full: neverFull };
  }

  /** Called by node:http when the pool has no socket under this name. */
  override createConnection(options: PoolOptions, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    const created = callback as (error: Error | null, socket?: Duplex) => void;
    const held = options[baton] as Baton;
    const { request, target, watch } = held.passage as Passage;
    held.passage = undefined;
    const abort = new AbortController();
    const connecting = (async () => target.connect(abort.signal))();
    const settle = (): boolean => {
      const waiting = watch.stopWaiting !== undefined;
      watch.stopWaiting = undefined;
      // node:http made an empty list for this name; nobody else removes it when no socket comes.
      if (this.sockets[target.key]?.length === 0) delete (this.sockets as Record<string, unknown>)[target.key];
      return waiting;
    };
    watch.stopWaiting = () => {
      settle();
      abort.abort();
      withoutSocket(request);
    };
    connecting.then(
      (socket) => {
        if (!settle()) {
          socket.on('error', () => {}).destroy();
        } else if (socket.destroyed) {
          created(new MeshError('ERR_MESH_CONNECT_FAILED', 'the connection was closed as soon as it was made'));
        } else {
          created(null, socket);
        }
      },
      (error: unknown) => {
        if (settle()) created(meshErrorFrom(error, 'ERR_MESH_CONNECT_FAILED'));
      },
    );
  }

  /** The name under which node:http pools sockets. */
  override getName(options?: PoolOptions): string {
    return options?.[poolKey] ?? pool.getName.call(this, options);
  }

  /** Called by node:http when a socket has nothing to do; false: close it. */
  override keepSocketAlive(idle: Duplex): boolean {
    const socket = idle as Socket & { readonly _httpMessage?: { readonly res?: IncomingHead | null } };
    const announced = /^timeout=(\d+)/.exec(socket._httpMessage?.res?.headers['keep-alive'] ?? '')?.[1];
    // A second less than the server announces, so that a request does not meet its close.
    const allowed = announced === undefined ? Number.POSITIVE_INFINITY : Number(announced) * 1_000 - 1_000;
    const idleMs = Math.min(this.#idleTimeoutMs, allowed, this.#lifeMs(socket));
    if (this.#draining || idleMs <= 0 || this.#stale.has(socket)) return false;
    socket.setKeepAlive(true, 1_000);
    socket.unref();
    this.#idleClocks.set(
      socket,
      this.#clock.after(idleMs, () => socket.destroy()),
    );
    return true;
  }

  /** Called by node:http when an idle socket gets a request. */
  override reuseSocket(socket: Duplex, request: ClientRequest): void {
    this.#idleClocks.get(socket)?.();
    pool.reuseSocket.call(this, socket, request);
  }
}

interface IncomingHead {
  readonly headers: Readonly<Record<string, string | undefined>>;
}

function forEver(): number {
  return Number.POSITIVE_INFINITY;
}

function neverFull(): Error {
  return new Error('a queue without an end was full');
}

/** Ends a request that gets no socket: node:http then emits `error` and `close`. */
function withoutSocket(request: ClientRequest, error?: Error): void {
  (request as unknown as { onSocket(socket: undefined, error: Error | undefined): void }).onSocket(undefined, error);
}

function viewOf(request: ClientRequest, port: number): AgentRequest {
  return {
    hostname: request.host,
    port,
    secure: request.protocol === 'https:',
    method: request.method,
    path: request.path,
    header: (name) => headerOf(request, name),
    headers: () => headersOf(request),
  };
}

/**
 * node:http has filled in an Agent's one default port, 80, before it asks the Agent. For https:
 * that means 443, unless the URL or a port as text (as axios gives it) says 80.
 */
function portOf(request: ClientRequest, options: RequestOptions & { href?: string }): number {
  const port = Number(options.port);
  if (request.protocol !== 'https:' || options.port !== 80) return port;
  return options.href !== undefined && new URL(options.href).port === '80' ? 80 : 443;
}
