import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { DestinationRuleBody, SubsetSpec, TrafficPolicy } from './istio-destination-rule.ts';
import { byAge, isExported, type Resource, resolveHost } from './resource.ts';
import { selects } from './values.ts';

/** Namespace whose resources hold for the whole mesh, Istio's default. */
export const rootNamespace = 'istio-system';

/** One DestinationRule, or several for the same host and callers taken together. */
export interface DestinationRule {
  readonly host: string;
  readonly namespace: string;
  readonly exportTo: readonly string[];
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly trafficPolicy?: TrafficPolicy;
  readonly subsets: ReadonlyMap<string, SubsetSpec>;
}

export interface DestinationRules {
  /** The rule that this workload applies to a service, by Istio's order of namespaces. */
  find(service: { readonly host: string; readonly namespace: string }): DestinationRule | undefined;
  /** Subsets that any rule at all defines for the host, whoever may see it. */
  subsetsOf(host: string): ReadonlySet<string>;
}

export function createDestinationRules(
  resources: readonly Resource<DestinationRuleBody>[],
  workload: Workload,
  collector: Collector,
): DestinationRules {
  // Rules with exact hosts by host, all others under '*': a mesh has thousands of the former.
  const byNamespace = new Map<string, Map<string, DestinationRule[]>>();
  for (const resource of [...resources].sort(byAge)) add(resource);

  function add(resource: Resource<DestinationRuleBody>): void {
    const { spec } = resource.body;
    const host = resolveHost(spec.host, resource.namespace, workload.clusterDomain);
    const byHost = byNamespace.get(resource.namespace) ?? new Map<string, DestinationRule[]>();
    byNamespace.set(resource.namespace, byHost);
    const key = keyOf(host);
    const rules = byHost.get(key) ?? [];
    byHost.set(key, rules);
    const rule: DestinationRule = {
      host,
      namespace: resource.namespace,
      exportTo: spec.exportTo ?? [],
      selector: spec.workloadSelector?.matchLabels,
      ...(spec.trafficPolicy === undefined ? {} : { trafficPolicy: spec.trafficPolicy }),
      subsets: new Map(spec.subsets?.map((subset) => [subset.name, subset])),
    };
    const index = rules.findIndex((other) => sameCallers(other, rule));
    const older = rules[index];
    if (older === undefined) rules.push(rule);
    else rules[index] = mergeRules(older, rule, resource, collector);
  }

  const candidates = (namespace: string, host: string): readonly DestinationRule[] => {
    const byHost = byNamespace.get(namespace);
    const wide = (byHost?.get('*') ?? []).filter((rule) => hostMatches(rule.host, host));
    return [...(byHost?.get(host) ?? []), ...wide];
  };

  const pick = (namespace: string, host: string, visible: (rule: DestinationRule) => boolean): DestinationRule[] => {
    const matching = candidates(namespace, host).filter(visible);
    const best = Math.max(...matching.map((rule) => specificity(rule.host)));
    return matching.filter((rule) => specificity(rule.host) === best);
  };

  return {
    find({ host, namespace }) {
      const exported = (rule: DestinationRule): boolean =>
        isExported(rule.exportTo, rule.namespace, workload.namespace);
      const places: [string, (rule: DestinationRule) => boolean][] = [
        // Rules of the own namespace need no export. In the root namespace only private ones are
        // "own": the others are for the whole mesh and come last.
        [workload.namespace, (rule) => workload.namespace !== rootNamespace || rule.exportTo.includes('.')],
        [namespace, exported],
        [rootNamespace, exported],
      ];
      for (const [place, visible] of places) {
        const rules = pick(place, host, visible);
        if (rules.length > 0) return choose(rules, workload);
      }
      return undefined;
    },
    subsetsOf(host) {
      const all = [...byNamespace.keys()].flatMap((namespace) => candidates(namespace, host));
      return new Set(all.flatMap((rule) => [...rule.subsets.keys()]));
    },
  };
}

/** Place of a rule in the index. */
function keyOf(host: string): string {
  return host.startsWith('*') ? '*' : host;
}

/** A rule for these very labels goes before one for everybody (Istio `workloadSelector`). */
function choose(rules: readonly DestinationRule[], workload: Workload): DestinationRule | undefined {
  const selected = rules.find(
    (rule) =>
      rule.selector !== undefined && rule.namespace === workload.namespace && selects(rule.selector, workload.labels),
  );
  return selected ?? rules.find((rule) => rule.selector === undefined);
}

function sameCallers(a: DestinationRule, b: DestinationRule): boolean {
  const key = (rule: DestinationRule): string =>
    JSON.stringify([rule.host, [...rule.exportTo].sort(), Object.entries(rule.selector ?? {}).sort()]);
  return key(a) === key(b);
}

/** Istio takes rules for the same host together: subsets of both, the policy of the older one. */
function mergeRules(
  older: DestinationRule,
  younger: DestinationRule,
  resource: Resource<DestinationRuleBody>,
  collector: Collector,
): DestinationRule {
  const subsets = new Map(older.subsets);
  for (const [name, subset] of younger.subsets) {
    if (!subsets.has(name)) subsets.set(name, subset);
    else {
      const index = resource.body.spec.subsets?.indexOf(subset) ?? 0;
      const note = `an older DestinationRule for ${older.host} defines subset ${name}`;
      collector.warn(resource, ['spec', 'subsets', index], 'ignored', note);
    }
  }
  if (older.trafficPolicy !== undefined && younger.trafficPolicy !== undefined) {
    const note = `an older DestinationRule for ${older.host} has one`;
    collector.warn(resource, ['spec', 'trafficPolicy'], 'ignored', note);
  }
  const trafficPolicy = older.trafficPolicy ?? younger.trafficPolicy;
  return { ...older, subsets, ...(trafficPolicy === undefined ? {} : { trafficPolicy }) };
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
