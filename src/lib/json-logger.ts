import { types } from 'node:util';
import type { Clock } from './clock.ts';
import { type Logger, silentLogger } from './logger.ts';
import { isSecretName, redacted, redactText } from './redact.ts';

/** Options of {@link jsonLogger}. */
export interface JsonLoggerOptions {
  readonly clock: Clock;
  /** Least important messages to write. Default `warn`. */
  readonly level?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Takes one line with its end. Default: stderr. */
  readonly write?: (line: string) => void;
}

/**
 * One JSON object a line: `time`, `level`, `message`, then the fields of the caller. Values under
 * names like `token` or `authorization`, private keys and bearer tokens inside texts are replaced,
 * so that a careless message gives nothing away. Never throws, whatever the fields hold.
 */
export function jsonLogger({ clock, level = 'warn', write = toStderr }: JsonLoggerOptions): Logger {
  const log =
    (of: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, message: string): void => {
      const time = new Date(clock.wallNow()).toISOString();
      const safe = toPlain(fields, 0) as Record<string, unknown>;
      write(`${oneLine(JSON.stringify({ time, level: of, message: redact(String(message)), ...safe }))}\n`);
    };
  const all: Logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
  return new LevelledLogger(all, level);
}

const order = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** What is below the level is one call of an empty function, which is put there when the level is set. */
class LevelledLogger implements Logger {
  debug!: Logger['debug'];
  info!: Logger['info'];
  warn!: Logger['warn'];
  error!: Logger['error'];
  readonly #all: Logger;
  #level: (typeof order)[number];

  constructor(all: Logger, level: (typeof order)[number]) {
    this.#all = all;
    this.#level = level;
    this.level = level;
  }

  /** May be set at any time, as of pino; a level that there is not changes nothing. */
  get level(): (typeof order)[number] {
    return this.#level;
  }

  set level(level: (typeof order)[number]) {
    const from = order.indexOf(level);
    if (from === -1) return;
    this.#level = level;
    const pick = (of: keyof Logger): Logger[keyof Logger] =>
      order.indexOf(of) >= from ? this.#all[of] : silentLogger[of];
    this.debug = pick('debug');
    this.info = pick('info');
    this.warn = pick('warn');
    this.error = pick('error');
  }
}

/** JSON escapes what ends a line in ASCII; terminals and other readers know more that does, or that controls them. */
function oneLine(json: string): string {
  return json.replaceAll(
    /[\u007F-\u009F\u2028\u2029]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function toStderr(line: string): void {
  process.stderr.write(line);
}

const maxDepth = 5;
const maxItems = 100;
const maxText = 4_096;

/** Plain JSON data: errors with their causes, no cycles, no secrets, nothing that goes on for ever. */
function toPlain(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value === 'function') return `[function ${value.name}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '[deeper]';
  try {
    // Also those of another `Error`: of Node, where a test runner loads modules into a context of its own.
    if (value instanceof Error || types.isNativeError(value)) return errorToPlain(value, depth);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => toPlain(item, depth + 1));
    if (value instanceof Map)
      return entriesToPlain(
        [...value].map(([key, item]) => [String(key), item]),
        depth,
      );
    if (value instanceof Set) return toPlain([...value], depth);
    return entriesToPlain(Object.entries(value), depth);
  } catch (error) {
    return `[unreadable: ${error instanceof Error ? error.message : 'it throws'}]`;
  }
}

function entriesToPlain(entries: readonly (readonly [string, unknown])[], depth: number): Record<string, unknown> {
  return Object.fromEntries(
    entries
      .slice(0, maxItems)
      .map(([name, item]) => [
        name,
        isSecretName(name) && typeof item !== 'boolean' ? redacted : toPlain(item, depth + 1),
      ]),
  );
}

function errorToPlain(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause, ...more } = error as Error & Record<string, unknown>;
  return {
    name: toPlain(name, depth + 1),
    message: toPlain(message, depth + 1),
    ...entriesToPlain(
      Object.entries(more).filter(([, item]) => item !== undefined),
      depth,
    ),
    ...(cause === undefined ? {} : { cause: toPlain(cause, depth + 1) }),
  };
}

function redact(text: string): string {
  const short = text.length > maxText ? `${text.slice(0, maxText)}…` : text;
  return redactText(short);
}
