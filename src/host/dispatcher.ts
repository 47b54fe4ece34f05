import { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { type HeaderInput, toHeaderList } from '../lib/header-list.ts';
import { type CallWatcher, ClientCall, type Handler, type Reply } from '../pipeline/client-call.ts';
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
  #inFlight: number;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;

  constructor(options: MeshDispatcherOptions) {
    super();
    this.#options = options;
    this.#inFlight = 0;
    this.#closing = undefined;
    this.#idle = undefined;
  }

  override dispatch(options: Dispatcher.DispatchOptions, given: Handler): boolean {
    const handler = asHandler(given);
    const origin = typeof options.origin === 'string' ? options.origin : (options.origin?.origin ?? '');
    const call = new ClientCall(
      origin,
      {
        method: options.method,
        path: options.query === undefined ? options.path : withQuery(options.path, options.query),
        headers: toHeaderList(options.headers as HeaderInput),
        body: options.body ?? null,
        upgrade: options.upgrade,
        headersTimeoutMs: options.headersTimeout,
        bodyTimeoutMs: options.bodyTimeout,
        reset: options.reset,
        expectContinue: options.expectContinue,
        idempotent: options.idempotent,
        blocking: options.blocking,
      },
      handler,
      currentScope(),
      this.#options.clock.now(),
    );
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
    void this.#closing.then(callback);
    return undefined;
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | undefined {
    const callback = typeof first === 'function' ? first : second;
    const closed = this.close();
    if (callback === undefined) return closed;
    void closed.then(callback);
    return undefined;
  }

  #run(call: ClientCall): void {
    this.#inFlight++;
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

  readonly #watcher: CallWatcher = { callEnded: () => this.#ended() };

  #fail(call: ClientCall, error: Error): void {
    call.ended(error instanceof MeshError ? error.status : 0, error);
    const answer = error instanceof MeshError && this.#options.onFailure === 'response' && !call.request.upgrade;
    if (answer) localReply(call, error);
    else call.handler.onResponseError?.(call, error);
  }

  #ended(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) this.#idle?.();
  }

  async #drain(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    await this.#options.close();
  }
}

function withQuery(path: string, query: Record<string, unknown>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one ?? ''));
  }
  const text = parameters.toString();
  return text === '' ? path : `${path}?${text}`;
}
