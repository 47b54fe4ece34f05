import { Agent } from 'undici';
import { balanceFilter } from './balance/filter.ts';
import { MeshError } from './errors.ts';
import { planFault } from './fault/decide.ts';
import { callFaultFilter, tryFaultFilter } from './fault/filter.ts';
import type { Clock } from './lib/clock.ts';
import { createDeadlines } from './lib/deadlines.ts';
import { type HeaderList, headerValue, setHeader } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { limitFilter } from './limit/filter.ts';
import type { Cluster } from './model/cluster.ts';
import type { Route } from './model/route.ts';
import { outlierFilter } from './outlier/filter.ts';
import type { CallEndpoint, ClientCall, Reply } from './pipeline/client-call.ts';
import { compose, type Filter, type Service } from './pipeline/filter.ts';
import { retryFilter } from './retry/filter.ts';
import type { HostTable } from './route/host-table.ts';
import { rewritePath } from './route/rewrite.ts';
import { createWeightedChoice } from './route/weighted.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';
import { EndpointState } from './runtime/endpoint.ts';
import { clientMetricsFilter } from './telemetry/client-filter.ts';
import type { Series } from './telemetry/metrics.ts';
import { deadlineFilter, marginMs } from './timeout/deadline-filter.ts';
import { stampRemaining } from './timeout/remaining-time.ts';
import { tryTimeoutFilter } from './timeout/try-filter.ts';
import { addOutboundHeaders } from './trace/outbound-headers.ts';
import { sendDirect, sendTry } from './transport/terminal.ts';

/** What the pipeline is made of. */
export interface ClientPipelineDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly clusters: Clusters;
  /** The table of the snapshot in force; read once for each call. */
  hosts(): HostTable | undefined;
  /** Series for calls that reached no endpoint, and for hosts outside the mesh. */
  series(service: string): Series;
}

/** What the mesh knows about a destination. */
export interface Known {
  readonly route: Route;
  readonly state: ClusterState;
  readonly destination: Destination;
  /** After rewriting. */
  readonly path: string;
  /** For requests without a Host header of their own. */
  readonly hostHeader: string;
  /** Replaces the Host header in any case. */
  readonly authority: string | undefined;
}

/** Where a request goes. */
export type Selection =
  /**
   * To the address that the caller named: the host is unknown to the mesh, or is known with its
   * policy but reached at its own address (`resolution: NONE`).
   */
  | { readonly kind: 'outside'; readonly cluster: string; readonly known: Known | undefined }
  | ({ readonly kind: 'inside' } & Known);

const outsideOfMesh: Selection = { kind: 'outside', cluster: 'PassthroughCluster', known: undefined };

/** The way of a call from the application to an endpoint. */
export interface ClientPipeline {
  readonly send: Service<ClientCall, Reply>;
  /**
   * Where a request goes: for hosts that make their own connections (`node:http`).
   *
   * @throws MeshError when it may go nowhere.
   */
  select(origin: string, path: string, headers: HeaderList): Selection;
  /** Closes the connections to hosts outside of the mesh; those inside belong to the clusters. */
  close(): Promise<void>;
}

/**
 * The order of the client side, outermost first; `docs/architecture.md` gives the reasons. What a
 * route or cluster does not configure is not in its chain.
 */
