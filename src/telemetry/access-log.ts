import { type CelExpression, compileCel } from '../lib/cel.ts';
import type { Clock } from '../lib/clock.ts';
import type { AccessLogPolicy, AccessLogSink, JsonFormat } from '../model/access-log.ts';
import type { AccessFormat } from './access-format.ts';
import { istioJsonFormat, istioTextFormat, jsonFormat, textFormat } from './access-format.ts';
import type { AccessRecord, LoggedQuery } from './access-record.ts';
import { recordNames } from './record-attributes.ts';

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

/** What is logged of one side: of calls, or of requests. */
export interface SideLog {
  /** False: nothing is logged, and nobody need make a record. */
  readonly on: boolean;
  write(record: AccessRecord): void;
}

/** The access logs of one mesh. */
export interface AccessLog {
  readonly client: SideLog;
  readonly server: SideLog;
  /** Other settings for both sides from now on; nothing: no log. The same ones change nothing. */
  use(settings: AccessLogSettings | undefined): void;
  /** What the configuration says from now on. The same changes nothing. */
  follow(policy: AccessLogPolicy | undefined): void;
  readonly dropped: number;
  close(): Promise<void>;
}

interface Destination {
  readonly format: AccessFormat;
  readonly writer: LineWriter;
  readonly query: LoggedQuery;
  readonly filter: CelExpression<AccessRecord> | undefined;
}

type Target = AccessLogSettings['to'];

/**
 * @param open makes a writer for a destination; nothing where none may be written to
 * @param unknown is told of operators in a new format that are nothing in every line
 */
export function createAccessLog(
  clock: Clock,
  open: (to: Target, clock: Clock) => LineWriter | undefined,
  unknown: (to: Target, operators: readonly string[]) => void = () => {},
): AccessLog {
  let current: AccessLogSettings | AccessLogPolicy | undefined;
  let writers = new Map<Target, LineWriter>();
  let before = 0;
  const side = (): SideLog & { destinations: readonly Destination[] } => ({
    destinations: [],
    on: false,
    write(record) {
      for (const { filter, format, query, writer } of this.destinations) {
        try {
          if (filter === undefined || filter.evaluate(record) === true) writer.write(format.write(record, query));
        } catch {
          // A record that cannot be told is no reason for a call to fail.
          before++;
        }
      }
    },
  });
  const client = side();
  const server = side();

  const reconcile = (
    next: typeof current,
    ofClient: readonly Written[],
    ofServer: readonly Written[],
    query: LoggedQuery,
  ): void => {
    if (next === current) return;
    current = next;
    const kept = new Map<Target, LineWriter>();
    const refused = new Set<Target>();
    const missing = new Map<Target, readonly string[]>();
    const destinationsOf = (all: readonly Written[]): readonly Destination[] =>
      all.flatMap((written) => {
        const { to } = written;
        const writer = kept.get(to) ?? writers.get(to) ?? (refused.has(to) ? undefined : open(to, clock));
        if (writer === undefined) refused.add(to);
        else kept.set(to, writer);
        if (writer === undefined) return [];
        const format = formatOf(written);
        if (format.unknown.length > 0) missing.set(to, format.unknown);
        return [{ writer, query, format, filter: filterOf(written) }];
      });
    set(client, destinationsOf(ofClient));
    set(server, destinationsOf(ofServer));
    for (const [to, writer] of writers) {
      if (kept.has(to)) continue;
      before += writer.dropped;
      void writer.close();
    }
    writers = kept;
    for (const [to, operators] of missing) unknown(to, operators);
  };

  return {
    client,
    server,
    get dropped() {
      let sum = before;
      for (const writer of writers.values()) sum += writer.dropped;
      return sum;
    },
    use(settings) {
      const all = settings === undefined ? [] : [settings];
      reconcile(settings, all, all, settings?.query ?? 'redact');
    },
    follow(policy) {
      reconcile(policy, policy?.client ?? [], policy?.server ?? [], 'redact');
    },
    async close() {
      await Promise.all([...writers.values()].map((writer) => writer.close()));
    },
  };
}

type Written = AccessLogSettings | AccessLogSink;

function set(side: { on: boolean; destinations: readonly Destination[] }, destinations: readonly Destination[]): void {
  side.destinations = destinations;
  side.on = destinations.length > 0;
}

function filterOf(written: Written): Destination['filter'] {
  const { filter } = written as Partial<AccessLogSink>;
  return filter === undefined ? undefined : compileCel(filter, recordNames);
}

/** The format that the settings name. */
export function formatOf(settings: {
  readonly encoding?: 'text' | 'json';
  readonly format?: string | JsonFormat;
  readonly omitEmpty?: true;
}): AccessFormat {
  const { encoding, format, omitEmpty } = settings;
  if (typeof format === 'object') return jsonFormat(format, omitEmpty);
  if (encoding === 'json') return jsonFormat(format === undefined ? istioJsonFormat : { message: format }, omitEmpty);
  return textFormat(format ?? istioTextFormat, omitEmpty);
}
