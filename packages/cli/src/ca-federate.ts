import { readFileSync } from 'node:fs';
import {
  bundleDocument,
  type Federation,
  type FederationRelation,
  type FederationStatus,
  openAuthority,
  openFederation,
} from '@inmesh/ca';
import { type Arguments, describeOptions, type OptionTable, readArguments } from './arguments.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

const dir: OptionTable = {
  dir: { type: 'string', value: '<folder>', help: 'Folder of the authority. Default: ca.' },
};

const tables: Readonly<Record<string, OptionTable>> = {
  add: {
    ...dir,
    'trust-domain': { type: 'string', value: '<domain>', help: 'The other trust domain.' },
    url: { type: 'string', value: '<url>', help: 'Its bundle endpoint, https.' },
    profile: { type: 'string', value: '<profile>', help: 'https_spiffe or https_web. Default: https_spiffe.' },
    'endpoint-spiffe-id': { type: 'string', value: '<id>', help: 'SPIFFE ID of the endpoint, of https_spiffe.' },
    bundle: { type: 'string', value: '<file>', help: 'Bundle document of the other domain, for the beginning.' },
    'ca-file': { type: 'string', value: '<file>', help: 'Roots (PEM) for the endpoint, of https_web.' },
    name: { type: 'string', value: '<name>', help: 'Name of the relation. Default: the trust domain.' },
    shared: { type: 'boolean', help: 'The trust domain is the own one: another authority of it.' },
  },
  remove: dir,
  list: { ...dir, json: { type: 'boolean', help: 'Print the relations as JSON.' } },
  fetch: dir,
  show: {
    ...dir,
    'passphrase-file': { type: 'string', value: '<file>', help: 'Its first line decrypts the keys on disk.' },
  },
};

const introductions: Readonly<Record<string, string>> = {
  add: 'Trusts another trust domain, as far as its bundle endpoint says.',
  remove: 'Trusts it no longer: inmesh ca federate remove <name>',
  list: 'Shows whom the authority trusts beside itself.',
  fetch: 'Fetches bundles now: all, or inmesh ca federate fetch <name>',
  show: 'Prints the own bundle: what others give to `federate add --bundle`.',
};

export const federateHelp: string = `Usage: inmesh ca federate add|remove|list|fetch|show [options]

Federation with other trust domains. A running \`inmesh ca serve\` follows what changes here.

${Object.entries(introductions)
  .map(([name, text]) => `  ${name.padEnd(6)} ${text}`)
  .join('\n')}

\`inmesh ca federate <command> --help\` shows the options.`;

/** Help of `inmesh ca federate`, or of one of its commands. */
export function helpForFederate(command: string): string {
  const table = Object.hasOwn(tables, command) ? tables[command] : undefined;
  if (table === undefined) return federateHelp;
  return `Usage: inmesh ca federate ${command} [options]\n\n${introductions[command]}\n\n${describeOptions(table)}`;
}

/** `inmesh ca federate`. */
export async function federate(args: readonly string[], output: Output): Promise<number> {
  const [command = '', ...rest] = args;
  const table = Object.hasOwn(tables, command) ? tables[command] : undefined;
  if (table === undefined) {
    const problem =
      command === '' ? 'name one of add, remove, list, fetch, show' : `unknown command ca federate ${command}`;
    throw new UsageError(problem, 'ca federate');
  }
  const parsed = readArguments(`ca federate ${command}`, rest, table);
  const [name, extra] = parsed.positionals;
  const unexpected = command === 'remove' || command === 'fetch' ? extra : name;
  if (unexpected !== undefined) throw new UsageError(`unexpected argument ${unexpected}`, `ca federate ${command}`);
  if (command === 'show') return show(parsed, output);
  const quiet = (): void => {};
  const note = (fields: object, text: string): void => output.note(`${text} ${JSON.stringify(fields)}`);
  const logger = { debug: quiet, info: quiet, warn: quiet, error: note };
  const federation = openFederation(parsed.text('dir') ?? 'ca', { logger });
  try {
    if (command === 'add') return add(federation, parsed, output);
    if (command === 'remove') return remove(federation, name, output);
    return command === 'list' ? list(federation, parsed, output) : await fetchNow(federation, name, output);
  } finally {
    federation.close();
  }
}

