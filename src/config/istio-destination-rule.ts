import type { Collector } from './collector.ts';
import { checkDestinationAnnotations } from './destination-annotations.ts';
import type { Path } from './document.ts';
import { isLabel, isLabelKey, isLabelValue, isWildcardDomain } from './host-syntax.ts';
import type { Resource } from './resource.ts';
import { checkTrafficPolicy } from './traffic-policy-check.ts';
import type { TrafficPolicy } from './traffic-policy-spec.ts';

export interface DestinationRuleBody {
  readonly spec: {
    readonly host: string;
    readonly trafficPolicy?: TrafficPolicy;
    readonly subsets?: readonly SubsetSpec[];
    readonly exportTo?: readonly string[];
    readonly workloadSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  };
}

export interface SubsetSpec {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly trafficPolicy?: TrafficPolicy;
}

/** Checks what a field table cannot say, as Istio's webhook does. */
export function checkDestinationRule(resource: Resource<DestinationRuleBody>, collector: Collector): void {
  const { host, trafficPolicy, subsets = [], workloadSelector } = resource.body.spec;
  if (!isWildcardDomain(host)) {
    collector.problem(resource, ['spec', 'host'], 'must be a host name, * or *.<domain>', host);
  }
  checkTrafficPolicy(resource, trafficPolicy, ['spec', 'trafficPolicy'], collector);
  checkDestinationAnnotations(resource, collector);
  const names = new Set<string>();
  subsets.forEach((subset, index) => {
    const path = ['spec', 'subsets', index];
    if (!isLabel(subset.name)) {
      const message = 'must be a name of at most 63 letters, digits and - inside';
      collector.problem(resource, [...path, 'name'], message, subset.name);
    } else if (names.has(subset.name)) {
      collector.problem(resource, [...path, 'name'], 'is there twice', subset.name);
    }
    names.add(subset.name);
    checkLabels(resource, subset.labels ?? {}, [...path, 'labels'], collector);
    checkTrafficPolicy(resource, subset.trafficPolicy, [...path, 'trafficPolicy'], collector);
  });
  if (workloadSelector === undefined) return;
  if (Object.keys(workloadSelector.matchLabels ?? {}).length === 0) {
    const note = 'selects every workload of the namespace, since it has no labels';
    collector.warn(resource, ['spec', 'workloadSelector'], 'enforced', note);
  }
}

/** Does it balance by zones anywhere? */
export function knowsZones({ body }: Resource<DestinationRuleBody>): boolean {
  const { trafficPolicy, subsets = [] } = body.spec;
  return [trafficPolicy, ...subsets.map((subset) => subset.trafficPolicy)].some((policy) =>
    [policy, ...(policy?.portLevelSettings ?? [])].some(
      (parts) => parts?.loadBalancer?.zoneAwareLbSetting !== undefined,
    ),
  );
}

function checkLabels(
  resource: Resource,
  labels: Readonly<Record<string, string>>,
  path: Path,
  collector: Collector,
): void {
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key)) collector.problem(resource, [...path, key], 'must be the name of a label', key);
    else if (!isLabelValue(value)) collector.problem(resource, [...path, key], 'must be the value of a label', value);
  }
}
