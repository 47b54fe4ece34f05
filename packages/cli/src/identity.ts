import type { X509Certificate } from 'node:crypto';
import type * as Spiffe from '@inmesh/spiffe';
import { systemClock } from 'inmesh/identity';
import { describeOptions, type OptionTable, readArguments } from './arguments.ts';
import type { Surroundings } from './load.ts';
import { count, type Output } from './output.ts';
import { UsageError } from './usage-error.ts';

const options: OptionTable = {
  socket: {
    type: 'string',
    value: '<address>',
    help: 'unix:///path or tcp://<IP>:<port>. Default: SPIFFE_ENDPOINT_SOCKET.',
  },
  timeout: { type: 'string', value: '<duration>', help: 'How long to wait for each answer. Default: 5s.' },
  json: { type: 'boolean', help: 'Print the result as JSON.' },
};

export const identityHelp: string = `Usage: inmesh identity [options]

Says which identities a SPIFFE Workload API (SPIRE's agent) gives this process, until
when, and whom they trust. Needs @inmesh/spiffe. Keys are fetched and never printed.

${describeOptions(options)}

Exit code 0: there is an identity; 1: there is none; 2: the command line is wrong.`;

/** `inmesh identity`. */
export async function identity(args: readonly string[], output: Output, { env }: Surroundings): Promise<number> {
  const parsed = readArguments('identity', args, options);
  if (parsed.positionals.length > 0) throw new UsageError(`unexpected ${parsed.positionals.join(' ')}`, 'identity');
  const address = parsed.text('socket') ?? env['SPIFFE_ENDPOINT_SOCKET'];
  if (address === undefined || address === '') {
    throw new UsageError('say where the Workload API is: --socket or SPIFFE_ENDPOINT_SOCKET', 'identity');
  }
  const { createWorkloadApiClient } = await loadSpiffe();
  const client = createWorkloadApiClient({ address, timeoutMs: parsed.durationMs('timeout') ?? 5_000 });
  const context = await client.fetchX509Svids();
  // A profile that is switched off is no reason to keep the other one back.
  const jwt = await client.fetchJwtBundles().catch((error: unknown) => String(error));
  const view = viewOf(client.address, context, jwt);
  if (parsed.flag('json')) output.line(JSON.stringify(view, undefined, 2));
  else for (const line of describe(view, systemClock.wallNow())) output.line(line);
  return 0;
}

async function loadSpiffe(): Promise<typeof Spiffe> {
  try {
    return await import('@inmesh/spiffe');
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw new UsageError('the package @inmesh/spiffe is needed: npm install @inmesh/spiffe', 'identity');
  }
}

interface View {
  readonly workloadApi: string;
  readonly svids: readonly SvidView[];
  readonly bundles: readonly BundleView[];
  /** Why there is nothing about JWT keys. */
  readonly jwtProblem?: string;
}

interface SvidView {
  readonly spiffeId: string;
  readonly hint: string;
  readonly serial: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly intermediates: number;
}

interface BundleView {
  readonly trustDomain: string;
  readonly roots: readonly { readonly subject: string; readonly notAfter: string; readonly sha256: string }[];
  readonly revocationLists: number;
  readonly jwtKeys: readonly string[];
}

function viewOf(workloadApi: string, context: Spiffe.X509Context, jwt: Spiffe.JwtBundles | string): View {
  const keys = typeof jwt === 'string' ? new Map<string, ReadonlyMap<string, unknown>>() : jwt;
  const domains = [...new Set([...context.bundles.keys(), ...keys.keys()])];
  return {
    workloadApi,
    svids: context.svids.map(({ certificates, hint, notAfter, notBefore, spiffeId }) => ({
      spiffeId,
      hint,
      serial: certificates[0]?.serialNumber ?? '',
      notBefore: new Date(notBefore).toISOString(),
      notAfter: new Date(notAfter).toISOString(),
      intermediates: certificates.length - 1,
    })),
    bundles: domains.map((trustDomain) => ({
      trustDomain,
      roots: (context.bundles.get(trustDomain) ?? []).map(rootView),
      revocationLists: context.crls.get(trustDomain)?.length ?? 0,
      jwtKeys: [...(keys.get(trustDomain)?.keys() ?? [])],
    })),
    ...(typeof jwt === 'string' ? { jwtProblem: jwt } : {}),
  };
}

function rootView({ fingerprint256, subject, validToDate }: X509Certificate): BundleView['roots'][number] {
  return { subject: subject.replaceAll('\n', ', '), notAfter: validToDate.toISOString(), sha256: fingerprint256 };
}

function* describe({ bundles, jwtProblem, svids, workloadApi }: View, now: number): Generator<string> {
  yield `Workload API at ${workloadApi}`;
  for (const [i, { hint, intermediates, notAfter, notBefore, serial, spiffeId }] of svids.entries()) {
    const marks = [...(i === 0 ? ['default'] : []), ...(hint === '' ? [] : [`hint ${JSON.stringify(hint)}`])];
    yield '';
    yield `${spiffeId}${marks.length === 0 ? '' : ` (${marks.join(', ')})`}`;
    const life = Date.parse(notAfter) - Date.parse(notBefore);
    const left = Math.round((100 * (Date.parse(notAfter) - now)) / life);
    yield `  until ${notAfter}, ${left} % of its life left`;
    yield `  serial ${serial}, ${count(intermediates, 'intermediate')}`;
  }
  yield '';
  yield 'trusted:';
  for (const { jwtKeys, revocationLists, roots, trustDomain } of bundles) {
    const lists = revocationLists === 0 ? '' : `, ${count(revocationLists, 'revocation list')}`;
    yield `  ${trustDomain}: ${count(roots.length, 'root')}${lists}, ${count(jwtKeys.length, 'JWT key')}`;
    for (const { notAfter, sha256 } of roots) yield `    until ${notAfter}, SHA-256 ${sha256}`;
  }
  if (jwtProblem !== undefined) yield `  no JWT keys: ${jwtProblem}`;
}
