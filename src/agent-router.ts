import type { Duplex } from 'node:stream';
import { agentRecord, keepingHead } from './agent-access-log.ts';
import { type AgentCount, type AgentStart, agentAnswers } from './agent-answers.ts';
import { agentBreaker } from './agent-breaker.ts';
import { agentFaults } from './agent-faults.ts';
import { hearing } from './agent-health.ts';
import { agentLimit, agentTimes, overflow } from './agent-limits.ts';
import { notingLoad } from './agent-load.ts';
import { cookieChanges } from './balance/hash-cookie.ts';
import type { Breakers } from './breakers.ts';
import { endpointFailures, MeshError } from './errors.ts';
import type { ActiveFaults } from './fault/active.ts';
import type { AgentRequest, AgentRouter, AgentTarget } from './host/agent.ts';
import type { Clock } from './lib/clock.ts';
import { isGrpc } from './lib/grpc-answer.ts';
import type { HeaderChanges } from './lib/header-edit.ts';
import type { HeaderList } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { type DropPlan, isDropped, planDrops } from './limit/drop.ts';
import type { Cluster, DropOverload } from './model/cluster.ts';
import type { Route } from './model/route.ts';
import { changesOriginal } from './outbound-tls.ts';
import { addFlag } from './pipeline/response-flags.ts';
import { currentScope } from './pipeline/scope.ts';
import type { RequestHashes } from './request-hashes.ts';
import { requestChanges, responseChanges } from './route/changes.ts';
import { changesHeaders } from './route/plan.ts';
import type { RoutableRequest } from './route/request-view.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { EndpointState } from './runtime/endpoint.ts';
import { dropAssertions, withoutAssertions } from './sanitize/outbound.ts';
import type { Known, Selector } from './select.ts';
import type { MetricTags } from './telemetry/metric-tags.ts';
import type { Series } from './telemetry/metrics.ts';
import type { RouteStats } from './telemetry/route-stats.ts';
import { remainingHeader } from './timeout/deadline-filter.ts';
import { addOutboundHeaders } from './trace/outbound-headers.ts';

/**
 * Decides for `node:http` requests: the same routes, balancing, outlier detection and mTLS, limits and
 * timeouts as for fetch. Retries belong to the library above (axios, got): the mesh does not hold these
 * requests and cannot send them again.
 */
