import type { Endpoint, LocalityBalance, LocalityWeight } from '../model/cluster.ts';
import { type Locality, readLocality, topologyLabels } from '../model/locality.ts';
import { localityOfWorkload, type Workload } from '../model/workload.ts';
import type { LocalityDistribution, LocalityFailover, LocalityPolicy, ZoneAwarePolicy } from './locality-policy.ts';
import type { ServiceEndpoint } from './service.ts';

/** An endpoint of a cluster, and what is known of it beside that. */
export interface Candidate {
  readonly endpoint: Endpoint;
  readonly source: Pick<ServiceEndpoint, 'network' | 'node'>;
}

/** What counts for a cluster: one of Istio's two settings, or neither. */
export interface PlacementPolicy {
  readonly locality?: LocalityPolicy;
  readonly zones?: ZoneAwarePolicy;
  /** May priorities be made? Without outlier detection nothing would ever leave the first one. */
  readonly failsOver: boolean;
}

/** Endpoints with their priorities, and how localities share what a priority gets. */
export interface Placement {
  readonly endpoints: readonly Endpoint[];
  readonly localities?: LocalityBalance;
}

/**
 * Places the endpoints of a cluster as istiod does it for one client: near ones first, or by weights
 * over localities (`ApplyLocalityLoadBalancer`, `ApplyZoneAwareLoadBalancer` of pilot).
 */
export function placeEndpoints(all: readonly Candidate[], policy: PlacementPolicy, own: Workload): Placement {
  const { failsOver, locality, zones } = policy;
  if (zones !== undefined) return placeZones(all, zones, own);
  if (locality === undefined) return { endpoints: unplaced(all) };
  if (locality.distribute.length > 0) return distribute(unplaced(all), locality.distribute, own);
  if (!failsOver) return { endpoints: unplaced(all) };
  const { failover, failoverPriority } = locality;
  const byLabels = labelPriorities(all, failoverPriority, own);
  if (failoverPriority.length > 0 && failover.length === 0) return weighted(withPriorities(all, byLabels));
  const from = ownLocality(own);
  const priorities = refine(byLabels, all, ({ endpoint }) => distance(from, readLocality(endpoint.locality), failover));
  const endpoints = withPriorities(all, priorities);
  // Where nothing but nearness was asked for, Istio leaves the endpoints of one priority alike.
  return failover.length === 0 ? { endpoints } : weighted(endpoints);
}

/** The own region always comes first; zones within it are for the balancer. */
function placeZones(all: readonly Candidate[], zones: ZoneAwarePolicy, own: Workload): Placement {
  const from = ownLocality(own);
  const priorities = refine(labelPriorities(all, zones.failoverPriority, own), all, ({ endpoint }) => {
    const far = distance(from, readLocality(endpoint.locality), zones.failover);
    return far < otherRegion ? 0 : far;
  });
  return {
    endpoints: withPriorities(all, priorities),
    localities: { kind: 'zones', own: localityOfWorkload(own), minClusterSize: zones.minClusterSize },
  };
}

const otherRegion = 3;

/** 0 in the same subzone, 1 in the same zone, 2 in the same region, 3 elsewhere; 4 where failover leads elsewhere. */
function distance(from: Locality, to: Locality, failover: readonly LocalityFailover[]): number {
  if (from.region !== to.region) {
    const rule = failover.find((each) => each.from === from.region);
    return rule === undefined || rule.to === to.region ? otherRegion : otherRegion + 1;
  }
  if (from.zone !== to.zone) return 2;
  return from.subzone === to.subzone ? 0 : 1;
}

/** More than {@link distance} ever gives. */
const distances = otherRegion + 2;

/** 0 where all labels are like the own ones or as asked for, the more the earlier the first that is not. */
function labelPriorities(all: readonly Candidate[], names: readonly string[], own: Workload): readonly number[] {
  // As in Istio: who has no labels at all has nothing to compare with.
  if (names.length === 0 || isNobody(own)) return all.map(() => 0);
  const mine = { labels: own.labels, locality: localityOfWorkload(own) };
  const wanted = names.map((text) => {
    const [name = '', value, ...rest] = text.split('=');
    return { name, value: value !== undefined && rest.length === 0 ? value : labelOf(mine, {}, name) };
  });
  return compact(
    all.map(({ endpoint, source }) => {
      const differs = wanted.findIndex(({ name, value }) => labelOf(endpoint, source, name) !== value);
      return differs === -1 ? 0 : names.length - differs;
    }),
  );
}

