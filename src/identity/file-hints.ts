import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../lib/clock.ts';

/** Wakes whoever waits to look at files again when the system says that something happened to them. */
export interface FileHints {
  /** Resolves after `ms`, soon after a change, or at once when `signal` aborts. */
  wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void>;
  /** Watches the folders as they are now: a folder may be new, or another one under the same name. */
  renew(): void;
  close(): void;
}

/** One change comes as several events; looking at the first of them would be too early more often than not. */
const settleMs = 20;

/**
 * Hints are only hints: network file systems send none, a system may be out of watches, a watched
 * folder may be replaced. So nothing depends on them, and errors of watchers mean that there are none.
 */
export function watchFolders(files: readonly string[]): FileHints {
  const folders = new Set(files.map((file) => dirname(file)));
  let watchers: FSWatcher[] = [];
  let hinted = false;
  let wake = (): void => {};
  const hint = (): void => {
    hinted = true;
    wake();
  };
  const close = (): void => {
    for (const watcher of watchers) watcher.close();
    watchers = [];
  };
  return {
    wait: (clock, ms, signal) =>
      new Promise((resolve) => {
        // An abort before the listener is there would not be announced again.
        if (signal.aborted) return resolve();
        const done = (): void => {
          cancel();
          wake = () => {};
          signal.removeEventListener('abort', done);
          resolve();
        };
        let cancel = (): void => {};
        const after = (delayMs: number): void => {
          cancel();
          cancel = clock.after(delayMs, () => {
            hinted = false;
            done();
          });
        };
        after(hinted ? Math.min(ms, settleMs) : ms);
        wake = () => {
          wake = () => {};
          after(Math.min(ms, settleMs));
        };
        signal.addEventListener('abort', done);
      }),
    renew() {
      close();
      for (const folder of folders) {
        try {
          const watcher = watch(folder, { persistent: false }, hint);
          watcher.on('error', () => watcher.close());
          watchers.push(watcher);
        } catch {
          // Not there yet, or no watches left.
        }
      }
    },
    close,
  };
}
