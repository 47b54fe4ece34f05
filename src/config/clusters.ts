import type { BreakerPolicy } from '../model/breaker.ts';
import type { Cluster, ConnectionLimits, Discovery, Endpoint, UpstreamTls } from '../model/cluster.ts';
import { clusterName } from '../model/cluster.ts';
import type { Workload } from '../model/workload.ts';
import type { CircuitBreakers } from './circuit-breakers.ts';
import { destinationExtensions } from './destination-annotations.ts';
import type { DestinationRule, DestinationRules } from './destination-rules.ts';
import { placeEndpoints } from './endpoint-placement.ts';
import { type HealthCheckBody, type HealthChecks, healthCheckOf } from './health-checks.ts';
import type { PeerAuthentications } from './istio-peer-authentication.ts';
import { type MeshSettings, trustDomainsOf } from './mesh-settings.ts';
import { withOutlierAnnotation } from './outlier-annotation.ts';
import { placementOf } from './placement-policy.ts';
import { rememberPart } from './remember.ts';
import type { Resource } from './resource.ts';
import type { MeshService, ServiceEndpoint, ServicePort } from './service.ts';
import { type ClusterPolicy, compilePolicy, mergePolicies } from './traffic-policy.ts';
import { selects } from './values.ts';

/** Makes clusters on demand, each once. */
export interface Clusters {
  readonly byName: ReadonlyMap<string, Cluster>;
  /** Name of the cluster of a service, port and subset; nothing when the subset is not defined. `name`: as it was before. */
  use(service: MeshService, port: ServicePort, subset?: string, name?: string): string | undefined;
}

const compiled = rememberPart<MeshService, Cluster | undefined>();

/** What kinds of our own say of destinations. */
export interface OwnPolicies {
  readonly breakers: CircuitBreakers;
  readonly healthChecks: HealthChecks;
}

/** Clusters by name, to which others are added. */
type ClusterMap = ReadonlyMap<string, Cluster> & { set(name: string, cluster: Cluster): unknown };