export function createClientPipeline(dependencies: ClientPipelineDependencies): ClientPipeline {
  const { clock, clusters, random } = dependencies;
  const deadlines = createDeadlines(clock);
  const outside = new Agent();
  const passthrough: CallEndpoint = { name: 'passthrough', host: '', dispatcher: () => outside };
  const toItsAddress: Filter<ClientCall, Reply> = (call, next) => {
    call.endpoint = passthrough;
    return next(call);
  };
  const routes = new WeakMap<Route, () => Destination>();

  /** Inside of `route`: everything that one route and one cluster configure. */
  const composeDestination = (route: Route, state: ClusterState): Service<ClientCall, Reply> => {
    const perTryMs = route.retry?.perTryTimeoutMs;
    const filters: Filter<ClientCall, Reply>[] = [];
    const fault = planFault(route.fault);
    const ofCall = route.fault?.level === 'call' ? fault : undefined;
    const ofTry = route.fault?.level === 'try' ? fault : undefined;
    // outside deadline and retry, as in Envoy: they see nothing of it
    if (ofCall !== undefined) filters.push(callFaultFilter({ plan: ofCall, clock, random, marginMs }));
    const startsLate = ofCall !== undefined && ofCall.delayMs > 0;
    // outside retry: the total budget
    filters.push(deadlineFilter({ timeoutMs: route.timeoutMs, perTryMs, startsLate, clock, deadlines }));
    if (route.retry !== undefined && route.retry.attempts > 0) {
      // outside limit and balance: every try is admitted and picks anew
      const prepare = (call: ClientCall): void => stampRemaining(call, clock, perTryMs);
      filters.push(retryFilter({ policy: route.retry, clock, random, limiter: state.retries, prepare }));
    }
    if (ofTry !== undefined) {
      // inside retry: it sees the faults; outside limit and balance: a fault that was made up takes no
      // place from anybody and ejects no endpoint
      // A delay takes from the time of the try; one that is longer ends the try by itself.
      const leftMs = perTryMs === undefined ? undefined : Math.max(1, perTryMs - ofTry.delayMs);
      const rest = composeTry(leftMs, state);
      const delayed: Service<ClientCall, Reply> = (call) => {
        stampRemaining(call, clock, leftMs);
        return rest(call);
      };
      filters.push(tryFaultFilter({ plan: ofTry, clock, random, perTryMs, delayed }));
    }
    return compose(filters, composeTry(perTryMs, state));
  };

  /** Inside of `retry`: what one try passes. */
  const composeTry = (perTryMs: number | undefined, state: ClusterState): Service<ClientCall, Reply> => {
    const { name, outlier, limits } = state.cluster;
    const filters: Filter<ClientCall, Reply>[] = [];
    if (Number.isFinite(limits.maxRequests)) {
      // inside retry: tries count against the limits
      filters.push(limitFilter(name, state.requests));
    }
    if (state.cluster.discovery.kind === 'original') {
      // There is nothing to choose from, and nobody to eject.
      filters.push(toItsAddress);
    } else {
      // inside retry: hands the chosen endpoint on
      filters.push(balanceFilter(name, state));
      // inside balance, outside try-timeout: it must see per-try timeouts
      if (outlier !== undefined) filters.push(outlierFilter((endpoint, status) => state.report(endpoint, status)));
    }
    if (perTryMs !== undefined) {
      // innermost policy: connect and response headers of one try
      filters.push(tryTimeoutFilter(perTryMs, deadlines(perTryMs)));
    }
    return compose(filters, sendTry);
  };

  const destinationOf = (route: Route): Destination => {
    let choose = routes.get(route);
    if (choose === undefined) {
      choose = createWeightedChoice(
        route.destinations.map(({ cluster, weight }) => ({ weight, value: new Destination(cluster) })),
        random,
      );
      routes.set(route, choose);
    }
    return choose();
  };

  const select = (origin: string, path: string, headers: HeaderList): Selection => {
    const hosts = dependencies.hosts();
    if (hosts === undefined) {
      throw new MeshError('ERR_MESH_NOT_READY', 'the mesh has no configuration yet; await mesh.ready()');
    }
    const target = hosts.find(origin);
    if (target.kind === 'passthrough') return outsideOfMesh;
    if (target.kind === 'refused') {
      const message = `${origin} is not in the mesh, and hosts outside of it are refused (REGISTRY_ONLY)`;
      throw new MeshError('ERR_MESH_HOST_UNKNOWN', message, { cluster: 'BlackHoleCluster' });
    }
    const { tlsHost } = target;
    const choice = target.match({ path, headers });
    if (choice === undefined) {
      throw new MeshError('ERR_MESH_NO_ROUTE', `no route of ${target.name} matches ${path}`);
    }
    const { route } = choice;
    const destination = destinationOf(route);
    const { cluster } = destination;
    const state = tlsHost === undefined ? clusters.get(cluster) : clusters.getForTls(cluster, tlsHost);
    if (state === undefined) {
      const message = `route ${route.name} leads to ${cluster}, which does not exist`;
      throw new MeshError('ERR_MESH_NO_CLUSTER', message, { route: route.name, cluster });
    }
    const refusal = whyNot(state.cluster, tlsHost !== undefined);
    if (refusal !== undefined) {
      throw new MeshError('ERR_MESH_UNSUPPORTED', `${origin}: ${refusal}`, { route: route.name, cluster });
    }
    const { rewrite } = route;
    const inside: Selection = {
      kind: 'inside',
      route,
      state,
      destination,
      path: rewrite === undefined ? path : rewritePath(path, rewrite, choice.match),
      hostHeader: target.hostHeader,
      authority: rewrite?.authority,
    };
    return state.cluster.discovery.kind === 'original' ? { kind: 'outside', cluster, known: inside } : inside;
  };

  const toRoute: Service<ClientCall, Reply> = (call) => {
    const { headers } = call.request;
    const selection = select(call.origin, call.path, headers);
    const known = selection.kind === 'inside' ? selection : selection.known;
    if (known === undefined) {
      call.cluster = 'PassthroughCluster';
      call.endpoint = passthrough;
      return sendDirect(call);
    }
    const { destination, route, state } = known;
    call.route = route.name;
    call.cluster = destination.cluster;
    addOutboundHeaders(headers, call.scope);
    if (known.authority !== undefined) setHeader(headers, 'host', known.authority);
    // A connection to the address that the caller named sends the right Host header by itself.
    else if (selection.kind === 'inside' && headerValue(headers, 'host') === undefined) call.host = known.hostHeader;
    // The target of CONNECT is a host and a port, and no path.
    if (known.path !== call.path && call.request.method !== 'CONNECT') {
      setHeader(headers, 'x-envoy-original-path', call.path);
      call.path = known.path;
    }
    return destination.service(route, state, composeDestination)(call);
  };

  const seriesOf = (call: ClientCall): Series =>
    call.endpoint instanceof EndpointState ? call.endpoint.series : dependencies.series(hostOf(call.cluster));

  return {
    // metrics outside route: a call without a route counts too
    send: compose([clientMetricsFilter(clock, seriesOf)], (call) => {
      try {
        return toRoute(call);
      } catch (error) {
        if (error instanceof MeshError && error.cluster !== undefined) call.cluster = error.cluster;
        return Promise.reject(error);
      }
    }),
    select,
    close: () => outside.close(),
  };
}

