import type { Clock } from '../lib/clock.ts';
import type { AccessFormat } from './access-format.ts';
import { istioJsonFormat, istioTextFormat, jsonFormat, textFormat } from './access-format.ts';
import type { AccessRecord, LoggedQuery } from './access-record.ts';

/** Settings of an access log, with the meaning of Istio's MeshConfig. */
export interface AccessLogSettings {
  /** `stdout`, `stderr`, the path of a file to append to, or a function that gets each line (`accessLogFile`). */
  readonly to: string | ((line: string) => void);
  /** `accessLogEncoding`; default `text`. */
  readonly encoding?: 'text' | 'json';
  /** Envoy's command operators (`accessLogFormat`): text, or an object for JSON. Default: Istio's. */
  readonly format?: string | Readonly<Record<string, string>>;
  /** What is logged of queries. Default `redact`: names without values. */
  readonly query?: LoggedQuery;
}

/** Where lines go. Never throws, never blocks. */
export interface LineWriter {
  write(line: string): void;
  /** Lines that were dropped because their reader was too slow, or could not be written. */
  readonly dropped: number;
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** The access log of one mesh. */
export interface AccessLog {
  /** False: nothing is logged, and nobody need make a record. */
  readonly on: boolean;
  readonly query: LoggedQuery;
  write(record: AccessRecord): void;
  /** Other settings from now on; nothing: no log. The same ones change nothing. */
  use(settings: AccessLogSettings | undefined): void;
  readonly dropped: number;
  close(): Promise<void>;
}

/** @param open makes a writer for `to` of the settings */
export function createAccessLog(
  clock: Clock,
  open: (to: AccessLogSettings['to'], clock: Clock) => LineWriter,
): AccessLog {
  let settings: AccessLogSettings | undefined;
  let format: AccessFormat | undefined;
  let writer: LineWriter | undefined;
  let before = 0;
  return {
    get on() {
      return writer !== undefined;
    },
    get query() {
      return settings?.query ?? 'redact';
    },
    get dropped() {
      return before + (writer?.dropped ?? 0);
    },
    write(record) {
      if (format === undefined) return;
      try {
        writer?.write(format.write(record));
      } catch {
        // A record that cannot be told is no reason for a call to fail.
        before++;
      }
    },
    use(next) {
      if (next === settings) return;
      const same = next !== undefined && next.to === settings?.to;
      settings = next;
      format = next && formatOf(next);
      if (same) return;
      before += writer?.dropped ?? 0;
      void writer?.close();
      writer = next && open(next.to, clock);
    },
    async close() {
      await writer?.close();
    },
  };
}

/** The format that the settings name. */
export function formatOf({ encoding, format }: Pick<AccessLogSettings, 'encoding' | 'format'>): AccessFormat {
  if (typeof format === 'object') return jsonFormat(format);
  if (encoding === 'json') return jsonFormat(format === undefined ? istioJsonFormat : { message: format });
  return textFormat(format ?? istioTextFormat);
}
