import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { loggedRouter } from './agent-access-log.ts';
import { agentRouter } from './agent-router.ts';
import { tracedRouter } from './agent-trace.ts';
import type { AuthorizationCount } from './authz/tallies.ts';
import { breakerStatus, createBreakers } from './breakers.ts';
import { createClientPipeline } from './client-pipeline.ts';
import { type Connector, createConnector } from './connect.ts';
import { createEgressGuard } from './egress.ts';
import type { FallbackFunction } from './fallback-api.ts';
import { ActiveFaults, type FaultStatus } from './fault/active.ts';
import { createGate } from './health/gate.ts';
import { createAgent, type MeshAgent } from './host/agent.ts';
import { MeshDispatcher } from './host/dispatcher.ts';
import { createFetch } from './host/fetch.ts';
import type { Nearness } from './host/redirects.ts';
import type { ActiveIdentity } from './identity/store.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { ownAddress } from './lib/own-address.ts';
import type { Random } from './lib/random.ts';
import type { BreakerStatus, ClusterStatus, EndpointStatus } from './mesh-api.ts';
import { type Cluster, clusterName, defaultConnectionLimits, type Endpoint } from './model/cluster.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';
import { openConnections } from './outbound-connections.ts';
import { createOutboundTls } from './outbound-tls.ts';
import { createRequestHashes } from './request-hashes.ts';
import { defaultRetrySettings, type RetrySettings } from './retry/settings.ts';
import { createHostTable, type HostTable } from './route/host-table.ts';
import { readsRequests } from './route/own-tls.ts';
import type { ClusterState } from './runtime/cluster.ts';
import { type Clusters, createClusters } from './runtime/clusters.ts';
import type { EndpointState } from './runtime/endpoint.ts';
import { createNameResolver } from './runtime/resolver.ts';
import { createSystemDns } from './runtime/system-dns.ts';
import { createSourceLabels } from './series-labels.ts';
import type { SideLog } from './telemetry/access-log.ts';
import { calledConnection } from './telemetry/connection-record.ts';
import type { MetricTags } from './telemetry/metric-tags.ts';
import type { Metrics, Series } from './telemetry/metrics.ts';
import { RouteStats, type RouteStatus } from './telemetry/route-stats.ts';
import type { ClientTracing } from './trace/client-filter.ts';
import { createConnectionBudgets } from './transport/budget.ts';
import { lifeOf } from './transport/connection-life.ts';
import { type ConnectTarget, openConnection } from './transport/connector.ts';
import { createProber } from './transport/probe.ts';
import type { TrustWatch } from './transport/trust-watch.ts';

export interface OutboundDependencies {
  readonly workload: Workload;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  /** Name of this process among others of its workload. Absent: one at random. */
  readonly instance?: string;
  readonly onFailure: 'response' | 'throw';
  /** Default: {@link defaultRetrySettings}. */
  readonly retries?: RetrySettings;
  /** Default `own`. */
  readonly mirrorCredentials?: 'own' | 'all';
  /** `none`: this process has no identity and makes plaintext connections only. */
  readonly identity: (() => ActiveIdentity | undefined) | 'none';
  /** Cuts connections to servers that are no longer trusted. */
  readonly trustWatch?: TrustWatch | undefined;
  /** Told what EgressPolicies that are only tried out would decide. Default: nobody is. */
  readonly logger?: Logger;
  endpointChanged(status: EndpointStatus): void;
  /** Answers of the application for calls that a breaker refuses, by service. Default none. */
  readonly fallbacks?: Readonly<Record<string, FallbackFunction>>;
  breakerChanged?(status: BreakerStatus): void;
  /** Absent: no spans. */
  readonly tracing?: ClientTracing | undefined;
  readonly accessLog?: SideLog | undefined;
  /** Tags that Telemetries add. Absent: none, ever. */
  readonly metricTags?: MetricTags | undefined;
  /** A file that TLS of a cluster needs cannot be read. */
  fileUnreadable(cluster: string, file: string, error: Error): void;
}

