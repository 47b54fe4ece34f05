import { Agent } from 'undici';
import { balanceFilter } from './balance/filter.ts';
import { MeshError } from './errors.ts';
import type { Clock } from './lib/clock.ts';
import { createDeadlines } from './lib/deadlines.ts';
import { type HeaderList, headerValue, setHeader } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { limitFilter } from './limit/filter.ts';
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
import { deadlineFilter } from './timeout/deadline-filter.ts';
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

/** Where a request goes. */
export type Selection =
  /** Not through the mesh: the host is unknown to it, or is reached at its own address. */
  | { readonly kind: 'outside'; readonly cluster: string }
  | {
      readonly kind: 'inside';
      readonly route: Route;
      readonly state: ClusterState;
      readonly destination: Destination;
      /** After rewriting. */
      readonly path: string;
      /** For requests without a Host header of their own. */
      readonly hostHeader: string;
      /** Replaces the Host header in any case. */
      readonly authority: string | undefined;
    };

const outsideOfMesh: Selection = { kind: 'outside', cluster: 'PassthroughCluster' };

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
  const routes = new WeakMap<Route, () => Destination>();

  /** Inside of `route`: everything that one route and one cluster configure. */
  const composeDestination = (route: Route, state: ClusterState): Service<ClientCall, Reply> => {
    const { name, outlier, limits } = state.cluster;
    const perTryMs = route.retry?.perTryTimeoutMs;
    const filters: Filter<ClientCall, Reply>[] = [
      // outside retry: the total budget
      deadlineFilter({ timeoutMs: route.timeoutMs, perTryMs, clock, deadlines }),
    ];
    if (route.retry !== undefined && route.retry.attempts > 0) {
      // outside limit and balance: every try is admitted and picks anew
      const prepare = (call: ClientCall): void => stampRemaining(call, clock, perTryMs);
      filters.push(retryFilter({ policy: route.retry, clock, random, limiter: state.retries, prepare }));
    }
    if (Number.isFinite(limits.maxRequests)) {
      // inside retry: tries count against the limits
      filters.push(limitFilter(name, state.requests));
    }
    // inside retry: hands the chosen endpoint on
    filters.push(balanceFilter(name, state));
    if (outlier !== undefined) {
      // inside balance, outside try-timeout: it must see per-try timeouts
      filters.push(outlierFilter((endpoint, status) => state.report(endpoint, status)));
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
    // The address that the caller named is the endpoint (`resolution: NONE`).
    if (state.cluster.discovery.kind === 'original') return { kind: 'outside', cluster };
    if (tlsHost !== undefined && !speaksTls.has(state.cluster.protocol)) {
      const message = `${origin}: the mesh knows this port as ${state.cluster.protocol}; call it with http: and let the mesh encrypt`;
      throw new MeshError('ERR_MESH_UNSUPPORTED', message, { route: route.name, cluster });
    }
    const { rewrite } = route;
    return {
      kind: 'inside',
      route,
      state,
      destination,
      path: rewrite === undefined ? path : rewritePath(path, rewrite, choice.match),
      hostHeader: target.hostHeader,
      authority: rewrite?.authority,
    };
  };

  const toRoute: Service<ClientCall, Reply> = (call) => {
    const { headers } = call.request;
    const selection = select(call.origin, call.path, headers);
    if (selection.kind === 'outside') {
      call.cluster = selection.cluster;
      call.endpoint = passthrough;
      return sendDirect(call);
    }
    const { destination, route, state } = selection;
    call.route = route.name;
    call.cluster = destination.cluster;
    addOutboundHeaders(headers, call.scope);
    if (selection.authority !== undefined) setHeader(headers, 'host', selection.authority);
    else if (headerValue(headers, 'host') === undefined) call.host = selection.hostHeader;
    if (selection.path !== call.path) {
      setHeader(headers, 'x-envoy-original-path', call.path);
      call.path = selection.path;
    }
    return destination.service(route, state, composeDestination)(call);
  };

  const seriesOf = (call: ClientCall): Series =>
    call.endpoint instanceof EndpointState ? call.endpoint.series : dependencies.series(call.cluster);

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
