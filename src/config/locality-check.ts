import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import type { LocalitySpec } from './traffic-policy-spec.ts';

const topology: ReadonlySet<string> = new Set([
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'topology.istio.io/subzone',
]);

/**
 * Checks Istio's `LocalityLoadBalancerSetting`, of a DestinationRule or of the mesh, as Istio does.
 *
 * @param outlier is there outlier detection, without which nothing fails over?
 */
export function checkLocality(
  resource: Resource,
  spec: LocalitySpec,
  outlier: boolean,
  path: Path,
  collector: Collector,
): void {
  const { distribute = [], failover = [], failoverPriority = [] } = spec;
  const problem = (at: Path, message: string, ...value: readonly unknown[]): void =>
    collector.problem(resource, [...path, ...at], message, ...value);
  if (distribute.length > 0 && failover.length > 0) {
    problem([], 'may have only one of distribute and failover');
    return;
  }
  if (failover.length > 0) {
    const index = failoverPriority.findIndex((label) => topology.has(label));
    if (index !== -1) {
      problem(['failoverPriority', index], 'must not be a topology label beside failover', failoverPriority[index]);
      return;
    }
  }
  distribute.forEach(({ to = {} }, index) => {
    const at = ['distribute', index, 'to'];
    let total = 0;
    for (const [locality, weight] of Object.entries(to)) {
      if (weight < 1 || weight > 100) problem([...at, locality], 'must be a weight from 1 to 100', weight);
      total += weight;
    }
    if (total !== 100) problem(at, 'must have weights with a sum of 100', total);
    checkLocalities(Object.keys(to), (locality, message) => problem([...at, locality], message, locality));
  });
  checkLocalities(
    distribute.map(({ from = '' }) => from),
    (locality, message, index) => problem(['distribute', index, 'from'], message, locality),
  );
  checkFailover(resource, spec, outlier, path, collector);
}

/** Checks Istio's `ZoneAwareLoadBalancerSetting`: what is nearest there goes without saying. */
export function checkZones(
  resource: Resource,
  spec: FailoverLists,
  outlier: boolean,
  path: Path,
  collector: Collector,
): void {
  spec.failoverPriority?.forEach((label, index) => {
    if (!topology.has(label)) return;
    collector.problem(resource, [...path, 'failoverPriority', index], 'must not be a topology label', label);
  });
  checkFailover(resource, spec, outlier, path, collector);
}

type FailoverLists = Pick<LocalitySpec, 'failover' | 'failoverPriority'>;

function checkFailover(
  resource: Resource,
  { failover = [], failoverPriority = [] }: FailoverLists,
  outlier: boolean,
  path: Path,
  collector: Collector,
): void {
  failover.forEach(({ from = '', to = '' }, index) => {
    const at = [...path, 'failover', index];
    if (from === to) collector.problem(resource, at, 'must lead from one region to another', to);
    for (const [name, region] of [
      ['from', from],
      ['to', to],
    ] as const) {
      if (!/[/*]/.test(region)) continue;
      collector.problem(resource, [...at, name], 'must be a region, without zone and without *', region);
    }
  });
  if (failover.length + failoverPriority.length > 0 && !outlier) {
    const note = 'has no effect without outlierDetection: nothing says that an endpoint is not healthy';
    collector.warn(resource, [...path, failover.length > 0 ? 'failover' : 'failoverPriority'], 'ignored', note);
  }
}

/** `region/zone/subzone` with `*` at the end at most, and none that covers what an earlier one names. */
function checkLocalities(
  localities: readonly string[],
  problem: (locality: string, message: string, index: number) => void,
): void {
  const before: string[] = [];
  localities.forEach((locality, index) => {
    const stars = locality.split('*').length - 1;
    if (stars > 1 || (stars === 1 && !locality.endsWith('*'))) {
      problem(locality, 'may have one * only, at its end', index);
    } else if (splitLocality(locality).includes('')) {
      problem(locality, 'must not have an empty region, zone or subzone', index);
    } else if (before.some((other) => overlap(other, locality))) {
      problem(locality, 'overlaps with one before it', index);
    } else before.push(locality);
  });
}

/** Three parts at most: a subzone may hold slashes. */
function splitLocality(locality: string): readonly string[] {
  const [region = '', zone, ...subzone] = locality.split('/');
  if (zone === undefined) return [region];
  return subzone.length === 0 ? [region, zone] : [region, zone, subzone.join('/')];
}

/** The wider one of two covers the other: a missing part and `*` stand for everything. */
function overlap(earlier: string, later: string): boolean {
  const [a, b] = [splitLocality(earlier), splitLocality(later)];
  for (let i = 0; i < 3; i++) {
    const left = a[i];
    const right = b[i];
    if (left === undefined || left === '*' || right === undefined) return true;
    // What Istio finds only in one order is a matter of order here too: `a/b` before `a/*` passes.
    if (left !== right) return false;
  }
  return true;
}