/** The outbound half of a mesh. */
export interface Outbound {
  readonly fetch: typeof globalThis.fetch;
  readonly dispatcher: Dispatcher;
  readonly agent: MeshAgent;
  readonly connect: Connector['connect'];
  use(snapshot: Snapshot): void;
  /** A new certificate, or other trust: connections made with the old one are replaced, none is cut. 0: at once. */
  recycle(spreadMs: number): void;
  endpoints(): readonly EndpointStatus[];
  clusters(): readonly ClusterStatus[];
  breakers(): readonly BreakerStatus[];
  faults(): FaultStatus;
  /** What EgressPolicies have decided. */
  egress(): readonly AuthorizationCount[];
  routes(): readonly RouteStatus[];
  /** Takes no new calls, waits at most `graceMs` for those under way, then cuts them off. */
  close(graceMs: number): Promise<void>;
}

export function createOutbound(dependencies: OutboundDependencies): Outbound {
  const { clock, metrics, random, retries = defaultRetrySettings, workload } = dependencies;
  const labels = createSourceLabels(workload);
  const tls = createOutboundTls(dependencies);
  const directTarget = (
    cluster: Cluster,
    endpoint: Endpoint,
    tlsHost: string | undefined,
    host: string,
  ): ConnectTarget => ({
    cluster: cluster.name,
    address: endpoint.address,
    otherFamily: endpoint.otherFamily,
    port: endpoint.port,
    timeoutMs: cluster.limits.connectTimeoutMs,
    keepalive: cluster.limits.tcpKeepalive,
    clock,
    security: () => tls.security(cluster, endpoint, tlsHost, host),
    proxyProtocol: cluster.proxyProtocol,
  });
  /** Where the cluster has a tunnel, the endpoint is its proxy; what goes inside has no TLS of the mesh. */
  const tunnelled = (
    cluster: Cluster,
    endpoint: Endpoint,
    tlsHost: string | undefined,
  ): Partial<Pick<ConnectTarget, 'tunnel' | 'security'>> =>
    cluster.tunnel === undefined
      ? {}
      : {
          tunnel: { policy: cluster.tunnel, security: () => tls.security(cluster, endpoint, undefined, '') },
          ...(tlsHost === undefined ? { security: () => ({ kind: 'plaintext' }) } : {}),
        };
  const target = (cluster: Cluster, endpoint: Endpoint, tlsHost: string | undefined, host: string): ConnectTarget => ({
    ...directTarget(cluster, endpoint, tlsHost, host),
    // HTTP that the mesh reads goes to the endpoint itself, as in Istio: the tunnel is for what it does not read.
    ...(tlsHost === undefined && readsRequests(cluster) ? {} : tunnelled(cluster, endpoint, tlsHost)),
  });
  const bytesTo = (cluster: Cluster, endpoint: Endpoint, tlsHost: string | undefined, host: string): ConnectTarget => ({
    ...directTarget(cluster, endpoint, tlsHost, host),
    bytes: true,
    ...tunnelled(cluster, endpoint, tlsHost),
  });

  const budgets = createConnectionBudgets();
  const gate = createGate(maxChecks);
  const instance = dependencies.instance ?? `${workload.name}-${random()}`;
  let dnsRefreshMs: number | undefined;
  const names = createNameResolver({ ask: createSystemDns(), clock, random, refreshMs: () => dnsRefreshMs });
  const clusters: Clusters = createClusters((tlsHost) => ({
    clock,
    random,
    instance,
    names,
    retryBudget: retries.budget,
    hooks: (cluster) => ({
      perHost: typeof cluster.tls === 'object',
      open: (endpoint, host, current) =>
        openConnections(cluster, {
          host,
          target: target(cluster, endpoint, tlsHost, host),
          // A name may have another address by the time a connection is made.
          current,
          budget: budgets.of(cluster),
          // On connections of the application's own TLS the mesh offers no HTTP/2.
          http2: tlsHost === undefined ? cluster.http2 : undefined,
        }),
      series: (endpoint) => metrics.series(labels.toEndpoint(cluster, endpoint)),
    }),
    checks: {
      gate,
      prober: (cluster, state, policy) =>
        createProber(
          {
            ...directTarget(cluster, state.endpoint, tlsHost, policy.probe.kind === 'tcp' ? '' : policy.probe.host),
            ...(tlsHost === undefined ? {} : tunnelled(cluster, state.endpoint, tlsHost)),
            timeoutMs: policy.timeoutMs,
            http2: policy.probe.kind === 'grpc',
            bytes: policy.probe.kind === 'tcp',
            // Read for each new connection: the endpoint may be described anew.
            get address() {
              return state.endpoint.address;
            },
            get otherFamily() {
              return state.endpoint.otherFamily;
            },
            get port() {
              return policy.port ?? state.endpoint.port;
            },
            security: () =>
              tls.security(cluster, state.endpoint, tlsHost, policy.probe.kind === 'tcp' ? '' : policy.probe.host),
          },
          policy.probe,
        ),
    },
    healthChanged: (cluster, endpoint) => dependencies.endpointChanged(statusOf(cluster, endpoint)),
    breakerChanged: (cluster, breaker) => dependencies.breakerChanged?.(breakerStatus(cluster, breaker)),
  }));

  const seriesWithout = (service: string): Series => metrics.series(labels.toService(service));
  let hosts: HostTable | undefined;
  let configured: Snapshot['clusters'] | undefined;
  const egress = createEgressGuard(dependencies.logger);
  const nearnessOf = (origin: string): Nearness => {
    const target = hosts?.find(origin);
    if (target?.kind !== 'host' || target.stranger === true) return 'unknown';
    const colon = target.name.lastIndexOf(':');
    const cluster = clusterName(target.name.slice(0, colon), Number(target.name.slice(colon + 1)));
    return configured?.get(cluster)?.external === true ? 'external' : 'mesh';
  };
  const faults = new ActiveFaults();
  const breakers = createBreakers(dependencies.fallbacks ?? {}, workload);
  const hashes = createRequestHashes({ random, ownAddress, configured: clusters.configured });
  const routeStats = new RouteStats();
  const pipeline = createClientPipeline({
    hashes,
    routeStats,
    clock,
    random,
    clusters,
    retries,
    mirrorCredentials: dependencies.mirrorCredentials,
    hosts: () => hosts,
    egress: egress.current,
    original: tls.original,
    breakers,
    faults,
    tracing: dependencies.tracing,
    series: seriesWithout,
    accessLog: dependencies.accessLog,
    metricTags: dependencies.metricTags,
  });
  const dispatcher = new MeshDispatcher({
    send: pipeline.send,
    clock,
    onFailure: dependencies.onFailure,
    close: async () => {
      await Promise.all([agent.drain(), connector.drain()]);
      pipeline.cutMirrors();
      await clusters.close();
      names.close();
      await pipeline.close();
      await tls.close();
    },
  });
  const connect = (to: ConnectTarget): Promise<Duplex> =>
    new Promise((resolve, reject) => {
      openConnection(to, (error, socket) => {
        if (socket === null) reject(error);
        else resolve(socket);
      });
    });
  const connector = createConnector({
    hashes,
    clusters,
    budget: budgets.of,
    random,
    hosts: () => hosts,
    egress: egress.current,
    open: (state, endpoint, tlsHost, host) => connect(bytesTo(state.cluster, endpoint.endpoint, tlsHost, host)),
    opened: (socket, state, endpoint) => {
      const series = metrics.tcp(
        state === undefined
          ? labels.toService('PassthroughCluster')
          : endpoint === undefined
            ? labels.toService(state.cluster.host)
            : labels.toEndpoint(state.cluster, endpoint.endpoint),
      );
      const facts = { cluster: state?.cluster.name ?? 'PassthroughCluster', endpoint: endpoint?.name ?? '' };
      const tagged = dependencies.metricTags?.client?.connectionsOf(series, calledConnection(clock, facts));
      (tagged ?? series).watch(socket);
    },
    openOriginal: (cluster, host, port, tlsHost) =>
      connect({ ...tls.originalTarget(cluster, host, port, tlsHost), bytes: true }),
    openOutside: (address, port, tlsHost) =>
      connect({
        cluster: 'PassthroughCluster',
        address,
        port,
        timeoutMs: defaultConnectionLimits.connectTimeoutMs,
        clock,
        security: () => (tlsHost === undefined ? { kind: 'plaintext' } : { kind: 'tls', serverName: tlsHost }),
      }),
  });
  const routed = agentRouter({
    hashes,
    routeStats,
    clock,
    random,
    series: seriesWithout,
    metricTags: dependencies.metricTags,
    breakers,
    faults,
    select: pipeline.select,
    connect: (state, endpoint, tlsHost, host) => connect(target(state.cluster, endpoint.endpoint, tlsHost, host)),
    connectOriginal: (cluster, host, port, tlsHost) => connect(tls.originalTarget(cluster, host, port, tlsHost)),
  });
  const agent = createAgent(tracedRouter(loggedRouter(routed, dependencies.accessLog, clock), dependencies.tracing), {
    clock,
    lifeMs: (socket) => lifeOf(socket, Number.POSITIVE_INFINITY, clock),
  });

  return {
    fetch: createFetch(dispatcher, nearnessOf),
    dispatcher,
    agent,
    connect: connector.connect,
    use(snapshot) {
      dnsRefreshMs = snapshot.dnsRefreshMs;
      clusters.reconcile(snapshot);
      tls.reconcile(snapshot);
      budgets.reconcile(snapshot.clusters);
      hosts = createHostTable(snapshot);
      configured = snapshot.clusters;
      egress.use(snapshot, hosts);
    },
    recycle(spreadMs) {
      if (spreadMs === 0) agent.recycle();
      for (const state of clusters.all()) state.recycle(spreadMs);
      tls.recycle();
    },
    endpoints: () =>
      [...clusters.all()].flatMap((state) => state.endpoints.map((endpoint) => statusOf(state.cluster, endpoint))),
    clusters: () => [...clusters.all()].map(clusterStatusOf),
    breakers: () =>
      [...clusters.all()].flatMap(({ breaker, cluster }) =>
        breaker === undefined ? [] : [breakerStatus(cluster, breaker)],
      ),
    faults: () => faults.status,
    routes: () => routeStats.status,
    egress: egress.counts,
    async close(graceMs) {
      const cancel = clock.after(graceMs, () => {
        agent.destroy();
        connector.destroy();
        void dispatcher.destroy();
      });
      await dispatcher.close();
      cancel();
    },
  };
}

