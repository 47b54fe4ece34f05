import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import type { Resource } from './resource.ts';
import { byAge } from './resource.ts';
import { selects } from './values.ts';

/** Which workloads a Telemetry is for, whatever it says. */
export interface TelemetryScope {
  readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly targetRef?: unknown;
  readonly targetRefs?: readonly unknown[];
}

type Scoped<Spec> = Resource<{ readonly spec?: Spec }>;

/**
 * The Telemetries of one workload, those that go before others last, as Istio has them: one for the whole mesh, one for
 * the namespace (the oldest counts), all that select the workload, the oldest first.
 */
export function applicableTelemetries<Spec extends TelemetryScope>(
  resources: readonly Scoped<Spec>[],
  workload: Workload,
  rootNamespace: string,
  collector: Collector,
): readonly Scoped<Spec>[] {
  const sorted = [...resources].sort(byAge);
  for (const each of sorted) {
    if (hasTargets(each)) collector.warn(each, ['spec'], 'ignored', 'is for gateways and waypoints');
  }
  const plain = sorted.filter((each) => !hasTargets(each));
  const wideIn = (namespace: string): readonly Scoped<Spec>[] => {
    const [first, ...others] = plain.filter((each) => each.namespace === namespace && isWide(each));
    for (const other of others) {
      collector.warn(other, ['spec'], 'ignored', `${first?.name} is older and counts for ${namespace} instead`);
    }
    return first === undefined ? [] : [first];
  };
  const { labels, namespace } = workload;
  return [
    ...wideIn(rootNamespace),
    ...(namespace === rootNamespace ? [] : wideIn(namespace)),
    ...plain.filter((each) => each.namespace === namespace && !isWide(each) && selects(labelsOf(each), labels)),
  ];
}

function hasTargets({ body: { spec } }: Scoped<TelemetryScope>): boolean {
  return spec?.targetRef !== undefined || (spec?.targetRefs ?? []).length > 0;
}

const isWide = (each: Scoped<TelemetryScope>): boolean => Object.keys(labelsOf(each)).length === 0;

function labelsOf({ body }: Scoped<TelemetryScope>): Readonly<Record<string, string>> {
  return body.spec?.selector?.matchLabels ?? {};
}
