import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { AuthorizationAudit } from './authz/report.ts';
import type { ForeignRoutes } from './config/foreign-routes.ts';
import type { ConfigProblem, ConfigSource, EnforcementReport } from './config/source.ts';
import type { ConnectOptions } from './connect.ts';
import type { ExplainRequest } from './explain/request.ts';
import type { InboundExplanation, OutboundExplanation } from './explain/result.ts';
import type { ExternalAuthorization } from './ext-authz/service.ts';
import type { FallbackFunction } from './fallback-api.ts';
import type { MeshAgent } from './host/agent.ts';
import type { IdentitySource } from './identity/source.ts';
import type { IdentityHealth } from './identity/store.ts';
import type { TcpServing } from './inbound-tcp.ts';
import type { JwksStatus } from './jwt/key-sources.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Random } from './lib/random.ts';
import type { MeshInspection } from './mesh-inspect.ts';
import type { BreakerStatus, EndpointStatus, IdentityStatus, MeshHealth, MeshStats } from './mesh-stats.ts';
import type { MeshTracer } from './mesh-tracing.ts';
import type { OutboundPolicy } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';
import type { Scope } from './pipeline/scope.ts';
import type { RateLimitService } from './ratelimit/service.ts';
import type { AccessLogSettings } from './telemetry/access-log.ts';
import type { GrpcApplication } from './transport/grpc-hand-over.ts';
import type { AcceptorLimits as InboundLimits } from './transport/limits.ts';

export type {
  BreakerStatus,
  ClusterStatus,
  ConfigCounts,
  EndpointStatus,
  HealthCheckStatus,
  IdentityStatus,
  MeshHealth,
  MeshStats,
  OutlierDetectionStatus,
} from './mesh-stats.ts';