/** Health checks that run at once, of all clusters together. */
const maxChecks = 64;

function statusOf(cluster: Cluster, endpoint: EndpointState): EndpointStatus {
  const { health, outlier } = endpoint;
  const reason =
    outlier.cause ?? (health.healthy ? undefined : health.first ? 'pending_active_hc' : 'failed_active_hc');
  return {
    cluster: cluster.name,
    address: endpoint.name,
    workload: endpoint.endpoint.workload,
    healthy: endpoint.available,
    inFlight: endpoint.inFlight,
    ejections: outlier.ejections,
    ...(reason === undefined ? {} : { reason }),
    ...(health.problem === undefined ? {} : { problem: health.problem }),
  };
}

function clusterStatusOf({ active, cluster, endpoints, health, retries }: ClusterState): ClusterStatus {
  const { detected, enforced, overflow } = health.outlierStats;
  const outlierDetection = { active: health.ejected, enforced: { ...enforced }, detected: { ...detected }, overflow };
  const passing = endpoints.filter((endpoint) => endpoint.health.healthy).length;
  return {
    cluster: cluster.name,
    endpoints: endpoints.length,
    healthy: endpoints.filter(({ available }) => available).length,
    active,
    retries: { active: retries.active, made: retries.granted, overflow: retries.refused },
    ...(cluster.outlier === undefined ? {} : { outlierDetection }),
    ...(cluster.healthCheck === undefined ? {} : { healthCheck: { healthy: passing, ...health.checkStats } }),
  };
}
