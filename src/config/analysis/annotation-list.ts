export interface KnownAnnotation {
  /** Kinds that may have it; absent: all. */
  readonly kinds?: readonly string[];
  readonly deprecated?: true;
  /** What its value looks like, where Istio checks it. */
  readonly values?: RegExp;
}

const pods = ['Pod', 'Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob', 'ReplicaSet', 'WorkloadGroup'];
const boolean = /^(1|t|true|0|f|false)$/i;
const ports = /^(\*|\d{1,5}(\s*,\s*\d{1,5})*)?$/;
const ranges = /^(\*|[0-9a-fA-F.:]+(\/\d{1,3})?(\s*,\s*[0-9a-fA-F.:]+(\/\d{1,3})?)*)?$/;

const ofPods: Readonly<Record<string, KnownAnnotation>> = {
  'ambient.istio.io/bypass-inbound-capture': { values: boolean },
  'ambient.istio.io/dns-capture': { values: boolean },
  'ambient.istio.io/redirection': {},
  'inject.istio.io/templates': {},
  'istio.io/rev': {},
  'istio.io/reroute-virtual-interfaces': {},
  'prometheus.istio.io/merge-metrics': { values: boolean },
  'proxy.istio.io/config': {},
  'proxy.istio.io/overrides': {},
  'readiness.status.sidecar.istio.io/applicationPorts': { values: ports },
  'readiness.status.sidecar.istio.io/failureThreshold': { values: /^\d+$/ },
  'readiness.status.sidecar.istio.io/initialDelaySeconds': { values: /^\d+$/ },
  'readiness.status.sidecar.istio.io/periodSeconds': { values: /^\d+$/ },
  'sidecar.istio.io/agentLogLevel': {},
  'sidecar.istio.io/bootstrapOverride': {},
  'sidecar.istio.io/componentLogLevel': {},
  'sidecar.istio.io/controlPlaneAuthPolicy': { deprecated: true },
  'sidecar.istio.io/discoveryAddress': { deprecated: true },
  'sidecar.istio.io/enableCoreDump': {},
  'sidecar.istio.io/extraStatTags': {},
  'sidecar.istio.io/inject': { values: boolean },
  'sidecar.istio.io/interceptionMode': { values: /^(REDIRECT|TPROXY|NONE)$/ },
  'sidecar.istio.io/logLevel': {},
  'sidecar.istio.io/nativeSidecar': { values: boolean },
  'sidecar.istio.io/proxyCPU': {},
  'sidecar.istio.io/proxyCPULimit': {},
  'sidecar.istio.io/proxyImage': {},
  'sidecar.istio.io/proxyImageType': {},
  'sidecar.istio.io/proxyMemory': {},
  'sidecar.istio.io/proxyMemoryLimit': {},
  'sidecar.istio.io/rewriteAppHTTPProbers': { values: boolean },
  'sidecar.istio.io/statsCompression': { values: boolean },
  'sidecar.istio.io/statsEvictionInterval': {},
  'sidecar.istio.io/statsHistogramBuckets': {},
  'sidecar.istio.io/statsInclusionPrefixes': { deprecated: true },
  'sidecar.istio.io/statsInclusionRegexps': { deprecated: true },
  'sidecar.istio.io/statsInclusionSuffixes': { deprecated: true },
  'sidecar.istio.io/status': {},
  'sidecar.istio.io/userVolume': {},
  'sidecar.istio.io/userVolumeMount': {},
  'status.sidecar.istio.io/port': { values: ports },
  'traffic.sidecar.istio.io/excludeInboundPorts': { values: ports },
  'traffic.sidecar.istio.io/excludeInterfaces': {},
  'traffic.sidecar.istio.io/excludeOutboundIPRanges': { values: ranges },
  'traffic.sidecar.istio.io/excludeOutboundPorts': { values: ports },
  'traffic.sidecar.istio.io/includeInboundPorts': { values: ports },
  'traffic.sidecar.istio.io/includeOutboundIPRanges': { values: ranges },
  'traffic.sidecar.istio.io/includeOutboundPorts': { values: ports },
  'traffic.sidecar.istio.io/kubevirtInterfaces': { deprecated: true },
};

const ofOthers: Readonly<Record<string, KnownAnnotation>> = {
  'alpha.istio.io/canonical-serviceaccounts': { kinds: ['Service'], deprecated: true },
  'alpha.istio.io/kubernetes-serviceaccounts': { kinds: ['Service'], deprecated: true },
  'alpha.istio.io/identity': { kinds: pods, deprecated: true },
  'ambient.istio.io/connect-strategy': { kinds: ['Service', 'ServiceEntry'] },
  'ambient.istio.io/waypoint-inbound-binding': {},
  'galley.istio.io/analyze-suppress': {},
  'gateway.istio.io/controller-version': {},
  'gateway.istio.io/listener-protocol': {},
  'gateway.istio.io/managed': {},
  'gateway.istio.io/name-override': {},
  'gateway.istio.io/service-account': {},
  'gateway.istio.io/tls-terminate-mode': {},
  'install.operator.istio.io/chart-owner': {},
  'install.operator.istio.io/owner-generation': {},
  'install.operator.istio.io/version': {},
  'internal.istio.io/webhook-always-reject': {},
  'istio.io/autoRegistrationGroup': { kinds: ['WorkloadEntry'] },
  'istio.io/connectedAt': { kinds: ['WorkloadEntry'] },
  'istio.io/disconnectedAt': { kinds: ['WorkloadEntry'] },
  'istio.io/dry-run': { kinds: ['AuthorizationPolicy'] },
  'istio.io/for-service-account': {},
  'istio.io/workloadController': { kinds: ['WorkloadEntry'] },
  'networking.istio.io/address-type': {},
  'networking.istio.io/exportTo': { kinds: ['Service'] },
  'networking.istio.io/service-type': {},
  'networking.istio.io/traffic-distribution': { kinds: ['Service', 'ServiceEntry', 'Namespace'] },
  'topology.istio.io/controlPlaneClusters': { kinds: ['Namespace'] },
  'topology.istio.io/network': {},
};

/** Istio's annotations (istio/api `annotation/annotations.yaml`). */
export const istioAnnotations: ReadonlyMap<string, KnownAnnotation> = new Map([
  ...Object.entries(ofPods).map(([name, known]): [string, KnownAnnotation] => [name, { kinds: pods, ...known }]),
  ...Object.entries(ofOthers),
]);