/** Options of `createMesh`. Everything is optional; what is absent comes from the environment. */
export interface MeshOptions {
  /** Who this process is. Absent fields come from `INMESH_*`, then from `inmesh.yaml`. */
  readonly workload?: Partial<Workload>;
  /** File or folder of Istio YAML, or a source: `xdsSource` of `@inmesh/xds`, `staticSource` of `inmesh/config`, one of your own. */
  readonly config?: string | ConfigSource;
  /** Where certificates come from. `false`: no identity, plaintext only. */
  readonly identity?: IdentitySource | false;
  /** Hosts that no configuration names. Default: what the configuration says, else `ALLOW_ANY`. */
  readonly outboundPolicy?: OutboundPolicy;
  /**
   * Whether a namespace may lead the calls of other namespaces to hosts that are not its own, in a file or folder of
   * Istio YAML. Default `allow`, as in Istio; a source of your own says it itself.
   */
  readonly foreignRoutes?: ForeignRoutes;
  /**
   * What a caller sees when the mesh itself fails a call. `response` (default): the status that a
   * sidecar would have answered, with header `x-inmesh-error`. `throw`: a `MeshError`.
   */
  readonly onFailure?: 'response' | 'throw';
  /**
   * Time between {@link Mesh.close} and the moment from which connections are turned away,
   * milliseconds: whoever routes to this process needs it to notice. Default 5,000 in Kubernetes
   * (`KUBERNETES_SERVICE_HOST` is set), else 0.
   */
  readonly drainDelayMs?: number;
  /** How long requests in flight may take to finish in {@link Mesh.close}, milliseconds. Default 10,000. */
  readonly drainGraceMs?: number;
  /** Signals on which the mesh closes itself and then lets the signal take its course. Default none. */
  readonly closeOn?: readonly NodeJS.Signals[];
  /**
   * Headers of inbound requests that the calls they cause hand on by themselves, such as `end-user`:
   * what a sidecar needs the application for. A header that a call sets itself stays. Default none.
   */
  readonly propagateHeaders?: readonly string[];
  /**
   * Name of this very process, for what each of many alike shall do differently: which endpoints
   * it calls where a `subset-size` limits them. Default: `POD_NAME`, else one at random.
   */
  readonly instance?: string;
  /**
   * Who is told, in the response header `endpoint-load-metrics`, how busy this process is. `asked`
   * (default): callers whose request has `endpoint-load-metrics-format`, as those do that balance by
   * utilization. `always`: everybody, for Envoys and gRPC clients. `never`: nobody.
   */
  readonly loadReports?: 'asked' | 'always' | 'never';
  /**
   * Retries that may run at once where a DestinationRule says neither `retryBudget` nor
   * `maxRetries`: percent of the requests under way to that service, but 3 in any case, and one
   * more for each good answer (at most 20 are saved). Default 20. `off`: any number, as in Istio.
   */
  readonly retryBudget?: number | 'off';
  /**
   * What about answers of services that have made retries of their own in vain? `stop` (default):
   * they are final. `allow`: they are retried like others, at every hop anew, as sidecars do.
   */
  readonly nestedRetries?: 'stop' | 'allow';
  /**
   * How much of a request body that is a stream is kept on routes with retries, so that it can be
   * sent again, bytes for each call. Default 65,536; 0: nothing. See `replayable` for larger ones.
   */
  readonly replayBodyBytes?: number;
  /**
   * Envoy's headers by which a request overrides timeout and retries of its route: `x-envoy-retry-on`,
   * `x-envoy-max-retries`, `x-envoy-upstream-rq-timeout-ms` and others. `ignore` (default): they are
   * sent on like any other. `obey`: what this process puts on its calls counts, and is not sent.
   */
  readonly overrideHeaders?: 'ignore' | 'obey';
  /**
   * Which mirrors get `authorization`, `proxy-authorization` and `cookie` of the calls that are copied to
   * them. `own` (default): services of the own trust domain, and all of which none is known. `all`: every
   * one, as in Istio.
   */
  readonly mirrorCredentials?: 'own' | 'all';
  /**
   * What becomes of open connections when their other end is no longer trusted: its root was taken
   * away, its certificate or an authority was revoked, or has expired. `refuse` (default): requests
   * on them are refused, and new calls go elsewhere; what is under way finishes. `close`: they are cut
   * within a second, idle or not.
   */
  readonly untrustedConnections?: 'refuse' | 'close';
  /**
   * How AuthorizationPolicies read paths. `views` (default): a request is allowed only if every path that a
   * router could make of its path is, and denied if any is. `literal`: the canonical path alone, exactly
   * Istio; then `/ADMIN` passes a DENY of `/admin`, and Express serves it.
   */
  readonly policyPaths?: 'views' | 'literal';
  /**
   * PEM file with roots to trust, beside those that Node.js trusts, where keys of tokens are fetched
   * from (`jwksUri`, OpenID Connect Discovery). Default none.
   */
  readonly jwksCa?: string;
  /**
   * Longest time between two fetches of the keys of an issuer of tokens, milliseconds: how long a key
   * that the issuer has taken back may still be accepted. Default 300,000; at least 1,000.
   */
  readonly jwksRefreshMs?: number;
  /**
   * Whether tokens without `exp`, which would count for ever, are accepted: `optional` (default, as in
   * Istio) or refused with 401 (`required`).
   */
  readonly tokenExpiry?: 'optional' | 'required';
  /**
   * Tokens of issuers with slow keys (P-384, P-521, RSA beyond 4,096 bits) that were not seen before: verified as far as
   * the caller has attempts, which bad tokens use up (`bounded`, default), or whatever they cost (`always`).
   */
  readonly slowTokenKeys?: 'bounded' | 'always';
  /**
   * How requests are refused that this process is sent: `text` (default) in Envoy's plain words,
   * `problem` as problem details (RFC 9457, `application/problem+json`). gRPC calls get a gRPC status.
   */
  readonly errorFormat?: 'text' | 'problem';
  /** Bounds of what clients may take of this process; those that are absent have their defaults. */
  readonly limits?: Partial<InboundLimits>;
  /**
   * Answers, by service, to calls that an open circuit breaker refuses. Names without a dot are services
   * of the own namespace. Goes before the `fallback` of the `CircuitBreaker` that there must be.
   *
   * @example
   * const mesh = createMesh({ fallbacks: { reviews: () => ({ body: '[]' }) } });
   */
  readonly fallbacks?: Readonly<Record<string, FallbackFunction>>;
  /** Asks the services that the `global` part of RateLimits names: that of `@inmesh/ratelimit`, or one of your own. */
  readonly rateLimitService?: RateLimitService;
  /** Asks the extension providers of kind `envoyExtAuthzGrpc`: that of `@inmesh/ext-authz`, or one of your own. */
  readonly externalAuthorization?: ExternalAuthorization;
  /**
   * Records spans of requests and calls: that of `@inmesh/otel`, or one of your own. What is sampled says the
   * configuration (Istio's Telemetry and MeshConfig; default 1 %). Default: no spans; contexts are handed on.
   */
  readonly tracing?: MeshTracer;
  /**
   * One line for each request, inbound and outbound, in Istio's format: where to, and which. `false`: none, whatever the
   * configuration says. Default: what the configuration says (Telemetry `accessLogging`, MeshConfig `accessLogFile`), else none, as in Istio.
   */
  readonly accessLog?: AccessLogSettings | false;
  /**
   * Folder in which the configuration may name files for access logs (MeshConfig `accessLogFile`, `envoyFileAccessLog`).
   * Default none: a configuration chooses no files of this machine.
   */
  readonly accessLogFolder?: string;
  /** Default: warnings and errors to stderr, one JSON object a line. */
  readonly logger?: Logger;
  /** Time, for tests. Default: that of the system. */
  readonly clock?: Clock;
  /** Numbers from 0 to less than 1, for tests. Default: `Math.random`. */
  readonly random?: Random;
}

