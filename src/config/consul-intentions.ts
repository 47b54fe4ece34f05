import type { AuthorizationPolicy, AuthorizationRule, AuthorizationSource } from '../model/authorization.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { permissionRule } from './consul-permissions.ts';
import { type MeshSettings, trustDomainsOf } from './mesh-settings.ts';
import type { Resource } from './resource.ts';

export interface IntentionsBody {
  readonly Name: string;
  readonly Namespace?: string;
  readonly Meta?: Readonly<Record<string, string>>;
  readonly Sources: readonly SourceIntention[];
}

export interface SourceIntention {
  readonly Name: string;
  readonly Namespace?: string;
  readonly Partition?: string;
  readonly Action?: 'allow' | 'deny';
  readonly Permissions?: readonly Permission[];
}

export interface Permission {
  readonly Action: 'allow' | 'deny';
  readonly HTTP: HttpPermission;
}

export interface HttpPermission {
  readonly PathExact?: string;
  readonly PathPrefix?: string;
  readonly PathRegex?: string;
  readonly Header?: readonly HeaderPermission[];
  readonly Methods?: readonly string[];
}

export interface HeaderPermission {
  readonly Name: string;
  readonly Present?: boolean;
  readonly Exact?: string;
  readonly Prefix?: string;
  readonly Suffix?: string;
  readonly Contains?: string;
  readonly Regex?: string;
  readonly IgnoreCase?: boolean;
  readonly Invert?: boolean;
}

type Entry = Resource<IntentionsBody>;

/**
 * Compiles Consul's intentions to policies of the evaluator that there is; none when no entry is for
 * this workload. Of all intentions for it the first counts whose source is the caller, those with more
 * names and fewer wildcards first (`computeIntentionPrecedence`); in it the first permission that matches.
 * Where nothing does, the default policy holds. With the default `deny` that makes an ALLOW policy of
 * each entry, with `allow` a DENY policy: what comes later is true only where what comes before is not.
 */
export function compileIntentions(
  entries: readonly Entry[],
  workload: Workload,
  mesh: MeshSettings,
  collector: Collector,
): readonly AuthorizationPolicy[] {
  const names = namesOf(workload);
  const selected = entries.filter(
    ({ body, namespace }) =>
      (namespace === '*' || namespace === workload.namespace) && (body.Name === '*' || names.has(body.Name)),
  );
  if (selected.length === 0) return [];
  const fallback = defaultPolicyOf(selected);
  const other = fallback === 'deny' ? 'allow' : 'deny';
  const ordered = order(selected);
  const trustDomains = trustDomainsOf(workload.trustDomain, mesh);
  const rules = new Map(selected.map((entry) => [entry, new Map<SourceIntention, readonly AuthorizationRule[]>()]));
  const before: Intention[] = [];
  const wild: Intention[] = [];
  const seen = new Set<string>();
  for (const intention of ordered) {
    const { entry, source } = intention;
    const id = idOf(source);
    // Who is named before, also by another entry, is done with.
    if (seen.has(id)) continue;
    // A source without wildcards meets no other but those that have some.
    const earlier = (source.name === '*' ? before : wild).filter((other) => overlap(other.source, source));
    const unless = exceptionsOf(earlier, trustDomains);
    const from = [...sourcesOf([source], trustDomains), ...(other === 'deny' ? everybody(intention.said) : [])];
    const told = rulesOf(intention, other, from, unless);
    rules.get(entry)?.set(intention.said, told);
    seen.add(id);
    before.push(intention);
    if (source.name === '*') wild.push(intention);
  }
  return selected.map((entry) => ({
    action: other === 'allow' ? 'ALLOW' : 'DENY',
    // In the order of the file: each is true or false whatever the others are.
    rules: entry.body.Sources.flatMap((said) => rules.get(entry)?.get(said) ?? []),
    provenance: collector.at(entry, ['Kind'], true),
    ...(other === 'allow' ? { intentions: true } : {}),
  }));
}

/**
 * The names by which a service of Consul may be this workload: its service account, which Consul's own
 * identities are named after, its canonical service, its own name. Too many rather than too few: who is
 * selected by more intentions is not open because of a name.
 */
function namesOf({ labels, name, serviceAccount }: Workload): ReadonlySet<string> {
  const service =
    labels['service.istio.io/canonical-name'] ?? labels['app.kubernetes.io/name'] ?? labels['app'] ?? name;
  return new Set([serviceAccount, service, name]);
}

/** That of the entry which says most about the destination. */
function defaultPolicyOf(entries: readonly Entry[]): 'allow' | 'deny' {
  const saying = entries.filter(({ body }) => body.Meta?.['default_intention_policy'] !== undefined);
  const best = Math.max(...saying.map(destinationExactness));
  const all = saying.filter((entry) => destinationExactness(entry) === best);
  if (all.length === 0) return 'deny';
  return all.every(({ body }) => body.Meta?.['default_intention_policy'] === 'allow') ? 'allow' : 'deny';
}

