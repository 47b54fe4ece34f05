import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { AuthorizerCalls } from './authorizer-calls.ts';
import type { AuthorizationOptions } from './authz/authorizer.ts';
import { type AuthorizationAudit, reportAuthorization } from './authz/report.ts';
import { type AuthorizationCount, createTallies } from './authz/tallies.ts';
import { MeshError } from './errors.ts';
import type { ExternalAuthorization } from './ext-authz/service.ts';
import { requestListenerOf } from './host/node-http.ts';
import type { IdentityStore } from './identity/store.ts';
import type { TrustBundles } from './identity/trust.ts';
import { peerOfSocket } from './identity/verify-peer.ts';
import { guardStreams, type TcpHandler } from './inbound-tcp.ts';
import type { KeySource } from './jwt/keys.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Random } from './lib/random.ts';
import type { Application, ListenOptions, MeshServer } from './mesh-api.ts';
import type { InboundPolicy, MtlsMode } from './model/inbound.ts';
import type { JwtRule } from './model/request-authentication.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { TlsParameters } from './model/tls-parameters.ts';
import type { Workload } from './model/workload.ts';
import { createInboundPoolMemory } from './overload/inbound-pools.ts';
import type { OverloadStatus } from './overload/protection.ts';
import type { Peer, Scope } from './pipeline/scope.ts';
import type { RateLimitService } from './ratelimit/service.ts';
import { destinationLabels } from './series-labels.ts';
import type { AuthorizerStatus } from './server-authorizers.ts';
import type { RateLimitStatus } from './server-limits.ts';
import { createServerPipeline, type ServerPipelineDependencies } from './server-pipeline.ts';
import type { SideLog } from './telemetry/access-log.ts';
import { servedConnection } from './telemetry/connection-record.ts';
import type { MetricTags } from './telemetry/metric-tags.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { callerLabels } from './telemetry/server-filter.ts';
import type { ServerTracing } from './trace/server-filter.ts';
import { type Acceptor, type AcceptorOptions, createAcceptor } from './transport/acceptor.ts';
import { rememberClientCert } from './transport/client-cert.ts';
import { createConnectionCounts, type InboundConnections } from './transport/connection-counts.ts';
import { type GrpcApplication, grpcListener } from './transport/grpc-hand-over.ts';
import { type AcceptorLimits, resolveLimits } from './transport/limits.ts';
import type { TrustWatch } from './transport/trust-watch.ts';

export interface InboundDependencies {
  readonly workload: Workload;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Absent: this process has no identity and serves plaintext only. */
  readonly identity: IdentityStore | undefined;
  readonly rateLimitService?: RateLimitService | undefined;
  /** Where the keys of a rule for tokens come from. */
  readonly keySourceOf?: (rule: JwtRule) => KeySource;
  /** Whether a token without `exp` is accepted; see {@link MeshOptions.tokenExpiry}. */
  readonly tokenExpiry?: 'optional' | 'required';
  /** Whether what bad tokens cost is bounded for slow keys, too; see {@link MeshOptions.slowTokenKeys}. */
  readonly slowTokenKeys?: 'bounded' | 'always';
  readonly authorizerCalls?: AuthorizerCalls | undefined;
  readonly externalAuthorization?: ExternalAuthorization | undefined;
  /** Headers that calls hand on; lower case. */
  readonly propagateHeaders?: readonly string[];
  /** Who is told the load of this process; see {@link MeshOptions.loadReports}. */
  readonly loadReports?: 'asked' | 'always' | 'never';
  /** How refusals are written; see {@link MeshOptions.errorFormat}. */
  readonly errorFormat?: 'text' | 'problem';
  /** Bounds of what clients may take; see {@link MeshOptions.limits}. */
  readonly limits?: Partial<AcceptorLimits>;
  readonly authorization?: AuthorizationOptions;
  /** Cuts connections of clients that are no longer trusted. */
  readonly trustWatch?: TrustWatch | undefined;
  readonly accessLog?: SideLog | undefined;
  /** Tags that Telemetries add. Absent: none, ever. */
  readonly metricTags?: MetricTags | undefined;
  /** Hears of requests that AUDIT policies match. */
  readonly audited?: (audit: AuthorizationAudit) => void;
  /** Absent: no spans. */
  readonly tracing?: ServerTracing | undefined;
  snapshot(): Snapshot | undefined;
}

/** A port that is open. */
export interface ListenerStatus {
  readonly host: string;
  readonly port: number;
  /** What is served: requests, or connections of any protocol. */
  readonly kind: 'http' | 'tcp';
  /** What PeerAuthentication demands there now. */
  readonly mtls: MtlsMode;
  /** What clients may speak of TLS; absent: all that the mesh speaks. */
  readonly tls?: TlsParameters;
}

/** The inbound half of a mesh. */
export interface Inbound {
  listeners(): readonly ListenerStatus[];
  listen(app: Application, options: ListenOptions): Promise<MeshServer>;
  listenTcp(handler: TcpHandler, options: ListenOptions): Promise<MeshServer>;
  handle(request: IncomingMessage, response: ServerResponse, next: () => void): void;
  scopeOf(request: IncomingMessage): Scope | undefined;
  rateLimits(): readonly RateLimitStatus[];
  authorizers(): readonly AuthorizerStatus[];
  overload(): OverloadStatus | undefined;
  authorization(): readonly AuthorizationCount[];
  connections(): InboundConnections;
  /** Serves on for `delayMs`, then turns connections away, and ends after at most `graceMs` more. */
  close(options: { readonly delayMs: number; readonly graceMs: number }): Promise<void>;
}

