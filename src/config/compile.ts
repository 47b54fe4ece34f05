import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import type { OutboundPolicy, Snapshot } from '../model/snapshot.ts';
import { markShared, shareUnchanged } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { type AccessLoggingBody, compileAccessLogging } from './access-logging.ts';
import { callersOf } from './callers.ts';
import { type CircuitBreakerBody, createCircuitBreakers } from './circuit-breakers.ts';
import { createClusters } from './clusters.ts';
import { type Collector, createCollector } from './collector.ts';
import { compileIntentions, type IntentionsBody } from './consul-intentions.ts';
import { createDestinationRules } from './destination-rules.ts';
import type { ConfigDocument } from './document.ts';
import { applyExportDefaults, checkExportTo } from './export-to.ts';
import { authorizersFor } from './extension-providers.ts';
import { checkForeignRoutes, type ForeignRoutes } from './foreign-routes.ts';
import { createHealthChecks, type HealthCheckBody } from './health-checks.ts';
import { inboundCorsOf } from './inbound-cors.ts';
import { compileEgressPolicy, type EgressPolicyBody } from './inmesh-egress-policy.ts';
import { type CompiledRateLimits, compileRateLimit, type RateLimitBody } from './inmesh-rate-limit.ts';
import {
  type AuthorizationPolicyBody,
  compileAuthorizationPolicy,
  isForWorkload,
} from './istio-authorization-policy.ts';
import { checkDestinationRule, type DestinationRuleBody, knowsZones } from './istio-destination-rule.ts';
import { compileMeshConfig, type MeshConfigBody, type MeshOverrides } from './istio-mesh-config.ts';
import { createPeerAuthentications, type PeerAuthenticationBody } from './istio-peer-authentication.ts';
import { reportProxyConfigs } from './istio-proxy-config.ts';
import { compileRequestAuthentication, type RequestAuthenticationBody } from './istio-request-authentication.ts';
import type { ServiceEntryBody } from './istio-service-entry.ts';
import {
  egressProxyOf,
  inboundPoolsOf,
  refuseIngressTls,
  type SidecarBody,
  selectSidecar,
  sidecarOutboundPolicy,
} from './istio-sidecar.ts';
import { compileTracing, type TelemetryTracingBody } from './istio-telemetry.ts';
import type { VirtualServiceBody } from './istio-virtual-service.ts';
import { checkVirtualService } from './istio-virtual-service-check.ts';
import { type MeshSettings, meshTrustOf } from './mesh-settings.ts';
import { compileMetricOverrides, type MetricsBody } from './metric-overrides.ts';
import { compileOverloadPolicy, type OverloadPolicyBody } from './overload-policies.ts';
import { type CompileState, recompile } from './recompile.ts';
import { createRegistry } from './registry.ts';
import { createStages, newStageMemory, rememberStep, type StageMemory } from './remember.ts';
import { type Resource, readResources, resolveHost } from './resource.ts';
import { compileScopedHosts } from './scoped-hosts.ts';
import type { MeshService } from './service.ts';
import { compileServices } from './services.ts';
import { createSidecarScope, type SidecarScope } from './sidecar-scope.ts';
import type { ConfigProblem, EnforcementReport } from './source.ts';
import { applicableTelemetries } from './telemetries.ts';
import { trustedProxies, warnOfUntrusted } from './trusted-proxies.ts';
import { digestOf, versionOf } from './version.ts';
import { compileVirtualHosts } from './virtual-hosts.ts';

export interface CompileOptions {
  /** The process that the snapshot is for. Resources without a namespace belong to its namespace. */
  readonly workload: Workload;
  /** Goes before what the configuration says. Default: its MeshConfig, else `ALLOW_ANY`. */
  readonly outboundPolicy?: OutboundPolicy;
  /** The trust domain of the workload was not chosen by anybody: a MeshConfig may name another. */
  readonly trustDomainIsDefault?: boolean;
  /** Whether a namespace may lead the calls of others to hosts that are not its own. Default `allow`, as in Istio. */
  readonly foreignRoutes?: ForeignRoutes;
  /** What did not change since then keeps its object identity. */
  readonly previous?: Snapshot;
}

