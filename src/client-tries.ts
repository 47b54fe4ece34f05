import type { RetryPlaces } from './balance/filter.ts';
import type { ActiveFaults } from './fault/active.ts';
import type { FaultPlan } from './fault/decide.ts';
import { tryFaultFilter } from './fault/filter.ts';
import type { Clock } from './lib/clock.ts';
import { createDeadlines, type DeadlineClass } from './lib/deadlines.ts';
import type { Random } from './lib/random.ts';
import type { Cluster } from './model/cluster.ts';
import { defaultRetryPolicy, type Route } from './model/route.ts';
import type { ClientCall, GrpcRetry, Reply } from './pipeline/client-call.ts';
import { compose, type Filter, type Service } from './pipeline/filter.ts';
import { compileRetryDecision } from './retry/decide.ts';
import { retryFilter } from './retry/filter.ts';
import { policyOf } from './retry/grpc-retry.ts';
import { hedgeFilter } from './retry/hedge-filter.ts';
import type { HedgeRules } from './retry/hedged-call.ts';
import type { TryPolicies } from './retry/overrides.ts';
import { overridesFilter } from './retry/overrides-filter.ts';
import type { RetrySettings } from './retry/settings.ts';
import type { ClusterState } from './runtime/cluster.ts';
import { deadlineFilter } from './timeout/deadline-filter.ts';
import { stampRemaining } from './timeout/remaining-time.ts';

type Deadlines = (timeoutMs: number) => DeadlineClass;

/** What a route says, or the headers of a call, or a gRPC client's service config. */
interface Policies extends TryPolicies {
  readonly grpc?: GrpcRetry | undefined;
}

export interface ClientTriesDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly retries: RetrySettings;
  readonly deadlines: Deadlines;
  readonly faults: ActiveFaults;
  /** What one try passes, from the limits of the cluster to the connection. */
  composeTry(
    perTryMs: number | undefined,
    state: ClusterState,
    route: Route,
    deadlines: Deadlines,
  ): Service<ClientCall, Reply>;
}

/** What the tries of a call are made for. */
export interface TriesOf {
  readonly route: Route;
  readonly state: ClusterState;
  /** Calls may have waited before they get here (a delay that was injected). */
  readonly startsLate: boolean;
  /** A fault of each try. */
  readonly fault: FaultPlan | undefined;
  readonly grpc: boolean;
}

