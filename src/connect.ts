import type { Duplex } from 'node:stream';
import type { Egress } from './authz/egress-calls.ts';
import { endpointFailures, MeshError } from './errors.ts';
import type { Random } from './lib/random.ts';
import type { Cluster } from './model/cluster.ts';
import type { ConnectionRoute } from './model/route.ts';
import { changesOriginal } from './outbound-tls.ts';
import { currentScope } from './pipeline/scope.ts';
import { clusterOf, refusedHost, tableOf } from './reach.ts';
import type { RequestHashes } from './request-hashes.ts';
import type { HostTable } from './route/host-table.ts';
import { whyNoConnection } from './route/own-tls.ts';
import { createWeightedChoice } from './route/weighted.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';
import type { EndpointState } from './runtime/endpoint.ts';
import type { ConnectionBudget } from './transport/budget.ts';

/** Where {@link Connector.connect} connects to. */
export interface ConnectOptions {
  /** A host of the mesh, or any other: `mongo`, `db.example.com`, `10.0.0.7`. */
  readonly host: string;
  readonly port: number;
  /**
   * The application wants TLS, to a server that proves this name by public roots; `true`: the host.
   * `tls` rules of VirtualServices match it. Default: none; the mesh adds mutual TLS where its
   * policy says so.
   */
  readonly tls?: boolean | string;
  /** Gives the attempt up; a connection that was made is not touched. */
  readonly signal?: AbortSignal;
}

/** What a connection is made with. */
export interface ConnectDependencies {
  readonly clusters: Clusters;
  readonly random: Random;
  /** For clusters whose key is the address of the caller; other keys are those of requests. */
  readonly hashes?: RequestHashes;
  hosts(): HostTable | undefined;
  /** What may be called; absent: everything. */
  egress?(): Egress | undefined;
  /** Makes a connection to an endpoint of a cluster, its identity verified. */
  open(state: ClusterState, endpoint: EndpointState, tlsHost: string | undefined, host: string): Promise<Duplex>;
  /** Makes a connection to the address that was named, with the port and the TLS that the mesh knows. */
  openOriginal(cluster: Cluster, host: string, port: number, tlsHost: string | undefined): Promise<Duplex>;
  /** Makes a connection to a host outside of the mesh. */
  openOutside(host: string, port: number, tlsHost: string | undefined): Promise<Duplex>;
  /** Counts a connection that is open. Absent: nobody does. */
  opened?(socket: Duplex, state: ClusterState | undefined, endpoint: EndpointState | undefined): void;
  /** What the connections of a cluster share; nothing where there is no limit. */
  budget?(cluster: Cluster): ConnectionBudget | undefined;
}

/** Connections for protocols that the mesh does not read: databases, queues, caches. */
export interface Connector {
  connect(options: ConnectOptions): Promise<Duplex>;
  /** Resolves when the last connection was closed. */
  drain(): Promise<void>;
  /** Closes all of them. */
  destroy(): void;
}

/**
 * Connections by the `tcp` and `tls` rules of VirtualServices: a destination by weight, an endpoint
 * of it, mutual TLS, outlier detection of connections that fail.
 */