export function createClusters(
  rules: DestinationRules,
  peers: PeerAuthentications,
  workload: Workload,
  mesh: MeshSettings,
  { breakers, healthChecks }: OwnPolicies,
  byName: ClusterMap = new Map<string, Cluster>(),
): Clusters {
  const trustDomains = trustDomainsOf(workload.trustDomain, mesh);
  return {
    byName,
    use(service, port, subset = '', name = clusterName(service.host, port.number, subset)) {
      if (byName.has(name)) return name;
      const rule = rules.find(service);
      const breaker = breakers.find(service, port.number, subset);
      const health = healthChecks.find(service, port.number, subset);
      const cluster = compiled(service, name, [port, rule, peers, workload, mesh, breaker, health], () =>
        compile(service, port, subset, rule, breaker, health),
      );
      if (cluster === undefined) return undefined;
      byName.set(name, cluster);
      return name;
    },
  };

  function compile(
    service: MeshService,
    port: ServicePort,
    subset: string,
    rule: DestinationRule | undefined,
    breaker: BreakerPolicy | undefined,
    health: Resource<HealthCheckBody> | undefined,
  ): Cluster | undefined {
    const definition = subset === '' ? undefined : rule?.subsets.get(subset);
    if (subset !== '' && definition === undefined) return undefined;
    const policy = compilePolicy(
      mergePolicies(rule?.trafficPolicy, definition?.trafficPolicy, port.number),
      mesh.connectTimeoutMs,
    );
    const labels = definition?.labels ?? {};
    const own = policy.subjectAltNames;
    const endpoints = service.endpoints
      .filter((endpoint) => selects(labels, endpoint.labels))
      .flatMap((source) => {
        const endpoint = compileEndpoint(source, port, own === undefined);
        return endpoint === undefined ? [] : { endpoint, source };
      });
    const placed = placeEndpoints(endpoints, placementOf(policy, service.trafficDistribution, mesh), workload);
    const serverIdentities = own ?? identitiesOf(service);
    const tls = upstreamTls(service, policy);
    return {
      name: clusterName(service.host, port.number, subset),
      host: service.host,
      port: port.number,
      subset,
      protocol: port.protocol,
      ...http2Of(port, policy, mesh),
      discovery: policy.passthrough ? passthrough(placed.endpoints) : discovery(service, port, placed.endpoints),
      ...balanceOf(policy),
      ...(placed.localities === undefined ? {} : { localities: placed.localities }),
      ...(rule === undefined ? {} : extensionsOf(rule, policy)),
      tls,
      ...(typeof tls === 'object' && mesh.originatedTls !== undefined ? { tlsParameters: mesh.originatedTls } : {}),
      ...(policy.serverName === undefined ? {} : { serverName: policy.serverName }),
      ...(policy.outlier === undefined
        ? {}
        : { outlier: withOutlierAnnotation(policy.outlier, rule?.resources ?? []) }),
      ...(breaker === undefined ? {} : { breaker }),
      ...(health === undefined ? {} : { healthCheck: healthCheckOf(health, service.host, policy.outlier) }),
      limits: limitsOf(policy, mesh),
      ...(policy.retryBudget === undefined ? {} : { retryBudget: policy.retryBudget }),
      ...(policy.tunnel === undefined ? {} : { tunnel: policy.tunnel }),
      ...(policy.proxyProtocol === undefined ? {} : { proxyProtocol: policy.proxyProtocol }),
      serverIdentities,
      ...(isForeign(tls, serverIdentities) ? { foreign: true } : {}),
      ...(service.meshExternal ? { external: true } : {}),
      ...(trustDomains.length === 1 && !mesh.trustDomain ? {} : { trustDomains }),
    };
  }

  function compileEndpoint(endpoint: ServiceEndpoint, port: ServicePort, pinned: boolean): Endpoint | undefined {
    const target = endpoint.portOf(port);
    if (target === undefined) return undefined;
    const identity = spiffeIdOf(endpoint);
    return {
      address: endpoint.address,
      port: target,
      weight: endpoint.weight,
      labels: endpoint.labels,
      // As istiod tells its clients: not where a PeerAuthentication of the server turns it off.
      speaksMtls: endpoint.speaksMtls && modeAt(endpoint, target) !== 'DISABLE',
      ...(pinned && identity !== undefined && trustDomains.length === 1 ? { spiffeId: identity } : {}),
      locality: endpoint.locality,
      workload: endpoint.workload,
    };
  }

  function modeAt(endpoint: ServiceEndpoint, port: number): string {
    const policy = peers.policyFor(endpoint.namespace, endpoint.labels);
    return policy.ports.get(port) ?? policy.mode;
  }

  function spiffeIdOf({ namespace, serviceAccount }: ServiceEndpoint): string | undefined {
    return serviceAccount === undefined || serviceAccount === ''
      ? undefined
      : `spiffe://${workload.trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
  }

  /** Istio: an identity of the own trust domain may as well be proven under each of its aliases. */
  function inEveryTrustDomain(identity: string): readonly string[] {
    const rest = identity.startsWith('spiffe://') ? identity.slice('spiffe://'.length) : '';
    const slash = rest.indexOf('/');
    const aliased = slash !== -1 && trustDomains.includes(rest.slice(0, slash));
    return aliased ? trustDomains.map((domain) => `spiffe://${domain}${rest.slice(slash)}`) : [identity];
  }

  function isForeign(tls: UpstreamTls, identities: readonly string[]): boolean {
    if (typeof tls === 'object') return true;
    const isOwn = (id: string): boolean => trustDomains.some((domain) => id.startsWith(`spiffe://${domain}/`));
    return identities.length > 0 && !identities.some(isOwn);
  }

  /**
   * Names that the rule does not give are those of a ServiceEntry: the accounts of its endpoints and its own
   * `subjectAltNames` (Istio `constructUpstreamTLS`), beside the host that Envoy asks for without an SNI of the rule.
   */
  function upstreamTls(service: MeshService, { tls }: ClusterPolicy): UpstreamTls {
    if (tls === undefined) return service.meshExternal || !mesh.autoMtls ? 'disable' : 'auto';
    if (typeof tls === 'string' || !tls.verify || tls.subjectAltNames.length > 0) return tls;
    const names = service.resource.kind === 'ServiceEntry' ? identitiesOf(service) : [];
    if (names.length === 0) return tls;
    return { ...tls, subjectAltNames: names, ...(tls.serverName === undefined ? { verifyHost: true } : {}) };
  }

  /** Istio's secure naming: the service accounts behind the service, and `subjectAltNames`. */
  function identitiesOf(service: MeshService): readonly string[] {
    const accounts = service.endpoints.flatMap((endpoint) => spiffeIdOf(endpoint) ?? []);
    const known = [...service.identities, ...accounts];
    return [...new Set(trustDomains.length === 1 ? known : known.flatMap(inEveryTrustDomain))].sort();
  }
}

