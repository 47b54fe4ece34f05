import { Agent, type Dispatcher } from 'undici';
import type { Egress } from './authz/egress-calls.ts';
import { balanceFilter } from './balance/filter.ts';
import { hashFilter } from './balance/hash-filter.ts';
import { latencyFilter } from './balance/latency-filter.ts';
import type { LatencyMemory } from './balance/peak-ewma.ts';
import { ReportMemory } from './balance/utilization.ts';
import { askForLoad, utilizationFilter } from './balance/utilization-filter.ts';
import { breakerFilter } from './breaker/filter.ts';
import { type Breakers, fallbackFilter } from './breakers.ts';
import { createClientMirrors } from './client-mirrors.ts';
import { createClientTries, placesOf } from './client-tries.ts';
import { corsFilter } from './cors/filter.ts';
import { MeshError } from './errors.ts';
import { ActiveFaults } from './fault/active.ts';
import { planFault } from './fault/decide.ts';
import { callFaultFilter } from './fault/filter.ts';
import { healthFilter } from './health/filter.ts';
import type { Clock } from './lib/clock.ts';
import { createDeadlines, type DeadlineClass } from './lib/deadlines.ts';
import { headerValue, takeHeader } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { planDrops } from './limit/drop.ts';
import { dropFilter } from './limit/drop-filter.ts';
import { limitFilter } from './limit/filter.ts';
import type { Cluster, OutlierPolicy } from './model/cluster.ts';
import type { Route } from './model/route.ts';
import { createOutsideGrpc } from './outbound-grpc.ts';
import { changesOriginal } from './outbound-tls.ts';
import { outlierFilter } from './outlier/filter.ts';
import type { CallEndpoint, ClientCall, Reply } from './pipeline/client-call.ts';
import { compose, type Filter, type Service } from './pipeline/filter.ts';
import { type LocalAnswer, LocalReply } from './pipeline/local-answer.ts';
import { createRequestHashes, type RequestHashes } from './request-hashes.ts';
import { defaultRetrySettings, type RetrySettings } from './retry/settings.ts';
import { responseEditor, routeFilter } from './route/filter.ts';
import type { HostTable } from './route/host-table.ts';
import { announceChoice, changesHeaders } from './route/plan.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';
import { EndpointState } from './runtime/endpoint.ts';
import { dropAssertions } from './sanitize/outbound.ts';
import { createSelector, type Destination, type Selector } from './select.ts';
import { accessClientFilter } from './telemetry/access-client-filter.ts';
import type { SideLog } from './telemetry/access-log.ts';
import { clientMetricsFilter } from './telemetry/client-filter.ts';
import type { MetricTags } from './telemetry/metric-tags.ts';
import type { Series } from './telemetry/metrics.ts';
import { RouteStats } from './telemetry/route-stats.ts';
import { marginMs } from './timeout/deadline-filter.ts';
import { tryTimeoutFilter } from './timeout/try-filter.ts';
import { tryIdleFilter } from './timeout/try-idle-filter.ts';
import { type ClientTracing, clientTraceFilter, tryTraceFilter } from './trace/client-filter.ts';
import { addOutboundHeaders } from './trace/outbound-headers.ts';
import { sendDirect, sendTry } from './transport/terminal.ts';

/** What the pipeline is made of. */
export interface ClientPipelineDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly clusters: Clusters;
  /** What may be called; absent: everything. */
  egress?(): Egress | undefined;
  /** Default: {@link defaultRetrySettings}. */
  readonly retries?: RetrySettings;
  readonly mirrorCredentials?: 'own' | 'all' | undefined;
  /** The table of the snapshot in force; read once for each call. */
  hosts(): HostTable | undefined;
  /** Connections of the mesh's own to the address that the caller named. Absent: no cluster needs them. */
  original?(cluster: Cluster): Dispatcher;
  /** Faults under way in this process. Default: those of this pipeline alone. */
  readonly faults?: ActiveFaults;
  /** Default: no cluster has a circuit breaker. */
  readonly breakers?: Breakers;
  /** How requests are hashed. Default: by what is in them, no address for those that nobody caused. */
  readonly hashes?: RequestHashes;
  /** Counts by `statPrefix`. Default: those of this pipeline alone. */
  readonly routeStats?: RouteStats;
  /** Absent: no calls are logged. */
  readonly accessLog?: SideLog | undefined;
  /** Tags that Telemetries add. Absent: none, ever. */
  readonly metricTags?: MetricTags | undefined;
  /** Absent: no spans. */
  readonly tracing?: ClientTracing | undefined;
  /** Series for calls that reached no endpoint, and for hosts outside the mesh. */
  series(service: string): Series;
}

