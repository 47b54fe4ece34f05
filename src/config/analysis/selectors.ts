import type { Path } from '../document.ts';
import { describeResource } from '../problem.ts';
import type { Resource } from '../resource.ts';
import { selects } from '../values.ts';
import type { FindingCode } from './catalogue.ts';
import type { AnalysisContext, Analyzer } from './context.ts';
import { type KnownWorkload, knownServices } from './known-services.ts';

type Labels = Readonly<Record<string, string>>;

interface Selecting {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: Labels };
    readonly workloadSelector?: { readonly labels?: Labels; readonly matchLabels?: Labels };
    readonly targetRef?: unknown;
    readonly targetRefs?: readonly unknown[];
  };
}

/** Labels of the selector of a resource; none: it is for all workloads. */
export function selectorOf(resource: Resource): { readonly labels: Labels; readonly path: Path } {
  const { selector, workloadSelector } = (resource.body as Selecting).spec ?? {};
  if (workloadSelector !== undefined) {
    return {
      labels: workloadSelector.labels ?? workloadSelector.matchLabels ?? {},
      path: ['spec', 'workloadSelector'],
    };
  }
  return { labels: selector?.matchLabels ?? {}, path: ['spec', 'selector'] };
}

/** Kinds of which one at most is in force for a workload. */
const exclusive: readonly { readonly kind: string; readonly without: FindingCode; readonly same: FindingCode }[] = [
  { kind: 'Sidecar', without: 'IST0111', same: 'IST0110' },
  { kind: 'Telemetry', without: 'IST0160', same: 'IST0159' },
];

/** Several resources of a kind for the same workloads, where only one can count. */
export const analyzeExclusiveSelectors: Analyzer = (context) => {
  for (const { kind, without, same } of exclusive) {
    const resources = context.ofKind(kind).filter((resource) => !isAttached(resource));
    if (resources.length < 2) continue;
    const { workloads } = knownServices(context);
    for (const resource of resources) {
      const { labels, path } = selectorOf(resource);
      const plain = Object.keys(labels).length === 0;
      const others = resources.filter(
        (other) => other !== resource && other.namespace === resource.namespace && meet(resource, other, workloads),
      );
      if (others.length === 0) continue;
      const names = others.map(describeResource).join(' and ');
      const message = plain
        ? `${names} has no selector either, and one in a namespace can count`
        : `${names} selects the same workloads, and one for a workload can count`;
      context.report(plain ? without : same, resource, plain ? ['metadata', 'name'] : path, message);
    }
  }
};

/** Both without a selector; or with equal ones, or with ones that a known workload has both. */
function meet(a: Resource, b: Resource, workloads: readonly KnownWorkload[]): boolean {
  const [left, right] = [selectorOf(a).labels, selectorOf(b).labels];
  const [none, noneToo] = [Object.keys(left).length === 0, Object.keys(right).length === 0];
  if (none || noneToo) return none && noneToo;
  if (selects(left, right) && selects(right, left)) return true;
  return workloads.some(
    ({ namespace, labels }) => namespace === a.namespace && selects(left, labels) && selects(right, labels),
  );
}

function isAttached({ body }: Resource): boolean {
  const { targetRef, targetRefs = [] } = (body as Selecting).spec ?? {};
  return targetRef !== undefined || targetRefs.length > 0;
}

const selecting = ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication', 'Telemetry', 'Sidecar'];

/** Selectors that choose none of the workloads that the files describe in their namespace. */
export const analyzeIdleSelectors: Analyzer = (context) => {
  const resources = selecting.flatMap((kind) => context.ofKind(kind));
  if (resources.length === 0) return;
  const { workloads } = knownServices(context);
  const root = context.mesh.rootNamespace;
  for (const resource of resources) {
    const { labels, path } = selectorOf(resource);
    if (Object.keys(labels).length === 0) continue;
    const around = workloadsAround(resource, root, workloads, context);
    // Files that describe no workload there say nothing about which there are.
    if (around.length === 0 || around.some((each) => selects(labels, each.labels))) continue;
    const text = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    context.report('IST0127', resource, path, `selects none of the workloads in these files: ${text.join(', ')}`);
  }
};

function workloadsAround(
  resource: Resource,
  root: string,
  workloads: readonly KnownWorkload[],
  { workload }: AnalysisContext,
): readonly KnownWorkload[] {
  const known = workloads.filter(({ namespace }) => resource.namespace === root || namespace === resource.namespace);
  // The process itself is a workload of its namespace.
  const own = resource.namespace === root || resource.namespace === workload.namespace;
  return known.length > 0 && own ? [...known, workload] : known;
}
