import { channel } from 'node:diagnostics_channel';
import {
  type Context,
  context,
  createContextKey,
  createTraceState,
  isSpanContextValid,
  type Span as OtelSpan,
  type SpanContext as OtelSpanContext,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type TracerProvider,
  type TraceState,
  trace,
} from '@opentelemetry/api';
import { isTracingSuppressed, suppressTracing, W3CBaggagePropagator } from '@opentelemetry/core';
import type {
  MeshTracer,
  ParentSampledLimits,
  Span,
  SpanAttributes,
  SpanContext,
  SpanEnd,
  SpanStart,
  TraceForm,
} from 'inmesh';

/** Options of {@link otelTracing}. */
export interface OtelTracingOptions {
  /** Makes the spans. Default: the global one. */
  readonly tracerProvider?: TracerProvider;
  /** Of the traces that begin here, 0 to 100. Default: what the mesh's configuration says, else 1. */
  readonly samplingPercent?: number;
  /** How many traces a second callers may force. Default 10 for strangers, 1,000 for peers with mTLS. */
  readonly parentSampled?: ParentSampledLimits;
  /** Headers that calls have, beside those of the form in which the request came that causes them. Default `['w3c']`. */
  readonly forms?: readonly TraceForm[];
}

/** In the context of a span that begins a trace which the mesh has sampled: samplers may look. */
export const sampledByMesh: symbol = createContextKey('inmesh: sampled by the mesh');

const baggagePropagator = new W3CBaggagePropagator();
const baggageGetter = {
  get: (carrier: { readonly baggage: string }, key: string) => (key === 'baggage' ? carrier.baggage : undefined),
  keys: () => ['baggage'],
};

/**
 * Records spans of a mesh through OpenTelemetry's API: for an application that runs the SDK itself. Its
 * provider, exporters and processors do the work. Spans of the application become parents of those of the
 * mesh, and those of the mesh parents of the application's.
 *
 * A trace that begins here is sampled by the mesh; the SDK's sampler is asked afterwards and may still say no.
 *
 * @example
 * const mesh = createMesh({ tracing: otelTracing() });
 */
export function otelTracing(options: OtelTracingOptions = {}): MeshTracer {
  const { forms, parentSampled, samplingPercent, tracerProvider } = options;
  const recorded = new WeakMap<SpanContext, OtelSpan>();
  const undiciIsWatched = channel('undici:request:create');
  return {
    ...(forms === undefined ? {} : { forms }),
    ...(parentSampled === undefined ? {} : { parentSampled }),
    ...(samplingPercent === undefined ? {} : { samplingPercent }),
    start(start) {
      // Asked for each time: the SDK may start, or be replaced, later.
      const span = (tracerProvider ?? trace.getTracerProvider())
        .getTracer('inmesh')
        .startSpan(
          start.name,
          { kind: start.kind === 'server' ? SpanKind.SERVER : SpanKind.CLIENT, attributes: start.attributes },
          parentContext(start),
        );
      const made = new MeshSpan(span);
      recorded.set(made.context, span);
      return made;
    },
    active() {
      const span = trace.getSpan(context.active());
      return span === undefined || !isSpanContextValid(span.spanContext()) ? undefined : contextOf(span);
    },
    instrumented(kind, spanId) {
      const span = trace.getSpan(context.active()) as Partial<SdkSpan> | undefined;
      if (span?.kind === undefined || span.isRecording?.() !== true) return undefined;
      const own =
        kind === 'server'
          ? span.kind === SpanKind.SERVER && span.parentSpanContext?.spanId === spanId
          : span.kind === SpanKind.CLIENT && span.spanContext?.().spanId === spanId;
      return own ? new InstrumentedSpan(span as SdkSpan) : undefined;
    },
    run(parent, baggage, action) {
      const span = recorded.get(parent);
      let under =
        span === undefined
          ? trace.setSpanContext(context.active(), new UnrecordedContext(parent))
          : trace.setSpan(context.active(), span);
      if (baggage !== undefined) under = baggagePropagator.extract(under, { baggage }, baggageGetter);
      return context.with(under, action);
    },
    suppressed: () => isTracingSuppressed(context.active()),
    suppress(action) {
      // Only where an instrumentation of undici listens: it would add a span and headers of its own.
      if (!undiciIsWatched.hasSubscribers) return action();
      return context.with(suppressTracing(context.active()), action);
    },
  };
}

/** What the SDK's spans have beyond the API. */
interface SdkSpan extends OtelSpan {
  readonly kind: SpanKind;
  readonly parentSpanContext?: { readonly spanId: string };
}

function parentContext({ kind, parent, remote }: SpanStart): Context {
  const base = kind === 'server' ? ROOT_CONTEXT : context.active();
  return parent === undefined
    ? trace.deleteSpan(base).setValue(sampledByMesh, true)
    : trace.setSpanContext(base, toOtel(parent, remote));
}

function toOtel({ sampled, spanId, traceId, traceState }: SpanContext, isRemote: boolean) {
  return {
    traceId,
    spanId,
    isRemote,
    traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    ...(traceState === undefined ? {} : { traceState: createTraceState(traceState) }),
  };
}

/** Of what is not recorded: its ids are often made when somebody asks, which mostly nobody does. */
class UnrecordedContext implements OtelSpanContext {
  readonly isRemote: boolean;
  readonly #of: SpanContext;

  constructor(of: SpanContext) {
    this.isRemote = false;
    this.#of = of;
  }

  get traceId(): string {
    return this.#of.traceId;
  }

  get spanId(): string {
    return this.#of.spanId;
  }

  get traceFlags(): number {
    return this.#of.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  }

  get traceState(): TraceState {
    const { traceState } = this.#of;
    // The interface says that it is absent or there; a getter is there, and what it gives is absent.
    return (traceState === undefined ? undefined : createTraceState(traceState)) as TraceState;
  }
}

function contextOf(span: OtelSpan): SpanContext {
  const { spanId, traceFlags, traceId, traceState } = span.spanContext();
  const state = traceState?.serialize();
  return {
    traceId,
    spanId,
    sampled: (traceFlags & TraceFlags.SAMPLED) !== 0,
    ...(state === undefined || state === '' ? {} : { traceState: state }),
  };
}

/** Times are the SDK's own, which are finer than milliseconds. */
class MeshSpan implements Span {
  readonly context: SpanContext;
  protected readonly span: OtelSpan;

  constructor(span: OtelSpan) {
    this.span = span;
    const valid = isSpanContextValid(span.spanContext());
    // Without an SDK there are no ids, and nothing is recorded.
    this.context = valid ? contextOf(span) : { traceId: '', spanId: '', sampled: false };
  }

  set(attributes: SpanAttributes): void {
    this.span.setAttributes(attributes);
  }

  event(name: string, attributes: SpanAttributes): void {
    this.span.addEvent(name, attributes);
  }

  end({ attributes, error, name }: SpanEnd): void {
    this.span.updateName(name);
    this.span.setAttributes(attributes);
    // A status says it all; a code of ours is worth a word.
    if (error !== undefined) {
      this.span.setStatus({ code: SpanStatusCode.ERROR, ...(/^\d+$/.test(error) ? {} : { message: error }) });
    }
    this.span.end();
  }
}

/** Of an instrumentation, which has named it and ends it. */
class InstrumentedSpan extends MeshSpan {
  override end({ attributes, error }: SpanEnd): void {
    this.span.setAttributes(attributes);
    if (error !== undefined) this.span.setStatus({ code: SpanStatusCode.ERROR });
  }
}