/** The way of a call from the application to an endpoint. */
export interface ClientPipeline {
  readonly send: Service<ClientCall, Reply>;
  /** Where a request goes: for hosts that make their own connections (`node:http`). */
  readonly select: Selector;
  /** Cuts off the copies that are under way to mirrors: nobody waits for them. */
  cutMirrors(): void;
  /** Closes the connections to hosts outside of the mesh; those inside belong to the clusters. */
  close(): Promise<void>;
}

/**
 * The order of the client side, outermost first; `docs/architecture.md` gives the reasons. What a
 * route or cluster does not configure is not in its chain.
 */
export function createClientPipeline(dependencies: ClientPipelineDependencies): ClientPipeline {
  const { clock, clusters, random, retries = defaultRetrySettings, tracing } = dependencies;
  const tryTrace = tracing && tryTraceFilter(tracing);
  const hashes = dependencies.hashes ?? createRequestHashes({ random, configured: clusters.configured });
  const shared = createDeadlines(clock);
  const routeStats = dependencies.routeStats ?? new RouteStats();
  const faults = dependencies.faults ?? new ActiveFaults();
  const outside = new Agent();
  const outsideGrpc = createOutsideGrpc(clock, shared);
  const passthrough: CallEndpoint = { name: 'passthrough', host: '', dispatcher: () => outside };
  const toItsAddress =
    (state: ClusterState): Filter<ClientCall, Reply> =>
    (call, next) => {
      call.endpoint = call.request.grpc === undefined ? passthrough : outsideGrpc.endpointOf(call);
      countOutside(call, state);
      return next(call);
    };
  const toItsAddressBy = (state: ClusterState): Filter<ClientCall, Reply> => {
    const { cluster } = state;
    const dispatcher = (): Dispatcher => {
      if (dependencies.original !== undefined) return dependencies.original(cluster);
      // Never without its TLS.
      throw new MeshError('ERR_MESH_UNSUPPORTED', `there are no connections to the address of ${cluster.host} here`);
    };
    const endpoint: CallEndpoint = { name: cluster.host, host: '', dispatcher };
    return (call, next) => {
      call.endpoint = endpoint;
      countOutside(call, state);
      return next(call);
    };
  };
  const choose = createSelector(dependencies);
  const select: Selector = (origin, method, path, headers, scope) => {
    dependencies.egress?.()?.request(origin, method, path, headers);
    return choose(origin, method, path, headers, scope);
  };

  /** Inside of `route`: everything that one route and one cluster configure. */
  const composeDestination = ({ cors, plan }: Destination, state: ClusterState): Service<ClientCall, Reply> => {
    const { route } = plan;
    const grpc = state.cluster.http2 === 'always';
    const filters: Filter<ClientCall, Reply>[] = [];
    const fault = planFault(route.fault);
    const ofCall = route.fault?.level === 'call' ? fault : undefined;
    const ofTry = route.fault?.level === 'try' ? fault : undefined;
    // outside deadline and retry, as in Envoy: they see nothing of it
    if (ofCall !== undefined) {
      filters.push(
        callFaultFilter({ plan: ofCall, active: faults, clock, random, marginMs, edit: responseEditor(plan, clock) }),
      );
    }
    // inside of faults, which know nothing of it; outside of all that is sent
    if (cors !== undefined) filters.push(corsFilter(cors));
    const hash = hashes(state.cluster, route);
    // inside faults, which choose no endpoint; outside header edits: the key is that of the request as it was made
    if (hash !== undefined) filters.push(hashFilter(hash));
    // inside cors: that is about what was asked for; outside retry: every try sends the same
    if (changesHeaders(plan)) filters.push(routeFilter(plan, clock));
    const drops = planDrops(state.cluster.drops);
    // inside header edits, which the answer has too; outside mirror: what is dropped is sent to nobody; outside retry: once
    if (drops !== undefined) filters.push(dropFilter(drops, state.cluster.name, random));
    // inside faults and header edits: the copy is of what is sent; outside deadline and retry: one of each call
    const mirror = mirrors.filterFor(route);
    if (mirror !== undefined) filters.push(mirror);
    const breaker = dependencies.breakers?.(state);
    if (breaker !== undefined) {
      // inside faults of calls, which are made up; outside deadline and retry: it judges whole calls
      const { name, host } = state.cluster;
      const fallback = breaker.fallback && fallbackFilter(host, breaker.fallback);
      filters.push(breakerFilter({ cluster: name, ...breaker, fallback }));
    }
    // inside header edits, which are the route's; outside retry: every try asks the same
    if (wantsReports(state.cluster)) filters.push(askForLoad);
    const startsLate = ofCall !== undefined && (ofCall.delayMs > 0 || ofCall.byHeaders !== undefined);
    // innermost: the time of the call, and its tries
    return compose(filters, composeTries({ route, state, startsLate, fault: ofTry, grpc }));
  };

  /** Inside of `retry`: what one try passes. */
  const composeTry = (
    perTryMs: number | undefined,
    state: ClusterState,
    route?: Route,
    deadlines: (timeoutMs: number) => DeadlineClass = shared,
  ): Service<ClientCall, Reply> => {
    const { name, outlier, healthCheck, limits, balance, hash } = state.cluster;
    const idleMs = route?.perTryIdleMs;
    const filters: Filter<ClientCall, Reply>[] = [];
    // inside retry: each try is told of; outside limit: what was not admitted, too
    if (tryTrace !== undefined) filters.push(tryTrace);
    if (Number.isFinite(limits.maxRequests)) {
      // inside retry: tries count against the limits
      filters.push(limitFilter(name, state.requests));
    }
    if (state.cluster.discovery.kind === 'original') {
      const ownConnections = changesOriginal(state.cluster) || state.cluster.http2 !== undefined;
      // There is nothing to choose from, and nobody to eject.
      filters.push(ownConnections ? toItsAddressBy(state) : toItsAddress(state));
    } else {
      // inside retry: hands the chosen endpoint on
      filters.push(balanceFilter(name, state, placesOf(route, state.cluster)));
      // inside balance, which has chosen the endpoint: it measures what the next choice goes by
      if (balance === 'PEAK_EWMA' && hash === undefined) filters.push(latencyFilter(clock, latencyOf));
      if (wantsReports(state.cluster)) filters.push(utilizationFilter(clock, reportsOf));
      // inside balance, outside try-timeout: it must see per-try timeouts
      if (outlier !== undefined) filters.push(judgeTries(outlier, state));
      // inside balance: it hears the endpoint that was chosen
      if (healthCheck !== undefined) filters.push(healthFilter((endpoint) => state.failNow(endpoint)));
    }
    if (idleMs !== undefined) {
      // beside the try timeout, and on after the response has begun
      filters.push(tryIdleFilter(idleMs, deadlines(idleMs)));
    }
    if (perTryMs !== undefined) {
      // innermost policy: connect and response headers of one try
      filters.push(tryTimeoutFilter(perTryMs, deadlines(perTryMs)));
    }
    // last before the connection: it is chosen by the Host header, after everything that edits headers
    if (originates(state.cluster)) filters.push(nameHost);
    return compose(filters, sendTry);
  };

  const composeTries = createClientTries({ clock, random, retries, faults, deadlines: shared, composeTry });

  const toRoute: Service<ClientCall, Reply> = (call) => {
    const { headers, method } = call.request;
    // What the mesh asks for itself is what its configuration says.
    const selection = (call.request.own ? choose : select)(call.origin, method, call.path, headers, call.scope);
    if (selection.kind === 'answer') {
      call.route = selection.route.name;
      return answerLocally(call, selection.answer);
    }
    const known = selection.kind === 'inside' ? selection : selection.known;
    if (known === undefined) {
      call.cluster = 'PassthroughCluster';
      if (call.request.grpc !== undefined) return outsideGrpc.send(call);
      call.endpoint = passthrough;
      return sendDirect(call);
    }
    if (call.request.grpc?.socketPath !== undefined) {
      // What is said of a host is not said of a socket that happens to have its name.
      throw new MeshError(
        'ERR_MESH_UNSUPPORTED',
        `${call.origin} is in the mesh: call it by its name, not by a socket`,
      );
    }
    const { destination, route, state } = known;
    call.route = route.name;
    call.cluster = destination.plan.cluster;
    call.request.path = known.asked;
    if (known.counted !== undefined) {
      call.watch(routeStats.of(known.counted.virtualHost, known.counted.statPrefix));
    }
    call.path = known.path;
    if (!call.request.own) dropAssertions(headers);
    addOutboundHeaders(headers, call.scope, call.trace, tracing?.forms());
    if (route.sticky !== undefined) announceChoice(destination.plan, headers);
    // A connection to the address that the caller named sends the right Host header by itself.
    if (selection.kind === 'inside' && headerValue(headers, 'host') === undefined) call.host = known.hostHeader;
    return destination.service(state, composeDestination)(call);
  };

  const seriesOf = (call: ClientCall): Series =>
    call.endpoint instanceof EndpointState ? call.endpoint.series : dependencies.series(hostOf(call.cluster));

  const counted = clientMetricsFilter(clock, seriesOf, dependencies.metricTags);
  const mirrors = createClientMirrors({
    clock,
    random,
    clusters,
    deadlines: shared,
    counted,
    keepsCredentials: dependencies.mirrorCredentials === 'all',
    series: (cluster) => dependencies.series(hostOf(cluster)),
    composeTry,
  });

  const { accessLog } = dependencies;
  const outermost = accessLog === undefined ? [counted] : [counted, accessClientFilter(accessLog, clock)];
  return {
    // trace outside everything: the span covers waiting and retries; metrics outside route: a call without a route counts too
    send: compose(tracing === undefined ? outermost : [clientTraceFilter(tracing), ...outermost], (call) => {
      try {
        return toRoute(call);
      } catch (error) {
        if (error instanceof MeshError && error.cluster !== undefined) call.cluster = error.cluster;
        return Promise.reject(error);
      }
    }),
    select,
    cutMirrors: () => mirrors.cut(),
    async close() {
      shared.rest();
      await Promise.all([outside.close(), outsideGrpc.close()]);
    },
  };
}

