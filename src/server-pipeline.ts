import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { TLSSocket } from 'node:tls';
import { type AuthorizationOptions, type Authorizer, compileAuthorizer } from './authz/authorizer.ts';
import { authorizationFilter } from './authz/filter.ts';
import { compileRbac, rbacAbout, rbacNames } from './authz/rbac.ts';
import { type AuthorizationAudit, reportAuthorization } from './authz/report.ts';
import { type AuthorizationCount, createTallies, type Tallies } from './authz/tallies.ts';
import { nameOf } from './authz/verdicts.ts';
import { inboundDeadlineFilter } from './deadline/inbound-filter.ts';
import { MeshError } from './errors.ts';
import { ActiveFaults } from './fault/active.ts';
import { wasReadLeniently } from './host/lenient-parser.ts';
import { answerFailure, type ErrorFormat, failureOf, isBehindTheLast } from './host/rescue.ts';
import { jwtFilters } from './jwt/filter.ts';
import { type KeySource, noKeys } from './jwt/keys.ts';
import { createTokenCache } from './jwt/token-cache.ts';
import type { Clock } from './lib/clock.ts';
import type { ClientCertDetails } from './lib/forwarded-client-cert.ts';
import type { Logger } from './lib/logger.ts';
import { type Random, systemRandom } from './lib/random.ts';
import { loadFilter } from './load/filter.ts';
import { createLoadSampler } from './load/sampler.ts';
import { defaultForwardClientCert, type InboundPolicy } from './model/inbound.ts';
import type { JwtRule } from './model/request-authentication.ts';
import type { Snapshot } from './model/snapshot.ts';
import type { Workload } from './model/workload.ts';
import { mtlsFilter } from './mtls/filter.ts';
import { demandsMtls } from './mtls/mode.ts';
import { handsClientCertOn, peerFilter } from './mtls/peer-filter.ts';
import { overloadFilter } from './overload/filter.ts';
import { inboundPoolFilter } from './overload/inbound-pool-filter.ts';
import { createInboundPoolMemory, type InboundPoolMemory } from './overload/inbound-pools.ts';
import { type OverloadStatus, Protection, reconcileProtection } from './overload/protection.ts';
import { connectionOf } from './pipeline/connection.ts';
import { compose, type Filter, type Service } from './pipeline/filter.ts';
import { isQueued, joinLine } from './pipeline/queued.ts';
import { type Peer, runInScope, type Scope } from './pipeline/scope.ts';
import { type CallOwner, callOf, createServerCall, passed, type ServerCall } from './pipeline/server-call.ts';
import type { RateLimitService } from './ratelimit/service.ts';
import { sanitizeFilter } from './sanitize/filter.ts';
import type { PathNormalization } from './sanitize/normalize-path.ts';
import { destinationLabels } from './series-labels.ts';
import { type AuthorizerDependencies, type AuthorizerStatus, createServerAuthorizers } from './server-authorizers.ts';
import { corsFilters } from './server-cors.ts';
import { createServerLimits, type RateLimitStatus } from './server-limits.ts';
import { routeFilters } from './server-routes.ts';
import type { SideLog } from './telemetry/access-log.ts';
import { arrivalOf, serverRecord } from './telemetry/access-server-record.ts';
import type { MetricTags } from './telemetry/metric-tags.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { serverMetricsFilter, serverSeries } from './telemetry/server-filter.ts';
import { inboundScope } from './trace/inbound-scope.ts';
import { type ServerTracing, serverTraceFilter } from './trace/server-filter.ts';