const speaksTls: ReadonlySet<string> = new Set(['https', 'tls', 'tcp']);

/** Why a cluster cannot be called in this way, for people; nothing when it can. */
function whyNot({ discovery, protocol, tls }: Cluster, ownTls: boolean): string | undefined {
  if (discovery.kind === 'original') {
    if (tls !== 'mutual') return undefined;
    return 'mutual TLS is demanded, and a host that is called at its own address has no identity to verify';
  }
  if (!ownTls) return undefined;
  if (!speaksTls.has(protocol)) {
    return `the mesh knows this port as ${protocol}; call it with http: and let the mesh encrypt`;
  }
  if (tls === 'mutual') return 'mutual TLS is demanded, and TLS of the application cannot run inside of it';
  return undefined;
}

/** `outbound|9080|v1|reviews` is a cluster of `reviews`. */
function hostOf(cluster: string): string {
  return cluster.slice(cluster.lastIndexOf('|') + 1);
}

type Composer = (route: Route, state: ClusterState) => Service<ClientCall, Reply>;

/** One destination of one route with its chain, made on first use and again when the cluster changed. */
export class Destination {
  readonly cluster: string;
  #state: ClusterState | undefined;
  #revision: number;
  #service: Service<ClientCall, Reply> | undefined;

  constructor(cluster: string) {
    this.cluster = cluster;
    this.#state = undefined;
    this.#revision = -1;
    this.#service = undefined;
  }

  service(route: Route, state: ClusterState, compile: Composer): Service<ClientCall, Reply> {
    if (this.#service === undefined || this.#state !== state || this.#revision !== state.revision) {
      this.#service = compile(route, state);
      this.#state = state;
      this.#revision = state.revision;
    }
    return this.#service;
  }
}
