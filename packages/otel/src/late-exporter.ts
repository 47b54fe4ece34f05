import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';

/** An exporter whose target is known later, and may change. */
export interface LateExporter extends SpanExporter {
  /**
   * From now on spans go there. Nothing: spans go nowhere. The one from before finishes what it has; resolves when
   * that is done, and never rejects.
   */
  use(target: SpanExporter | undefined): Promise<void>;
}

/** A batch that comes before there is a target waits for it: there is never more than one. */
export function lateExporter(): LateExporter {
  let target: SpanExporter | undefined;
  let known = false;
  let waiting: { readonly spans: ReadableSpan[]; done(result: ExportResult): void } | undefined;
  const send = (spans: ReadableSpan[], done: (result: ExportResult) => void): void => {
    try {
      if (target === undefined) done({ code: ExportResultCode.FAILED, error: new Error('no collector is configured') });
      else target.export(spans, done);
    } catch (error) {
      done({ code: ExportResultCode.FAILED, error: error as Error });
    }
  };
  return {
    async use(next) {
      const before = target;
      target = next;
      known = true;
      const held = waiting;
      waiting = undefined;
      if (held !== undefined) send(held.spans, held.done);
      try {
        if (before !== next) await before?.shutdown();
      } catch {
        // What it could not send is counted already.
      }
    },
    export(spans, done) {
      if (known) send(spans, done);
      else {
        waiting?.done({ code: ExportResultCode.FAILED, error: new Error('no collector was configured in time') });
        waiting = { spans, done };
      }
    },
    async shutdown() {
      waiting?.done({ code: ExportResultCode.FAILED, error: new Error('no collector was configured') });
      waiting = undefined;
      await target?.shutdown();
    },
    async forceFlush() {
      await target?.forceFlush?.();
    },
  };
}