export function agentRouter(options: {
  readonly clock: Clock;
  readonly random: Random;
  /** Series for requests that reached no endpoint. */
  series(service: string): Series;
  readonly select: Selector;
  /** Tags that Telemetries add. Absent: none, ever. */
  readonly metricTags?: MetricTags | undefined;
  /** Faults under way in this process. Default: those of this agent alone. */
  readonly faults?: ActiveFaults;
  /** Default: no cluster has a circuit breaker. */
  readonly breakers?: Breakers;
  /** Counts by `statPrefix`. Absent: nothing is counted. */
  readonly routeStats?: RouteStats;
  /** How requests are hashed; absent: they are not. */
  readonly hashes?: RequestHashes;
  /** `tlsHost`: the application itself speaks TLS to this name. `host`: the Host header. */
  connect(state: ClusterState, endpoint: EndpointState, tlsHost: string | undefined, host: string): Promise<Duplex>;
  /** A connection of the mesh's own to the address that the application named. Absent: no cluster needs one. */
  connectOriginal?(cluster: Cluster, hostname: string, port: number, tlsHost: string | undefined): Promise<Duplex>;
}): AgentRouter {
  const { clock, connect, select } = options;
  /** What reached no endpoint. */
  const countHere: AgentCount = (service, request, { startedAt }, status, flag) => {
    const series = options.series(service);
    const end = { startedAt, status, error: undefined, target: { path: request.path, headers: [], flag } };
    const tagged = options.metricTags?.client?.seriesOf(series, agentRecord(clock, request, end));
    (tagged ?? series).record(status, flag, clock.now() - startedAt);
  };
  const answering = agentAnswers(countHere);
  const guarded = agentBreaker({ answering, breakers: options.breakers });
  // A name says less: what is gone from the configuration may come back, and then be called in another way.
  const serials = new WeakMap<object, number>();
  let serial = 0;
  const serialOf = (state: EndpointState | ClusterState): number => {
    let known = serials.get(state);
    if (known === undefined) serials.set(state, (known = ++serial));
    return known;
  };
  const faults = agentFaults({ ...options, answering, count: countHere });

  /** Adds what every call has, and returns just that. */
  const complete = (headers: HeaderList, { retry, timeoutMs = Infinity }: Route): readonly string[] => {
    const scope = currentScope();
    const given = headers.length;
    addOutboundHeaders(headers, scope);
    const leftMs = Math.min(timeoutMs, (scope?.deadline ?? Infinity) - clock.now());
    const toldMs = Math.min(leftMs, retry?.perTryTimeoutMs ?? Infinity);
    if (Number.isFinite(toldMs)) headers.push(remainingHeader, String(Math.max(1, Math.ceil(toldMs))));
    return headers.slice(given) as string[];
  };

  /** What a route makes of a request and its response, wherever it goes. `added` is among the headers. */
  const edited = (
    request: AgentRequest,
    headers: HeaderList,
    added: readonly string[],
    known: Known,
    cors: HeaderChanges | undefined,
  ): Edited => {
    const { plan } = known.destination;
    const dropped = dropAssertions(headers);
    const view = viewOf(request, headers, known);
    const startTimeMs = clock.wallNow();
    const own = requestChanges(plan, view, known.path, startTimeMs);
    const changes = dropped ? [withoutAssertions, ...own] : own;
    const response = responseChanges(plan, view, startTimeMs, cors);
    return {
      path: known.path,
      ...(plan.authority === undefined ? {} : { authority: plan.authority }),
      headers: added,
      ...(changes.length === 0 ? {} : { changes }),
      ...(response === undefined ? {} : { response }),
    };
  };

  /** Takes a place among the requests of a cluster. @returns gives it back, once */
  const enter = ({ cluster, requests }: ClusterState, request: AgentRequest, start: AgentStart): (() => void) => {
    if (!requests.enter()) {
      countHere(cluster.host, request, start, 503, addFlag(start.flag, 'UO'));
      throw overflow(cluster.name, `${requests.limit} requests`);
    }
    let left = false;
    return () => {
      if (!left) requests.leave();
      left = true;
    };
  };

  /** Under its `statPrefix`, if it has one. */
  const count = ({ counted }: Known, status: number, error: Error | undefined): void => {
    if (counted === undefined) return;
    const timedOut = error instanceof MeshError && error.flag === 'UT';
    options.routeStats?.of(counted.virtualHost, counted.statPrefix).ended(1, timedOut ? 504 : status, timedOut);
  };

  const choose = (request: AgentRequest, headers: HeaderList, selection: Known, start: AgentStart): Decision => {
    const { state } = selection;
    const cors = corsOf(request, selection);
    if (cors.kind === 'preflight') return answering(request, cors.answer, state.cluster.host, start);
    return guarded(request, selection, start, () => toEndpoint(request, headers, selection, start, cors.response));
  };

  const toEndpoint = (
    request: AgentRequest,
    headers: HeaderList,
    selection: Known,
    { flag, startedAt }: AgentStart,
    cors: HeaderChanges | undefined,
  ): AgentTarget => {
    const { destination, route, state } = selection;
    const tlsHost = request.secure ? request.hostname : undefined;
    const added = complete(headers, route);
    // Of the request as it was made: before the route changes its headers.
    let cookie: string | undefined;
    const hash = options
      .hashes?.(state.cluster, route)
      ?.of({ method: request.method, path: selection.asked, headers }, selection.hostHeader, currentScope(), (made) => {
        cookie = made;
      });
    const endpoint = state.pick(undefined, hash);
    if (endpoint === undefined) {
      const message = `cluster ${state.cluster.name} has no healthy endpoint`;
      throw new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', message, { route: route.name, cluster: state.cluster.name });
    }
    const times = agentTimes(selection, currentScope(), endpoint.name, clock);
    const edits = edited(request, headers, added, selection, cors);
    const leave = enter(state, request, { startedAt, flag });
    endpoint.inFlight++;
    let done = false;
    // TLS that the mesh originates is for one host.
    const host = typeof state.cluster.tls === 'object' ? hostOf(request, destination.plan.authority) : '';
    const made = cookie === undefined ? edits : withCookie(edits, cookie);
    const told = { cluster: state.cluster.name, endpoint: endpoint.name, route: route.name, flag };
    const tags = options.metricTags?.client;
    let raw: readonly string[] = [];
    const target = notingLoad(clock, state, endpoint, request, {
      ...made,
      ...hearing(state, endpoint, made.response),
      ...told,
      // A new generation of connections has a new key, so that sockets of the old one are not reused.
      key: `${state.cluster.name}/${endpoint.name}/${serialOf(endpoint)}.${endpoint.generation}/${tlsHost ?? host}`,
      connect: () => connect(state, endpoint, tlsHost, host),
      limit: agentLimit(state.cluster.name, state.cluster.limits),
      times,
      ended: leave,
      done(status, error, stalled) {
        if (done) return;
        done = true;
        count(selection, status, error);
        endpoint.inFlight--;
        const durationMs = clock.now() - startedAt;
        const series =
          tags === undefined
            ? endpoint.series
            : tags.seriesOf(
                endpoint.series,
                agentRecord(clock, request, { startedAt, status, error, target: { ...edits, ...told }, raw }),
              );
        const code = error instanceof MeshError ? error.code : '';
        if (status !== 0 || (stalled !== true && ofEndpoint.has(code))) {
          if (status !== 0 || afterConnect.has(code)) state.connected(endpoint);
          state.report(endpoint, status);
          series.record(status, addFlag(flag, error instanceof MeshError ? error.flag : ''), durationMs);
        } else if (error instanceof MeshError) {
          // Limits, the deadlines of callers, a certificate that is missing here.
          series.record(error.status, addFlag(flag, error.flag), durationMs);
          // The application gave the request up, which says nothing about the endpoint either.
        } else series.record(0, addFlag(flag, 'DC'), durationMs);
      },
    });
    return tags === undefined ? target : keepingHead(target, (given) => (raw = given));
  };

  /** To the address that the application named; `direct` where the mesh has nothing to do with it. */
  const toItsAddress = (request: AgentRequest, headers: HeaderList, known: Known, start: AgentStart): Decision => {
    const { destination, route, state } = known;
    const { hostname, port, secure } = request;
    const times = agentTimes(known, currentScope(), `${hostname}:${port}`, clock);
    const limit = agentLimit(state.cluster.name, state.cluster.limits);
    const bounded = times.length > 0 || limit !== undefined || Number.isFinite(state.requests.limit);
    const touched =
      changesOriginal(state.cluster) ||
      changesHeaders(destination.plan) ||
      known.path !== request.path ||
      known.counted !== undefined ||
      destination.cors !== undefined ||
      state.breaker !== undefined ||
      route.sticky?.baggage !== undefined ||
      // TLS of the application is as the options of its request have it, as long as nothing else speaks against that.
      (bounded && !secure);
    if (!touched) return 'direct';
    const cors = corsOf(request, known);
    if (cors.kind === 'preflight') return answering(request, cors.answer, state.cluster.host, start);
    return guarded(request, known, start, () => {
      const edits = edited(request, headers, complete(headers, known.route), known, cors.response);
      const leave = enter(state, request, start);
      state.outside++;
      let done = false;
      return {
        ...edits,
        cluster: state.cluster.name,
        route: route.name,
        flag: start.flag,
        key: `${state.cluster.name}/${hostname}:${port}/${serialOf(state)}.${state.revision}.${state.generation}/${secure}`,
        connect: async () => {
          if (options.connectOriginal !== undefined) {
            return options.connectOriginal(state.cluster, hostname, port, secure ? hostname : undefined);
          }
          // Never without its TLS.
          throw new MeshError('ERR_MESH_UNSUPPORTED', `there are no connections to ${hostname} here`);
        },
        limit,
        times,
        ended: leave,
        // There is no endpoint that could be judged by this.
        done(status, error) {
          if (done) return;
          done = true;
          count(known, status, error);
          state.tryEnded();
          const failure = error instanceof MeshError ? error.flag : status === 0 ? 'DC' : '';
          countHere(state.cluster.host, request, start, status, addFlag(start.flag, failure));
        },
      };
    });
  };

  return (request) => {
    const headers: HeaderList = [];
    for (const [name, value] of request.headers()) headers.push(name, value);
    const selection = select(originOf(request), request.method, request.path, headers, currentScope());
    if (selection.kind === 'answer')
      return answering(request, selection.answer, 'unknown', { startedAt: clock.now(), flag: '' });
    const known = selection.kind === 'inside' ? selection : selection.known;
    if (known === undefined) return 'direct';
    const edits = (): AgentTarget['response'] =>
      responseChanges(known.destination.plan, viewOf(request, headers, known), clock.wallNow(), undefined);
    return faults({ request, route: known.route, service: known.state.cluster.host, edits }, (start) => {
      const { cluster } = known.state;
      const drops = cluster.drops && dropsOf(cluster.drops);
      if (drops !== undefined && isDropped(drops, options.random)) {
        const answer = isGrpc(request.header('content-type')) ? drops.grpc : drops.plain;
        return answering(request, answer, cluster.host, start, edits());
      }
      if (selection.kind === 'outside') return toItsAddress(request, headers, known, start);
      const warming = selection.state.warming();
      return warming === undefined
        ? choose(request, headers, selection, start)
        : warming.then(() => choose(request, headers, selection, start));
    });
  };
}

