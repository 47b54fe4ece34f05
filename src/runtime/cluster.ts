import { isDeepStrictEqual } from 'node:util';
import { type Breaker, type BreakerDependencies, type BreakerRemains, reconcileBreaker } from '../breaker/breaker.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { createRequestLimiter, type RequestLimiter } from '../limit/limiter.ts';
import type { Cluster, Endpoint, RetryBudget } from '../model/cluster.ts';
import type { Callers } from '../model/snapshot.ts';
import { type AnswerTimes, createAnswerTimes } from '../retry/answer-times.ts';
import {
  createRetryLimit,
  defaultRetryBudget,
  type RetryLimit,
  type RetryLimitPolicy,
  retryLimitPolicy,
} from '../retry/limit.ts';
import {
  type ClusterHealth,
  createClusterHealth,
  createDeparted,
  type Departed,
  type HealthDependencies,
} from './cluster-health.ts';
import { type NameWatch, watchNames } from './dns.ts';
import { type EndpointHooks, EndpointState } from './endpoint.ts';
import { createLoadBalancer, type LoadBalancer } from './load-balancer.ts';
import { pairEndpoints } from './pair-endpoints.ts';
import type { NameResolver } from './resolver.ts';

/** What a cluster needs from outside. */
export interface ClusterDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** How many processes of this workload run in each locality; see {@link Snapshot.callers}. */
  callers?(): Callers | undefined;
  /** Name of this process among others of its workload. Default '', which is for one alone. */
  readonly instance?: string;
  hooks(cluster: Cluster): EndpointHooks;
  readonly names: NameResolver;
  /** How many retries run at once where neither `retryBudget` nor `maxRetries` says so. Default 20 %, and 3. */
  readonly retryBudget?: RetryBudget | 'unlimited';
  /** Active health checks. Default: none are made. */
  readonly checks?: HealthDependencies;
  /** An endpoint was ejected or came back. */
  healthChanged(cluster: Cluster, endpoint: EndpointState): void;
  /** The circuit breaker opened, closed, or tries. */
  breakerChanged?(cluster: Cluster, breaker: Breaker): void;
}

/** What is remembered of a cluster that was gone for a while. */
export interface ClusterMemory {
  readonly departed: Departed;
  readonly breaker?: BreakerRemains | undefined;
}

/** The live side of one {@link Cluster}: its endpoints with their memory. */
export class ClusterState {
  cluster: Cluster;
  /** Grows when the policy changes, so that pipelines composed for the old one are made anew. */
  revision: number;
  /** Grows when all connections are to be replaced; of those to an endpoint see {@link EndpointState}. */
  generation: number;
  requests: RequestLimiter;
  /** Never replaced: what is under way counts whatever the configuration says meanwhile. */
  readonly retries: RetryLimit;
  #answerTimes: AnswerTimes | undefined;
  /** Tries on their way to the address that the caller named, where there are no endpoints to count them. */
  outside: number;
  /** Of calls to the whole cluster; absent: none. */
  breaker: Breaker | undefined;
  readonly #dependencies: ClusterDependencies;
  readonly #balancer: LoadBalancer;
  readonly health: ClusterHealth;
  #endpoints: EndpointState[];
  #names: NameWatch | undefined;
  /** The one endpoint of a name of which only the first address counts. */
  #logical: EndpointState | undefined;
  /** Cancel what {@link recycle} has yet to do. */
  readonly #timers: Set<() => void>;

