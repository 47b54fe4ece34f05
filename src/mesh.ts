import { createAuthorizerCalls } from './authorizer-calls.ts';
import { describeProblem } from './config/problem.ts';
import type { ConfigSink } from './config/source.ts';
import { createConfigStore } from './config/store.ts';
import { MeshError } from './errors.ts';
import { createLiveExplain } from './explain-live.ts';
import { createTrustingSink } from './identity/mesh-trust.ts';
import { createIdentityStore } from './identity/rotation.ts';
import type { Credentials } from './identity/source.ts';
import type { ActiveIdentity } from './identity/store.ts';
import { narrowsTrust } from './identity/trust-renewal.ts';
import { createInbound } from './inbound.ts';
import { createKeySources } from './jwt/key-sources.ts';
import { holdProcess, systemClock } from './lib/clock.ts';
import { createEmitter } from './lib/emitter.ts';
import { systemRandom } from './lib/random.ts';
import { createMeshAccessLog } from './mesh-access-log.ts';
import type { ConfigCounts, IdentityStatus, Mesh, MeshEvents, MeshOptions } from './mesh-api.ts';
import { checkConnect, checkHandler, checkListener, checkTimeout, listenOptionsOf } from './mesh-arguments.ts';
import { createHealthView } from './mesh-health.ts';
import { loggerLevel, publicCertificates } from './mesh-inspect.ts';
import { configSourceOf, identitySourceOf, run } from './mesh-sources.ts';
import { createMeshTracing } from './mesh-tracing.ts';
import { createOutbound } from './outbound.ts';
import { reportAuthorizers } from './server-authorizers.ts';
import { resolveSettings } from './settings.ts';
import { createMetricTags } from './telemetry/metric-tags.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { createDocumentFetch } from './transport/fetch-document.ts';
import { createTrustWatch } from './transport/trust-watch.ts';

/**
 * The mesh of this process: reads its configuration, obtains its identity, and hands out what
 * calls and serves through it. Returns at once; `await mesh.ready()` before relying on it.
 *
 * Without options everything comes from `INMESH_*` environment variables or `inmesh.yaml` in the
 * working directory, so that one and the same program runs in development and in production.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for an option, variable or key that is wrong.
 *
 * @example
 * const mesh = createMesh({ workload: { name: 'web', namespace: 'shop' }, config: './mesh' });
 * await mesh.ready();
 * const answer = await mesh.fetch('http://reviews:9080/reviews/1');
 */
