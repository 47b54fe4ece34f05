import type { Dispatcher } from 'undici';
import { createBreakers } from '../../src/breakers.ts';
import { type ClientPipeline, createClientPipeline } from '../../src/client-pipeline.ts';
import { MeshDispatcher } from '../../src/host/dispatcher.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { type Random, seededRandom } from '../../src/lib/random.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { openConnections } from '../../src/outbound-connections.ts';
import { createHostTable, type HostTable } from '../../src/route/host-table.ts';
import type { ClusterState } from '../../src/runtime/cluster.ts';
import { type Clusters, createClusters } from '../../src/runtime/clusters.ts';
import { type AskName, createNameResolver } from '../../src/runtime/resolver.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { createConnectionBudgets } from '../../src/transport/budget.ts';

export interface TestClient {
  readonly dispatcher: Dispatcher;
  readonly pipeline: ClientPipeline;
  readonly clusters: Clusters;
  readonly metrics: Metrics;
  use(snapshot: Snapshot): void;
  /** How much is under way, by name: endpoints and limits of every cluster that was ever used. */
  active(): ReadonlyMap<string, number>;
  /** Ejections and returns: `127.0.0.1:80 out`. */
  readonly health: string[];
  close(): Promise<void>;
}

/** The whole client side over plaintext, without configuration files, identity or server. */
export function testClient(
  first: Snapshot | undefined,
  options: {
    readonly clock?: Clock;
    readonly onFailure?: 'response' | 'throw';
    readonly seed?: number;
    readonly instance?: string;
    /** In place of the seeded generator. */
    readonly random?: Random;
    /** Answers for names; by default those of the system. */
    readonly resolve?: (name: string) => Promise<readonly string[]>;
    /** In place of that, with times to live. */
    readonly ask?: AskName;
    /** The clock of connection timeouts. Default: the real one. */
    readonly connectClock?: Clock;
  } = {},
): TestClient {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? seededRandom(options.seed ?? 1);
  const metrics = createMetrics();
  const series = (destinationService: string, destinationWorkload = 'unknown') =>
    metrics.series({
      reporter: 'source',
      sourceWorkload: 'test',
      sourcePrincipal: 'unknown',
      destinationService,
      destinationWorkload,
      destinationVersion: '',
    });
  const health: string[] = [];
  const opened = new Set<ClusterState>();
  const resolve = options.resolve ?? (async () => []);
  const ask = options.ask ?? (async (name: string) => ({ addresses: await resolve(name) }));
  const names = createNameResolver({ ask, clock, random });
  const budgets = createConnectionBudgets();
  const clusters = createClusters((tlsHost) => ({
    clock,
    random,
    names,
    instance: options.instance ?? 'test',
    hooks: (cluster) => ({
      open: (endpoint, host) =>
        openConnections(cluster, {
          host,
          target: {
            cluster: cluster.name,
            address: endpoint.address,
            port: endpoint.port,
            timeoutMs: cluster.limits.connectTimeoutMs,
            clock: options.connectClock ?? systemClock,
            security: () => (tlsHost === undefined ? { kind: 'plaintext' } : { kind: 'tls', serverName: tlsHost }),
          },
          current: () => endpoint,
          budget: budgets.of(cluster),
          http2: cluster.http2,
        }),
      series: (endpoint) => series(cluster.host, endpoint.workload),
    }),
    healthChanged: (_, { available, name }) => void health.push(`${name} ${available ? 'in' : 'out'}`),
  }));
  const active = (): ReadonlyMap<string, number> => {
    const result = new Map<string, number>();
    for (const { cluster, endpoints, requests, retries } of opened) {
      result.set(`${cluster.name} requests`, requests.active);
      result.set(`${cluster.name} retries`, retries.active);
      for (const { inFlight, name } of endpoints) result.set(`${cluster.name} ${name}`, inFlight);
    }
    return result;
  };
  let hosts: HostTable | undefined;
  const use = (snapshot: Snapshot): void => {
    clusters.reconcile(snapshot);
    hosts = createHostTable(snapshot);
  };
  if (first !== undefined) use(first);
  const watched: Clusters = {
    ...clusters,
    get(name) {
      const state = clusters.get(name);
      if (state !== undefined) opened.add(state);
      return state;
    },
  };
  const pipeline = createClientPipeline({
    clock,
    random,
    clusters: watched,
    hosts: () => hosts,
    breakers: createBreakers({}, { namespace: 'test', clusterDomain: 'cluster.local' }),
    series,
  });
  const close = async (): Promise<void> => {
    pipeline.cutMirrors();
    await clusters.close();
    await pipeline.close();
  };
  const dispatcher = new MeshDispatcher({
    send: pipeline.send,
    clock,
    onFailure: options.onFailure ?? 'response',
    close,
  });
  return { dispatcher, pipeline, clusters, metrics, use, active, health, close: () => dispatcher.close() };
}
