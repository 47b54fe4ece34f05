import type {
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
} from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Workload } from '../model/workload.ts';
import {
  each,
  hostMatch,
  ipBlock,
  methodMatch,
  pathPattern,
  portNumber,
  principalMatches,
  type ReadText,
  type RuleContext,
  serviceAccount,
  stringMatch,
  type Texts,
  trustDomainMatches,
} from './authorization-texts.ts';
import { compileWhen, type WhenSpec } from './authorization-when.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { type MeshSettings, trustDomainsOf } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import { selects } from './values.ts';

interface SourceSpec {
  readonly principals?: Texts;
  readonly notPrincipals?: Texts;
  readonly namespaces?: Texts;
  readonly notNamespaces?: Texts;
  readonly serviceAccounts?: Texts;
  readonly notServiceAccounts?: Texts;
  readonly trustDomains?: Texts;
  readonly notTrustDomains?: Texts;
  readonly requestPrincipals?: Texts;
  readonly notRequestPrincipals?: Texts;
  readonly ipBlocks?: Texts;
  readonly notIpBlocks?: Texts;
  readonly remoteIpBlocks?: Texts;
  readonly notRemoteIpBlocks?: Texts;
}

interface OperationSpec {
  readonly hosts?: Texts;
  readonly notHosts?: Texts;
  readonly ports?: Texts;
  readonly notPorts?: Texts;
  readonly methods?: Texts;
  readonly notMethods?: Texts;
  readonly paths?: Texts;
  readonly notPaths?: Texts;
}

export interface AuthorizationPolicyBody {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly action?: 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';
    readonly provider?: { readonly name?: string };
    readonly rules?: readonly RuleSpec[];
  };
}

/** One of the `rules`. */
export interface RuleSpec {
  readonly from?: readonly { readonly source: SourceSpec }[];
  readonly to?: readonly { readonly operation: OperationSpec }[];
  readonly when?: readonly WhenSpec[];
}

const dryRun = 'istio.io/dry-run';
/** What Go's `strconv.ParseBool` takes for true. */
const trueWords = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);

/**
 * Compiles one policy, also one for other workloads: a mistake in it is a mistake of the folder.
 * Nothing when it is not for this workload.
 */
export function compileAuthorizationPolicy(
  resource: Resource<AuthorizationPolicyBody>,
  workload: Workload,
  mesh: MeshSettings,
  collector: Collector,
): AuthorizationPolicy | undefined {
  const { spec = {} } = resource.body;
  const action = spec.action ?? 'ALLOW';
  // As in Istio: what might be a request that somebody is to be asked about is one.
  const reading = action === 'ALLOW' ? 'ALLOW' : 'DENY';
  const given = { resource, workload, mesh, collector, action: reading } as const;
  const rules = compileRules(spec.rules ?? [], given, ['spec', 'rules']);
  const triedOut = trueWords.has(resource.annotations[dryRun] ?? '');
  if (triedOut) {
    const note = 'dry run: what this policy would decide is logged and counted, and not enforced';
    collector.warn(resource, ['metadata', 'annotations', dryRun], 'ignored', note);
  }
  if (!isForWorkload(resource, workload, mesh)) return undefined;
  const provenance = collector.at(resource, ['kind'], true);
  const provider = action === 'CUSTOM' ? { provider: spec.provider?.name ?? '' } : {};
  return { action, rules, ...provider, provenance, ...(triedOut ? { dryRun: true } : {}) };
}

/** In the workload's namespace or the root namespace, with a selector that matches it. */
export function isForWorkload(
  { body, namespace }: Resource<AuthorizationPolicyBody>,
  workload: Workload,
  { rootNamespace }: MeshSettings,
): boolean {
  if (namespace !== rootNamespace && namespace !== workload.namespace) return false;
  return selects(body.spec?.selector?.matchLabels ?? {}, workload.labels);
}

/** Compiles `rules`, wherever they stand. */
export function compileRules(
  rules: readonly RuleSpec[],
  given: Omit<Context, 'trustDomains'> & { readonly workload: Workload; readonly mesh: MeshSettings },
  base: Path,
): readonly AuthorizationRule[] {
  const context: Context = { ...given, trustDomains: trustDomainsOf(given.workload.trustDomain, given.mesh) };
  return rules.map((rule, index): AuthorizationRule => {
    const path = [...base, index];
    return {
      from: (rule.from ?? []).map(({ source }, at) => compileSource(source, context, [...path, 'from', at, 'source'])),
      to: (rule.to ?? []).map(({ operation }, at) =>
        compileOperation(operation, context, [...path, 'to', at, 'operation']),
      ),
      ...whenOf(rule.when ?? [], context, [...path, 'when']),
    };
  });
}

type Context = RuleContext;

/** Absent where there is none. */
function whenOf(specs: readonly WhenSpec[], context: Context, path: Path): Pick<AuthorizationRule, 'when'> {
  const when = specs.flatMap((spec, at) => compileWhen(spec, context, [...path, at]) ?? []);
  return when.length === 0 ? {} : { when };
}

function compileSource(source: SourceSpec, context: Context, path: Path): AuthorizationSource {
  const texts = <K extends keyof SourceSpec, T>(name: K, read: ReadText<T>) =>
    each(name, source[name], read, context, path);
  return {
    ...several('principals', source.principals, principalMatches, context, path),
    ...several('notPrincipals', source.notPrincipals, principalMatches, context, path),
    ...texts('namespaces', stringMatch),
    ...texts('notNamespaces', stringMatch),
    ...texts('serviceAccounts', serviceAccount),
    ...texts('notServiceAccounts', serviceAccount),
    ...several('trustDomains', source.trustDomains, trustDomainMatches(false), context, path),
    ...several('notTrustDomains', source.notTrustDomains, trustDomainMatches(true), context, path),
    ...texts('requestPrincipals', stringMatch),
    ...texts('notRequestPrincipals', stringMatch),
    ...texts('ipBlocks', ipBlock),
    ...texts('notIpBlocks', ipBlock),
    ...texts('remoteIpBlocks', ipBlock),
    ...texts('notRemoteIpBlocks', ipBlock),
  };
}

function compileOperation(operation: OperationSpec, context: Context, path: Path): AuthorizationOperation {
  const texts = <K extends keyof OperationSpec, T>(name: K, read: ReadText<T>) =>
    each(name, operation[name], read, context, path);
  return {
    ...texts('methods', methodMatch),
    ...texts('notMethods', methodMatch),
    ...texts('paths', pathPattern),
    ...texts('notPaths', pathPattern),
    ...texts('hosts', hostMatch),
    ...texts('notHosts', hostMatch),
    ...texts('ports', portNumber),
    ...texts('notPorts', portNumber),
  };
}

/** A field whose texts may each stand for several. */
function several<K extends keyof SourceSpec>(
  name: K,
  texts: Texts | undefined,
  read: ReadText<readonly StringMatch[]>,
  context: Context,
  path: Path,
): Partial<Readonly<Record<K, readonly StringMatch[]>>> {
  const matches = each(name, texts, read, context, path)[name];
  const result: Partial<Record<K, readonly StringMatch[]>> = {};
  if (matches !== undefined) result[name] = matches.flat();
  return result;
}