/** Watches a compilation: how analysis gets at what was read, also when it is refused. */
export interface CompileObserver {
  readonly collector: Collector;
  /** Called with all resources that have the shape of their kind, and what holds for the whole mesh. */
  see?(resources: readonly Resource[], mesh: MeshSettings): void;
}

/** A whole snapshot, or the reasons why there is none. */
export type CompileResult =
  | { readonly ok: true; readonly snapshot: Snapshot; readonly report: EnforcementReport }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Compiles Istio and Kubernetes resources to the snapshot of one workload. Pure, and all or
 * nothing: one problem in one resource refuses the whole.
 */
export function compile(
  documents: readonly ConfigDocument[],
  options: CompileOptions,
  observer?: CompileObserver,
): CompileResult {
  return (observer === undefined && compileChange(documents, options)) || compileAll(documents, options, observer);
}

/** Only what changed since the previous snapshot, if that can be. */
function compileChange(documents: readonly ConfigDocument[], options: CompileOptions): CompileResult | undefined {
  const { previous, ...rest } = options;
  const memory = previous && memories.get(previous);
  if (memory?.state === undefined || !sameOptions(options, memory.options)) return undefined;
  const changed = recompile(documents, memory.state, previous as Snapshot);
  if (changed === undefined) return undefined;
  const { state } = changed;
  const snapshot = { ...changed.snapshot, version: versionOf(state.digests, options) };
  markShared(previous as Snapshot, snapshot);
  memories.set(snapshot, { ...memory, state });
  // What there is to say is the same as of a whole compilation, and seldom asked for.
  const report = lazyReport(() => {
    const whole = compileAll(documents, rest);
    return whole.ok ? whole.report.entries : [];
  });
  return { ok: true, snapshot, report };
}