/**
 * Istio: a port of HTTP/2 or gRPC is called over HTTP/2 whatever a policy says; an upgrade goes before
 * the caller's version (`setUpstreamProtocol`, `shouldH2Upgrade`).
 */
function http2Of(
  { protocol }: ServicePort,
  { http2Upgrade, useClientProtocol }: ClusterPolicy,
  mesh: MeshSettings,
): Pick<Cluster, 'http2'> {
  if (protocol === 'http2' || protocol === 'grpc') return { http2: 'always' };
  if (protocol !== 'http') return {};
  if (http2Upgrade ?? mesh.http2Upgrade) return { http2: 'always' };
  return useClientProtocol ? { http2: 'asCaller' } : {};
}

function limitsOf({ limits }: ClusterPolicy, { tcpKeepalive }: MeshSettings): ConnectionLimits {
  return limits.tcpKeepalive === undefined && tcpKeepalive !== undefined ? { ...limits, tcpKeepalive } : limits;
}

function balanceOf({ balance, hash, warmup }: ClusterPolicy) {
  return {
    balance,
    ...(hash === undefined ? {} : { hash }),
    ...(warmup === undefined ? {} : { warmup }),
  };
}

/** What annotations of the rule say beyond Istio's API. */
function extensionsOf(
  { resources }: DestinationRule,
  { hash }: ClusterPolicy,
): Partial<Pick<Cluster, 'balance' | 'subsetSize' | 'hash'>> {
  const { balance, hashBalanceFactor, subsetSize } = destinationExtensions(resources);
  return {
    ...(balance === undefined ? {} : { balance }),
    ...(subsetSize === undefined ? {} : { subsetSize }),
    ...(hash === undefined || hashBalanceFactor === undefined
      ? {}
      : { hash: { ...hash, balanceFactor: hashBalanceFactor } }),
  };
}

/** As istiod infers it: mTLS to addresses of its callers' own choice where every endpoint that it knows speaks it. */
function passthrough(endpoints: readonly Endpoint[]): Discovery {
  const mutual = endpoints.length > 0 && endpoints.every(({ speaksMtls }) => speaksMtls);
  return mutual ? { kind: 'original', speaksMtls: true } : { kind: 'original' };
}

function discovery(service: MeshService, port: ServicePort, endpoints: readonly Endpoint[]): Discovery {
  switch (service.resolution) {
    case 'original':
      return port.targetPort === undefined || port.targetPort === port.number
        ? { kind: 'original' }
        : { kind: 'original', port: port.targetPort };
    case 'dns-first':
      return { kind: 'dns', endpoints, use: 'first' };
    default:
      return { kind: service.resolution, endpoints };
  }
}
