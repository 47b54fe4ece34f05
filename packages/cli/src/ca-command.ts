import { readFileSync } from 'node:fs';
import { type AuthorityOptions, type KeyType, keyTypes } from '@inmesh/ca';
import type { Logger } from 'inmesh/identity';
import type { Arguments, OptionTable } from './arguments.ts';
import type { Surroundings } from './load.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

/** One of `inmesh ca <command>`. */
export interface CaCommand {
  /** One sentence for the help. */
  readonly introduction: string;
  /** What stands behind the name in the help: `<step>`. */
  readonly operand?: string;
  /** More lines for the help, between introduction and options. */
  readonly explanation?: string;
  readonly options: OptionTable;
  /** @param dir folder of the authority */
  run(dir: string, args: Arguments, output: Output, surroundings: Surroundings): Promise<number> | number;
}

/** Options that every command has. */
export const commonOptions: OptionTable = {
  dir: { type: 'string', value: '<folder>', help: 'Folder of the authority. Default: ca.' },
  'passphrase-file': { type: 'string', value: '<file>', help: 'Its first line encrypts the keys on disk.' },
};

/** Options of commands that may make an authority. */
export const makingOptions: OptionTable = {
  'trust-domain': { type: 'string', value: '<domain>', help: 'SPIFFE trust domain. Default: cluster.local.' },
  'leaf-ttl': { type: 'string', value: '<time>', help: 'Life of certificates, at most 24h. Default: 1h.' },
  key: { type: 'string', value: '<kind>', help: `Kind of its keys: ${keyTypes.join(', ')}. Default: p-256.` },
  'no-name-constraints': {
    type: 'boolean',
    help: 'Do not bind intermediates to the trust domain: for peers whose TLS is rustls.',
  },
};

/** Options of the authority, as far as they were given. */
export function authorityOptions(args: Arguments, output: Output): AuthorityOptions {
  const trustDomain = args.text('trust-domain');
  const leafTtlMs = args.durationMs('leaf-ttl');
  const keyType = args.text('key');
  const file = args.text('passphrase-file');
  return {
    ...(trustDomain === undefined ? {} : { trustDomain }),
    ...(leafTtlMs === undefined ? {} : { leafTtlMs }),
    ...(keyType === undefined ? {} : { keyType: keyType as KeyType }),
    ...(args.flag('no-name-constraints') ? { nameConstraints: false } : {}),
    ...(file === undefined ? {} : { passphrase: readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? '' }),
    logger: warningsTo(output),
  };
}

/** Warnings and errors as notes; what went well says itself. */
function warningsTo(output: Output): Logger {
  const note = (fields: object, text: string): void => output.note(`${text} ${JSON.stringify(fields)}`);
  return { debug: () => {}, info: () => {}, warn: note, error: note };
}

/** The one operand of a command. @throws UsageError */
export function operand(args: Arguments, command: string, what: string): string {
  const [only] = args.positionals;
  if (only === undefined) throw new UsageError(`name ${what}`, `ca ${command}`);
  return only;
}
