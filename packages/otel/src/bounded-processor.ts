import type { Context } from '@opentelemetry/api';
import { TraceFlags } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type Span,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';

/** Bounds of the queue in which spans wait. */
export interface QueueOptions {
  /** Spans that wait; more are dropped. Default 2,048. */
  readonly maxQueueSize?: number;
  /** Spans in one request to the collector. Default 512. */
  readonly maxExportBatchSize?: number;
  /** Longest wait of a span for others to go with, milliseconds. Default 5,000. */
  readonly scheduledDelayMs?: number;
  /** Time for one batch, milliseconds; what was not taken then is lost. Default 10,000. */
  readonly exportTimeoutMs?: number;
}

/** What became of spans. */
export interface SpanCounts {
  /** Taken by the collector. */
  readonly exported: number;
  /** Not kept, because as many wait as may. */
  readonly dropped: number;
  /** Sent, and not taken: refused, or not in time. */
  readonly failed: number;
  /** Waiting. */
  readonly queued: number;
  /** On their way. */
  readonly sending: number;
}

export interface BoundedProcessor extends SpanProcessor {
  counts(): SpanCounts;
}

/**
 * OpenTelemetry's batches, with a count of what is lost. A collector that takes nothing costs the memory of
 * one full queue that waits and of as much that is on its way, and no call ever waits for it.
 */
export function boundedProcessor(exporter: SpanExporter, options: QueueOptions = {}): BoundedProcessor {
  const { exportTimeoutMs = 10_000, maxQueueSize = 2_048, scheduledDelayMs = 5_000 } = options;
  const maxExportBatchSize = Math.min(options.maxExportBatchSize ?? 512, maxQueueSize);
  let exported = 0;
  let dropped = 0;
  let failed = 0;
  let queued = 0;
  let sending = 0;
  const counting: SpanExporter = {
    export(spans: ReadableSpan[], done: (result: ExportResult) => void) {
      queued -= spans.length;
      // The SDK gives up waiting for a batch before an exporter does that is slower: what is held is bounded here.
      if (sending + spans.length > maxQueueSize + maxExportBatchSize) {
        failed += spans.length;
        done({ code: ExportResultCode.FAILED, error: new Error('the exporter still holds what it was given before') });
        return;
      }
      sending += spans.length;
      let told = false;
      exporter.export(spans, (result) => {
        if (told) return;
        told = true;
        sending -= spans.length;
        if (result.code === ExportResultCode.SUCCESS) exported += spans.length;
        else failed += spans.length;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
    async forceFlush() {
      await exporter.forceFlush?.();
    },
  };
  const batches = new BatchSpanProcessor({
    exporter: counting,
    maxQueueSize,
    maxExportBatchSize,
    scheduledDelayMillis: scheduledDelayMs,
    exportTimeoutMillis: exportTimeoutMs,
  });
  let closed = false;
  return {
    onStart: (span: Span, parent: Context) => batches.onStart(span, parent),
    onEnd(span) {
      if (closed || (span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
      if (queued >= maxQueueSize) {
        dropped++;
        return;
      }
      queued++;
      batches.onEnd(span);
    },
    forceFlush: () => batches.forceFlush(),
    shutdown() {
      closed = true;
      return batches.shutdown();
    },
    counts: () => ({ exported, dropped, failed, queued, sending }),
  };
}
