import type { Clock } from './clock.ts';
import { type Logger, silentLogger } from './logger.ts';

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
  const order = ['debug', 'info', 'warn', 'error', 'silent'] as const;
  const from = order.indexOf(level);
  const pick = (of: keyof Logger): Logger[keyof Logger] => (order.indexOf(of) >= from ? all[of] : silentLogger[of]);
  return { debug: pick('debug'), info: pick('info'), warn: pick('warn'), error: pick('error') };
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
const secretName =
  /(^|[_-])authorization$|cookie$|token$|secret$|passw(or)?d$|private[_-]?key(pem)?$|credentials?$|api[_-]?key$/i;
const redacted = '[redacted]';

/** Plain JSON data: errors with their causes, no cycles, no secrets, nothing that goes on for ever. */
function toPlain(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value === 'function') return `[function ${value.name}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return '[deeper]';
  try {
    if (value instanceof Error) return errorToPlain(value, depth);
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
        secretName.test(name) && typeof item !== 'boolean' ? redacted : toPlain(item, depth + 1),
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
  return short
    .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, redacted)
    .replace(/\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi, `$1 ${redacted}`)
    .replace(/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, redacted);
}