function show(args: Arguments, output: Output): number {
  const dir = args.text('dir') ?? 'ca';
  const file = args.text('passphrase-file');
  const passphrase = file === undefined ? undefined : readFileSync(file, 'utf8').split(/\r?\n/, 1)[0];
  const authority = openAuthority(dir, passphrase === undefined ? {} : { passphrase });
  output.line(bundleDocument(authority, { dir }).text());
  return 0;
}

function add(federation: Federation, args: Arguments, output: Output): number {
  const required = (option: string): string => {
    const value = args.text(option);
    if (value === undefined) throw new UsageError(`--${option} is needed`, 'ca federate add');
    return value;
  };
  const optional = (option: string): string | undefined => args.text(option);
  const profile = optional('profile') ?? 'https_spiffe';
  if (profile !== 'https_spiffe' && profile !== 'https_web') {
    throw new UsageError(
      `--profile must be https_spiffe or https_web, got ${JSON.stringify(profile)}`,
      'ca federate add',
    );
  }
  const endpointSpiffeId = optional('endpoint-spiffe-id');
  const caFile = optional('ca-file');
  const name = optional('name');
  const bundle = optional('bundle');
  const relation: FederationRelation = {
    trustDomain: required('trust-domain'),
    url: required('url'),
    profile,
    ...(name === undefined ? {} : { name }),
    ...(endpointSpiffeId === undefined ? {} : { endpointSpiffeId }),
    ...(caFile === undefined ? {} : { caPem: readFileSync(caFile, 'utf8') }),
    ...(args.flag('shared') ? { shared: true } : {}),
  };
  federation.add(relation, bundle === undefined ? undefined : readFileSync(bundle, 'utf8'));
  output.line(`✓ follows ${relation.url} for the bundle of ${relation.trustDomain}`);
  return 0;
}

function remove(federation: Federation, name: string | undefined, output: Output): number {
  if (name === undefined) throw new UsageError('name the relation', 'ca federate remove');
  const removed = federation.remove(name);
  if (removed) output.line(`✓ ${name} is trusted no longer`);
  else output.note(`inmesh: there is no relation ${JSON.stringify(name)}`);
  return removed ? 0 : 1;
}

function list(federation: Federation, args: Arguments, output: Output): number {
  const all = federation.status();
  if (args.flag('json')) {
    output.line(JSON.stringify(all.map(asJson), undefined, 2));
    return 0;
  }
  if (all.length === 0) output.line('no relations');
  for (const { fetchedAt, relation, roots, sequence } of all) {
    const held =
      roots === undefined
        ? 'no bundle yet'
        : `${roots} ${roots === 1 ? 'root' : 'roots'}, sequence ${sequence ?? 'none'}`;
    const when = fetchedAt === undefined ? '' : `, fetched ${new Date(fetchedAt).toISOString()}`;
    const of = relation.name === relation.trustDomain ? '' : ` (${relation.trustDomain})`;
    output.line(`${relation.name}${of}  ${relation.profile}  ${relation.url}  ${held}${when}`);
  }
  return 0;
}

function asJson({ fetchedAt, relation, roots, sequence }: FederationStatus): object {
  return {
    ...relation,
    ...(roots === undefined ? {} : { roots }),
    ...(sequence === undefined ? {} : { sequence: String(sequence) }),
    ...(fetchedAt === undefined ? {} : { fetchedAt: new Date(fetchedAt).toISOString() }),
  };
}

async function fetchNow(federation: Federation, name: string | undefined, output: Output): Promise<number> {
  const names = name === undefined ? federation.status().map(({ relation }) => relation.name) : [name];
  let code = 0;
  for (const one of names) {
    try {
      await federation.fetch(one);
      output.line(`✓ ${one}`);
    } catch (error) {
      output.line(`✗ ${(error as Error).message}`);
      code = 1;
    }
  }
  return code;
}
