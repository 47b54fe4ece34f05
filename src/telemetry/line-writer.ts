import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { AccessLogSettings, LineWriter } from './access-log.ts';

/** Lines are handed on together, after this time at the latest; Envoy's `--file-flush-interval-msec` is longer. */
const flushMs = 1_000;
/** … or when there are so many bytes of them; Envoy's `--file-flush-min-size-kb`. */
const flushBytes = 65_536;
/** What a reader may be behind before lines are dropped. */
const maxPending = 8_388_608;

/** Makes the writer for a destination. A file that cannot be written is told of once; its lines are dropped. */
export function createLineWriter(to: AccessLogSettings['to'], clock: Clock, logger: Logger): LineWriter {
  if (typeof to === 'function') return callbackWriter(to, logger);
  if (to === 'stdout') return streamWriter(process.stdout, false, clock, () => {});
  if (to === 'stderr') return streamWriter(process.stderr, false, clock, () => {});
  const stream = createWriteStream(to, { flags: 'a', mode: 0o640 });
  return streamWriter(stream, true, clock, (error) =>
    logger.error({ file: to, error: error.message }, 'the access log cannot be written; its lines are dropped'),
  );
}

function callbackWriter(to: (line: string) => void, logger: Logger): LineWriter {
  let dropped = 0;
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      try {
        to(line);
      } catch (error) {
        if (dropped++ === 0) logger.error({ error }, 'the function for the access log threw');
      }
    },
    flush: async () => {},
    close: async () => {},
  };
}

function streamWriter(stream: Writable, own: boolean, clock: Clock, failed: (error: Error) => void): LineWriter {
  let lines: string[] = [];
  let size = 0;
  let dropped = 0;
  let broken = false;
  let cancel: (() => void) | undefined;
  if (own) {
    stream.on('error', (error) => {
      broken = true;
      failed(error);
    });
  }
  const flushNow = (): void => {
    cancel?.();
    cancel = undefined;
    if (lines.length === 0) return;
    const count = lines.length;
    const text = lines.join('');
    lines = [];
    size = 0;
    // A pipe that nobody reads any more, or a file that is gone: what would be written is lost anyway.
    if (broken || stream.destroyed || stream.writableLength > maxPending) dropped += count;
    else stream.write(text);
  };
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      lines.push(line);
      size += line.length;
      if (size >= flushBytes) flushNow();
      else cancel ??= clock.after(flushMs, flushNow);
    },
    async flush() {
      flushNow();
    },
    async close() {
      flushNow();
      if (own && !broken && !stream.destroyed) {
        await new Promise<void>((resolve) => {
          stream.once('close', () => resolve());
          stream.end();
        });
      }
    },
  };
}