/** A handler of requests: a function, an Express app, or a Fastify instance. */
export type Application = RequestListener | FastifyLike;

/** What inmesh needs of a Fastify instance. */
export interface FastifyLike {
  ready(): PromiseLike<unknown>;
  routing(request: IncomingMessage, response: ServerResponse): void;
}

export interface ListenOptions {
  /** Default 0: a port that the system chooses. */
  readonly port?: number;
  /** Default: all addresses. */
  readonly host?: string;
  /**
   * Takes the calls of gRPC that come over HTTP/2 to this port, after the same decisions: `MeshServer` of
   * `@inmesh/grpc`, or one of your own. Everything else is for the application of HTTP. Absent: calls of
   * gRPC are for that one as well.
   */
  readonly grpc?: GrpcApplication;
}

/** A listening server. */
export interface MeshServer {
  readonly port: number;
  readonly host: string;
  /** Stops accepting, finishes what is in flight (at most `graceMs`, default 10,000), closes. */
  close(graceMs?: number): Promise<void>;
}

/** What happened, for whoever listens with {@link Mesh.on}. */
export interface MeshEvents {
  /** A configuration was accepted. */
  config: { readonly version: string; readonly report: EnforcementReport };
  /** A configuration was refused; the last good one stays in force. */
  'config-rejected': { readonly problems: readonly ConfigProblem[] };
  /** A certificate was accepted. */
  identity: IdentityStatus;
  /** The certificate has expired, and there is no other: no calls and no connections that need one. */
  'identity-expired': IdentityHealth;
  /** An endpoint was ejected or failed its health checks (`healthy: false`), or came back. */
  endpoint: EndpointStatus;
  /** A request matched an AuthorizationPolicy with the action AUDIT. */
  'authorization-audit': AuthorizationAudit;
  /**
   * Keys of an issuer of tokens were fetched and differ from those before; or cannot be fetched
   * (`problem`: those from before stay, if there are any); or can be fetched again.
   */
  jwks: JwksStatus;
  /** A circuit breaker opened (`open`), lets one call try (`halfOpen`), or closed (`closed`). */
  breaker: BreakerStatus;
}

