import { createHash } from 'node:crypto';
import type { OutboundPolicy, Snapshot } from '../model/snapshot.ts';
import { shareUnchanged } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import { createClusters } from './clusters.ts';
import { type Collector, createCollector } from './collector.ts';
import { createDestinationRules } from './destination-rules.ts';
import type { ConfigDocument } from './document.ts';
import { applyExportDefaults, checkExportTo } from './export-to.ts';
import { type AuthorizationPolicyBody, compileAuthorizationPolicy } from './istio-authorization-policy.ts';
import { checkDestinationRule, type DestinationRuleBody } from './istio-destination-rule.ts';
import { compileMeshConfig, type MeshConfigBody, type MeshOverrides } from './istio-mesh-config.ts';
import { createPeerAuthentications, type PeerAuthenticationBody } from './istio-peer-authentication.ts';
import { reportProxyConfigs } from './istio-proxy-config.ts';
import { compileServiceEntry, type ServiceEntryBody } from './istio-service-entry.ts';
import { refuseIngressTls, type SidecarBody, selectSidecar, sidecarOutboundPolicy } from './istio-sidecar.ts';
import type { VirtualServiceBody } from './istio-virtual-service.ts';
import { checkVirtualService } from './istio-virtual-service-check.ts';
import { compileWorkloadEntry, type SelectableWorkload, type WorkloadEntryBody } from './istio-workload-entry.ts';
import { type PodBody, podWorkload } from './kubernetes-pod.ts';
import {
  compileKubernetesService,
  type EndpointSliceBody,
  groupSlices,
  type ServiceBody,
} from './kubernetes-service.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { createRegistry } from './registry.ts';
import { type Resource, readResources, resolveHost } from './resource.ts';
import { compileScopedHosts } from './scoped-hosts.ts';
import type { MeshService } from './service.ts';
import { createSidecarScope } from './sidecar-scope.ts';
import type { ConfigProblem, EnforcementReport } from './source.ts';
import { compileVirtualHosts } from './virtual-hosts.ts';

