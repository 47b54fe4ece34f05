import type {
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
} from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { type MeshSettings, trustDomainsOf } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import { selects } from './values.ts';

type Texts = readonly string[];

interface SourceSpec {
  readonly principals?: Texts;
  readonly notPrincipals?: Texts;
  readonly namespaces?: Texts;
  readonly notNamespaces?: Texts;
  readonly serviceAccounts?: Texts;
  readonly notServiceAccounts?: Texts;
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
    readonly rules?: readonly RuleSpec[];
  };
}

/** One of the `rules`. */
export interface RuleSpec {
  readonly from?: readonly { readonly source: SourceSpec }[];
  readonly to?: readonly { readonly operation: OperationSpec }[];
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
  if (action === 'CUSTOM') {
    collector.refuse(resource, ['spec', 'action'], 'is refused: there are no external authorization providers', action);
    return undefined;
  }
  const reading = action === 'ALLOW' ? 'ALLOW' : 'DENY';
  const given = { resource, workload, mesh, collector, action: reading } as const;
  const rules = compileRules(spec.rules ?? [], given, ['spec', 'rules']);
  const triedOut = trueWords.has(resource.annotations[dryRun] ?? '');
  if (triedOut) {
    const note = 'dry run: what this policy would decide is logged and counted, and not enforced';
    collector.warn(resource, ['metadata', 'annotations', dryRun], 'ignored', note);
  }
  if (resource.namespace !== mesh.rootNamespace && resource.namespace !== workload.namespace) return undefined;
  if (!selects(spec.selector?.matchLabels ?? {}, workload.labels)) return undefined;
  const provenance = collector.at(resource, ['kind'], true);
  return { action, rules, provenance, ...(triedOut ? { dryRun: true } : {}) };
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
    };
  });
}

interface Context {
  readonly resource: Resource;
  /** The own one and its aliases. */
  readonly trustDomains: readonly string[];
  readonly collector: Collector;
  readonly action: 'ALLOW' | 'DENY';
}

function compileSource(source: SourceSpec, context: Context, path: Path): AuthorizationSource {
  return {
    ...principals('principals', source.principals, context, path),
    ...principals('notPrincipals', source.notPrincipals, context, path),
    ...each('namespaces', source.namespaces, (text, at) => stringMatch(text, context, at), path),
    ...each('notNamespaces', source.notNamespaces, (text, at) => stringMatch(text, context, at), path),
    ...each('serviceAccounts', source.serviceAccounts, (text, at) => serviceAccount(text, context, at), path),
    ...each('notServiceAccounts', source.notServiceAccounts, (text, at) => serviceAccount(text, context, at), path),
  };
}

function compileOperation(operation: OperationSpec, context: Context, path: Path): AuthorizationOperation {
  return {
    ...each('methods', operation.methods, (text, at) => methodMatch(text, context, at), path),
    ...each('notMethods', operation.notMethods, (text, at) => methodMatch(text, context, at), path),
    ...each('paths', operation.paths, (text, at) => pathMatch(text, context, at), path),
    ...each('notPaths', operation.notPaths, (text, at) => pathMatch(text, context, at), path),
    ...each('hosts', operation.hosts, (text, at) => stringMatch(text.toLowerCase(), context, at), path),
    ...each('notHosts', operation.notHosts, (text, at) => stringMatch(text.toLowerCase(), context, at), path),
    ...each('ports', operation.ports, (text, at) => portNumber(text, context, at), path),
    ...each('notPorts', operation.notPorts, (text, at) => portNumber(text, context, at), path),
  };
}

/** The field with each of its texts compiled, or nothing when it is absent; an empty list is. */
function each<K extends string, T>(
  name: K,
  texts: Texts | undefined,
  compile: (text: string, path: Path) => T,
  path: Path,
): Partial<Readonly<Record<K, readonly T[]>>> {
  const result: Partial<Record<K, readonly T[]>> = {};
  if (texts !== undefined && texts.length > 0)
    result[name] = texts.map((text, index) => compile(text, [...path, name, index]));
  return result;
}

/** Istio's notation: `*` for anything that is there, `abc*`, `*abc`, or the exact text. */
function stringMatch(text: string, context: Context, path: Path): StringMatch {
  if (text === '*') return { kind: 'present' };
  const star = text.indexOf('*');
  if (star === -1) return { kind: 'exact', value: text };
  if (star === text.length - 1) return { kind: 'prefix', value: text.slice(0, -1) };
  if (star === 0 && !text.includes('*', 1)) return { kind: 'suffix', value: text.slice(1) };
  // Istio would take such a star literally, and a DENY rule would never match.
  context.collector.refuse(context.resource, path, 'may have one *, at its beginning or its end', text);
  return { kind: 'exact', value: text };
}

function principals<K extends 'principals' | 'notPrincipals'>(
  name: K,
  texts: Texts | undefined,
  context: Context,
  path: Path,
): Partial<Readonly<Record<K, readonly StringMatch[]>>> {
  const result: Partial<Record<K, readonly StringMatch[]>> = {};
  if (texts !== undefined) {
    result[name] = texts.flatMap((text, index) => principalMatches(text, context, [...path, name, index]));
  }
  return result;
}

function principalMatches(text: string, context: Context, path: Path): readonly StringMatch[] {
  const { resource, trustDomains, collector, action } = context;
  if (text.includes('://')) {
    collector.refuse(resource, path, 'must be written without spiffe://, as in Istio', text);
  }
  const match = stringMatch(text, context, path);
  if (match.kind === 'suffix' && action === 'ALLOW') {
    collector.warn(resource, path, 'enforced', 'allows this suffix in every namespace and trust domain');
  }
  if (match.kind !== 'exact' && match.kind !== 'prefix') return [match];
  const slash = match.value.indexOf('/');
  const domain = match.value.slice(0, slash);
  // In policies cluster.local stands for the local trust domain, whatever its name; and what is
  // said of one of its names is said of all of them (Istio `trustDomainAliases`).
  if (slash === -1 || !(domain === 'cluster.local' || trustDomains.includes(domain))) return [match];
  return trustDomains.map((each) => ({ kind: match.kind, value: each + match.value.slice(slash) }));
}

function serviceAccount(text: string, context: Context, path: Path): string {
  const parts = text.split('/');
  const valid = parts.length <= 2 && parts.every((part) => /^[A-Za-z0-9._-]+$/.test(part));
  if (!valid) {
    context.collector.refuse(
      context.resource,
      path,
      'must be <service account> or <namespace>/<service account>',
      text,
    );
  }
  return parts.length === 1 ? `${context.resource.namespace}/${text}` : text;
}

function methodMatch(text: string, context: Context, path: Path): StringMatch {
  if (text !== text.toUpperCase()) {
    context.collector.refuse(context.resource, path, 'must be upper case: methods are compared as they are', text);
  }
  return stringMatch(text, context, path);
}

function pathMatch(text: string, context: Context, path: Path): StringMatch {
  const { resource, collector } = context;
  if (text.includes('{*}') || text.includes('{**}')) {
    collector.refuse(resource, path, 'is refused: path templates are not supported yet', text);
    return { kind: 'exact', value: text };
  }
  if (!text.startsWith('/') && !text.startsWith('*')) {
    collector.refuse(resource, path, 'must begin with / or *: it could never match', text);
  }
  return stringMatch(text, context, path);
}

function portNumber(text: string, context: Context, path: Path): number {
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) {
    context.collector.refuse(context.resource, path, 'must be a port from 1 to 65535', text);
  }
  return port;
}