function isNobody(own: Workload): boolean {
  return localityOfWorkload(own) === '' && Object.keys(own.labels).length === 0;
}

/** A label, or what Istio adds to the labels of workloads; '' when it is not there. */
function labelOf(
  { labels, locality }: Pick<Endpoint, 'labels' | 'locality'>,
  { network, node }: Candidate['source'],
  name: string,
): string {
  const given = Object.hasOwn(labels, name) ? (labels[name] ?? '') : '';
  switch (name) {
    case topologyLabels.region:
      return readLocality(locality).region || given;
    case topologyLabels.zone:
      return readLocality(locality).zone || given;
    case topologyLabels.subzone:
      return readLocality(locality).subzone || given;
    case topologyLabels.network:
      return given || (network ?? '');
    case topologyLabels.node:
      return node ?? given;
    default:
      return given;
  }
}

/** Priorities in which those that are alike are told apart by something else. */
function refine(
  priorities: readonly number[],
  all: readonly Candidate[],
  by: (candidate: Candidate) => number,
): readonly number[] {
  return compact(all.map((each, index) => (priorities[index] as number) * distances + by(each)));
}

/** From 0 on without gaps, in the same order. */
function compact(priorities: readonly number[]): readonly number[] {
  const used = [...new Set(priorities)].sort((a, b) => a - b);
  const rank = new Map(used.map((priority, index) => [priority, index]));
  return priorities.map((priority) => rank.get(priority) as number);
}

function unplaced(all: readonly Candidate[]): readonly Endpoint[] {
  return all.map(({ endpoint }) => endpoint);
}

function withPriorities(all: readonly Candidate[], priorities: readonly number[]): readonly Endpoint[] {
  return all.map(({ endpoint }, index) => {
    const priority = priorities[index] as number;
    return priority === 0 ? endpoint : { ...endpoint, priority };
  });
}

/** Each locality of a priority by the weights of its endpoints. */
function weighted(endpoints: readonly Endpoint[]): Placement {
  return { endpoints, localities: { kind: 'weighted', weights: weightsOf(endpoints) } };
}

function weightsOf(endpoints: readonly Endpoint[]): readonly LocalityWeight[] {
  const sums = new Map<string, { priority: number; locality: string; weight: number }>();
  for (const { locality, priority = 0, weight } of endpoints) {
    const key = `${priority} ${locality}`;
    const sum = sums.get(key);
    if (sum === undefined) sums.set(key, { priority, locality, weight });
    else sum.weight += weight;
  }
  return [...sums.values()];
}

/** Weights over localities for clients where this one is; localities that have none get no endpoints. */
function distribute(endpoints: readonly Endpoint[], rules: readonly LocalityDistribution[], own: Workload): Placement {
  const from = ownLocality(own);
  const rule = rules.find((each) => isWithin(from, each.from));
  if (rule === undefined) return weighted(endpoints);
  let left = weightsOf(endpoints);
  const weights: LocalityWeight[] = [];
  for (const [to, percent] of Object.entries(rule.to)) {
    const { here = [], others = [] } = Object.groupBy(left, ({ locality }) =>
      isWithin(readLocality(locality), to) ? 'here' : 'others',
    );
    const whole = here.reduce((sum, { weight }) => sum + weight, 0);
    // A wildcard may mean several localities: they share by the weights of their endpoints.
    for (const each of here) weights.push({ ...each, weight: Math.ceil((each.weight * percent) / whole) });
    left = others;
  }
  const chosen = new Set(weights.map(({ locality }) => locality));
  return {
    endpoints: endpoints.filter(({ locality }) => chosen.has(locality)),
    localities: { kind: 'weighted', weights },
  };
}

/** Istio's `LocalityMatch`: what a rule does not name, or names `*`, may be anything. */
function isWithin({ region, zone, subzone }: Locality, rule: string): boolean {
  const wanted = readLocality(rule);
  const fits = (name: string, want: string): boolean => want === '' || want === '*' || want === name;
  return (
    (wanted.region === '*' || wanted.region === region) && fits(zone, wanted.zone) && fits(subzone, wanted.subzone)
  );
}

function ownLocality(own: Workload): Locality {
  return readLocality(localityOfWorkload(own));
}
