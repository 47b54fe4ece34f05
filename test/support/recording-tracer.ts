import { AsyncLocalStorage } from 'node:async_hooks';
import type { MeshTracer, SpanAttributes, SpanContext, SpanEnd, SpanStart, TracingSettings } from '../../src/index.ts';

/** A span as it was recorded. */
export interface RecordedSpan {
  readonly name: string;
  readonly kind: 'server' | 'client';
  readonly context: SpanContext;
  readonly parent: SpanContext | undefined;
  readonly remote: boolean;
  readonly startTimeMs: number;
  readonly endTimeMs: number;
  readonly attributes: SpanAttributes;
  readonly events: readonly { readonly name: string; readonly attributes: SpanAttributes }[];
  readonly error: string | undefined;
}

export interface RecordingTracer extends MeshTracer {
  /** Those that have ended. */
  readonly spans: RecordedSpan[];
  readonly settings: TracingSettings[];
  /** Begun so far. */
  begun: number;
  closed: number;
}

let made = 0;
const hex = (digits: number): string => (++made).toString(16).padStart(digits, '0');

/** Keeps what it is told. The handler's context is an AsyncLocalStorage of its own, as OpenTelemetry's is. */
export function recordingTracer(options: Partial<MeshTracer> = {}): RecordingTracer {
  const storage = new AsyncLocalStorage<SpanContext>();
  const tracer: RecordingTracer = {
    spans: [],
    settings: [],
    begun: 0,
    closed: 0,
    start(start: SpanStart) {
      tracer.begun++;
      const events: { name: string; attributes: SpanAttributes }[] = [];
      const { parent } = start;
      const context: SpanContext = {
        traceId: parent?.traceId ?? hex(32),
        spanId: hex(16),
        sampled: true,
        traceState: parent?.traceState,
      };
      return {
        context,
        set: () => {},
        event: (name, attributes) => void events.push({ name, attributes }),
        end(end: SpanEnd) {
          const { kind, remote, startTimeMs } = start;
          const { endTimeMs, error, name } = end;
          const attributes = { ...start.attributes, ...end.attributes };
          tracer.spans.push({ name, kind, context, parent, remote, startTimeMs, endTimeMs, attributes, events, error });
        },
      };
    },
    active: () => storage.getStore(),
    run: (parent, _baggage, action) => storage.run(parent, action),
    configure: (settings) => void tracer.settings.push(settings),
    async close() {
      tracer.closed++;
    },
    ...options,
  };
  return tracer;
}
