import { isLowerHex } from '../lib/hex.ts';
import type { Logger } from '../lib/logger.ts';
import type { Span, SpanAttributes, SpanContext, SpanEnd, SpanStart, Tracing } from '../pipeline/tracing.ts';

/** Ids that are none make a trace that nobody can join, and what no header can say makes a call that fails. */
function isUsable({ spanId, traceId, traceState }: SpanContext): boolean {
  if (traceId.length !== 32 || spanId.length !== 16) return false;
  if (!isLowerHex(traceId, 0, 32) || !isLowerHex(spanId, 0, 16)) return false;
  return traceState === undefined || /^[\x20-\x7e]*$/.test(traceState);
}

type Run = NonNullable<Tracing<never>['run']>;
type Suppress = NonNullable<Tracing<never>['suppress']>;

/**
 * A tracer as the filters use it: nothing that it does wrong is felt by a call. What it throws is
 * caught, and the first of it logged: a call whose span cannot be recorded has none.
 */
export class GuardedTracing {
  readonly #tracing: Tracing<never>;
  readonly #logger: Logger;
  #said: boolean;

  constructor(tracing: Tracing<never>, logger: Logger) {
    this.#tracing = tracing;
    this.#logger = logger;
    this.#said = false;
  }

  start(start: SpanStart): Span | undefined {
    try {
      return this.#usable(this.#tracing.start(start));
    } catch (error) {
      return this.failed(error);
    }
  }

  active(): SpanContext | undefined {
    try {
      const context = this.#tracing.active?.();
      return context !== undefined && isUsable(context) ? context : undefined;
    } catch (error) {
      return this.failed(error);
    }
  }

  instrumented(kind: 'server' | 'client', spanId: string | undefined): Span | undefined {
    try {
      return this.#usable(this.#tracing.instrumented?.(kind, spanId));
    } catch (error) {
      return this.failed(error);
    }
  }

  suppressed(): boolean {
    try {
      return this.#tracing.suppressed?.() === true;
    } catch (error) {
      this.failed(error);
      return true;
    }
  }

  /** Runs a handler under `parent`. What it throws is the application's. */
  run<T>(parent: SpanContext, baggage: string | undefined, action: () => T): T {
    if (this.#tracing.run === undefined) return action();
    return this.#within(action, (guarded) => (this.#tracing.run as Run)(parent, baggage, guarded));
  }

  suppress<T>(action: () => T): T {
    if (this.#tracing.suppress === undefined) return action();
    return this.#within(action, (guarded) => (this.#tracing.suppress as Suppress)(guarded));
  }

  /** What the tracer throws before it has begun is its own: the action is run without it. */
  #within<T>(action: () => T, wrap: (guarded: () => T) => T): T {
    let begun = false;
    try {
      return wrap(() => {
        begun = true;
        return action();
      });
    } catch (error) {
      if (begun) throw error;
      this.failed(error);
      return action();
    }
  }

  /** Logs the first failure. */
  failed(error: unknown): undefined {
    if (!this.#said) this.#logger.warn({ error }, 'the tracer has failed; the calls concerned have no spans');
    this.#said = true;
    return undefined;
  }

  #usable(span: Span | undefined): Span | undefined {
    return span === undefined || !isUsable(span.context) ? undefined : new GuardedSpan(span, this);
  }
}

class GuardedSpan implements Span {
  readonly context: SpanContext;
  readonly #span: Span;
  readonly #owner: GuardedTracing;

  constructor(span: Span, owner: GuardedTracing) {
    this.context = span.context;
    this.#span = span;
    this.#owner = owner;
  }

  set(attributes: SpanAttributes): void {
    try {
      this.#span.set(attributes);
    } catch (error) {
      this.#owner.failed(error);
    }
  }

  event(name: string, attributes: SpanAttributes, timeMs: number): void {
    try {
      this.#span.event(name, attributes, timeMs);
    } catch (error) {
      this.#owner.failed(error);
    }
  }

  end(end: SpanEnd): void {
    try {
      this.#span.end(end);
    } catch (error) {
      this.#owner.failed(error);
    }
  }
}
