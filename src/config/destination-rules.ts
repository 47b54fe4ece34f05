import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { DestinationRuleBody, SubsetSpec } from './istio-destination-rule.ts';
import { defaultMeshSettings } from './mesh-settings.ts';
import { rememberPart } from './remember.ts';
import { byAge, type Resource, resolveHost } from './resource.ts';
import type { TrafficPolicy } from './traffic-policy-spec.ts';
import { selects } from './values.ts';

/** One DestinationRule, or several for the same host and callers taken together. */
export interface DestinationRule {
  readonly host: string;
  readonly namespace: string;
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly trafficPolicy?: TrafficPolicy;
  readonly subsets: ReadonlyMap<string, SubsetSpec>;
  /** What it was made of, the one that gave it its name first. */
  readonly resources: readonly Resource<DestinationRuleBody>[];
}

export interface DestinationRules {
  /** The rule that this workload applies to a service, by Istio's order of namespaces. */
  find(service: { readonly host: string; readonly namespace: string }): DestinationRule | undefined;
  /** Subsets that any rule at all defines for the host, whoever may see it. */
  subsetsOf(host: string): ReadonlySet<string>;
}

/** What holds for the whole mesh. */
export interface DestinationRuleDefaults {
  /** Default `istio-system`. */
  readonly rootNamespace?: string;
  /** Who sees a rule without `exportTo`. Default everybody. */
  readonly exportTo?: readonly string[];
}

/** A rule on its way through the merging. */
interface Entry {
  readonly resource: Resource<DestinationRuleBody>;
  readonly host: string;
  readonly exportTo: ReadonlySet<string>;
  readonly selector: Readonly<Record<string, string>> | undefined;
  trafficPolicy: TrafficPolicy | undefined;
  subsets: ReadonlyMap<string, SubsetSpec>;
  resources: readonly Resource<DestinationRuleBody>[];
}

/** Rules by host; wildcards apart, since a mesh has thousands of the others. */
interface Index {
  readonly exact: Map<string, Entry[]>;
  readonly wide: Map<string, Entry[]>;
}

/**
 * Which rule counts for a service, as istiod decides it (`PushContext.setDestinationRules`,
 * `destinationRule`, `mergeDestinationRule` with `ENABLE_ENHANCED_DESTINATIONRULE_MERGE`): the rules
 * of the own namespace, then those that the namespace of the service exports, then those of the root
 * namespace. In each of the three the most specific host comes first.
 */
export function createDestinationRules(
  resources: readonly Resource<DestinationRuleBody>[],
  workload: Workload,
  collector: Collector,
  defaults: DestinationRuleDefaults = {},
): DestinationRules {
  const root = defaults.rootNamespace ?? defaultMeshSettings.rootNamespace;
  const privateByDefault = defaults.exportTo?.includes('.') ?? false;
  /** Rules for workloads of their own namespace. */
  const local = new Map<string, Index>();
  const exported = new Map<string, Index>();
  /** Of the root namespace, for itself alone. */
  const rootLocal = newIndex();
  const merge = createMerger(collector);
  for (const resource of [...resources].sort(selectiveFirst)) add(resource);

  function add(resource: Resource<DestinationRuleBody>): void {
    const { namespace } = resource;
    const entry = entryOf(resource, workload);
    const { exportTo } = entry;
    if (exportTo.size === 0 || ['*', '.', namespace].some((to) => exportTo.has(to))) {
      merge(indexOf(local, namespace), entry);
    }
    const own = exportTo.size === 1 && (exportTo.has('.') || exportTo.has(namespace));
    if (!own && !(exportTo.size === 0 && privateByDefault)) merge(indexOf(exported, namespace), entry);
    else if (namespace === root) merge(rootLocal, entry);
  }

  const exportedBy = (namespace: string, host: string): readonly Entry[] =>
    // The most specific host first and then whether it may be seen: one that may not hides the wider ones.
    mostSpecific(exported.get(namespace), host).filter(
      ({ exportTo }) => exportTo.size === 0 || exportTo.has('*') || exportTo.has(workload.namespace),
    );

  const candidates = (host: string, namespace: string): readonly Entry[] => {
    // In the root namespace the rules that are for everybody come last.
    const own = workload.namespace === root ? rootLocal : local.get(workload.namespace);
    const first = mostSpecific(own, host);
    if (first.length > 0) return first;
    const second = exportedBy(namespace, host);
    return second.length > 0 ? second : exportedBy(root, host);
  };

  const found = new Map<string, DestinationRule | undefined>();
  return {
    find({ host, namespace }) {
      const key = `${namespace}/${host}`;
      if (found.has(key)) return found.get(key);
      const entry = choose(candidates(host, namespace), workload);
      const rule = entry && knownRule(entry);
      found.set(key, rule);
      return rule;
    },
    subsetsOf(host) {
      const names = new Set<string>();
      for (const resource of resources) {
        if (!hostMatches(resolveHost(resource.body.spec.host, resource.namespace, workload.clusterDomain), host))
          continue;
        for (const { name } of resource.body.spec.subsets ?? []) names.add(name);
      }
      return names;
    },
  };
}

/** Rules for some workloads before rules for all, older ones before younger. */
function selectiveFirst(a: Resource<DestinationRuleBody>, b: Resource<DestinationRuleBody>): number {
  const rank = ({ body }: Resource<DestinationRuleBody>): number => (body.spec.workloadSelector === undefined ? 1 : 0);
  return rank(a) - rank(b) || byAge(a, b);
}