function compileAll(
  documents: readonly ConfigDocument[],
  options: CompileOptions,
  observer: CompileObserver = { collector: createCollector() },
): CompileResult {
  const { outboundPolicy, trustDomainIsDefault = false, previous } = options;
  const { collector } = observer;
  const memory = newStageMemory();
  const stages = createStages(previous && memories.get(previous)?.stages, memory, collector);
  const read = readResources(documents, options.workload.namespace, collector);
  const meshInputs = [stages.list('MeshConfig', read.filter(isMeshConfig)), outboundPolicy, trustDomainIsDefault];
  const mesh = stages.run('mesh', [...meshInputs, options.workload], () =>
    compileMeshConfig(read.filter(isMeshConfig), overridesOf(options), collector),
  );
  const workload = stages.run('workload', [options.workload, trustDomainIsDefault, mesh], () =>
    trustDomainIsDefault && mesh.trustDomain !== undefined
      ? { ...options.workload, trustDomain: mesh.trustDomain }
      : options.workload,
  );
  for (const resource of read) if (exportedKinds.includes(resource.kind)) checkExportTo(resource, collector);
  reportProxyConfigs(read, workload, mesh, collector);
  const numTrustedProxies = trustedProxies(read, workload, mesh, collector);
  const resources = applyExportDefaults(read, mesh);
  observer.see?.(resources, mesh);
  const byKind = Map.groupBy(resources, ({ kind }) => kind);
  const ofKind = <Body>(kind: string): readonly Resource<Body>[] =>
    // Kinds that have the same name in two groups are not both known, and a table checked the body.
    stages.list(kind, (byKind.get(kind) ?? []) as readonly Resource<Body>[]);

  const services = compileServices(ofKind, workload, stages, collector);
  const destinationRules = ofKind<DestinationRuleBody>('DestinationRule');
  stages.run('check DestinationRules', [destinationRules], () => {
    for (const each of destinationRules) ruleChecked(each, [], collector, () => checkDestinationRule(each, collector));
  });
  const virtualServices = ofKind<VirtualServiceBody>('VirtualService');
  stages.run('check VirtualServices', [virtualServices], () => {
    for (const each of virtualServices) rulesChecked(each, [], collector, () => checkVirtualService(each, collector));
  });
  const serviceEntries = ofKind<ServiceEntryBody>('ServiceEntry');
  const { foreignRoutes = 'allow' } = options;
  stages.run('foreign routes', [virtualServices, serviceEntries, services, workload, mesh, foreignRoutes], () => {
    checkForeignRoutes({ virtualServices, serviceEntries, services, workload, mesh }, foreignRoutes, collector);
  });
  const peerAuthentications = ofKind<PeerAuthenticationBody>('PeerAuthentication');
  const peers = stages.run('peers', [peerAuthentications, mesh], () =>
    createPeerAuthentications(peerAuthentications, mesh, collector),
  );
  const policies = ofKind<AuthorizationPolicyBody>('AuthorizationPolicy');
  const intentions = ofKind<IntentionsBody>('service-intentions');
  const authorization = stages.run('authorization', [policies, intentions, workload, mesh], () => [
    ...policies.flatMap(
      (resource) =>
        policyCompiled(resource, [workload, mesh], collector, () =>
          compileAuthorizationPolicy(resource, workload, mesh, collector),
        ) ?? [],
    ),
    ...compileIntentions(intentions, workload, mesh, collector),
  ]);
  const requestAuthentications = ofKind<RequestAuthenticationBody>('RequestAuthentication');
  const requestAuthentication = stages.run('tokens', [requestAuthentications, workload, mesh], () =>
    compileRequestAuthentication(requestAuthentications, workload, mesh, collector),
  );
  stages.run('remote addresses', [policies, workload, mesh, numTrustedProxies], () => {
    if (numTrustedProxies > 0) return;
    warnOfUntrusted(
      policies.filter((each) => isForWorkload(each, workload, mesh)),
      collector,
    );
  });
  const rateLimits = ofKind<RateLimitBody>('RateLimit');
  const limits = stages.run('rate limits', [rateLimits, workload, mesh], () =>
    rateLimits.map((resource) => compileRateLimit(resource, workload, mesh, collector)),
  );
  const overloadPolicies = ofKind<OverloadPolicyBody>('OverloadPolicy');
  const overload = stages.run('overload', [overloadPolicies, workload, mesh], () =>
    compileOverloadPolicy(overloadPolicies, workload, mesh.rootNamespace, collector),
  );
  const telemetries = ofKind<TelemetryTracingBody & AccessLoggingBody & MetricsBody>('Telemetry');
  const { tracing, accessLog, metricOverrides } = stages.run('telemetry', [telemetries, workload, mesh], () => {
    const applied = applicableTelemetries(telemetries, workload, mesh.rootNamespace, collector);
    return {
      tracing: compileTracing(applied, mesh, collector),
      accessLog: compileAccessLogging(applied, mesh.accessLogging, collector),
      metricOverrides: compileMetricOverrides(applied, mesh.metricProviders, collector),
    };
  });
  const egressPolicies = ofKind<EgressPolicyBody>('EgressPolicy');
  const egress = stages.run('egress', [egressPolicies, workload, mesh], () =>
    egressPolicies.flatMap((resource) => compileEgressPolicy(resource, workload, mesh, collector) ?? []),
  );
  const sidecar = selectSidecar(ofKind<SidecarBody>('Sidecar'), workload, mesh, collector);
  refuseIngressTls(sidecar, peers, workload, collector);
  const { namespace, clusterDomain } = workload;
  const scope = stages.run('scope', [sidecar, services, virtualServices, workload], () =>
    createSidecarScope(sidecar, { services, virtualServices, namespace, clusterDomain }),
  );
  const registry = stages.run('registry', [scope, services, workload], () =>
    createRegistry(scope?.services ?? services, namespace, collector),
  );
  const rules = stages.run('rules', [destinationRules, workload, mesh], () =>
    createDestinationRules(destinationRules, workload, collector, {
      rootNamespace: mesh.rootNamespace,
      exportTo: mesh.exportTo.destinationRules,
    }),
  );
  stages.run('rules for nobody', [destinationRules, services, workload], () => {
    warnOfNobody(destinationRules, services, workload, collector);
  });
  const breakerResources = ofKind<CircuitBreakerBody>('CircuitBreaker');
  const breakers = stages.run('breakers', [breakerResources, services, workload, mesh], () =>
    createCircuitBreakers(breakerResources, { workload, rootNamespace: mesh.rootNamespace, services, collector }),
  );
  const healthResources = ofKind<HealthCheckBody>('HealthCheck');
  const healthChecks = stages.run('health checks', [healthResources, services, workload, mesh], () =>
    createHealthChecks(healthResources, { workload, rootNamespace: mesh.rootNamespace, services, collector }),
  );
  const own = { breakers, healthChecks };
  const clusters = createClusters(rules, peers, workload, mesh, own);
  const callable = { registry, clusters, rules, virtualServices, workload, defaultRetry: mesh.retry };
  const everywhere = scope === undefined ? compileVirtualHosts(callable, collector) : undefined;
  const { hosts, wildcardHosts } = everywhere ?? compileScopedHosts(scope as SidecarScope, callable, collector);
  const authorizers = authorizersFor(authorization, mesh.authorizers, { services, hosts }, (policy, note) => {
    const isSource = (each: Resource): boolean =>
      each.namespace === policy.provenance.namespace && each.name === policy.provenance.name;
    collector.warn(policies.find(isSource) as Resource, ['spec', 'provider', 'name'], 'enforced', note);
  });
  const inboundCors = inboundCorsOf(hosts, clusters.byName, services, workload);
  const ofSidecar = sidecarOutboundPolicy(sidecar, outboundPolicy, collector);
  const pools = inboundPoolsOf(sidecar);
  const egressProxy = egressProxyOf(sidecar, registry, clusters, collector);
  // What was said while compiling on after a mistake may be wrong; the mistake is not.
  if (collector.problems.length > 0) return { ok: false, problems: collector.problems };
  const zones = mesh.zoneAware?.enabled === true || destinationRules.some(knowsZones);
  const callers = zones ? stages.run('callers', [services, workload], () => callersOf(services, workload)) : undefined;
  const chosen = !trustDomainIsDefault || mesh.trustDomain !== undefined;
  const trust = meshTrustOf(chosen ? workload.trustDomain : undefined, mesh);
  const content = {
    hosts,
    wildcardHosts,
    clusters: clusters.byName,
    outboundPolicy: outboundPolicy ?? ofSidecar ?? mesh.outboundPolicy,
    ...(egressProxy === undefined ? {} : { egressProxy }),
    ...(mesh.dnsRefreshMs === undefined ? {} : { dnsRefreshMs: mesh.dnsRefreshMs }),
    inbound: {
      mtls: peers.policyFor(workload.namespace, workload.labels),
      ...(mesh.inboundTls === undefined ? {} : { tls: { ports: new Map(), others: mesh.inboundTls } }),
      authorization,
      ...(requestAuthentication.length === 0 ? {} : { requestAuthentication }),
      ...(inboundCors.length === 0 ? {} : { cors: inboundCors }),
      ...(authorizers.length === 0 ? {} : { authorizers }),
      ...inboundLimits(limits),
      ...(overload === undefined ? {} : { overload }),
      ...(pools === undefined ? {} : { pools }),
      ...(mesh.forwardClientCert === undefined ? {} : { forwardClientCert: mesh.forwardClientCert }),
      ...(numTrustedProxies === 0 ? {} : { numTrustedProxies }),
      ...(mesh.pathNormalization === 'BASE' ? {} : { pathNormalization: mesh.pathNormalization }),
    },
    ...(egress.length === 0 ? {} : { egress }),
    ...(callers === undefined ? {} : { callers }),
    ...(trust === undefined ? {} : { trust }),
    ...(tracing === undefined ? {} : { tracing }),
    ...(accessLog === undefined ? {} : { accessLog }),
    ...(metricOverrides === undefined ? {} : { metricOverrides }),
  };
  const digests = documents.map(digestOf);
  const snapshot = shareUnchanged(previous, { version: versionOf(digests, options), ...content });
  const { namespace: defaultNamespace } = options.workload;
  const common = { documents, digests, defaultNamespace, workload, mesh, registry, rules, peers, own };
  const state = everywhere && { ...common, owners: everywhere.owners, uses: everywhere.uses };
  const { previous: _, ...kept } = options;
  memories.set(snapshot, { options: kept, stages: memory, state });
  return { ok: true, snapshot, report: lazyReport(() => collector.entries()) };
}

