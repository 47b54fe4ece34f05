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

/** After an error a file is opened again, at the earliest after this time. */
const reopenMs = 5_000;
/** What a file has not taken by then, when the mesh closes, is lost: a pipe without a reader takes nothing, ever. */
const closeMs = 2_000;

/**
 * Makes the writer for a destination. What cannot be written (a full disk, a pipe that nobody reads any more) is told
 * of once until it can be again; its lines are dropped. Nothing of that ends the process.
 */
export function createLineWriter(to: AccessLogSettings['to'], clock: Clock, logger: Logger): LineWriter {
  if (typeof to === 'function') return callbackWriter(to, logger);
  if (to === 'stdout' || to === 'stderr')
    return streamWriter(
      () => process[to],
      false,
      clock,
      () => {},
    );
  return streamWriter(
    () => createWriteStream(to, { flags: 'a', mode: 0o640 }),
    true,
    clock,
    (error) =>
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

function streamWriter(open: () => Writable, own: boolean, clock: Clock, failed: (error: Error) => void): LineWriter {
  let lines: string[] = [];
  let size = 0;
  let dropped = 0;
  let told = false;
  let brokenAt = 0;
  let cancel: (() => void) | undefined;
  const onError = (error: Error): void => {
    brokenAt = clock.now();
    if (!told) failed(error);
    told = true;
  };
  // Also those of the process: an error that nobody listens to would end it.
  const opened = (): Writable => open().on('error', onError);
  let stream = opened();
  const flushNow = (): void => {
    cancel?.();
    cancel = undefined;
    if (lines.length === 0) return;
    const count = lines.length;
    const text = lines.join('');
    lines = [];
    size = 0;
    if (own && stream.destroyed && clock.now() - brokenAt >= reopenMs) stream = opened();
    if (stream.destroyed || stream.writableLength > maxPending) {
      dropped += count;
      return;
    }
    try {
      stream.write(text, (error) => {
        if (error) dropped += count;
        else told = false;
      });
    } catch (error) {
      // Streams of the process that are files write at once, and throw.
      dropped += count;
      onError(error as Error);
    }
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
      if (!own) {
        // Not before what is under way has failed, or has not.
        clock.after(closeMs, () => stream.off('error', onError));
        return;
      }
      if (stream.destroyed) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      stream.once('close', () => resolve());
      stream.end();
      const stop = clock.after(closeMs, resolve, true);
      await promise;
      stop();
    },
  };
}