export interface CompileOptions {
  /** The process that the snapshot is for. Resources without a namespace belong to its namespace. */
  readonly workload: Workload;
  /** Goes before what the configuration says. Default: its MeshConfig, else `ALLOW_ANY`. */
  readonly outboundPolicy?: OutboundPolicy;
  /** The trust domain of the workload was not chosen by anybody: a MeshConfig may name another. */
  readonly trustDomainIsDefault?: boolean;
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
  observer: CompileObserver = { collector: createCollector() },
): CompileResult {
  const { outboundPolicy, trustDomainIsDefault = false, previous } = options;
  const { collector } = observer;
  const read = readResources(documents, options.workload.namespace, collector);
  const mesh = compileMeshConfig(read.filter(isMeshConfig), overridesOf(options), collector);
  const workload: Workload =
    trustDomainIsDefault && mesh.trustDomain !== undefined
      ? { ...options.workload, trustDomain: mesh.trustDomain }
      : options.workload;
  for (const resource of read) if (exportedKinds.includes(resource.kind)) checkExportTo(resource, collector);
  reportProxyConfigs(read, workload, mesh, collector);
  const resources = applyExportDefaults(read, mesh);
  observer.see?.(resources, mesh);
  const ofKind = <Body>(kind: string): readonly Resource<Body>[] =>
    // Kinds that have the same name in two groups are not both known, and a table checked the body.
    resources.filter((resource) => resource.kind === kind) as readonly Resource<Body>[];

  const workloads = ofKind<WorkloadEntryBody>('WorkloadEntry').flatMap(
    (resource) => compileWorkloadEntry(resource, collector) ?? [],
  );
  const pods = ofKind<PodBody>('Pod');
  const sources = {
    slices: groupSlices(ofKind<EndpointSliceBody>('EndpointSlice'), collector),
    pods: new Map(pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod])),
    workloadsOf: byNamespace(workloads),
    trustDomain: workload.trustDomain,
    clusterDomain: workload.clusterDomain,
  };
  // A ServiceEntry selects pods as well; a Kubernetes Service has its EndpointSlices for them.
  const selectable = byNamespace([...workloads, ...pods.flatMap((pod) => podWorkload(pod) ?? [])]);
  const services = [
    ...ofKind<ServiceBody>('Service').map((resource) => compileKubernetesService(resource, sources, collector)),
    ...ofKind<ServiceEntryBody>('ServiceEntry').flatMap((resource) =>
      compileServiceEntry(resource, selectable, collector),
    ),
  ];
  const destinationRules = ofKind<DestinationRuleBody>('DestinationRule');
  for (const resource of destinationRules) checkDestinationRule(resource, collector);
  const virtualServices = ofKind<VirtualServiceBody>('VirtualService');
  for (const resource of virtualServices) checkVirtualService(resource, collector);
  const peers = createPeerAuthentications(ofKind<PeerAuthenticationBody>('PeerAuthentication'), mesh, collector);
  const authorization = ofKind<AuthorizationPolicyBody>('AuthorizationPolicy').flatMap(
    (resource) => compileAuthorizationPolicy(resource, workload, mesh, collector) ?? [],
  );
  const sidecar = selectSidecar(ofKind<SidecarBody>('Sidecar'), workload, mesh, collector);
  refuseIngressTls(sidecar, peers, workload, collector);
  const { namespace, clusterDomain } = workload;
  const scope = createSidecarScope(sidecar, { services, virtualServices, namespace, clusterDomain });
  const registry = createRegistry(scope?.services ?? services, namespace, collector);
  const rules = createDestinationRules(destinationRules, workload, collector, {
    rootNamespace: mesh.rootNamespace,
    exportTo: mesh.exportTo.destinationRules,
  });
  warnOfNobody(destinationRules, services, workload, collector);
  const clusters = createClusters(rules, peers, workload, mesh);
  const callable = { registry, clusters, rules, virtualServices, workload, defaultRetry: mesh.retry };
  const { hosts, wildcardHosts } =
    scope === undefined ? compileVirtualHosts(callable, collector) : compileScopedHosts(scope, callable, collector);
  const ofSidecar = sidecarOutboundPolicy(sidecar, outboundPolicy, collector);
  // What was said while compiling on after a mistake may be wrong; the mistake is not.
  if (collector.problems.length > 0) return { ok: false, problems: collector.problems };
  const content = {
    hosts,
    wildcardHosts,
    clusters: clusters.byName,
    outboundPolicy: outboundPolicy ?? ofSidecar ?? mesh.outboundPolicy,
    inbound: {
      mtls: peers.policyFor(workload.namespace, workload.labels),
      authorization,
      ...(mesh.pathNormalization === 'BASE' ? {} : { pathNormalization: mesh.pathNormalization }),
    },
  };
  const snapshot = shareUnchanged(previous, { version: versionOf(documents, options), ...content });
  return { ok: true, snapshot, report: reportOf(collector) };
}

const exportedKinds = ['ServiceEntry', 'VirtualService', 'DestinationRule'];

function isMeshConfig(resource: Resource): resource is Resource<MeshConfigBody> {
  return ['MeshConfig', 'ConfigMap', 'IstioOperator'].includes(resource.kind);
}

function overridesOf({ outboundPolicy, trustDomainIsDefault = false, workload }: CompileOptions): MeshOverrides {
  return {
    ...(outboundPolicy === undefined ? {} : { outboundPolicy }),
    ...(trustDomainIsDefault ? {} : { trustDomain: workload.trustDomain }),
  };
}

/** Selectors choose within a namespace. */
function byNamespace(workloads: readonly SelectableWorkload[]): (namespace: string) => readonly SelectableWorkload[] {
  const groups = Map.groupBy(workloads, (workload) => workload.namespace);
  return (namespace) => groups.get(namespace) ?? [];
}

/** Made when somebody reads it. */
function reportOf(collector: Collector): EnforcementReport {
  let entries: EnforcementReport['entries'] | undefined;
  return {
    get entries() {
      entries ??= collector.entries();
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

/** The same input has the same version, in every process. */
function versionOf(documents: readonly ConfigDocument[], { workload, outboundPolicy }: CompileOptions): string {
  const hash = createHash('sha256').update(JSON.stringify([workload, outboundPolicy]));
  for (const { value } of documents) hash.update(JSON.stringify(value) ?? '').update('\n');
  return hash.digest('hex').slice(0, 12);
}
