import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';

interface TargetRef {
  readonly group?: string;
  readonly kind: string;
}

/** How a policy says which workloads it is for. */
export interface Targets {
  readonly selector?: unknown;
  readonly workloadSelector?: unknown;
  readonly targetRef?: TargetRef;
  readonly targetRefs?: readonly TargetRef[];
}

/** What policies may attach to, by group and kind. */
const attachable = new Set([
  'core/Service',
  'networking.istio.io/ServiceEntry',
  'gateway.networking.k8s.io/Gateway',
  'gateway.networking.k8s.io/GatewayClass',
]);

/** At most one way to choose workloads, and only targets that Istio knows. */
export function validateTargets(
  resource: Resource,
  spec: Targets,
  collector: Collector,
  kinds: 'known kinds' | 'any kind' = 'known kinds',
): void {
  const { selector, workloadSelector, targetRef, targetRefs = [] } = spec;
  const set = [
    ...(selector === undefined ? [] : ['selector']),
    ...(workloadSelector === undefined ? [] : ['workloadSelector']),
    ...(targetRef === undefined ? [] : ['targetRef']),
    ...(targetRefs.length === 0 ? [] : ['targetRefs']),
  ];
  if (set.length > 1) collector.problem(resource, ['spec'], `may have only one of ${set.join(' and ')}`);
  if (kinds === 'any kind') return;
  if (targetRef !== undefined) validateTarget(resource, targetRef, ['spec', 'targetRef'], collector);
  for (const [index, target] of targetRefs.entries()) {
    validateTarget(resource, target, ['spec', 'targetRefs', index], collector);
  }
}

function validateTarget(resource: Resource, target: TargetRef, path: Path, collector: Collector): void {
  const { group = '', kind } = target;
  if (attachable.has(`${group === '' ? 'core' : group}/${kind}`)) return;
  const known = 'must refer to a Service, a ServiceEntry, or a Gateway or GatewayClass of gateway.networking.k8s.io';
  collector.problem(resource, path, known, group === '' ? kind : `${group}/${kind}`);
}