export function createConnector(dependencies: ConnectDependencies): Connector {
  const { clusters, hashes, hosts, open, openOriginal, openOutside, random } = dependencies;
  const sockets = new Set<Duplex>();
  const choices = new WeakMap<ConnectionRoute, () => string>();
  let closing = false;
  let drained: (() => void) | undefined;

  const destinationOf = (route: ConnectionRoute): string => {
    let choose = choices.get(route);
    if (choose === undefined) {
      const options = route.destinations.map(({ cluster, weight }) => ({ weight, value: cluster }));
      choose = createWeightedChoice(options, random);
      choices.set(route, choose);
    }
    return choose();
  };

  const stateFor = (options: ConnectOptions, tlsHost: string | undefined): ClusterState | undefined => {
    const { host, port } = options;
    dependencies.egress?.()?.connection(host, port, tlsHost);
    const target = tableOf(hosts()).connection(host, port, tlsHost);
    if (target.kind === 'passthrough') return undefined;
    if (target.kind === 'refused') throw refusedHost(`${host}:${port}`);
    const { route } = target;
    if (route === undefined) {
      const name = tlsHost === undefined ? '' : ` with the name ${tlsHost}`;
      throw new MeshError('ERR_MESH_NO_ROUTE', `no rule of ${target.name} matches a connection${name}`);
    }
    const cluster = destinationOf(route);
    const state = clusterOf(clusters, route.name, cluster, tlsHost);
    const refusal = whyNoConnection(state.cluster, tlsHost !== undefined);
    if (refusal !== undefined) {
      throw new MeshError('ERR_MESH_UNSUPPORTED', `${host}:${port}: ${refusal}`, { route: route.name, cluster });
    }
    return state;
  };

  const connectInside = async (state: ClusterState, tlsHost: string | undefined, host: string): Promise<Duplex> => {
    await state.warming();
    const { hash, name } = state.cluster;
    const byAddress = hash?.key?.kind === 'sourceIp' ? hashes?.(state.cluster) : undefined;
    const endpoint = state.pick(undefined, byAddress?.of(noRequest, '', currentScope()));
    if (endpoint === undefined) {
      throw new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', `cluster ${name} has no healthy endpoint`, { cluster: name });
    }
    const budget = dependencies.budget?.(state.cluster);
    // As Envoy's TCP proxy: one too many is refused, and does not wait.
    if (budget !== undefined && budget.connections >= budget.maxConnections) {
      const message = `cluster ${name} is at its limit of ${budget.maxConnections} connections`;
      throw new MeshError('ERR_MESH_OVERFLOW', message, { cluster: name });
    }
    endpoint.inFlight++;
    if (budget !== undefined) budget.connections++;
    try {
      const socket = await open(state, endpoint, tlsHost, host);
      socket.once('close', () => {
        endpoint.tryEnded();
        if (budget !== undefined) budget.connections--;
      });
      state.health.opened(endpoint);
      dependencies.opened?.(socket, state, endpoint);
      return socket;
    } catch (error) {
      endpoint.tryEnded();
      if (budget !== undefined) budget.connections--;
      // As Envoy counts them: a connection that fails is a gateway error. A certificate that is missing here is none.
      if (error instanceof MeshError && endpointFailures.has(error.code)) state.report(endpoint, 0);
      throw error;
    }
  };

  const begin = (
    state: ClusterState | undefined,
    host: string,
    port: number,
    tlsHost: string | undefined,
  ): Promise<Duplex> => {
    if (state !== undefined && state.cluster.discovery.kind !== 'original') return connectInside(state, tlsHost, host);
    const opening =
      state !== undefined && changesOriginal(state.cluster)
        ? openOriginal(state.cluster, host, port, tlsHost)
        : openOutside(host, port, tlsHost);
    const { opened } = dependencies;
    if (opened === undefined) return opening;
    return opening.then((socket) => {
      opened(socket, state, undefined);
      return socket;
    });
  };

  return {
    async connect(options) {
      const { host, port, signal, tls = false } = options;
      signal?.throwIfAborted();
      if (closing) throw new MeshError('ERR_MESH_CLOSED', 'the mesh is closed');
      const tlsHost = tls === false ? undefined : tls === true ? host : tls;
      const state = stateFor(options, tlsHost);
      const socket = await unlessAborted(begin(state, host, port, tlsHost), signal);
      if (closing) {
        // Nobody would close it any more.
        socket.on('error', () => {}).destroy();
        throw new MeshError('ERR_MESH_CLOSED', 'the mesh was closed while the connection was made');
      }
      sockets.add(socket);
      socket.once('close', () => {
        sockets.delete(socket);
        if (sockets.size === 0) drained?.();
      });
      return socket;
    },
    async drain() {
      closing = true;
      if (sockets.size > 0) await new Promise<void>((resolve) => (drained = resolve));
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A connection that comes too late is closed. */
function unlessAborted(connecting: Promise<Duplex>, signal: AbortSignal | undefined): Promise<Duplex> {
  if (signal === undefined) return connecting;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(signal.reason);
      connecting.then(
        (socket) => void socket.on('error', () => {}).destroy(),
        () => {},
      );
    };
    signal.addEventListener('abort', onAbort, { once: true });
    connecting.then(
      (socket) => {
        signal.removeEventListener('abort', onAbort);
        resolve(socket);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

/** A connection has no headers. */
const noRequest = { method: '', path: '', headers: [] };