/** What the pipeline is made of. */
export interface ServerPipelineDependencies extends AuthorizerDependencies {
  /** The snapshot in force; read once for each request. Nothing: not ready, 503. */
  snapshot(): Snapshot | undefined;
  readonly workload: Workload;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Identity of a TLS client of a server that is the application's own. May throw: what does not
   * prove an identity of the mesh is none. Default: such servers know no identities.
   */
  readonly peerOfSocket?: (socket: TLSSocket) => Peer | undefined;
  /** Tells of the client certificate of such a server, verified before. Default: nothing. */
  readonly clientCertOf?: ((socket: TLSSocket, details: ClientCertDetails) => string) | undefined;
  /** Default: that of the process. */
  readonly random?: Random;
  /** Goes before what the configuration says. */
  readonly pathNormalization?: PathNormalization;
  readonly authorization?: AuthorizationOptions;
  /** Where the keys come from that verify tokens. Default: there are none, and no token is accepted. */
  readonly keySourceOf?: (rule: JwtRule) => KeySource;
  /** Whether a token without `exp` is accepted. Default `optional`, as in Istio. */
  readonly tokenExpiry?: 'optional' | 'required';
  /** Whether what bad tokens cost is bounded for slow keys, too. Default `bounded`. */
  readonly slowTokenKeys?: 'bounded' | 'always';
  /** Hears of requests that AUDIT policies match. */
  readonly audited?: (audit: AuthorizationAudit) => void;
  /** The counters of authorization, where others count as well. Default: its own. */
  readonly tallies?: Tallies;
  /** Asked about the limits of a RateLimit's `global`. */
  readonly rateLimitService?: RateLimitService | undefined;
  /** Headers that the calls of a request hand on; lower case. Default none. */
  readonly propagateHeaders?: readonly string[];
  /** Who is told the load of this process. Default: who asks. */
  readonly loadReports?: 'asked' | 'always' | 'never';
  /** What the ports have under way, where others count as well. Default: its own. */
  readonly inboundPools?: InboundPoolMemory;
  /** How refusals are written. Default `text`. */
  readonly errorFormat?: ErrorFormat;
  /** Absent: no requests are logged. */
  readonly accessLog?: SideLog | undefined;
  /** Tags that Telemetries add. Absent: none, ever. */
  readonly metricTags?: MetricTags | undefined;
  /** Header fields of a request. Default 100. */
  readonly maxHeaders?: number | undefined;
  /** Absent: no spans. */
  readonly tracing?: ServerTracing | undefined;
}

/** The way of a request from the socket to the application. */
export interface ServerPipeline {
  /** For a server of the application's own: checks the request, then calls `next` in its scope, or answers. */
  handle(request: IncomingMessage, response: ServerResponse, next: () => void): void;
  /** The same for the acceptor, without a closure per request. */
  serve(application: RequestListener): RequestListener;
  /** The scope of a request that the application has been given. */
  scopeOf(request: IncomingMessage): Scope | undefined;
  /** Counts what the acceptor refused before it became a request. */
  countRefusal(error: MeshError): void;
  /** How the server protects itself; nothing where that is not configured, or nothing was asked yet. */
  overload(): OverloadStatus | undefined;
  /** What AuthorizationPolicies have decided, and would have. */
  authorization(): readonly AuthorizationCount[];
  /** Ends what runs in the background. */
  close(): void;
  /** What the rate limits have refused. */
  rateLimits(): readonly RateLimitStatus[];
  /** What external authorizers were asked and said. */
  authorizers(): readonly AuthorizerStatus[];
}

/**
 * The order of the server side, outermost first, each with the reason for its position. What the
 * snapshot does not configure is not in the chain.
 */
