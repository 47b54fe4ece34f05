import { readFileSync } from 'node:fs';
import { type AuthorityOptions, initAuthority, openAuthority, readKubernetesClusters, runAuthority } from '@inmesh/ca';
import { type Arguments, describeOptions, type OptionTable, readArguments } from './arguments.ts';
import type { Surroundings } from './load.ts';
import type { Output } from './output.ts';
import { UsageError } from './usage-error.ts';

const common: OptionTable = {
  dir: { type: 'string', value: '<folder>', help: 'Folder of the authority. Default: ca.' },
  'passphrase-file': { type: 'string', value: '<file>', help: 'Its first line encrypts the keys on disk.' },
};
const lifetime: OptionTable = {
  'trust-domain': { type: 'string', value: '<domain>', help: 'SPIFFE trust domain. Default: cluster.local.' },
  'leaf-ttl': { type: 'string', value: '<time>', help: 'Life of certificates, at most 24h. Default: 1h.' },
};
const tables: Readonly<Record<string, OptionTable>> = {
  init: { ...common, ...lifetime },
  serve: {
    ...common,
    ...lifetime,
    host: { type: 'string', value: '<address>', help: 'Address to listen on. Default: 127.0.0.1.' },
    port: { type: 'string', value: '<number>', help: 'Port to listen on. Default: 8443.' },
    name: {
      type: 'string',
      multiple: true,
      value: '<name>',
      help: 'Host name or address by which clients call it. May be repeated.',
    },
    kubernetes: {
      type: 'string',
      value: '<file>',
      help: 'JSON: clusters whose service accounts get certificates by their tokens.',
    },
  },
  token: {
    ...common,
    namespace: { type: 'string', value: '<name>', help: 'Namespace of the workload.' },
    'service-account': { type: 'string', value: '<name>', help: 'Service account of the workload.' },
    'spiffe-id': { type: 'string', value: '<id>', help: 'SPIFFE ID of the workload, instead of the two above.' },
    ttl: { type: 'string', value: '<time>', help: 'How long the token may be used. Default: 10m, at most 720h.' },
    uses: { type: 'string', value: '<number>', help: 'How often it may be used. Default: 1.' },
    json: { type: 'boolean', help: 'Print token, id, SPIFFE ID and expiry as JSON.' },
  },
};

const introductions: Readonly<Record<string, string>> = {
  init: 'Makes a certificate authority in a folder: root, intermediate, and their keys.',
  serve: 'Serves the authority over HTTPS until it is stopped; makes one when the folder has none.',
  token: 'Prints a join token: what a workload shows to get its first certificate.',
};

export const caHelp: string = `Usage: inmesh ca init|serve|token [options]

The embedded certificate authority.

${Object.entries(introductions)
  .map(([name, text]) => `  ${name.padEnd(6)} ${text}`)
  .join('\n')}

\`inmesh ca <command> --help\` shows the options.`;

/** Help of `inmesh ca`, or of one of its commands. */
export function helpForCa(command: string): string {
  const table = tables[command];
  if (table === undefined) return caHelp;
  return `Usage: inmesh ca ${command} [options]\n\n${introductions[command]}\n\n${describeOptions(table)}`;
}

/** `inmesh ca`. */
export async function ca(args: readonly string[], output: Output, surroundings: Surroundings): Promise<number> {
  const [command = '', ...rest] = args;
  const table = Object.hasOwn(tables, command) ? tables[command] : undefined;
  if (table === undefined) {
    throw new UsageError(command === '' ? 'name one of init, serve, token' : `unknown command ca ${command}`, 'ca');
  }
  const parsed = readArguments(`ca ${command}`, rest, table);
  const [extra] = parsed.positionals;
  if (extra !== undefined) throw new UsageError(`unexpected argument ${extra}`, `ca ${command}`);
  const dir = parsed.text('dir') ?? 'ca';
  if (command === 'init') return init(dir, parsed, output);
  return command === 'serve' ? serve(dir, parsed, output, surroundings) : token(dir, parsed, output);
}

function authorityOptions(args: Arguments): AuthorityOptions {
  const trustDomain = args.text('trust-domain');
  const leafTtlMs = args.durationMs('leaf-ttl');
  const file = args.text('passphrase-file');
  return {
    ...(trustDomain === undefined ? {} : { trustDomain }),
    ...(leafTtlMs === undefined ? {} : { leafTtlMs }),
    ...(file === undefined ? {} : { passphrase: readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? '' }),
  };
}

function init(dir: string, args: Arguments, output: Output): number {
  const authority = initAuthority(dir, authorityOptions(args));
  output.line(`✓ certificate authority of ${authority.trustDomain} in ${dir}; its root is ${dir}/root.pem`);
  return 0;
}

async function serve(dir: string, args: Arguments, output: Output, { signal }: Surroundings): Promise<number> {
  const host = args.text('host');
  const names = args.texts('name');
  const kubernetes = args.text('kubernetes');
  const message = (fields: object, text: string): void => output.note(`${text} ${JSON.stringify(fields)}`);
  const running = await runAuthority({
    ...authorityOptions(args),
    dir,
    port: args.integer('port', 0, 65_535) ?? 8_443,
    ...(host === undefined ? {} : { host }),
    ...(names.length === 0 ? {} : { names }),
    ...(kubernetes === undefined ? {} : { kubernetes: readKubernetesClusters(readFileSync(kubernetes, 'utf8')) }),
    logger: { debug: () => {}, info: message, warn: message, error: message },
  });
  output.line(`✓ certificate authority of ${running.authority.trustDomain} serves on ${running.url}`);
  output.line(`  INMESH_CA_URL=${running.url} INMESH_CA_ROOT=${dir}/root.pem`);
  const stopped = Promise.withResolvers<void>();
  if (signal === undefined || signal.aborted) stopped.resolve();
  else signal.addEventListener('abort', () => stopped.resolve(), { once: true });
  await stopped.promise;
  await running.close();
  return 0;
}

function token(dir: string, args: Arguments, output: Output): number {
  const spiffeId = args.text('spiffe-id');
  const namespace = args.text('namespace');
  const serviceAccount = args.text('service-account');
  const ttlMs = args.durationMs('ttl');
  const uses = args.integer('uses', 1, 1_000);
  const times = { ...(ttlMs === undefined ? {} : { ttlMs }), ...(uses === undefined ? {} : { uses }) };
  let request: Parameters<ReturnType<typeof openAuthority>['createToken']>[0];
  if (spiffeId !== undefined && namespace === undefined && serviceAccount === undefined) {
    request = { spiffeId, ...times };
  } else if (spiffeId === undefined && namespace !== undefined && serviceAccount !== undefined) {
    request = { namespace, serviceAccount, ...times };
  } else {
    throw new UsageError('name the workload by --namespace and --service-account, or by --spiffe-id', 'ca token');
  }
  const made = openAuthority(dir, authorityOptions(args)).createToken(request);
  // Nothing but the token, so that `$(inmesh ca token …)` is one.
  if (!args.flag('json')) output.line(made.token);
  else output.line(JSON.stringify({ ...made, expiresAt: new Date(made.expiresAt).toISOString() }, undefined, 2));
  return 0;
}