function judgeTries(policy: OutlierPolicy, state: ClusterState): Filter<ClientCall, Reply> {
  const split = policy.consecutiveLocalOriginFailures !== undefined;
  return outlierFilter({
    report: (endpoint, status) => state.report(endpoint, status),
    ...(split ? { connected: (endpoint: CallEndpoint) => state.connected(endpoint) } : {}),
    ignoreGrpc: policy.errorCodes !== undefined,
  });
}

/** Counts a try that no endpoint counts, until its last byte. */
function countOutside(call: ClientCall, state: ClusterState): void {
  state.outside++;
  call.watchTry(state);
}

/**
 * Tells the endpoint for which host its connection shall be, wherever that was said. The Host header of
 * what the mesh asks for itself can be that of a caller, who must not choose whose certificate is looked for.
 */
const nameHost: Filter<ClientCall, Reply> = (call, next) => {
  if (call.host === '' && !call.request.own) call.host = takeHeader(call.request.headers, 'host') ?? '';
  return next(call);
};

const latencyOf = (endpoint: CallEndpoint): LatencyMemory | undefined =>
  endpoint instanceof EndpointState ? endpoint.latency : undefined;

const reportsOf = (endpoint: CallEndpoint): ReportMemory | undefined =>
  endpoint instanceof EndpointState ? (endpoint.reports ??= new ReportMemory()) : undefined;

/** Does what servers report of their load decide? */
function wantsReports({ balance, discovery, hash }: Cluster): boolean {
  return balance === 'UTILIZATION' && hash === undefined && discovery.kind !== 'original';
}

/** Does the mesh itself speak TLS to servers outside of it? */
function originates({ tls }: Cluster): boolean {
  return typeof tls === 'object';
}

/** `outbound|9080|v1|reviews` is a cluster of `reviews`. */
function hostOf(cluster: string): string {
  return cluster.slice(cluster.lastIndexOf('|') + 1);
}

/** What a route answers itself; whoever wants a connection and not a response can only be told of an error. */
function answerLocally(call: ClientCall, answer: LocalAnswer): Promise<Reply> {
  const { method, upgrade } = call.request;
  if (!upgrade && method !== 'CONNECT') return Promise.resolve(new LocalReply(answer));
  const message = `route ${call.route} answers with status ${answer.status} and leads to no connection`;
  return Promise.reject(new MeshError('ERR_MESH_UNSUPPORTED', message, { route: call.route }));
}
