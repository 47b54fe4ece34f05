import type { Breaker } from './breaker/breaker.ts';
import { fallbackAnswer } from './breaker/fallback.ts';
import type { Fallback } from './breaker/filter.ts';
import { createJudge, type Judge } from './breaker/outcome.ts';
import { resolveHost } from './config/resource.ts';
import { MeshError } from './errors.ts';
import type { FallbackFunction, RefusedRequest } from './fallback-api.ts';
import type { BreakerStatus } from './mesh-api.ts';
import type { BreakerPolicy, FallbackAnswer } from './model/breaker.ts';
import type { Cluster } from './model/cluster.ts';
import type { Workload } from './model/workload.ts';
import type { LocalAnswer } from './pipeline/local-answer.ts';
import type { ClusterState } from './runtime/cluster.ts';

/** What calls through a breaker need beside its state. */
export interface BreakerCase {
  readonly breaker: Breaker;
  readonly judge: Judge;
  readonly fallback: ((request: RefusedRequest) => LocalAnswer | Promise<LocalAnswer>) | undefined;
}

/** The breaker of a cluster with what belongs to it; nothing where none is configured. */
export type Breakers = (state: ClusterState) => BreakerCase | undefined;

/** Brings together state, policy, and the fallbacks that the application has given. */
export function createBreakers(
  fallbacks: Readonly<Record<string, FallbackFunction>>,
  { clusterDomain, namespace }: Pick<Workload, 'clusterDomain' | 'namespace'>,
): Breakers {
  const functions = new Map(
    Object.entries(fallbacks).map(([name, each]) => [resolveHost(name, namespace, clusterDomain), each]),
  );
  const cases = new WeakMap<Breaker, BreakerCase & { readonly policy: BreakerPolicy }>();
  return ({ breaker, cluster }) => {
    if (breaker === undefined) return undefined;
    const { policy } = breaker;
    let found = cases.get(breaker);
    if (found?.policy !== policy) {
      const fallback = fallbackOf(policy, functions.get(cluster.host), cluster.name);
      found = { breaker, policy, judge: createJudge(policy.failures), fallback };
      cases.set(breaker, found);
    }
    return found;
  };
}

/** What the application has written for this very process goes before what the configuration says. */
function fallbackOf(
  { fallback }: BreakerPolicy,
  ask: FallbackFunction | undefined,
  cluster: string,
): BreakerCase['fallback'] {
  if (ask !== undefined) {
    return async (request) => {
      try {
        const { body, headers = {}, status = 200 } = await ask(request);
        return fallbackAnswer({ status, headers: lowerCase(headers), ...(body === undefined ? {} : { body }) });
      } catch (cause) {
        const message = `the circuit breaker of cluster ${cluster} is open, and its fallback failed`;
        throw new MeshError('ERR_MESH_CIRCUIT_OPEN', message, { cluster, cause });
      }
    };
  }
  if (fallback === undefined) return undefined;
  const answer = fallbackAnswer(fallback);
  return () => answer;
}

function lowerCase(headers: Readonly<Record<string, string>>): FallbackAnswer['headers'] {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** For the pipeline: asks with what a call is about. */
export function fallbackFilter(service: string, fallback: NonNullable<BreakerCase['fallback']>): Fallback {
  return (call) => {
    const { headers, method } = call.request;
    const header = (name: string): string | undefined => {
      for (let i = 0; i < headers.length; i += 2) {
        if (String(headers[i]).toLowerCase() === name.toLowerCase()) return String(headers[i + 1]);
      }
      return undefined;
    };
    return fallback({ service, method, path: call.path, header });
  };
}

export function breakerStatus({ name }: Cluster, breaker: Breaker): BreakerStatus {
  const { openings, refusals, state } = breaker;
  return { cluster: name, state, ...breaker.counts(), openings, refusals };
}