  /** @param memory of the same cluster, when it was gone for a while */
  constructor(cluster: Cluster, dependencies: ClusterDependencies, memory?: ClusterMemory) {
    this.cluster = cluster;
    this.revision = 0;
    this.generation = 0;
    this.requests = createRequestLimiter(cluster.limits.maxRequests);
    this.#answerTimes = undefined;
    this.outside = 0;
    this.breaker = reconcileBreaker(
      undefined,
      cluster.breaker,
      this.#breakerDependencies(dependencies),
      memory?.breaker,
    );
    this.#dependencies = dependencies;
    const { callers = () => undefined, clock, instance = '', random } = dependencies;
    this.retries = createRetryLimit(this.#retryPolicy(), clock, () => this.#underWay());
    this.#balancer = createLoadBalancer({ callers, clock, instance, random });
    this.#endpoints = [];
    this.#names = undefined;
    this.#logical = undefined;
    this.#timers = new Set();
    this.health = createClusterHealth({
      clock,
      random,
      departed: memory?.departed ?? createDeparted(clock),
      instance: dependencies.instance ?? '',
      checks: dependencies.checks,
      endpoints: () => this.#endpoints,
      changed: (endpoints) => {
        this.rebalance();
        for (const endpoint of endpoints) {
          // One that is out for two reasons goes out once.
          if (endpoint.announced === endpoint.available) continue;
          endpoint.announced = endpoint.available;
          dependencies.healthChanged(this.cluster, endpoint);
        }
      },
    });
    this.health.update(cluster);
    this.#discover();
  }

  get endpoints(): readonly EndpointState[] {
    return this.#endpoints;
  }

  /** Is nothing under way to it? */
  get idle(): boolean {
    return this.retries.active === 0 && this.#underWay() === 0;
  }

  /** Tries under way, whatever they wait for. */
  get active(): number {
    return this.#underWay();
  }

  /** The endpoint for a try: {@link LoadBalancer.pick}. */
  pick(avoid: readonly object[] | undefined, hash?: bigint, tried?: readonly object[]): EndpointState | undefined {
    return this.#balancer.pick(avoid, hash, tried);
  }

  /** Resolves when the endpoints are known for the first time; absent when there are some. */
  warming(): Promise<void> | undefined {
    if (this.#endpoints.length > 0) return this.health.warming();
    // Other names may be asked for by then: the configuration has changed while these were.
    return this.#names?.warming()?.then(() => this.warming());
  }

  report(endpoint: object, status: number): void {
    if (endpoint instanceof EndpointState) this.health.report(endpoint, status);
  }

  failNow(endpoint: object): void {
    if (endpoint instanceof EndpointState) this.health.failNow(endpoint);
  }

  connected(endpoint: object): void {
    if (endpoint instanceof EndpointState) this.health.connected(endpoint);
  }

  /** How long its answers take; counted from the first time that somebody asks. */
  answerTimes(): AnswerTimes {
    return (this.#answerTimes ??= createAnswerTimes());
  }

  tryReplied(): void {
    // only the end counts
  }

  /** A try to the address that the caller named received its last byte, or failed. */
  tryEnded(): void {
    this.outside--;
  }

  /** Takes over a changed configuration; endpoints that stay keep their connections and memory. */
  update(cluster: Cluster): void {
    const previous = this.cluster;
    this.cluster = cluster;
    // What is composed for the policy, and what is remembered under it, has nothing to do with who the endpoints are.
    if (onlyEndpointsDiffer(previous, cluster)) {
      this.#discover();
      return;
    }
    this.revision++;
    this.requests.limit = cluster.limits.maxRequests;
    this.retries.adopt(this.#retryPolicy());
    this.health.update(cluster);
    this.breaker = reconcileBreaker(this.breaker, cluster.breaker, this.#breakerDependencies(this.#dependencies));
    // Before any connection is opened anew: it must be opened in the new way.
    const hooks = this.#dependencies.hooks(cluster);
    for (const endpoint of this.#endpoints) endpoint.adopt(endpoint.endpoint, hooks);
    const reconnect =
      !isDeepStrictEqual(previous.tls, cluster.tls) ||
      !isDeepStrictEqual(previous.tlsParameters, cluster.tlsParameters) ||
      previous.serverName !== cluster.serverName ||
      previous.proxyProtocol !== cluster.proxyProtocol ||
      previous.http2 !== cluster.http2 ||
      !isDeepStrictEqual(previous.serverIdentities, cluster.serverIdentities) ||
      !isDeepStrictEqual(previous.trustDomains, cluster.trustDomains) ||
      !isDeepStrictEqual(previous.tunnel, cluster.tunnel) ||
      !isDeepStrictEqual(previous.limits, cluster.limits);
    if (reconnect) for (const endpoint of this.#endpoints) void endpoint.drain();
    if (isDeepStrictEqual(previous.discovery, cluster.discovery)) this.rebalance();
    else this.#discover();
  }

  /**
   * Replaces all connections within `spreadMs`, each after it has finished what it carries: for a
   * new certificate. Spread, because a handshake costs more than a hundred requests.
   */
  recycle(spreadMs: number): void {
    this.generation++;
    for (const endpoint of this.#endpoints) this.#later(spreadMs, () => void endpoint.drain());
    this.#later(spreadMs, () => this.health.renew());
  }

  /** Lets running requests finish, then closes. */
  async close(): Promise<void> {
    this.#names?.close();
    this.health.close();
    this.breaker?.close();
    this.#balancer.close();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.retire()));
  }

  /** At some moment within `spreadMs`, if the cluster is still there. */
  #later(spreadMs: number, action: () => void): void {
    const { clock, random } = this.#dependencies;
    const cancel = clock.after(spreadMs * random(), () => {
      this.#timers.delete(cancel);
      action();
    });
    this.#timers.add(cancel);
  }

  #retryPolicy(): RetryLimitPolicy {
    return retryLimitPolicy(this.cluster, this.#dependencies.retryBudget ?? defaultRetryBudget);
  }

  /** Only asked when a try has failed: that costs less than keeping count in each call. */
  #underWay(): number {
    let tries = this.outside;
    for (const { inFlight } of this.#endpoints) tries += inFlight;
    return tries;
  }

  #discover(): void {
    const { discovery } = this.cluster;
    // The old watch ends after the new one began, so that names which stay are not asked for again.
    const old = this.#names;
    this.#names = undefined;
    this.#logical = undefined;
    if (discovery.kind === 'dns') {
      this.#names = watchNames({
        endpoints: discovery.endpoints,
        resolver: this.#dependencies.names,
        resolved: (endpoints) =>
          discovery.use === 'first' ? this.#setFirst(endpoints[0]) : this.#setEndpoints(endpoints),
      });
    } else this.#setEndpoints(discovery.kind === 'static' ? discovery.endpoints : []);
    old?.close();
  }

  /**
   * As Envoy's LOGICAL_DNS: new connections go to the newest address; those that there are stay,
   * and so does what is remembered of the endpoint.
   */
  #setFirst(endpoint: Endpoint | undefined): void {
    if (this.#logical !== undefined && endpoint !== undefined) {
      const moved = this.#logical.endpoint.address !== endpoint.address;
      this.#logical.adopt(endpoint, this.#dependencies.hooks(this.cluster));
      // Checks are about where new connections go.
      if (moved) this.health.renew();
      return;
    }
    this.#setEndpoints(endpoint === undefined ? [] : [endpoint]);
    this.#logical = this.#endpoints[0];
  }

  #setEndpoints(endpoints: readonly Endpoint[]): void {
    const { known, gone } = pairEndpoints(this.#endpoints, endpoints);
    const hooks = this.#dependencies.hooks(this.cluster);
    const next: EndpointState[] = [];
    let someMoved = false;
    for (const [index, endpoint] of endpoints.entries()) {
      const state = known[index];
      if (state === undefined) {
        const fresh = new EndpointState(endpoint, hooks);
        this.health.joined(fresh);
        next.push(fresh);
        continue;
      }
      const moved = state.endpoint.speaksMtls !== endpoint.speaksMtls || state.endpoint.spiffeId !== endpoint.spiffeId;
      state.adopt(endpoint, hooks);
      if (moved) void state.drain();
      someMoved ||= moved;
      next.push(state);
    }
    this.#endpoints = next;
    for (const state of gone) {
      this.health.left(state);
      void state.retire();
    }
    if (someMoved) this.health.renew();
    this.health.membersChanged();
    this.rebalance();
  }

  /** Something has changed by which endpoints are chosen. */
  rebalance(): void {
    this.#balancer.rebuild(this.cluster, this.#endpoints);
  }

  #breakerDependencies({ breakerChanged, clock }: ClusterDependencies): BreakerDependencies {
    return { clock, changed: (breaker) => breakerChanged?.(this.cluster, breaker) };
  }
}

/** Do these two say the same but for the list of endpoints, or of the names that lead to them? */
function onlyEndpointsDiffer(before: Cluster, after: Cluster): boolean {
  // An original address is part of what pipelines are composed of.
  if (before.discovery.kind !== after.discovery.kind || after.discovery.kind === 'original') return false;
  const { discovery: _, ...rest } = before;
  const { discovery: __, ...others } = after;
  return isDeepStrictEqual(rest, others);
}
