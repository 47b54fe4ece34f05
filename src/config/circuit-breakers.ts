import { type BreakerPolicy, defaultBreakerPolicy, type FallbackAnswer } from '../model/breaker.ts';
import type { Collector } from './collector.ts';
import { createDestinationPolicies, type DestinationPolicyBody } from './destination-policies.ts';
import { checkDirectResponse } from './istio-http-action-check.ts';
import { compileDirectResponse } from './istio-http-actions.ts';
import { rememberPart } from './remember.ts';
import type { Resource } from './resource.ts';
import { durationMs } from './values.ts';

export interface CircuitBreakerBody extends DestinationPolicyBody {
  readonly spec: DestinationPolicyBody['spec'] & {
    readonly errorThresholdPercentage?: number;
    readonly rollingWindow?: string;
    readonly volumeThreshold?: number;
    readonly resetTimeout?: string;
    readonly trialTimeout?: string;
    readonly failures?: {
      readonly statuses?: readonly number[];
      readonly errors?: boolean;
      readonly timeouts?: boolean;
    };
    readonly fallback?: FallbackSpec;
  };
}

interface FallbackSpec {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: { readonly string?: string; readonly bytes?: string };
}

/** The breakers that this workload has for what it calls. */
export interface CircuitBreakers {
  find(
    service: { readonly host: string; readonly namespace: string },
    port: number,
    subset: string,
  ): BreakerPolicy | undefined;
}

const compiled = rememberPart<Resource, BreakerPolicy>();

export function createCircuitBreakers(
  resources: readonly Resource<CircuitBreakerBody>[],
  options: Parameters<typeof createDestinationPolicies>[1],
): CircuitBreakers {
  for (const each of resources) check(each, options.collector);
  const policies = createDestinationPolicies(resources, options);
  return {
    find(service, port, subset) {
      const resource = policies.find(service, port, subset);
      return resource && compiled(resource, 'policy', [], () => compile(resource.body.spec));
    },
  };
}

/** Headers that say how long the body is, or belong to a connection: they are not the author's to give. */
const managed: readonly string[] = ['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade'];

function check(resource: Resource<CircuitBreakerBody>, collector: Collector): void {
  const { failures, fallback } = resource.body.spec;
  if (failures?.statuses?.length === 0 && failures.errors === false && failures.timeouts === false) {
    collector.problem(resource, ['spec', 'failures'], 'leaves nothing that counts as a failure');
  }
  if (fallback === undefined) return;
  const path = ['spec', 'fallback'];
  checkDirectResponse(resource, fallback, path, collector);
  for (const name of Object.keys(fallback.headers ?? {})) {
    if (managed.includes(name.toLowerCase())) {
      collector.problem(resource, [...path, 'headers', name], 'must not be given: it follows from the body', name);
    }
  }
}

function compile(spec: CircuitBreakerBody['spec']): BreakerPolicy {
  const { errorThresholdPercentage, failures = {}, fallback, volumeThreshold } = spec;
  const defaults = defaultBreakerPolicy;
  return {
    errorThresholdPercentage: errorThresholdPercentage ?? defaults.errorThresholdPercentage,
    rollingWindowMs: durationMs(spec.rollingWindow) ?? defaults.rollingWindowMs,
    volumeThreshold: volumeThreshold ?? defaults.volumeThreshold,
    resetTimeoutMs: durationMs(spec.resetTimeout) ?? defaults.resetTimeoutMs,
    trialTimeoutMs: durationMs(spec.trialTimeout) ?? defaults.trialTimeoutMs,
    failures: {
      ...(failures.statuses === undefined ? {} : { statuses: failures.statuses }),
      errors: failures.errors ?? defaults.failures.errors,
      timeouts: failures.timeouts ?? defaults.failures.timeouts,
    },
    ...(fallback === undefined ? {} : { fallback: compileFallback(fallback) }),
  };
}

function compileFallback({ headers = {}, ...direct }: FallbackSpec): FallbackAnswer {
  const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value] as const);
  return { ...compileDirectResponse(direct), headers: Object.fromEntries(lower) };
}