export function createInbound(dependencies: InboundDependencies): Inbound {
  const { clock, identity, limits = {}, logger, snapshot } = dependencies;
  const acceptors = new Map<Acceptor, Omit<ListenerStatus, 'mtls' | 'tls'>>();
  const counts = createConnectionCounts();
  let closed = false;
  const tallies = createTallies();
  const inboundPools = createInboundPoolMemory();
  const ownLabels = destinationLabels(dependencies.workload);
  const observer = reportAuthorization(logger, dependencies.audited ?? (() => {}));
  const ownPrincipal = (): string => identity?.current()?.credentials.spiffeId ?? '';
  const pipeline = createServerPipeline({
    ...dependencies,
    maxHeaders: limits.maxHeaders,
    tallies,
    inboundPools,
    peerOfSocket: (socket) => {
      const bundles = identity?.current()?.credentials.trustBundles;
      return bundles && peerOfSocket(socket, bundles, clock, unknownRoots);
    },
    clientCertOf: ownClientCerts(ownPrincipal),
    ownPrincipal,
  });

  const modeOf = (port: number): MtlsMode => {
    const mtls = snapshot()?.inbound.mtls;
    // No policy yet: nobody is served, so the strictest reading costs nothing.
    return mtls === undefined ? 'STRICT' : (mtls.ports.get(port) ?? mtls.mode);
  };

  const parametersOf = (port: number): TlsParameters | undefined => {
    const tls = snapshot()?.inbound.tls;
    return tls?.ports.get(port) ?? tls?.others;
  };
  const listenerOf = (opened: Omit<ListenerStatus, 'mtls' | 'tls'>): ListenerStatus => {
    const tls = parametersOf(opened.port);
    return { ...opened, mtls: modeOf(opened.port), ...(tls === undefined ? {} : { tls }) };
  };

  const open = async (
    { port = 0, host }: ListenOptions,
    serving: Pick<AcceptorOptions, 'onGrpc' | 'onRequest' | 'onStream' | 'onProtocolError'>,
  ): Promise<MeshServer> => {
    const acceptor = createAcceptor({
      identity: () => identity?.current(),
      subscribe: (onIdentity) => identity?.subscribe(onIdentity) ?? (() => {}),
      mode: modeOf,
      parameters: parametersOf,
      ...serving,
      logger,
      clock,
      trustWatch: dependencies.trustWatch,
      counts,
      limits,
    });
    const address: AddressInfo = await acceptor.listen(host === undefined ? { port } : { port, host });
    const kind = serving.onStream === undefined ? 'http' : 'tcp';
    acceptors.set(acceptor, { host: address.address, port: address.port, kind });
    return {
      port: address.port,
      host: address.address,
      async close(graceMs = 10_000) {
        acceptors.delete(acceptor);
        await acceptor.drain(graceMs);
      },
    };
  };
  const mustBeOpen = (): void => {
    if (closed) throw new MeshError('ERR_MESH_CLOSED', 'the mesh is closed');
  };

  return {
    async listen(app, options) {
      mustBeOpen();
      const listener = await requestListenerOf(app);
      return open(options, {
        onRequest: pipeline.serve(listener),
        onGrpc:
          options.grpc && pipeline.serve(grpcListener(checkedGrpc(options.grpc), resolveLimits(limits), logger, clock)),
        onProtocolError: pipeline.countRefusal,
      });
    },
    async listenTcp(handler, options) {
      mustBeOpen();
      if (options.grpc !== undefined) {
        throw new MeshError('ERR_MESH_OPTION_INVALID', 'grpc is an option of mesh.listen: listenTcp reads no protocol');
      }
      const policy = (): InboundPolicy | undefined => snapshot()?.inbound;
      const opened = (socket: Socket, peer: Peer | undefined): void => {
        const series = dependencies.metrics.tcp({ ...ownLabels, ...callerLabels(peer) });
        const tags = dependencies.metricTags?.server;
        (tags?.connectionsOf(series, servedConnection(clock, socket, peer)) ?? series).watch(socket);
      };
      const onStream = guardStreams(handler, { logger, tallies, observer, opened, policy, pools: inboundPools });
      return open(options, { onStream, onRequest: (_request, response) => void response.destroy() });
    },
    listeners: () => [...acceptors.values()].map(listenerOf),
    handle: pipeline.handle,
    overload: pipeline.overload,
    authorization: pipeline.authorization,
    connections: () => counts.snapshot(),
    scopeOf: pipeline.scopeOf,
    rateLimits: pipeline.rateLimits,
    authorizers: pipeline.authorizers,
    async close({ delayMs, graceMs }) {
      closed = true;
      try {
        if (acceptors.size === 0) return;
        if (delayMs > 0) await new Promise<void>((resolve) => void clock.after(delayMs, resolve));
        await Promise.all([...acceptors.keys()].map((acceptor) => acceptor.drain(graceMs)));
        acceptors.clear();
      } finally {
        pipeline.close();
      }
    },
  };
}

function checkedGrpc(application: GrpcApplication): GrpcApplication {
  if (typeof application?.serveCall === 'function') return application;
  const expected = 'must have serveCall(stream, headers), as MeshServer of @inmesh/grpc does';
  throw new MeshError('ERR_MESH_OPTION_INVALID', `the option grpc ${expected}`);
}

/** Whom a server of the application's own trusts is not known: its TLS has verified nothing of the mesh. */
const unknownRoots: TrustBundles = new Map();

/** What is told of the clients of servers of the application's own; made once for each connection. */
function ownClientCerts(own: () => string): NonNullable<ServerPipelineDependencies['clientCertOf']> {
  const known = new WeakMap<TLSSocket, ReturnType<typeof rememberClientCert>>();
  return (socket, details) => {
    let remembered = known.get(socket);
    if (remembered === undefined) {
      remembered = rememberClientCert(socket, own());
      known.set(socket, remembered);
    }
    return remembered(details);
  };
}
