/**
 * What the mesh needs of a tracer. The mesh decides what is sampled, when spans begin and end, what
 * they say and which headers go out; a tracer records. `@inmesh/otel` is one over OpenTelemetry.
 */

/** Where a span is in its trace (W3C Trace Context). */
export interface SpanContext {
  /** 32 hexadecimal digits, lower case. */
  readonly traceId: string;
  /** 16 hexadecimal digits, lower case. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** `tracestate` as it goes in a header; absent: none. */
  readonly traceState?: string | undefined;
}

export type SpanAttributes = Record<string, string | number | boolean>;

/** What is known of a span when it begins. */
export interface SpanStart {
  readonly name: string;
  /** `server`: a request that this process serves. `client`: a call that it makes, or one try of it. */
  readonly kind: 'server' | 'client';
  /** Absent: the first span of a trace. It is sampled: nobody is asked for others. */
  readonly parent: SpanContext | undefined;
  /** The parent is a span of another process. */
  readonly remote: boolean;
  /** Unix time in milliseconds. */
  readonly startTimeMs: number;
  readonly attributes: SpanAttributes;
}

/** What is known when it ends. */
export interface SpanEnd {
  readonly name: string;
  readonly attributes: SpanAttributes;
  /** The span failed, and why; absent: its status stays unset, as OpenTelemetry wants it for what went well. */
  readonly error?: string | undefined;
  readonly endTimeMs: number;
}

/** A span that is recorded. */
export interface Span {
  readonly context: SpanContext;
  set(attributes: SpanAttributes): void;
  event(name: string, attributes: SpanAttributes, timeMs: number): void;
  /** One of the application's own instrumentation ends by itself; this says what is known of it. */
  end(end: SpanEnd): void;
}

/** How many traces a second others may have this process record, by the flag that they send. */
export interface ParentSampledLimits {
  /** Callers that proved no identity. Default 10. */
  readonly strangersPerSecond?: number;
  /** Callers with mTLS. Default 1,000. */
  readonly peersPerSecond?: number;
}

/** Forms in which a trace goes on: `traceparent`, the one header `b3`, or several `x-b3-…`. */
export type TraceForm = 'w3c' | 'b3' | 'b3multi';

/**
 * Records spans. Nothing here may wait or throw for what happens elsewhere: it is called in the
 * middle of calls. What it throws nevertheless is logged once, and that call has no span; so it is with a
 * context that no header can say.
 */
export interface Tracing<Settings = unknown> {
  start(start: SpanStart): Span;
  /** The span of the application under which this very moment is; absent: none. */
  active?(): SpanContext | undefined;
  /**
   * A span that an instrumentation of the application has begun for this very message, which then is
   * that of the mesh as well, so that there are not two: one of this kind, and with this parent
   * (`server`) or itself of this id (`client`).
   */
  instrumented?(kind: 'server' | 'client', spanId: string | undefined): Span | undefined;
  /** Runs the application's handler under a span, or under one that is not recorded. */
  run?<T>(parent: SpanContext, baggage: string | undefined, action: () => T): T;
  /** What happens now is the work of the tracer itself: no spans. */
  suppressed?(): boolean;
  /** Runs what is told by spans of the mesh already: instrumentations make none of their own. */
  suppress?<T>(action: () => T): T;
  /** Goes before what the configuration says, 0 to 100. */
  readonly samplingPercent?: number;
  readonly parentSampled?: ParentSampledLimits;
  /** Forms that calls have beside those that the request had which causes them. Default `['w3c']`. */
  readonly forms?: readonly TraceForm[];
  /** Told of the configuration, at the start and whenever it changes. */
  configure?(settings: Settings): void;
  /** Ends in a bounded time, also when nobody takes the spans; a mesh that closes waits 30 s at most. */
  close?(): Promise<void>;
}
