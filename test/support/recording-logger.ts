import type { Logger } from '../../src/lib/logger.ts';

/** A logger that keeps what it is told. */
export interface RecordingLogger extends Logger {
  readonly lines: readonly { readonly level: string; readonly message: string; readonly fields: object }[];
  /** Messages of one level. */
  messages(level: 'debug' | 'info' | 'warn' | 'error'): readonly string[];
}

/** A fresh recording logger. */
export function recordingLogger(): RecordingLogger {
  const lines: { level: string; message: string; fields: object }[] = [];
  const record =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push({ level, message, fields });
    };
  return {
    debug: record('debug'),
    info: record('info'),
    warn: record('warn'),
    error: record('error'),
    lines,
    messages: (level) => lines.filter((line) => line.level === level).map((line) => line.message),
  };
}
