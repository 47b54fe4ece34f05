import { close, constants, createWriteStream, fstat, open, type Stats, stat, type WriteStream, write } from 'node:fs';
import type { Writable } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { AccessLogSettings, LineWriter } from './access-log.ts';
import { realPathIn } from './inside-folder.ts';

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
 *
 * @param folder a file has to be in it, and no symbolic link is followed out of it. Absent: it may be anywhere.
 */
export function createLineWriter(
  to: AccessLogSettings['to'],
  clock: Clock,
  logger: Logger,
  folder?: string,
): LineWriter {
  if (typeof to === 'function') return callbackWriter(to, logger);
  if (to === 'stdout' || to === 'stderr')
    return streamWriter(
      () => process[to],
      undefined,
      clock,
      () => {},
    );
  const { moved, open } = followedFile(to, folder);
  return streamWriter(open, moved, clock, (error) =>
    logger.error({ file: to, error: error.message }, 'the access log cannot be written; its lines are dropped'),
  );
}

/** A file that is appended to, and the question whether its name stands for another by now, or for none (logrotate). */
function followedFile(
  file: string,
  folder: string | undefined,
): { open(): Writable; moved(answer: (moved: boolean) => void): void } {
  let opened: Stats | undefined;
  return {
    open() {
      const fs = { open: folder === undefined ? openWritten : openInside(folder), write, close };
      const stream: WriteStream = createWriteStream(file, { flags: 'a', mode: 0o640, fs });
      opened = undefined;
      stream.once('open', (fd) => {
        fstat(fd, (_, stats) => {
          opened = stats;
        });
      });
      return stream;
    },
    moved(answer) {
      stat(file, (error, now) => {
        if (opened === undefined) answer(false);
        else answer(error ? error.code === 'ENOENT' : opened.ino !== now.ino || opened.dev !== now.dev);
      });
    },
  };
}

const { O_APPEND, O_CREAT, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_WRONLY } = constants;

/**
 * Opens a file without waiting for who reads it: a pipe without a reader would hold one of the few threads that
 * signatures, names and files share, for ever. That is an error, and tried again later.
 */
function openWritten(
  file: string,
  _flags: string,
  mode: number,
  opened: (error: NodeJS.ErrnoException | null, fd: number) => void,
  more = 0,
): void {
  const flags = O_WRONLY | O_APPEND | O_CREAT | more;
  open(file, flags | O_NONBLOCK, mode, (error, fd) => {
    if (error) opened(error, fd);
    // Written to by waiting: a reader that is slow loses nothing.
    else open(file, flags, mode, (why, own) => close(fd, () => opened(why, own)));
  });
}

/** The same for a file that has to be in a folder, whatever links there are. */
function openInside(folder: string): typeof openWritten {
  return (file, flags, mode, opened) => {
    realPathIn(folder, file, (outside, path) => {
      if (path === undefined) opened(outside, -1);
      else
        openWritten(path, flags, mode, (error, fd) => opened(isLink(error) ? linkError(file) : error, fd), O_NOFOLLOW);
    });
  };
}

function isLink(error: NodeJS.ErrnoException | null): boolean {
  return error?.code === 'ELOOP' || error?.code === 'EMLINK';
}

function linkError(file: string): Error {
  return new Error(`${file} is a symbolic link, which is not followed`);
}

function callbackWriter(to: (line: string) => void, logger: Logger): LineWriter {
  let dropped = 0;
  const failed = (error: unknown): void => {
    if (dropped++ === 0) logger.error({ error }, 'the function for the access log threw');
  };
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      try {
        const written: unknown = to(line);
        // An async function is one as well, and its failure would end the process.
        if (written instanceof Promise) written.catch(failed);
      } catch (error) {
        failed(error);
      }
    },
    flush: async () => {},
    close: async () => {},
  };
}

/** @param moved whether the stream is to be opened anew before more is written; absent: it is not ours to open */
function streamWriter(
  open: () => Writable,
  moved: ((answer: (moved: boolean) => void) => void) | undefined,
  clock: Clock,
  failed: (error: Error) => void,
): LineWriter {
  let lines: string[] = [];
  let size = 0;
  let dropped = 0;
  let told = false;
  let closed = false;
  let brokenAt = 0;
  let cancel: (() => void) | undefined;
  let asking: Promise<void> | undefined;
  const onError = (error: Error): void => {
    brokenAt = clock.now();
    if (!told) failed(error);
    told = true;
  };
  // Also those of the process: an error that nobody listens to would end it.
  const opened = (): Writable => open().on('error', onError);
  let stream = opened();
  const writeAll = (): void => {
    if (lines.length === 0) return;
    const count = lines.length;
    const text = lines.join('');
    lines = [];
    size = 0;
    if (moved !== undefined && stream.destroyed && clock.now() - brokenAt >= reopenMs) stream = opened();
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
  const flushNow = (): void => {
    cancel?.();
    cancel = undefined;
    if (moved === undefined || stream.destroyed || lines.length === 0) {
      writeAll();
      return;
    }
    // What comes meanwhile is written together with this.
    asking ??= new Promise((resolve) => {
      moved((isMoved) => {
        asking = undefined;
        if (isMoved && !stream.destroyed) {
          stream.end();
          stream = opened();
        }
        writeAll();
        resolve();
      });
    });
  };
  return {
    get dropped() {
      return dropped;
    },
    write(line) {
      if (closed || size + line.length > maxPending) {
        dropped++;
        return;
      }
      lines.push(line);
      size += line.length;
      if (size >= flushBytes) flushNow();
      else cancel ??= clock.after(flushMs, flushNow);
    },
    async flush() {
      flushNow();
      await asking;
    },
    async close() {
      closed = true;
      flushNow();
      if (moved === undefined) {
        // Not before what is under way has failed, or has not.
        clock.after(closeMs, () => stream.off('error', onError));
        return;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      const stop = clock.after(closeMs, resolve, true);
      const end = (): void => {
        if (stream.destroyed) resolve();
        else stream.once('close', () => resolve()).end();
      };
      if (asking === undefined) end();
      else void asking.then(end);
      await promise;
      stop();
    },
  };
}