function viewOf(request: AgentRequest, headers: HeaderList, { asked, hostHeader }: Known): RoutableRequest {
  const { method, secure } = request;
  return { method, path: asked, headers, secure, hostHeader, scope: currentScope() };
}

const dropPlans = new WeakMap<readonly DropOverload[], DropPlan | 'none'>();

function dropsOf(drops: readonly DropOverload[]): DropPlan | undefined {
  let plan = dropPlans.get(drops);
  if (plan === undefined) dropPlans.set(drops, (plan = planDrops(drops) ?? 'none'));
  return plan === 'none' ? undefined : plan;
}

type Decision = ReturnType<AgentRouter>;
/** These come over a connection that was there. */
const afterConnect: ReadonlySet<string> = new Set(['ERR_MESH_UPSTREAM_RESET', 'ERR_MESH_UPSTREAM_PROTOCOL']);

/** What is held against an endpoint, as `outlierFilter` has it for calls. */
const ofEndpoint: ReadonlySet<string> = new Set([...endpointFailures, 'ERR_MESH_TRY_TIMEOUT', 'ERR_MESH_TIMEOUT']);

/** Gives a new cookie to the application, after everything that the route does. */
function withCookie(edits: Edited, cookie: string): Edited {
  const { response } = edits;
  const changes = cookieChanges(cookie);
  return { ...edits, response: (status, raw) => [...(response?.(status, raw) ?? []), changes] };
}

type Edited = Omit<AgentTarget, 'key' | 'connect' | 'done' | 'cluster' | 'endpoint' | 'route' | 'flag'>;

const noCors: { readonly kind: 'none'; readonly response: undefined } = { kind: 'none', response: undefined };

/** What the CORS policy of its route makes of a request. */
function corsOf(request: AgentRequest, { destination }: Known) {
  const decision = destination.cors?.(request.method, (name) => request.header(name));
  return decision === undefined || decision.kind === 'none' ? noCors : { response: undefined, ...decision };
}

function originOf({ hostname, port, secure }: AgentRequest): string {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  return `${secure ? 'https' : 'http'}://${host}:${port}`;
}

/** The Host header that the request will have. */
function hostOf(request: AgentRequest, authority: string | undefined): string {
  const { hostname } = request;
  return authority ?? request.header('host') ?? (hostname.includes(':') ? `[${hostname}]` : hostname);
}
