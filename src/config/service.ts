import type { ServiceProtocol } from '../model/cluster.ts';
import { localityOfLabels } from '../model/locality.ts';
import type { Resource } from './resource.ts';

/**
 * How the endpoints of a service are found. `dns-first`: the first address of the newest answer
 * (`DNS_ROUND_ROBIN`). `original`: the host that the caller named is the address.
 */
export type Resolution = 'static' | 'dns' | 'dns-first' | 'original';

/** A service, whatever described it: a ServiceEntry or a Kubernetes Service. */
export interface MeshService {
  /** Full host name, lower case; `*.example.com` for a wildcard. */
  readonly host: string;
  readonly namespace: string;
  readonly ports: readonly ServicePort[];
  /** IP addresses that name the service as well. */
  readonly addresses: readonly string[];
  /** Other hosts by which it is called: Services of type `ExternalName`. */
  readonly aliases?: readonly string[];
  readonly resolution: Resolution;
  readonly endpoints: readonly ServiceEndpoint[];
  /** `subjectAltNames`: identities beside those of the endpoints. */
  readonly identities: readonly string[];
  /** Istio sends no automatic mTLS to it. */
  readonly meshExternal: boolean;
  readonly exportTo?: readonly string[];
  readonly trafficDistribution?: TrafficDistribution;
  readonly resource: Resource;
}

/** A service as one resource describes it; several of them may describe the same. */
export interface ServiceSource extends MeshService {
  /** Labels of the workloads that the resource selects. */
  readonly selector?: Readonly<Record<string, string>>;
  /** It is another name of the service with this host, if there is one. */
  readonly aliasOf?: string;
}

export interface ServicePort {
  readonly number: number;
  readonly name: string;
  readonly protocol: ServiceProtocol;
  readonly targetPort?: number;
  /** The target is the port of this name, which only the workload knows. */
  readonly targetPortName?: string;
}

/**
 * Which endpoints a service itself wants to be called (`trafficDistribution` of Kubernetes): those in
 * the zone of the caller, or those on its node.
 */
export type TrafficDistribution = 'same-zone' | 'same-node';

const distributions: ReadonlyMap<string, TrafficDistribution> = new Map([
  ['preferclose', 'same-zone'],
  ['prefersamezone', 'same-zone'],
  ['prefersamenode', 'same-node'],
]);

export const trafficDistributionAnnotation = 'networking.istio.io/traffic-distribution';

/** The field of a Kubernetes Service, else Istio's annotation, which may be in any case. */
export function trafficDistributionOf(
  annotations: Readonly<Record<string, string>>,
  field = '',
): TrafficDistribution | undefined {
  const known = field === 'PreferClose' || field === 'PreferSameZone' || field === 'PreferSameNode';
  return distributions.get((known ? field : (annotations[trafficDistributionAnnotation] ?? '')).toLowerCase());
}

/** One place where a service runs. */
export interface ServiceEndpoint {
  readonly address: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly weight: number;
  readonly locality: string;
  readonly workload: string;
  /** Network of its address, where it has a field for that. */
  readonly network?: string;
  /** Kubernetes node. */
  readonly node?: string;
  readonly serviceAccount?: string;
  /** Before a PeerAuthentication that disables mTLS is considered. */
  readonly speaksMtls: boolean;
  /** Port at which this endpoint serves that port of the service; nothing when it does not. */
  portOf(port: ServicePort): number | undefined;
}

const tlsModeLabel = 'security.istio.io/tlsMode';

/**
 * Istio's rule for workloads: the label `security.istio.io/tlsMode` decides; without it a workload
 * with a service account has a certificate and speaks mTLS.
 */
export function speaksMtls(labels: Readonly<Record<string, string>>, serviceAccount: string | undefined): boolean {
  const mode = labels[tlsModeLabel];
  return mode === undefined ? serviceAccount !== undefined && serviceAccount !== '' : mode === 'istio';
}

/** Name of a workload from its labels, as people would call it: `reviews-v2`. */
export function workloadName(labels: Readonly<Record<string, string>>): string {
  const given = labels['service.istio.io/workload-name'];
  if (given !== undefined) return given;
  const app = labels['app'] ?? labels['app.kubernetes.io/name'] ?? labels['service.istio.io/canonical-name'];
  const version =
    labels['version'] ?? labels['app.kubernetes.io/version'] ?? labels['service.istio.io/canonical-revision'];
  if (app === undefined) return '';
  return version === undefined || version === 'latest' ? app : `${app}-${version}`;
}

/** `region/zone/subzone` of a workload: the field, or the labels that Istio knows for it. */
export function localityOf(field: string | undefined, labels: Readonly<Record<string, string>>): string {
  if (field !== undefined && field !== '') return field;
  return localityOfLabels(labels);
}