/** What the compilation of a snapshot leaves behind for the next one. */
interface Memory {
  readonly options: Omit<CompileOptions, 'previous'>;
  readonly stages: StageMemory;
  /** Nothing where a Sidecar says what may be called. */
  readonly state: CompileState | undefined;
}

function sameOptions(a: Omit<CompileOptions, 'previous'>, b: Omit<CompileOptions, 'previous'>): boolean {
  return (
    a.workload === b.workload &&
    a.outboundPolicy === b.outboundPolicy &&
    (a.foreignRoutes ?? 'allow') === (b.foreignRoutes ?? 'allow') &&
    (a.trustDomainIsDefault ?? false) === (b.trustDomainIsDefault ?? false)
  );
}

const memories = new WeakMap<Snapshot, Memory>();
const ruleChecked = rememberStep<Resource, void>();
const rulesChecked = rememberStep<Resource, void>();
const policyCompiled = rememberStep<Resource, AuthorizationPolicy | undefined>();

const exportedKinds = ['ServiceEntry', 'VirtualService', 'DestinationRule'];

/** Absent where there are none: what is not configured is not in the policy. */
function inboundLimits(
  all: readonly CompiledRateLimits[],
): Pick<InboundPolicy, 'localRateLimits' | 'globalRateLimits'> {
  const localRateLimits = all.flatMap(({ local }) => local);
  const globalRateLimits = all.flatMap(({ global }) => global);
  return {
    ...(localRateLimits.length === 0 ? {} : { localRateLimits }),
    ...(globalRateLimits.length === 0 ? {} : { globalRateLimits }),
  };
}

