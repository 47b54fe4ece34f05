import { suggest } from '../lib/suggest.ts';
import type { BalancePolicy } from '../model/cluster.ts';
import type { Collector } from './collector.ts';
import type { DestinationRuleBody } from './istio-destination-rule.ts';
import { outlierAnnotation, readOutlierAnnotation } from './outlier-annotation.ts';
import type { Resource } from './resource.ts';

/**
 * What inmesh has beyond Istio's API for a DestinationRule: annotations of the resource, for every
 * cluster that the rule configures. `docs/reference/extensions.md` describes them.
 */
export interface DestinationExtensions {
  /** `inmesh.dev/load-balancer`: instead of `loadBalancer.simple`, which is what sidecars understand. */
  readonly balance?: BalancePolicy;
  /** `inmesh.dev/hash-balance-factor`: {@link ConsistentHash.balanceFactor}. */
  readonly hashBalanceFactor?: number;
  /** `inmesh.dev/subset-size`: each process calls so many of the endpoints. */
  readonly subsetSize?: number;
}

const prefix = 'inmesh.dev/';

/** One annotation. `read` gives nothing for a value that says nothing sensible. */
interface Annotation<T> {
  readonly key: `${typeof prefix}${string}`;
  /** Completes "must be …". */
  readonly mustBe: string;
  readonly read: (value: string) => T | undefined;
}

const ownBalancers = ['PEAK_EWMA', 'UTILIZATION'] as const;

/** Every annotation that is known, by what it sets. */
const known: {
  readonly [K in keyof Required<DestinationExtensions>]: Annotation<NonNullable<DestinationExtensions[K]>>;
} = {
  balance: {
    key: 'inmesh.dev/load-balancer',
    mustBe: ownBalancers.join(' or '),
    read: (value) => ownBalancers.find((policy) => policy === value),
  },
  hashBalanceFactor: {
    key: 'inmesh.dev/hash-balance-factor',
    mustBe: 'a whole number of percent from 100 to 4294967295',
    read: (value) => (/^[1-9][0-9]{2,9}$/.test(value) && Number(value) <= 4_294_967_295 ? Number(value) : undefined),
  },
  subsetSize: {
    key: 'inmesh.dev/subset-size',
    mustBe: 'a whole number from 1 to 100000',
    read: (value) => (/^[1-9]\d{0,5}$/.test(value) && Number(value) <= 100_000 ? Number(value) : undefined),
  },
};

const byKey = new Map<string, Annotation<unknown>>(Object.values(known).map((each) => [each.key, each]));
const keys: readonly string[] = [...byKey.keys(), outlierAnnotation];

/** Reports what the annotations do, and refuses those that say nothing sensible. */
export function checkDestinationAnnotations(resource: Resource<DestinationRuleBody>, collector: Collector): void {
  for (const [key, value] of Object.entries(resource.annotations)) {
    if (!key.startsWith(prefix)) continue;
    const path = ['metadata', 'annotations', key];
    if (key === outlierAnnotation) {
      checkOutlierAnnotation(resource, path, collector);
      continue;
    }
    const annotation = byKey.get(key);
    if (annotation === undefined) {
      const meant = suggest(key, keys);
      const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
      collector.refuse(resource, path, `is not an annotation that is known here${hint}`, value);
    } else if (annotation.read(value) === undefined) {
      collector.refuse(resource, path, `must be ${annotation.mustBe}`, value);
    } else collector.entry(resource, path, 'enforced');
  }
  const { consistentHash, simple } = resource.body.spec.trafficPolicy?.loadBalancer ?? {};
  const stronger =
    consistentHash === undefined ? (simple === 'PASSTHROUGH' ? 'simple: PASSTHROUGH' : '') : 'consistentHash';
  for (const { key } of [known.balance, known.subsetSize]) {
    if (stronger === '' || resource.annotations[key] === undefined) continue;
    const note = `spec.trafficPolicy.loadBalancer has ${stronger}, which goes first`;
    collector.warn(resource, ['metadata', 'annotations', key], 'ignored', note);
  }
  const { key } = known.hashBalanceFactor;
  if (resource.annotations[key] !== undefined && !hashes(resource)) {
    collector.warn(resource, ['metadata', 'annotations', key], 'ignored', 'there is no consistentHash in this rule');
  }
}

/** Does any of the policies of the rule choose endpoints by hash? */
function hashes({ body }: Resource<DestinationRuleBody>): boolean {
  const { trafficPolicy, subsets = [] } = body.spec;
  return [trafficPolicy, ...subsets.map((subset) => subset.trafficPolicy)].some((policy) =>
    [policy, ...(policy?.portLevelSettings ?? [])].some((each) => each?.loadBalancer?.consistentHash !== undefined),
  );
}

function checkOutlierAnnotation(
  resource: Resource<DestinationRuleBody>,
  path: readonly string[],
  collector: Collector,
): void {
  const value = resource.annotations[outlierAnnotation] ?? '';
  const read = readOutlierAnnotation(value);
  if (typeof read === 'string') {
    collector.refuse(resource, path, read, value);
    return;
  }
  const { subsets = [], trafficPolicy } = resource.body.spec;
  const policies = [trafficPolicy, ...subsets.map((subset) => subset.trafficPolicy)];
  const parts = policies.flatMap((policy) => [policy, ...(policy?.portLevelSettings ?? [])]);
  if (parts.some((part) => part?.outlierDetection !== undefined)) collector.entry(resource, path, 'enforced');
  else collector.warn(resource, path, 'ignored', 'there is no outlierDetection in the rule that it could add to');
}

/** What the annotations of the resources say that a rule is made of; the one that gave it its name goes first. */
export function destinationExtensions(resources: readonly Resource[]): DestinationExtensions {
  const balance = firstOf(known.balance, resources);
  const subsetSize = firstOf(known.subsetSize, resources);
  const hashBalanceFactor = firstOf(known.hashBalanceFactor, resources);
  return {
    ...(balance === undefined ? {} : { balance }),
    ...(subsetSize === undefined ? {} : { subsetSize }),
    ...(hashBalanceFactor === undefined ? {} : { hashBalanceFactor }),
  };
}

function firstOf<T>({ key, read }: Annotation<T>, resources: readonly Resource[]): T | undefined {
  for (const { annotations } of resources) {
    const value = annotations[key];
    if (value !== undefined) return read(value);
  }
  return undefined;
}
