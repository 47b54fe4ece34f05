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
import { type Clock, systemClock } from 'inmesh/identity';

/** A collector that has taken none of so many batches in a row is left alone for a while. */
const maxFailuresInRow = 3;

/** Milliseconds for which it is: twice as long after each batch more that it does not take. */
const firstPauseMs = 250;
const longestPauseMs = 5_000;

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
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** What became of spans. */
export interface SpanCounts {
  /** Taken by the collector. */
  readonly exported: number;
  /** Not kept, because as many wait as may. */
  readonly dropped: number;
  /** Not taken: refused, not in time, or not sent since none of the batches before was taken. */
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
 * one full queue that waits and of as much that is on its way, and no call ever waits for it. One that refuses
 * everything gets a batch now and then: connections that are made for nothing would be felt by calls.
 */
export function boundedProcessor(exporter: SpanExporter, options: QueueOptions = {}): BoundedProcessor {
  const { clock = systemClock, exportTimeoutMs = 10_000, maxQueueSize = 2_048, scheduledDelayMs = 5_000 } = options;
  const maxExportBatchSize = Math.min(options.maxExportBatchSize ?? 512, maxQueueSize);
  let exported = 0;
  let dropped = 0;
  let failed = 0;
  let queued = 0;
  let sending = 0;
  let closed = false;
  let failures = 0;
  let pauseMs = firstPauseMs;
  let pausedUntil = 0;
  const ended = (taken: boolean): void => {
    if (taken) {
      failures = 0;
      pauseMs = firstPauseMs;
    } else if (++failures >= maxFailuresInRow) {
      pausedUntil = clock.now() + pauseMs;
      pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    }
  };
  const refuse = (spans: ReadableSpan[], done: (result: ExportResult) => void, why: string): void => {
    failed += spans.length;
    done({ code: ExportResultCode.FAILED, error: new Error(why) });
  };
  const counting: SpanExporter = {
    export(spans: ReadableSpan[], done: (result: ExportResult) => void) {
      queued -= spans.length;
      // The SDK gives up waiting for a batch before an exporter does that is slower: what is held is bounded here.
      if (sending + spans.length > maxQueueSize + maxExportBatchSize) {
        refuse(spans, done, 'the exporter still holds what it was given before');
        return;
      }
      if (failures >= maxFailuresInRow && clock.now() < pausedUntil && !closed) {
        refuse(spans, done, `none of the last ${failures} batches was taken, and the next is not due yet`);
        return;
      }
      sending += spans.length;
      let told = false;
      const tell = (result: ExportResult): void => {
        if (told) return;
        told = true;
        sending -= spans.length;
        const taken = result.code === ExportResultCode.SUCCESS;
        if (taken) exported += spans.length;
        else failed += spans.length;
        ended(taken);
        done(result);
      };
      try {
        exporter.export(spans, tell);
      } catch (error) {
        // What it has thrown at it does not hold.
        tell({ code: ExportResultCode.FAILED, error: error as Error });
      }
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