function isMeshConfig(resource: Resource): resource is Resource<MeshConfigBody> {
  return ['MeshConfig', 'ConfigMap', 'IstioOperator'].includes(resource.kind);
}

function overridesOf({ outboundPolicy, trustDomainIsDefault = false, workload }: CompileOptions): MeshOverrides {
  return {
    ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
    ...(trustDomainIsDefault ? {} : { trustDomain: workload.trustDomain }),
  };
}

/** Made when somebody reads it. */
function lazyReport(make: () => EnforcementReport['entries']): EnforcementReport {
  let entries: EnforcementReport['entries'] | undefined;
  return {
    get entries() {
      entries ??= make();
      return entries;
    },
  };
}

/** A rule for a host that no service has is often a name that was written halfway. */
function warnOfNobody(
  rules: readonly Resource<DestinationRuleBody>[],
  services: readonly MeshService[],
  { clusterDomain }: Workload,
  collector: Collector,
): void {
  const hosts = new Set(services.map((service) => service.host));
  for (const rule of rules) {
    const host = resolveHost(rule.body.spec.host, rule.namespace, clusterDomain);
    if (host.startsWith('*') || hosts.has(host)) continue;
    const long = `${host}.svc.${clusterDomain}`;
    const hint = hosts.has(long) ? `; write ${long}` : '';
    collector.warn(rule, ['spec', 'host'], 'enforced', `no service has the host ${host}${hint}`);
  }
}