function entryOf(resource: Resource<DestinationRuleBody>, workload: Workload): Entry {
  const { spec } = resource.body;
  const selective = spec.workloadSelector !== undefined;
  return {
    resource,
    host: resolveHost(spec.host, resource.namespace, workload.clusterDomain),
    // A rule for some workloads never leaves its namespace.
    exportTo: new Set(selective ? ['.'] : spec.exportTo),
    selector: selective ? (spec.workloadSelector?.matchLabels ?? {}) : undefined,
    trafficPolicy: spec.trafficPolicy,
    subsets: new Map(spec.subsets?.map((subset) => [subset.name, subset])),
    resources: [resource],
  };
}

const rulesKnown = rememberPart<Resource, DestinationRule>();

/** The same object for the same resources, so that what was made of it can be kept. */
function knownRule(entry: Entry): DestinationRule {
  return rulesKnown(entry.resource, entry.host, entry.resources, () => ruleOf(entry));
}

function ruleOf({ resource, host, selector, trafficPolicy, subsets, resources }: Entry): DestinationRule {
  return {
    host,
    namespace: resource.namespace,
    selector,
    ...(trafficPolicy === undefined ? {} : { trafficPolicy }),
    subsets,
    resources,
  };
}

function newIndex(): Index {
  return { exact: new Map(), wide: new Map() };
}

function indexOf(indexes: Map<string, Index>, namespace: string): Index {
  let index = indexes.get(namespace);
  if (index === undefined) indexes.set(namespace, (index = newIndex()));
  return index;
}

function mostSpecific(index: Index | undefined, host: string): readonly Entry[] {
  if (index === undefined) return [];
  const exact = index.exact.get(host);
  if (exact !== undefined) return exact;
  let best: string | undefined;
  for (const pattern of index.wide.keys()) {
    if (!hostMatches(pattern, host)) continue;
    if (best === undefined || pattern.length > best.length) best = pattern;
  }
  return (best === undefined ? undefined : index.wide.get(best)) ?? [];
}

/** A rule for these very labels goes before one for everybody; of several of these the last counts. */
function choose(entries: readonly Entry[], workload: Workload): Entry | undefined {
  const selected = entries.find(
    ({ selector, resource }) =>
      selector !== undefined && resource.namespace === workload.namespace && selects(selector, workload.labels),
  );
  return selected ?? entries.findLast(({ selector }) => selector === undefined);
}

/**
 * Adds a rule to an index. Rules for one host are taken together when the same namespaces see them
 * and the same workloads are selected: subsets of both, the policy of the older one. One that more
 * namespaces see is taken into one that fewer see, and as in Istio the others do not see it then.
 */
function createMerger(collector: Collector): (index: Index, entry: Entry) => void {
  // The same two rules meet in the index of their namespace and among the exported ones.
  const said = new Map<Resource, Set<string>>();
  const warn = ({ resource }: Entry, path: readonly (string | number)[], note: string): void => {
    const paths = said.get(resource) ?? new Set();
    said.set(resource, paths);
    const key = path.join('.');
    if (paths.has(key)) return;
    paths.add(key);
    collector.warn(resource, path, 'ignored', note);
  };
  const complete = (older: Entry, younger: Entry): void => {
    const subsets = new Map(older.subsets);
    for (const [name, subset] of younger.subsets) {
      if (!subsets.has(name)) subsets.set(name, subset);
      else {
        const index = younger.resource.body.spec.subsets?.indexOf(subset) ?? 0;
        warn(younger, ['spec', 'subsets', index], `an older DestinationRule for ${older.host} defines subset ${name}`);
      }
    }
    if (older.trafficPolicy !== undefined && younger.trafficPolicy !== undefined) {
      warn(younger, ['spec', 'trafficPolicy'], `an older DestinationRule for ${older.host} has one`);
    }
    older.subsets = subsets;
    older.trafficPolicy ??= younger.trafficPolicy;
    older.resources = [...older.resources, younger.resource];
  };
  return (index, entry) => {
    const map = entry.host.startsWith('*') ? index.wide : index.exact;
    const list = map.get(entry.host) ?? [];
    map.set(entry.host, list);
    let separate = true;
    for (const older of list) {
      separate = true;
      const same = sameSet(entry.exportTo, older.exportTo);
      if (!same && (older.exportTo.size === 0 || !isSubset(older.exportTo, entry.exportTo))) continue;
      const alike = (older.selector === undefined) === (entry.selector === undefined);
      if (alike && !sameLabels(older.selector, entry.selector)) continue;
      // A rule for all completes one for some, and stays a rule for the others. (With equal exportTo
      // istiod forgets it for them, against its own documentation.)
      separate = !alike;
      complete(older, entry);
      if (same || separate) continue;
      const note = `is merged into an older DestinationRule for ${older.host}, and is seen where that one is seen`;
      warn(entry, ['spec', 'exportTo'], note);
    }
    // Completing one must not change the same rule elsewhere.
    if (separate) list.push({ ...entry });
  };
}

function sameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && isSubset(a, b);
}

function isSubset(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return [...part].every((each) => whole.has(each));
}

function sameLabels(a: Readonly<Record<string, string>> = {}, b: Readonly<Record<string, string>> = {}): boolean {
  return selects(a, b) && selects(b, a);
}

/** Does `*.example.com` (or an equal name) cover the host? A wildcard also covers a longer wildcard. */
export function hostMatches(pattern: string, host: string): boolean {
  if (pattern === '*' || pattern === host) return true;
  return pattern.startsWith('*') && host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

/** Higher is more specific: exact names first, then by the length of the suffix. */
export function specificity(pattern: string): number {
  return pattern.startsWith('*') ? pattern.length : Number.POSITIVE_INFINITY;
}