/** The middle of the client side: the time of a call, and its tries. */
export function createClientTries(dependencies: ClientTriesDependencies): (of: TriesOf) => Service<ClientCall, Reply> {
  const { clock, faults, random, retries } = dependencies;

  const composeFor = (of: TriesOf, policies: Policies, deadlines: Deadlines): Service<ClientCall, Reply> => {
    const { fault, grpc, route, startsLate, state } = of;
    const { retry, timeoutMs } = policies;
    const perTryMs = retry?.perTryTimeoutMs;
    const hedge = hedgeOf(policies, route);

    const composeOne = (oneMs: number | undefined): Service<ClientCall, Reply> => {
      if (fault === undefined) return dependencies.composeTry(oneMs, state, route, deadlines);
      // inside retry: it sees the faults; outside limit and balance: a fault that was made up takes no
      // place from anybody and ejects no endpoint
      // A delay takes from the time of the try; one that is longer ends the try by itself.
      const leftMs = oneMs === undefined ? undefined : Math.max(1, oneMs - fault.delayMs);
      const rest = dependencies.composeTry(leftMs, state, route, deadlines);
      const delayed: Service<ClientCall, Reply> = (call) => {
        stampRemaining(call, clock, leftMs, grpc);
        return rest(call);
      };
      const filter = tryFaultFilter({ plan: fault, active: faults, clock, random, perTryMs: oneMs, delayed });
      return compose([filter], dependencies.composeTry(oneMs, state, route, deadlines));
    };

    const filters: Filter<ClientCall, Reply>[] = [];
    // A try that goes on beside the next one has more time than its own.
    const toldMs = hedge?.kind === 'perTryTimeout' ? undefined : perTryMs;
    // outside retry: the total budget
    filters.push(deadlineFilter({ timeoutMs, perTryMs: toldMs, startsLate, grpc, clock, deadlines }));
    const prepare = (call: ClientCall): void => stampRemaining(call, clock, toldMs, grpc);
    if (hedge !== undefined) {
      // in place of retry, for calls that may have several tries at a time
      filters.push(hedgeFilter(hedgeRules(hedge, of, policies, composeOne(toldMs), deadlines, prepare)));
    }
    if (retry !== undefined && retry.attempts > 0) {
      // outside limit and balance: every try is admitted and picks anew
      const { anywhere, otherPriorities } = placesOf(route, state.cluster);
      const { nested, replayBytes } = retries;
      const limit = state.retries;
      filters.push(
        retryFilter({
          policy: retry,
          clock,
          random,
          limit,
          anywhere: otherPriorities ? false : anywhere,
          nested,
          replayBytes,
          grpc: policies.grpc,
          prepare,
        }),
      );
    }
    return compose(filters, composeOne(perTryMs));
  };

  const hedgeRules = (
    hedge: Hedge,
    { state }: TriesOf,
    { retry }: TryPolicies,
    service: Service<ClientCall, Reply>,
    deadlines: Deadlines,
    prepare: (call: ClientCall) => void,
  ): HedgeRules => {
    const { kind, hedges } = hedge;
    const attempts = retry?.attempts ?? 0;
    const fixed = kind === 'percentile' ? undefined : deadlines(hedge.ms);
    const times = kind === 'percentile' ? state.answerTimes() : undefined;
    return {
      clock,
      random,
      limit: state.retries,
      nested: retries.nested,
      service,
      decide: compileRetryDecision(retry ?? { ...defaultRetryPolicy, attempts: 0 }),
      attempts,
      hedges,
      backoffBaseMs: retry?.backoffBaseMs ?? defaultRetryPolicy.backoffBaseMs,
      delay() {
        if (kind !== 'percentile') return fixed;
        const usualMs = times?.quantileMs(hedge.percentile);
        return usualMs === undefined ? undefined : deadlines(Math.max(usualMs, hedge.minMs));
      },
      answered: (ms) => times?.record(ms),
      prepare,
    };
  };

  return (of) => {
    const { hedge, retry, timeoutMs } = of.route;
    const usual: Policies = { timeoutMs, retry, hedgeOnTimeout: hedge?.when.kind === 'perTryTimeout' };
    const configured = composeFor(of, usual, dependencies.deadlines);
    // What an operator has said of retries goes before what a program says; the latter, before what nobody has said.
    const byProgram = new WeakMap<GrpcRetry, Service<ClientCall, Reply>>();
    const service: Service<ClientCall, Reply> =
      retry !== defaultRetryPolicy
        ? configured
        : (call) => {
            const own = call.request.grpc?.retry;
            if (own === undefined) return configured(call);
            let known = byProgram.get(own);
            if (known === undefined) {
              known = composeFor(of, { ...usual, retry: policyOf(own), grpc: own }, dependencies.deadlines);
              byProgram.set(own, known);
            }
            return known(call);
          };
    if (!retries.overrides) return service;
    // outside deadline and retry, which they change; deadlines of their own: there may be any number of them
    const overrides = overridesFilter(usual, (changed) => composeFor(of, changed, createDeadlines(clock)));
    return compose([overrides], service);
  };
}

/** When another try starts beside those under way, and how many such there may be. */
type Hedge = { readonly hedges: number } & (
  | { readonly kind: 'perTryTimeout' | 'after'; readonly ms: number }
  | { readonly kind: 'percentile'; readonly percentile: number; readonly minMs: number }
);

function hedgeOf({ hedgeOnTimeout, retry }: TryPolicies, { hedge }: Route): Hedge | undefined {
  const attempts = retry?.attempts ?? 0;
  if (hedgeOnTimeout === true && retry?.perTryTimeoutMs !== undefined && attempts > 0) {
    return { kind: 'perTryTimeout', ms: retry.perTryTimeoutMs, hedges: hedge?.hedges ?? attempts };
  }
  const when = hedge?.when;
  if (when === undefined || when.kind === 'perTryTimeout') return undefined;
  return { ...when, hedges: hedge?.hedges ?? 1 };
}

/** Where retries may go; the keys of a consistent hash stay with their priority. */
export function placesOf(route: Route | undefined, { hash }: Cluster): RetryPlaces {
  const { ignorePreviousHosts = true, otherPriorities } = route?.retry ?? {};
  return {
    anywhere: ignorePreviousHosts === 'unreached' ? 'reached' : !ignorePreviousHosts,
    otherPriorities: hash === undefined && otherPriorities === true,
  };
}
