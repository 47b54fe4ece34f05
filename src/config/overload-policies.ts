import type { AdaptivePolicy, OverloadPolicy } from '../model/overload.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { describeResource } from './problem.ts';
import { byAge, type Resource } from './resource.ts';
import { durationMs, selects } from './values.ts';

export interface OverloadPolicyBody {
  readonly spec: {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly concurrency?: {
      readonly maxRequests?: number;
      readonly maxQueue?: number;
      readonly queueTimeout?: string;
      readonly maxSharePercent?: number;
    };
    readonly adaptiveConcurrency?: AdaptiveSpec;
    readonly eventLoop?: {
      readonly maxDelay: string;
      readonly resumeDelay?: string;
      readonly maxShedPercent?: number;
    };
    readonly priority?: { readonly header?: string; readonly principals?: readonly string[] };
    readonly exemptPaths?: readonly string[];
  };
}

interface AdaptiveSpec {
  readonly sampleAggregatePercentile?: number;
  readonly updateInterval?: string;
  readonly maxConcurrencyLimit?: number;
  readonly minConcurrencyLimit?: number;
  readonly minRtt?: {
    readonly interval?: string;
    readonly requestCount?: number;
    readonly jitterPercent?: number;
    readonly minConcurrency?: number;
    readonly bufferPercent?: number;
  };
}

/**
 * The policy of this workload: one that selects it, else that of its namespace, else that of the root
 * namespace; of several at one level the oldest, as with PeerAuthentications.
 */
export function compileOverloadPolicy(
  resources: readonly Resource<OverloadPolicyBody>[],
  workload: Workload,
  rootNamespace: string,
  collector: Collector,
): OverloadPolicy | undefined {
  const found: (Resource<OverloadPolicyBody> | undefined)[] = [undefined, undefined, undefined];
  for (const resource of [...resources].sort(byAge)) {
    check(resource, collector);
    const level = levelOf(resource, workload, rootNamespace);
    if (level === undefined) continue;
    const older = found[level];
    if (older === undefined) found[level] = resource;
    else collector.warn(resource, ['spec'], 'ignored', `${describeResource(older)} is older and counts instead`);
  }
  const best = found.find((each) => each !== undefined);
  return best && compile(best.body.spec);
}

/** 0 is the most specific; nothing when the resource is for others. */
function levelOf(
  { body, namespace }: Resource<OverloadPolicyBody>,
  workload: Workload,
  rootNamespace: string,
): number | undefined {
  const { matchLabels = {} } = body.spec.selector ?? {};
  const selective = Object.keys(matchLabels).length > 0;
  if (selective && !selects(matchLabels, workload.labels)) return undefined;
  if (namespace === workload.namespace) return selective ? 0 : 1;
  return namespace === rootNamespace && !selective ? 2 : undefined;
}

/** Names that the mesh itself gives, and takes away from requests. */
const reserved = /^x-(inmesh|mesh|envoy)-/i;

function check(resource: Resource<OverloadPolicyBody>, collector: Collector): void {
  const { adaptiveConcurrency, concurrency, eventLoop, priority } = resource.body.spec;
  if (concurrency === undefined && adaptiveConcurrency === undefined && eventLoop === undefined) {
    collector.problem(resource, ['spec'], 'needs concurrency, adaptiveConcurrency or eventLoop');
  }
  if (concurrency !== undefined && concurrency.maxRequests === undefined && adaptiveConcurrency === undefined) {
    collector.problem(resource, ['spec', 'concurrency'], 'needs maxRequests, or adaptiveConcurrency beside it');
  }
  if (adaptiveConcurrency !== undefined) {
    const { maxConcurrencyLimit = 1_000, minConcurrencyLimit, minRtt } = adaptiveConcurrency;
    const lowest = minConcurrencyLimit ?? minRtt?.minConcurrency ?? 3;
    if (lowest > maxConcurrencyLimit) {
      const path = ['spec', 'adaptiveConcurrency', 'maxConcurrencyLimit'];
      collector.problem(
        resource,
        path,
        `must not be less than the lowest limit, which is ${lowest}`,
        maxConcurrencyLimit,
      );
    }
  }
  if (eventLoop?.resumeDelay !== undefined && durationMs(eventLoop.resumeDelay) > durationMs(eventLoop.maxDelay)) {
    collector.problem(
      resource,
      ['spec', 'eventLoop', 'resumeDelay'],
      'must not be more than maxDelay',
      eventLoop.resumeDelay,
    );
  }
  if (priority?.header !== undefined && reserved.test(priority.header)) {
    const path = ['spec', 'priority', 'header'];
    collector.problem(resource, path, 'must not be a name that is removed from requests', priority.header);
  }
}

function compile({
  adaptiveConcurrency,
  concurrency,
  eventLoop,
  exemptPaths = [],
  priority = {},
}: OverloadPolicyBody['spec']): OverloadPolicy {
  const maxDelayMs = durationMs(eventLoop?.maxDelay);
  return {
    ...(concurrency === undefined
      ? {}
      : {
          concurrency: {
            maxRequests: concurrency.maxRequests ?? Number.POSITIVE_INFINITY,
            maxQueue: concurrency.maxQueue ?? 0,
            queueTimeoutMs: durationMs(concurrency.queueTimeout) ?? 100,
            maxSharePercent: concurrency.maxSharePercent ?? 100,
          },
        }),
    ...(adaptiveConcurrency === undefined ? {} : { adaptive: compileAdaptive(adaptiveConcurrency) }),
    ...(maxDelayMs === undefined
      ? {}
      : {
          eventLoop: {
            maxDelayMs,
            resumeDelayMs: durationMs(eventLoop?.resumeDelay) ?? maxDelayMs / 2,
            maxShedPercent: eventLoop?.maxShedPercent ?? 95,
          },
        }),
    priority: {
      header: priority.header?.toLowerCase() ?? 'priority',
      ...(priority.principals === undefined ? {} : { principals: priority.principals.map(matchOf) }),
    },
    exemptPaths: exemptPaths.map(matchOf),
  };
}

function compileAdaptive({ minRtt = {}, ...spec }: AdaptiveSpec): AdaptivePolicy {
  return {
    samplePercentile: spec.sampleAggregatePercentile ?? 50,
    updateIntervalMs: durationMs(spec.updateInterval) ?? 100,
    maxLimit: spec.maxConcurrencyLimit ?? 1_000,
    ...(spec.minConcurrencyLimit === undefined ? {} : { minLimit: spec.minConcurrencyLimit }),
    minRttIntervalMs: durationMs(minRtt.interval) ?? 60_000,
    minRttRequests: minRtt.requestCount ?? 50,
    jitterPercent: minRtt.jitterPercent ?? 15,
    minConcurrency: minRtt.minConcurrency ?? 3,
    bufferPercent: minRtt.bufferPercent ?? 25,
  };
}

/** As in an AuthorizationPolicy: exact, or with `*` at one end; `*` alone is anything. */
function matchOf(text: string): StringMatch {
  if (text === '*') return { kind: 'present' };
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  return { kind: 'exact', value: text };
}
