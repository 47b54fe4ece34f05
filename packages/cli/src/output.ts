import { once } from 'node:events';

/** Where the command writes. The only place that knows stdout and stderr. */
export interface Output {
  /** What was asked for, one or more lines. */
  line(text: string): void;
  /** Messages about the command itself. */
  note(text: string): void;
  /** Waits until the reader has taken what was written; absent where nothing piles up. */
  drained?(): Promise<void>;
}

/** The streams of this process. */
export const processOutput: Output = {
  line: (text) => void process.stdout.write(`${text}\n`),
  note: (text) => void process.stderr.write(`${text}\n`),
  async drained() {
    const { stdout } = process;
    if (!stdout.writableNeedDrain || stdout.destroyed) return;
    await Promise.race([once(stdout, 'drain'), once(stdout, 'close')]);
  },
};

/** `1 warning`, `2 warnings`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