/** An explanation, and the same in words. */
export type Explained<T> = T & { readonly text: string };

/** The mesh of this process. */
export interface Mesh extends TcpServing {
  readonly workload: Workload;
  /** A drop-in for `fetch`: same types, same rules, meshed. */
  readonly fetch: typeof globalThis.fetch;
  /** An undici `Dispatcher`, for `undici.request`, `setGlobalDispatcher` and `fetch(url, { dispatcher })`. */
  readonly dispatcher: Dispatcher;
  /** A `node:http` Agent, for axios, got, superagent and `http.request`. */
  readonly agent: MeshAgent;
  /**
   * A connection for a protocol that the mesh does not read (a database, a queue): `tcp` and `tls`
   * rules, balancing, mutual TLS. Resolves when it may be used.
   *
   * @throws MeshError as a call would, `ERR_MESH_CONNECT_FAILED` above all; the reason of `signal`.
   */
  connect(options: ConnectOptions): Promise<Duplex>;
  /**
   * Serves `app` on one port that speaks TLS or plaintext by PeerAuthentication, HTTP/1.1 and
   * HTTP/2. Waits for {@link Mesh.ready} first: a mesh without its policies serves nobody.
   */
  listen(app: Application, portOrOptions?: number | ListenOptions): Promise<MeshServer>;
  /**
   * The inbound pipeline for a server of your own: checks the request and calls `next` inside the
   * scope, or answers itself. A request that already passed `listen` goes straight on.
   */
  handle(request: IncomingMessage, response: ServerResponse, next: () => void): void;
  /** The scope of this request: peer identity, request id, deadline. */
  scopeOf(request: IncomingMessage): Scope | undefined;
  /**
   * Resolves when configuration and identity are complete, the certificate is valid now, and the keys
   * of all issuers of tokens were asked for once (without them tokens are refused). Rejects
   * when `timeoutMs` passes (default: waits), and at once when the configuration was refused and never
   * changes.
   *
   * @throws MeshError `ERR_MESH_NOT_READY`, `ERR_MESH_CLOSED`
   */
  ready(timeoutMs?: number): Promise<void>;
  /**
   * Whether it can do its work just now, and why not: for a readiness probe. Unlike {@link Mesh.ready}
   * it changes back: when the certificate has expired, and from the moment that {@link Mesh.close} is called.
   *
   * @example
   * const mesh = createMesh();
   * const { ready, reasons } = mesh.health();
   * console.log(ready ? 200 : 503, reasons.join('; '));
   */
  health(): MeshHealth;
  /** Drains both directions and ends; nothing keeps the process alive afterwards. */
  close(): Promise<void>;
  /** What each configured field does: enforced, approximated or ignored. */
  report(): EnforcementReport;
  stats(): MeshStats;
  /** What is in force: configuration, certificates without their key, ports. */
  inspect(): MeshInspection;
  /**
   * Level of the logger, or nothing where it has none; with `next` it is set (the mesh's own logger, pino and those
   * that are like it).
   */
  logLevel(next?: 'debug' | 'info' | 'warn' | 'error' | 'silent'): string | undefined;
  /**
   * What would happen to a request under the configuration in force, and why, without sending it:
   * to one that this process makes, or (`direction: 'inbound'`) to one that it is sent.
   *
   * @throws MeshError `ERR_MESH_NOT_READY` when there is no configuration yet, `ERR_MESH_OPTION_INVALID` for another direction.
   *
   * @example
   * console.log(mesh.explain({ url: 'http://reviews:9080/reviews/1', random: 0.37 }).text);
   */
  explain(request: ExplainRequest & { readonly direction?: 'outbound' }): Explained<OutboundExplanation>;
  explain(request: ExplainRequest & { readonly direction: 'inbound' }): Promise<Explained<InboundExplanation>>;
  /** Returns a function that ends the subscription. */
  on<E extends keyof MeshEvents>(event: E, listener: (detail: MeshEvents[E]) => void): () => void;
}