export function createServerPipeline(dependencies: ServerPipelineDependencies): ServerPipeline {
  const { clock, logger, random = systemRandom, tracing } = dependencies;
  const trace = tracing === undefined ? [] : [serverTraceFilter(tracing)];
  const owner: CallOwner = { clock };
  const seriesOf = serverSeries(dependencies.metrics, destinationLabels(dependencies.workload));
  const { accessLog } = dependencies;
  const metrics = serverMetricsFilter(clock, seriesOf, accessLog, dependencies.metricTags);
  const deadline = inboundDeadlineFilter(clock);
  const propagated = dependencies.propagateHeaders ?? [];
  const reporting = dependencies.loadReports ?? 'asked';
  const sampler = createLoadSampler(clock, () => performance.eventLoopUtilization());
  const limits = createServerLimits(dependencies);
  const pools = dependencies.inboundPools ?? createInboundPoolMemory();
  const tallies = dependencies.tallies ?? createTallies();
  const faults = new ActiveFaults();
  const authenticate = jwtFilters({
    keysOf: dependencies.keySourceOf ?? (() => noKeys),
    cache: createTokenCache(),
    clock,
    options: { requireExpiry: dependencies.tokenExpiry === 'required' },
    slowKeys: dependencies.slowTokenKeys ?? 'bounded',
    random,
  });
  const observer = reportAuthorization(logger, dependencies.audited ?? (() => {}));
  const authorizers = createServerAuthorizers(dependencies);

  const handler: Service<ServerCall, void> = (call) => {
    const { request, response, connection } = call;
    if (call.hostConflict) throw new MeshError('ERR_MESH_BAD_REQUEST', 'the request names two different hosts');
    const scope = inboundScope(call, propagated);
    call.scope = scope;
    call.handed = true;
    call.messages?.begin(call);
    if (connection?.awaitsContinue === response) response.writeContinue();
    const parent = tracing && call.trace;
    if (parent === undefined) runInScope(scope, () => call.next(request, response));
    else {
      const { baggage } = request.headers;
      const run = (): void => call.next(request, response);
      runInScope(scope, () => tracing?.tracing.run(parent, typeof baggage === 'string' ? baggage : undefined, run));
    }
    return passed;
  };

  let protection: Protection | undefined;
  const composeFor = (policy: InboundPolicy): Service<ServerCall, void> => {
    const { authorization, forwardClientCert = defaultForwardClientCert, mtls, overload, pathNormalization } = policy;
    const filters: Filter<ServerCall, void>[] = [
      // first: framing, one path for all, strangers' identity headers removed
      sanitizeFilter(
        dependencies.pathNormalization ?? pathNormalization ?? 'BASE',
        handsClientCertOn(forwardClientCert.mode),
        policy.numTrustedProxies,
        dependencies.maxHeaders,
      ),
      // inside sanitize, whose path and headers it tells; outside metrics and policy: refusals are recorded too
      ...trace,
      metrics,
      // TLS session → identity or none, and what the application is told of it
      peerFilter(
        { peerOf: (call) => peerOf(call, dependencies), clientCertOf: dependencies.clientCertOf },
        forwardClientCert,
      ),
    ];
    // then STRICT / PERMISSIVE / DISABLE; only STRICT demands anything of a request
    if (demandsMtls(mtls)) filters.push(mtlsFilter(mtls));
    // outside of tokens and of all other policies, as Istio has it: CUSTOM
    filters.push(...authorizers.filtersFor(policy));
    const tokenRules = (policy.requestAuthentication ?? []).flatMap(({ rules }) => rules);
    // inside mtls: tokens are costly; outside authz: claims are input
    if (tokenRules.length > 0) filters.push(authenticate(tokenRules));
    const rbac = policy.rbac ?? [];
    tallies.keep(new Set([...authorization.map(({ provenance }) => nameOf(provenance)), ...rbacNames(rbac)]));
    if (authorization.length > 0) {
      // inside mtls: identity is input; DENY, then ALLOW
      const authorizer = compiled(() => compileAuthorizer(authorization, dependencies.authorization, tallies), logger);
      filters.push(authorizationFilter(authorizer, observer));
    }
    const aboutRequests = rbacAbout(rbac, 'requests');
    if (aboutRequests.length > 0) {
      // the same place, for policies that came as Envoy's
      const authorizer = compiled(() => compileRbac(aboutRequests, dependencies.authorization, tallies), logger);
      filters.push(authorizationFilter(authorizer, observer));
    }
    // where the control plane puts them behind its policies
    filters.push(...authorizers.lastFiltersFor(policy));
    // inside authz: strangers are told nothing; outside the handler: before its response begins
    if (reporting !== 'never') filters.push(loadFilter(sampler, reporting));
    // inside authz: strangers do not consume quota
    filters.push(...limits.filtersFor(policy));
    protection = reconcileProtection(protection, overload, (own) => new Protection(own, clock, random));
    if (protection !== undefined) {
      // inside authz and rate limits: who is not let in takes no place from others
      filters.push(overloadFilter(protection, clock));
    }
    // inside authorization, as Istio orders them: only who may ask is told who may read
    const routes = routeFilters(policy, { clock, random, active: faults });
    filters.push(...corsFilters(policy), ...routes.filters);
    // inside CORS, as the connection pool of a sidecar: a preflight is answered without a place
    pools.adopt(policy.pools);
    if (policy.pools !== undefined) filters.push(inboundPoolFilter(pools));
    // innermost: what is left of the caller's deadline becomes the handler's
    filters.push(deadline, ...routes.time);
    return compose(filters, handler);
  };

  let policy: InboundPolicy | undefined;
  let service: Service<ServerCall, void> | undefined;
  const serviceFor = (snapshot: Snapshot | undefined): Service<ServerCall, void> => {
    if (snapshot === undefined) throw new MeshError('ERR_MESH_NOT_READY', 'the mesh has no configuration yet');
    // The policy object stays the same as long as its content does: composed once per change.
    if (service === undefined || snapshot.inbound !== policy) {
      service = composeFor(snapshot.inbound);
      policy = snapshot.inbound;
    }
    return service;
  };

  const settle = (call: ServerCall, error: unknown): void => {
    // The application's own exception: the mesh is no place to hide it.
    if (call.handed) throw error;
    const failure = failureOf(error);
    call.flag = failure.flag;
    if (!call.observed) {
      seriesOf(call.peer).record(failure.status, failure.flag, clock.now() - call.startedAt);
      const end = { status: failure.status, flags: failure.flag };
      if (accessLog?.on === true) accessLog.write(serverRecord(clock, call, arrivalOf(call), end));
    }
    const detail = call.authorization?.detail;
    const why = detail === undefined || detail === '' ? {} : { detail };
    const path = call.path || pathToLog(call.request.url);
    const fields = { code: failure.code, ...why, method: call.method, path, error };
    if (error instanceof MeshError) logger.debug(fields, failure.message);
    else logger.error(fields, 'deciding about a request failed; it was refused');
    answerFailure(call.request, call.response, failure, dependencies.errorFormat);
  };

  const run = (request: IncomingMessage, response: ServerResponse, next: ServerCall['next']): void => {
    if (isQueued(response) && !joinLine(request, response)) {
      logger.debug({ remote: request.socket.remoteAddress }, 'a connection is cut: too many requests at once');
      return;
    }
    const connection = connectionOf(request.socket);
    const call = createServerCall(request, response, next, owner, clock.now(), connection);
    let result: Promise<void>;
    try {
      result = serviceFor(dependencies.snapshot())(call);
    } catch (error) {
      settle(call, error);
      return;
    }
    if (result !== passed) result.catch((error: unknown) => settle(call, error));
  };

  let lenientSaid = false;
  const refuseLenient = (request: IncomingMessage, response: ServerResponse): void => {
    const failure = new MeshError('ERR_MESH_OPTION_INVALID', 'the server uses insecureHTTPParser: nothing is let in');
    if (!lenientSaid) logger.error({ code: failure.code }, failure.message);
    lenientSaid = true;
    seriesOf(undefined).record(failure.status, failure.flag, 0);
    answerFailure(request, response, failure, dependencies.errorFormat);
  };

  const handedCall = (request: IncomingMessage): ServerCall | undefined => {
    const call = callOf(request);
    return call?.owner === owner && call.handed ? call : undefined;
  };

  return {
    handle(request, response, next) {
      // Decided already: this request came through the acceptor.
      if (handedCall(request) !== undefined) next();
      // Nobody would get an answer.
      else if (isBehindTheLast(request)) return;
      else if (wasReadLeniently(request)) refuseLenient(request, response);
      else run(request, response, next);
    },
    serve: (application) => (request, response) => run(request, response, application),
    scopeOf: (request) => handedCall(request)?.scope,
    overload: () => protection?.status,
    authorization: tallies.counts,
    close() {
      sampler.close();
      protection?.close();
    },
    rateLimits: () => limits.status(),
    authorizers: () => authorizers.status(),
    countRefusal: ({ status, flag }) => seriesOf(undefined).record(status, flag, 0),
  };
}

function peerOf(call: ServerCall, { peerOfSocket, logger }: ServerPipelineDependencies): Peer | undefined {
  const { connection, request } = call;
  if (connection !== undefined) return connection.peer();
  const socket = request.socket as TLSSocket;
  if (socket.encrypted !== true || peerOfSocket === undefined) return undefined;
  try {
    return peerOfSocket(socket);
  } catch (error) {
    logger.debug({ error }, 'the client certificate of a request proves no identity of the mesh');
    return undefined;
  }
}

/** Of a target that could not be read: without what may hold a token or a password. */
function pathToLog(target = ''): string {
  const path = target.slice(0, 512).split(/[?#]/, 1)[0] ?? '';
  return path.replace(/^([a-z]+:)?\/\/[^/]*@/i, '$1//');
}

/** Policies that cannot be compiled refuse everything: the sources should have refused them. */
function compiled(compile: () => Authorizer, logger: Logger): Authorizer {
  try {
    return compile();
  } catch (error) {
    logger.error({ error }, 'authorization policies cannot be compiled; every request is refused');
    const decide = (): never => {
      throw new MeshError('ERR_MESH_FORBIDDEN', 'authorization policies cannot be compiled', { cause: error });
    };
    return { decide };
  }
}
