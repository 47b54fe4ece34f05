import { stringify } from 'node:querystring';
import { Dispatcher, errors } from 'undici';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { type HeaderInput, type HeaderList, toHeaderList } from '../lib/header-list.ts';
import { type CallWatcher, ClientCall, ClientRequest, type Handler, type Reply } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';
import { currentScope } from '../pipeline/scope.ts';
import { asHandler } from './handler.ts';
import { localReply } from './local-reply.ts';

export interface MeshDispatcherOptions {
  readonly send: Service<ClientCall, Reply>;
  readonly clock: Clock;
  readonly onFailure: 'response' | 'throw';
  /** Ends the outbound side. */
  close(): Promise<void>;
}

/**
 * The mesh as an undici `Dispatcher`. A subclass and not an interceptor: undici's `compose()` costs
 * more than all of the mesh's own work.
 */
export class MeshDispatcher extends Dispatcher {
  readonly #options: MeshDispatcherOptions;
  /** The calls under way, newest first. */
  #newest: ClientCall | undefined;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  constructor(options: MeshDispatcherOptions) {
    super();
    this.#options = options;
    this.#newest = undefined;
    this.#closing = undefined;
    this.#idle = undefined;
  }

  override dispatch(options: Dispatcher.DispatchOptions, given: Handler): boolean {
    const handler = asHandler(given);
    let call: ClientCall;
    try {
      call = this.#open(options, handler);
    } catch (error) {
      // As undici does it: a handler that can be told is told.
      if (typeof handler.onResponseError !== 'function') throw error;
      handler.onResponseError(null as never, error as Error);
      return false;
    }
    try {
      // From here on the application can abort, wherever the call is.
      handler.onRequestStart?.(call, null);
    } catch (error) {
      call.abort(error as Error);
    }
    this.#run(call);
    return true;
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | undefined {
    this.#closing ??= this.#drain();
    if (callback === undefined) return this.#closing;
    this.#closing.then(() => callback(), callback);
    return undefined;
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | undefined {
    const callback = typeof first === 'function' ? first : second;
    const given = typeof first === 'function' ? undefined : first;
    const reason = given ?? new MeshError('ERR_MESH_CLOSED', 'the mesh was closed while the call was under way');
    const closed = this.close();
    // The list changes while calls end; each of them ends later than it is aborted, or at once.
    for (const call of [...this.#calls()]) call.abort(reason);
    if (callback === undefined) return closed;
    closed.then(() => callback(), callback);
    return undefined;
  }

  *#calls(): Generator<ClientCall> {
    for (let call = this.#newest; call !== undefined; call = call.next) yield call;
  }

  #open(options: Dispatcher.DispatchOptions, handler: Handler): ClientCall {
    if (typeof options !== 'object' || options === null) {
      throw new errors.InvalidArgumentError('opts must be an object.');
    }
    checkHandler(handler, isTunnel(options));
    const { origin } = options;
    return new ClientCall(
      typeof origin === 'string' ? origin : (origin?.origin ?? ''),
      new ClientRequest(
        options.query === undefined ? options.path : withQuery(options.path, options.query),
        headersOf(options.headers as HeaderInput),
        options,
      ),
      handler,
      currentScope(),
      this.#options.clock.now(),
    );
  }

  #run(call: ClientCall): void {
    const next = this.#newest;
    if (next !== undefined) next.previous = call;
    call.next = next;
    this.#newest = call;
    call.watch(this.#watcher);
    try {
      if (call.reason !== null) throw call.reason;
      if (this.#closing !== undefined) throw new MeshError('ERR_MESH_CLOSED', 'the mesh is closed');
      this.#options.send(call).then(
        (reply) => {
          if (call.reason === null) reply.deliver(call);
          else {
            reply.discard();
            this.#fail(call, call.reason);
          }
        },
        (error: unknown) => this.#fail(call, error as Error),
      );
    } catch (error) {
      this.#fail(call, error as Error);
    }
  }

  readonly #watcher: CallWatcher = { callEnded: (call) => this.#ended(call) };

  #fail(call: ClientCall, error: Error): void {
    // An abort of the application goes back to it as it is, even if its reason is one of our errors.
    const failed = !call.cancelled && error instanceof MeshError;
    call.ended(failed ? error.status : 0, error);
    const asResponse = this.#options.onFailure === 'response' && !call.request.own && call.request.grpc === undefined;
    if (failed && asResponse && !isTunnel(call.request)) localReply(call, error);
    else call.tellError(call.cancelled ? (call.reason as Error) : error);
  }

  #ended(call: ClientCall): void {
    const { next, previous } = call;
    if (previous === undefined) this.#newest = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    call.previous = undefined;
    call.next = undefined;
    if (this.#newest === undefined) this.#idle?.();
  }

  async #drain(): Promise<void> {
    if (this.#newest !== undefined) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#options.close();
  }
}

/** Does the application get a connection, and not a response? */
function isTunnel({ method, upgrade }: { readonly method: string; readonly upgrade?: unknown }): boolean {
  return Boolean(upgrade) || method === 'CONNECT';
}

/** What undici checks of a handler before it takes a request. */
function checkHandler(handler: Handler, tunnel: boolean): void {
  if (typeof handler.onRequestStart !== 'function') {
    throw new errors.InvalidArgumentError('invalid onRequestStart method');
  }
  if (typeof handler.onResponseError !== 'function') {
    throw new errors.InvalidArgumentError('invalid onResponseError method');
  }
  if (tunnel) {
    if (typeof handler.onRequestUpgrade !== 'function') {
      throw new errors.InvalidArgumentError('invalid onRequestUpgrade method');
    }
  } else if (typeof handler.onResponseStart !== 'function') {
    throw new errors.InvalidArgumentError('invalid onResponseStart method');
  }
}

function headersOf(input: HeaderInput): HeaderList {
  try {
    return toHeaderList(input);
  } catch (error) {
    throw new errors.InvalidArgumentError((error as Error).message);
  }
}

/** As undici writes queries: `querystring`, and not in addition to one that is there. */
function withQuery(path: string, query: Record<string, unknown>): string {
  if (path.includes('?') || path.includes('#')) {
    throw new errors.InvalidArgumentError('Query params cannot be passed when url already contains "?" or "#".');
  }
  const text = stringify(query as Parameters<typeof stringify>[0]);
  return text === '' ? path : `${path}?${text}`;
}
