import { AsyncLocalStorage } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import type { SpanContext } from './tracing.ts';

/** Who called, as proven by its certificate. */
export interface Peer {
  /** `spiffe://cluster.local/ns/bookinfo/sa/productpage`. */
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** From Istio's `/ns/<namespace>/sa/<service account>`; absent for other SPIFFE IDs. */
  readonly namespace?: string;
  readonly serviceAccount?: string;
}

/**
 * What an inbound request hands to every outbound call that it causes, without user code. A
 * sidecar cannot do this: applications behind one forward these headers by hand.
 */
export interface Scope {
  /** `x-request-id`. */
  readonly requestId: string;
  /**
   * Trace headers to send on, as a flat list name, value, name, value, lower-case names:
   * `traceparent`, `tracestate`, `baggage`, B3 in the form that arrived.
   */
  readonly traceHeaders: readonly string[];
  /** The span under which the request is served, recorded or not; absent where nothing is traced. */
  readonly trace?: SpanContext;
  /**
   * Headers that the application's settings name to be handed on (`propagateHeaders`), in the same
   * form; absent when none of them arrived.
   */
  readonly carried?: readonly string[];
  /** Claims of the caller's verified token; absent without one. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** When the caller stops waiting, on the monotonic clock in milliseconds; absent means never. */
  readonly deadline?: number;
  /** It came in over HTTP/2 (Istio `useClientProtocol`). */
  readonly overHttp2?: true;
  /** Identity of the caller; absent when it did not use mTLS. */
  readonly peer?: Peer;
  /**
   * A call that this request causes has failed for good after all the retries that there were for
   * it: the answer tells the caller, so that it does not begin them again. Absent where there is
   * nobody to tell.
   */
  retriesSpent?(): void;
  /** IP address of the caller's connection, which may be that of a gateway; nothing when it has none. */
  readonly callerAddress?: string | undefined;
}

// One store for the process even if two copies of the package are loaded: a request that enters
// through one copy must be seen by calls that leave through the other.
const key = Symbol.for('inmesh.scope');
const registry = globalThis as { [key]?: AsyncLocalStorage<Scope> };
const storage: AsyncLocalStorage<Scope> = (registry[key] ??= new AsyncLocalStorage<Scope>());

/** The scope of the inbound request being handled, or nothing outside of one. */
export function currentScope(): Scope | undefined {
  return storage.getStore();
}

/**
 * From now on whatever listens to `emitter` runs inside `scope`, whoever makes it emit. To enter a scope costs more
 * than most events do, so that is left out where nobody listens, and where the scope is entered already.
 */
export function emitInScope(emitter: EventEmitter, scope: Scope): void {
  const emit = emitter.emit as (event: string | symbol, ...args: unknown[]) => boolean;
  const apply = (event: string | symbol, ...args: unknown[]): boolean => emit.call(emitter, event, ...args);
  emitter.emit = (event: string | symbol, ...args: unknown[]) =>
    storage.getStore() === scope || emitter.listenerCount(event) === 0
      ? emit.call(emitter, event, ...args)
      : storage.run(scope, apply, event, ...args);
}

/** Runs `action` and everything asynchronous that it starts inside `scope`. */
export function runInScope<T>(scope: Scope, action: () => T): T {
  return storage.run(scope, action);
}