/** Where an intention comes from, with everything said that may be left out. */
interface Source {
  readonly partition: string;
  /** In identities of the form `/ns/<namespace>/sa/<name>`. */
  readonly accounts: string;
  /** In identities of Consul. */
  readonly services: string;
  readonly name: string;
}

interface Intention {
  readonly entry: Entry;
  readonly source: Source;
  readonly said: SourceIntention;
  readonly precedence: number;
}

function order(entries: readonly Entry[]): readonly Intention[] {
  const all = entries.flatMap((entry) =>
    entry.body.Sources.map((said): Intention => {
      const source = sourceOf(said, entry);
      return { entry, source, said, precedence: precedenceOf(entry, source) };
    }),
  );
  // Two entries of one rank can name one source, where a workload has two names: then who denies counts.
  return all.sort((a, b) => b.precedence - a.precedence || rank(a.said) - rank(b.said));
}

function rank({ Action }: SourceIntention): number {
  return Action === 'deny' ? 0 : Action === undefined ? 1 : 2;
}

/** From 9 (both names outright) to 1 (only wildcards), as Consul numbers intentions. */
function precedenceOf(entry: Entry, source: Source): number {
  const most = destinationExactness(entry) * 3 + 3;
  return most - (2 - exactness(source.services, source.name));
}

function destinationExactness({ body: { Name, Namespace = '' } }: Entry): number {
  return exactness(Namespace, Name);
}

function exactness(namespace: string, name: string): number {
  if (namespace === '*') return 0;
  return name === '*' ? 1 : 2;
}

/** A namespace that is not named is that of the entry, but for a wildcard, which is not inherited. */
function sourceOf({ Name, Namespace, Partition = 'default' }: SourceIntention, { body, namespace }: Entry): Source {
  const own = body.Namespace === '*' ? undefined : body.Namespace;
  const named = Namespace ?? own;
  const resources = namespace === '*' ? 'default' : namespace;
  return { partition: Partition, accounts: named ?? resources, services: named ?? 'default', name: Name };
}

function idOf({ accounts, name, partition, services }: Source): string {
  return [partition, accounts, services, name].join('/');
}

function overlap(a: Source, b: Source): boolean {
  const meet = (one: string, other: string): boolean => one === '*' || other === '*' || one === other;
  const namespaces = meet(a.accounts, b.accounts) || meet(a.services, b.services);
  return a.partition === b.partition && namespaces && meet(a.name, b.name);
}

/** The callers that these sources are: by account, and by the identity that Consul gives. */
function sourcesOf(sources: readonly Source[], trustDomains: readonly string[]): readonly AuthorizationSource[] {
  const accounts = sources.filter(({ partition }) => partition === 'default');
  const exact = accounts.filter(({ name }) => name !== '*');
  const principals = exact.flatMap(({ accounts: namespace, name }) =>
    trustDomains.map((domain) => ({ kind: 'exact', value: `${domain}/ns/${namespace}/sa/${name}` }) as const),
  );
  const own = trustDomains.map((value) => ({ kind: 'exact', value }) as const);
  const wild = accounts.filter(({ name }) => name === '*');
  return [
    ...(principals.length === 0 ? [] : [{ principals }]),
    ...wild.map(({ accounts: namespace }) => ({
      trustDomains: own,
      namespaces: [namespace === '*' ? { kind: 'present' as const } : { kind: 'exact' as const, value: namespace }],
    })),
    {
      services: sources.map(({ name, partition, services: namespace }) => ({
        trustDomains,
        partition,
        namespace,
        name,
      })),
    },
  ];
}

/**
 * What is denied to everybody is denied to those, too, whom a mesh of Consul never has: callers without an identity, of
 * another trust domain, or with an identity that names neither a service nor an account.
 */
function everybody({ Name, Namespace = '*', Partition = 'default' }: SourceIntention): readonly AuthorizationSource[] {
  return Name === '*' && Namespace === '*' && Partition === 'default' ? [{}] : [];
}

/** Callers of whom an intention that goes before speaks, whatever it says. */
function exceptionsOf(before: readonly Intention[], trustDomains: readonly string[]): readonly AuthorizationRule[] {
  if (before.length === 0) return [];
  return [
    {
      from: sourcesOf(
        before.map(({ source }) => source),
        trustDomains,
      ),
      to: [],
    },
  ];
}

/** What an intention says other than the default policy. */
function rulesOf(
  { said: { Action, Permissions = [] } }: Intention,
  told: 'allow' | 'deny',
  from: readonly AuthorizationSource[],
  unless: readonly AuthorizationRule[],
): readonly AuthorizationRule[] {
  const complete = (rule: AuthorizationRule, exceptions: readonly AuthorizationRule[]): AuthorizationRule =>
    exceptions.length === 0 ? rule : { ...rule, unless: exceptions };
  if (Action !== undefined) return Action === told ? [complete({ from, to: [] }, unless)] : [];
  const rules: AuthorizationRule[] = [];
  const before: AuthorizationRule[] = [];
  for (const { Action: action, HTTP } of Permissions) {
    const permission = permissionRule(HTTP);
    if (action === told) rules.push(complete({ ...permission, from }, [...unless, ...before]));
    else before.push(permission);
  }
  return rules;
}
