import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { parseDurationMs } from 'inmesh/config';
import { UsageError } from './usage-error.ts';

/** Options of a command with their texts for `--help`. */
export type OptionTable = Readonly<Record<string, OptionEntry>>;

export interface OptionEntry {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  /** What stands for the value in the help: `<path>`. */
  readonly value?: string;
  readonly help: string;
}

/** A command line after parsing: positional arguments and the options that were given. */
export interface Arguments {
  readonly positionals: readonly string[];
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  flag(name: string): boolean;
  /** @throws UsageError when it is not an integer between the bounds. */
  integer(name: string, least: number, most: number): number | undefined;
  /** Milliseconds of `90s`, `10m`, `24h`. @throws UsageError */
  durationMs(name: string): number | undefined;
}

/** Parses the arguments of one command. @throws UsageError */
export function readArguments(command: string, args: readonly string[], table: OptionTable): Arguments {
  const options: ParseArgsOptionsConfig = { help: { type: 'boolean', short: 'h' } };
  for (const [name, { type, multiple = false }] of Object.entries(table)) options[name] = { type, multiple };
  const { values, positionals } = parse(command, args, options);
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === 'string' ? value : undefined;
  };
  const wrong = (name: string, must: string): UsageError =>
    new UsageError(`--${name} must be ${must}, got ${JSON.stringify(text(name))}`, command);
  return {
    positionals,
    text,
    texts: (name) => {
      const value = values[name];
      return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
    },
    flag: (name) => values[name] === true,
    integer(name, least, most) {
      const value = text(name);
      if (value === undefined) return undefined;
      const number = /^[0-9]{1,15}$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= least && number <= most)) throw wrong(name, `an integer from ${least} to ${most}`);
      return number;
    },
    durationMs(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      const ms = parseDurationMs(value);
      if (ms === undefined || ms <= 0) throw wrong(name, 'a duration such as 90s, 10m or 24h');
      return ms;
    },
  };
}

function parse(
  command: string,
  args: readonly string[],
  options: ParseArgsOptionsConfig,
): { readonly values: Readonly<Record<string, unknown>>; readonly positionals: readonly string[] } {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node adds hints about quoting and `--`; the first sentence says what is wrong.
    const [message = ''] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw new UsageError(message, command);
  }
}

/** The lines of an option table for `--help`. */
export function describeOptions(table: OptionTable): string {
  const help: OptionEntry = { type: 'boolean', help: 'Show this text.' };
  const rows = Object.entries({ ...table, help }).map(([name, entry]) => ({
    left: `--${name}${entry.value === undefined ? '' : ` ${entry.value}`}`,
    help: entry.help,
  }));
  const width = Math.max(...rows.map(({ left }) => left.length));
  return rows.map(({ left, help }) => `  ${left.padEnd(width)}  ${help}`).join('\n');
}
