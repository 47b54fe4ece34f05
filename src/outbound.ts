import type { TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import { agentRouter } from './agent-router.ts';
import { createClientPipeline } from './client-pipeline.ts';
import { MeshError } from './errors.ts';
import { createAgent, type MeshAgent } from './host/agent.ts';
import { MeshDispatcher } from './host/dispatcher.ts';
import { createFetch } from './host/fetch.ts';
import type { ActiveIdentity } from './identity/store.ts';
import { peerOfSocket } from './identity/verify-peer.ts';
import type { Clock } from './lib/clock.ts';
import type { Random } from './lib/random.ts';
import type { EndpointStatus } from './mesh-api.ts';
import type { Cluster, Endpoint } from './model/cluster.ts';
import type { Snapshot } from './model/snapshot.ts';
import { type Workload, workloadSpiffeId } from './model/workload.ts';
import { createHostTable, type HostTable } from './route/host-table.ts';
import { type Clusters, createClusters } from './runtime/clusters.ts';
import type { EndpointState } from './runtime/endpoint.ts';
import type { Metrics, Series } from './telemetry/metrics.ts';
import { type ConnectionSecurity, type ConnectTarget, openConnection } from './transport/connector.ts';
import { createPool } from './transport/pool.ts';

export interface OutboundDependencies {
  readonly workload: Workload;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly onFailure: 'response' | 'throw';
  /** `none`: this process has no identity and makes plaintext connections only. */
  readonly identity: (() => ActiveIdentity | undefined) | 'none';
  endpointChanged(status: EndpointStatus): void;
}

/** The outbound half of a mesh. */
export interface Outbound {
  readonly fetch: typeof globalThis.fetch;
  readonly dispatcher: Dispatcher;
  readonly agent: MeshAgent;
  use(snapshot: Snapshot): void;
  /** A new certificate: connections made with the old one are replaced, none is cut. */
  recycle(spreadMs: number): void;
  endpoints(): readonly EndpointStatus[];
  /** Takes no new calls, waits at most `graceMs` for those under way, then cuts them off. */
  close(graceMs: number): Promise<void>;
}

export function createOutbound(dependencies: OutboundDependencies): Outbound {
  const { clock, metrics, random, workload } = dependencies;
  const sourcePrincipal = workloadSpiffeId(workload);
  const seriesTo = (destinationService: string, destinationWorkload: string, destinationVersion: string): Series =>
    metrics.series({
      reporter: 'source',
      sourceWorkload: workload.name,
      sourcePrincipal,
      destinationService,
      destinationWorkload,
      destinationVersion,
    });
  const target = (cluster: Cluster, endpoint: Endpoint, tlsHost: string | undefined): ConnectTarget => ({
    cluster: cluster.name,
    address: endpoint.address,
    port: endpoint.port,
    timeoutMs: cluster.limits.connectTimeoutMs,
    clock,
    security: () => securityFor(dependencies, cluster, endpoint, tlsHost),
  });

  const clusters: Clusters = createClusters((tlsHost) => ({
    clock,
    random,
    hooks: (cluster) => ({
      open: (endpoint, host) =>
        createPool({
          host,
          ...target(cluster, endpoint, tlsHost),
          maxConnections: cluster.limits.maxConnections,
          idleTimeoutMs: cluster.limits.idleTimeoutMs,
        }),
      series: (endpoint) =>
        seriesTo(cluster.host, endpoint.workload || 'unknown', endpoint.labels['version'] ?? cluster.subset),
    }),
    healthChanged: (cluster, endpoint) => dependencies.endpointChanged(statusOf(cluster, endpoint)),
  }));

  let hosts: HostTable | undefined;
  const pipeline = createClientPipeline({
    clock,
    random,
    clusters,
    hosts: () => hosts,
    series: (service) => seriesTo(service === '' ? 'unknown' : service, 'unknown', ''),
  });
  const dispatcher = new MeshDispatcher({
    send: pipeline.send,
    clock,
    onFailure: dependencies.onFailure,
    close: async () => {
      await agent.drain();
      await clusters.close();
      await pipeline.close();
    },
  });
  const agent = createAgent(
    agentRouter({
      clock,
      select: pipeline.select,
      connect: (state, endpoint, tlsHost) =>
        new Promise((resolve, reject) => {
          openConnection(target(state.cluster, endpoint.endpoint, tlsHost), (error, socket) => {
            if (socket === null) reject(error);
            else resolve(socket);
          });
        }),
    }),
    { clock },
  );

  return {
    fetch: createFetch(dispatcher),
    dispatcher,
    agent,
    use(snapshot) {
      clusters.reconcile(snapshot);
      hosts = createHostTable(snapshot);
    },
    recycle(spreadMs) {
      for (const state of clusters.all()) state.recycle(spreadMs);
    },
    endpoints: () =>
      [...clusters.all()].flatMap((state) => state.endpoints.map((endpoint) => statusOf(state.cluster, endpoint))),
    async close(graceMs) {
      const cancel = clock.after(graceMs, () => {
        agent.destroy();
        void dispatcher.destroy();
      });
      await dispatcher.close();
      cancel();
    },
  };
}

function statusOf(cluster: Cluster, endpoint: EndpointState): EndpointStatus {
  return {
    cluster: cluster.name,
    address: endpoint.name,
    workload: endpoint.endpoint.workload,
    healthy: endpoint.ejectedUntil === 0,
    inFlight: endpoint.inFlight,
    ejections: endpoint.ejectionCount,
  };
}

/**
 * How to speak to an endpoint: Istio's auto-mTLS. Where mTLS is called for and there is no valid
 * certificate, there is no connection; plaintext is never the way out.
 */
function securityFor(
  { clock, identity, workload }: OutboundDependencies,
  cluster: Cluster,
  endpoint: Endpoint,
  tlsHost: string | undefined,
): ConnectionSecurity {
  if (tlsHost !== undefined) return { kind: 'tls', serverName: tlsHost };
  if (cluster.tls === 'disable' || (cluster.tls === 'auto' && !endpoint.speaksMtls)) return { kind: 'plaintext' };
  // Without any identity of its own a process is like one outside the mesh: auto-mTLS does not
  // apply, and a STRICT server will refuse it.
  if (identity === 'none' && cluster.tls === 'auto') return { kind: 'plaintext' };
  const own = identity === 'none' ? undefined : identity();
  if (own === undefined) {
    const message = `mTLS to ${cluster.host} needs a certificate, and there is no valid one`;
    throw new MeshError('ERR_MESH_NO_IDENTITY', message, { cluster: cluster.name });
  }
  const verify = (socket: TLSSocket): void => {
    const peer = peerOfSocket(socket, own.credentials.trustBundles, clock);
    const { serverIdentities } = cluster;
    // Stricter than Istio, which lets every account of a service stand for every endpoint: where it
    // is known whose endpoint this is, it must be that one.
    const { spiffeId } = endpoint;
    const allowed = spiffeId !== undefined && serverIdentities.includes(spiffeId) ? [spiffeId] : serverIdentities;
    const expected =
      allowed.length === 0 ? peer?.trustDomain === workload.trustDomain : allowed.includes(peer?.spiffeId ?? '');
    if (expected) return;
    const wanted = allowed.length === 0 ? `an identity of ${workload.trustDomain}` : allowed.join(' or ');
    const message = `${cluster.host} must be ${wanted}, but ${endpoint.address}:${endpoint.port} is ${peer?.spiffeId ?? 'nobody'}`;
    throw new MeshError('ERR_MESH_PEER_IDENTITY', message, { cluster: cluster.name });
  };
  return {
    kind: 'mutual',
    context: own.clientContext,
    serverName: `outbound_.${cluster.port}_.${cluster.subset}_.${cluster.host}`,
    verify,
  };
}