export function createMesh(options: MeshOptions = {}): Mesh {
  const settings = resolveSettings(options, process.env, process.cwd());
  const { workload, logger } = settings;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const metrics = createMetrics({ clock });
  const events = createEmitter<MeshEvents>(logger);
  const config = createConfigStore();
  const accessLog = createMeshAccessLog(options.accessLog, settings.accessLogFolder, clock, logger);
  const metricTags = createMetricTags(metrics);
  const configSource = configSourceOf(options, settings, clock);
  const identitySource = identitySourceOf(options, settings, clock, random);
  // Where nobody chose a trust domain, the certificate says which it is.
  const trustDomain = settings.trustDomainIsDefault ? {} : { trustDomain: workload.trustDomain };
  const identity =
    identitySource && createIdentityStore({ clock, logger, ...trustDomain, expired: () => identityExpired() });
  const trusting = identity && createTrustingSink(identity, logger);
  const trustWatch = settings.untrustedConnections === 'close' ? createTrustWatch(clock, logger) : undefined;
  const stop = new AbortController();

  const tracing =
    options.tracing &&
    createMeshTracing(options.tracing, { workload, clock, random, logger, environment: process.env });
  const outbound = createOutbound({
    tracing: tracing?.client,
    accessLog: accessLog?.client,
    metricTags,
    workload,
    clock,
    trustWatch,
    random,
    logger,
    metrics,
    onFailure: settings.onFailure,
    ...(settings.instance === undefined ? {} : { instance: settings.instance }),
    retries: settings.retries,
    mirrorCredentials: settings.mirrorCredentials,
    identity: identity === undefined ? 'none' : () => identity.current(),
    endpointChanged: (status) => {
      logger.warn({ ...status }, status.healthy ? 'an endpoint is back' : 'an endpoint is out');
      events.emit('endpoint', status);
    },
    fallbacks: options.fallbacks ?? {},
    breakerChanged: (status) => {
      logger.warn({ ...status }, breakerMessages[status.state]);
      events.emit('breaker', status);
    },
    fileUnreadable: (cluster, file, error) =>
      logger.warn({ cluster, file, error: error.message }, 'a file of TLS cannot be read: calls answer 503'),
  });
  const keys = createKeySources({
    fetch: createDocumentFetch({
      clock,
      rootsFile: settings.jwksCa,
      mesh: {
        dispatcher: outbound.dispatcher,
        knows: (host) => config.current()?.hosts.has(host) === true,
        ready: async () => identity?.ready,
      },
    }),
    refreshMs: settings.jwksRefreshMs,
    clock,
    random,
    logger,
    changed: (status) => events.emit('jwks', status),
  });
  const inbound = createInbound({
    tracing: tracing?.server,
    accessLog: accessLog?.server,
    metricTags,
    workload,
    clock,
    trustWatch,
    random,
    metrics,
    logger,
    identity,
    propagateHeaders: settings.propagateHeaders,
    loadReports: settings.loadReports,
    errorFormat: settings.errorFormat,
    limits: settings.limits,
    authorization: { paths: settings.policyPaths },
    rateLimitService: options.rateLimitService,
    audited: (audit) => events.emit('authorization-audit', audit),
    keySourceOf: keys.sourceOf,
    tokenExpiry: settings.tokenExpiry,
    slowTokenKeys: settings.slowTokenKeys,
    externalAuthorization: options.externalAuthorization,
    authorizerCalls: createAuthorizerCalls(outbound.dispatcher),
    snapshot: () => config.current(),
  });

  const counts = { accepted: 0, rejected: 0, lost: 0, acceptedAt: 0 };
  config.subscribe({
    update(snapshot, report) {
      counts.accepted++;
      counts.acceptedAt = clock.wallNow();
      trusting?.use(snapshot.trust);
      outbound.use(snapshot);
      tracing?.use(snapshot);
      if (options.accessLog === undefined) accessLog?.follow(snapshot.accessLog);
      metricTags.use(snapshot.metricOverrides);
      keys.use(snapshot.inbound.requestAuthentication ?? []);
      reportAuthorizers(snapshot, options, logger);
      events.emit('config', { version: snapshot.version, report });
    },
    reject(problems) {
      counts.rejected++;
      for (const problem of problems) logger.error({ source: configSource.name }, describeProblem(problem));
      events.emit('config-rejected', { problems });
    },
    lost(reason) {
      counts.lost++;
      logger.warn({ source: configSource.name, error: reason.message }, 'configuration out of reach');
    },
  });
  let trusted: Credentials | undefined;
  identity?.subscribe((active) => {
    const { notAfter } = active.credentials;
    const narrower = trusted !== undefined && narrowsTrust(trusted, active.credentials);
    const renewed = trusted !== undefined && trusted.certificateChainPem !== active.credentials.certificateChainPem;
    trusted = active.credentials;
    // Connections made with the old certificate are replaced while it is still good for them; those to
    // servers that may not be trusted any more get no more calls. More trust leaves all as it is.
    const spreadMs = narrower ? 0 : Math.min(30_000, (notAfter - clock.wallNow()) / 10);
    if (narrower || renewed) outbound.recycle(spreadMs);
    trustWatch?.review();
    events.emit('identity', statusOf(active));
  });
  const identityExpired = (): void => {
    // Connections that there are finish what they carry; new ones need a certificate.
    outbound.recycle(0);
    if (identity !== undefined) events.emit('identity-expired', identity.health());
  };
  const told = { workload, credentials: () => identity?.current()?.credentials };
  const following = { run: (sink: ConfigSink, signal: AbortSignal) => configSource.run(sink, signal, told) };
  const configEnded = run(following, config.sink, stop.signal);
  if (identitySource !== undefined && trusting !== undefined) void run(identitySource, trusting, stop.signal);

  const view = createHealthView({
    config,
    configName: configSource.name,
    identity,
    identityName: identitySource?.name,
    configEnded,
    keys,
    closing: () => closing !== undefined,
  });

  const ready = async (timeoutMs?: number): Promise<void> => {
    checkTimeout(timeoutMs);
    if (stop.signal.aborted) throw new MeshError('ERR_MESH_CLOSED', 'the mesh is closed');
    const release = holdProcess();
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const over = new AbortController();
    const onClose = (): void => reject(new MeshError('ERR_MESH_CLOSED', 'the mesh was closed before it was ready'));
    stop.signal.addEventListener('abort', onClose, { once: true });
    const cancel =
      timeoutMs === undefined
        ? undefined
        : clock.after(timeoutMs, () =>
            reject(new MeshError('ERR_MESH_NOT_READY', `not ready after ${timeoutMs} ms: no ${view.missing()}`)),
          );
    try {
      await Promise.race([view.complete(over.signal), ended]);
    } finally {
      cancel?.();
      over.abort();
      stop.signal.removeEventListener('abort', onClose);
      release();
    }
  };

  let closing: Promise<void> | undefined;
  const shutDown = async (): Promise<void> => {
    const release = holdProcess();
    try {
      // Requests in flight still need to call others: so inbound first, then outbound.
      await inbound.close({ delayMs: settings.drainDelayMs, graceMs: settings.drainGraceMs });
      await outbound.close(settings.drainGraceMs);
      // One that fails does not keep the others open.
      const closed = [(async () => options.rateLimitService?.close?.())(), tracing?.close(), accessLog?.close()];
      for (const each of await Promise.allSettled(closed)) if (each.status === 'rejected') throw each.reason;
    } finally {
      stop.abort();
      identity?.close();
      keys.close();
      trustWatch?.close();
      for (const signal of settings.closeOn) process.off(signal, onSignal);
      release();
    }
  };
  const close = (): Promise<void> => {
    closing ??= shutDown();
    return closing;
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    // Our listener is gone once closed, so the signal does then what it would have done.
    void close().finally(() => process.kill(process.pid, signal));
  };
  for (const signal of settings.closeOn) process.on(signal, onSignal);

  return {
    workload,
    fetch: outbound.fetch,
    dispatcher: outbound.dispatcher,
    agent: outbound.agent,
    async connect(options) {
      checkConnect(options);
      return outbound.connect(options);
    },
    async listenTcp(handler, portOrOptions) {
      checkHandler(handler);
      const options = listenOptionsOf(portOrOptions);
      await ready();
      return inbound.listenTcp(handler, options);
    },
    async listen(app, portOrOptions) {
      const options = listenOptionsOf(portOrOptions);
      await ready();
      return inbound.listen(app, options);
    },
    handle: inbound.handle,
    scopeOf: inbound.scopeOf,
    ready,
    health: view.health,
    close,
    report: () => config.report(),
    stats() {
      const active = identity?.current();
      return {
        workload,
        configVersion: config.current()?.version,
        identity: active && statusOf(active),
        identityHealth: identity?.health(),
        config: configCounts(counts),
        requests: metrics.snapshot(),
        metricOverrides: config.current()?.metricOverrides,
        tcp: metrics.connections(),
        accessLogDropped: accessLog?.dropped ?? 0,
        endpoints: outbound.endpoints(),
        clusters: outbound.clusters(),
        breakers: outbound.breakers(),
        faults: outbound.faults(),
        routes: outbound.routes(),
        egress: outbound.egress(),
        rateLimits: inbound.rateLimits(),
        jwks: keys.status(),
        authorizers: inbound.authorizers(),
        overload: inbound.overload(),
        authorization: inbound.authorization(),
        connections: inbound.connections(),
      };
    },
    inspect() {
      const active = identity?.current();
      return {
        snapshot: config.current(),
        problems: config.problems().map(describeProblem),
        certificates: active && publicCertificates(active),
        listeners: inbound.listeners(),
        closing: closing !== undefined,
      };
    },
    logLevel: (next) => loggerLevel(logger, next),
    explain: createLiveExplain(
      workload,
      () => config.current(),
      {
        withoutIdentity: identity === undefined,
        tokenExpiry: settings.tokenExpiry,
        trafficPaths: settings.policyPaths,
        maxHeaders: settings.limits.maxHeaders,
      },
      keys.sourceOf,
    ),
    on(event, listener) {
      checkListener(event, listener);
      return events.on(event, listener);
    },
  };
}

const breakerMessages = {
  open: 'a circuit breaker has opened',
  halfOpen: 'a circuit breaker lets one call try',
  closed: 'a circuit breaker has closed',
} as const;

function configCounts({ acceptedAt, ...counts }: Required<ConfigCounts>): ConfigCounts {
  return counts.accepted === 0 ? counts : { ...counts, acceptedAt };
}

function statusOf({ credentials, generation }: ActiveIdentity): IdentityStatus {
  const { spiffeId, notBefore, notAfter } = credentials;
  return { spiffeId, notBefore, notAfter, generation };
}
