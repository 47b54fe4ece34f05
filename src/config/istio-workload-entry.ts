import type { Collector, Subject } from './collector.ts';
import type { Path } from './document.ts';
import { canonicalHost, isFqdn, isLabelKey, isLabelValue, isUnixPath } from './host-syntax.ts';
import type { Resource } from './resource.ts';
import { localityOf, type ServiceEndpoint, speaksMtls, workloadName } from './service.ts';
import { canonicalAddress, isIpAddress, isZonedAddress } from './values.ts';

/** Istio `WorkloadEntry`; an endpoint of a ServiceEntry has the same fields. */
export interface WorkloadSpec {
  readonly address?: string;
  readonly ports?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly network?: string;
  readonly locality?: string;
  readonly weight?: number;
  readonly serviceAccount?: string;
}

export interface WorkloadEntryBody {
  readonly spec: WorkloadSpec;
}

/** A workload that selectors may choose: a WorkloadEntry or a Pod. */
export interface SelectableWorkload {
  readonly namespace: string;
  readonly endpoint: ServiceEndpoint;
  /** Ports that the workload names itself. */
  readonly ports: Readonly<Record<string, number>>;
  readonly resource: Resource;
}

/** Where a workload is written. */
export interface WorkloadOwner {
  readonly subject: Subject;
  readonly path: Path;
  readonly name: string;
}

const unixPrefix = 'unix://';

/** Checks a workload as Istio's webhook does. `names`: may the address be a DNS name? */
export function checkWorkload(
  spec: WorkloadSpec,
  { subject, path }: WorkloadOwner,
  collector: Collector,
  names: 'allowed' | 'not with STATIC',
): void {
  const { address = '', network = '', serviceAccount = '' } = spec;
  if (address === '') {
    if (network === '') collector.problem(subject, path, 'needs the field address');
  } else if (address.startsWith(unixPrefix)) {
    checkSocket(spec, subject, path, collector);
  } else if (isZonedAddress(address)) {
    collector.refuse(subject, [...path, 'address'], 'is refused: an address with a zone is not called', address);
  } else if (!isIpAddress(address)) {
    const place = [...path, 'address'];
    if (names === 'not with STATIC') {
      collector.problem(subject, place, 'must be an IP address, because resolution is STATIC', address);
    } else if (!isFqdn(address)) {
      collector.problem(subject, place, 'must be an IP address or a DNS name, without a port', address);
    }
  }
  if (!/^[A-Za-z0-9._-]*$/.test(serviceAccount)) {
    // It becomes a part of the SPIFFE ID that the workload must prove.
    const message = 'is refused: it is not the name of a service account';
    collector.refuse(subject, [...path, 'serviceAccount'], message, serviceAccount);
  }
  checkLabels(spec.labels ?? {}, subject, [...path, 'labels'], collector);
}

/** An address that is a Unix socket; nothing is said of others. */
export function checkSocket(
  { address = '', ports }: WorkloadSpec,
  subject: Subject,
  path: Path,
  collector: Collector,
): void {
  if (!address.startsWith(unixPrefix)) return;
  if (!isUnixPath(address.slice(unixPrefix.length)) || address.endsWith('/')) {
    const message = 'must be an absolute path of a socket, or unix://@name';
    collector.problem(subject, [...path, 'address'], message, address);
  }
  // An empty map is one too for Kubernetes.
  if (ports !== undefined) {
    collector.problem(subject, [...path, 'ports'], 'must be absent where the address is a Unix socket');
  }
}

/** Labels in Kubernetes' form. */
export function checkLabels(
  labels: Readonly<Record<string, string>>,
  subject: Subject,
  path: Path,
  collector: Collector,
): void {
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key)) collector.problem(subject, [...path, key], 'must be the name of a label', key);
    if (!isLabelValue(value)) collector.problem(subject, [...path, key], 'must be the value of a label', value);
  }
}

/**
 * Turns a workload that was checked into an endpoint. Nothing when it cannot be reached from here
 * (behind the gateway of another network); the report says so.
 */
export function workloadEndpoint(
  spec: WorkloadSpec,
  owner: WorkloadOwner,
  metadataLabels: Readonly<Record<string, string>>,
  collector: Collector,
): ServiceEndpoint | undefined {
  const { subject, path } = owner;
  const { address = '', ports, serviceAccount } = spec;
  if (address === '') {
    collector.warn(subject, path, 'ignored', 'is behind the gateway of another network, which cannot be called here');
    return undefined;
  }
  // Istio merges both; metadata wins.
  const labels = { ...spec.labels, ...metadataLabels };
  return {
    address: canonical(address),
    namespace: subject.namespace,
    labels,
    weight: Math.max(1, spec.weight ?? 1),
    locality: localityOf(spec.locality, labels),
    workload: workloadName(labels) || owner.name,
    ...(spec.network === undefined || spec.network === '' ? {} : { network: spec.network }),
    ...(serviceAccount === undefined || serviceAccount === '' ? {} : { serviceAccount }),
    speaksMtls: speaksMtls(labels, serviceAccount),
    portOf: (port) => namedPort(ports, port.name) ?? port.targetPort ?? port.number,
  };
}

function canonical(address: string): string {
  if (address.startsWith(unixPrefix)) return address;
  return isIpAddress(address) ? canonicalAddress(address) : canonicalHost(address);
}

/** Port of a workload by its name. */
export function namedPort(ports: Readonly<Record<string, number>> | undefined, name: string): number | undefined {
  return ports !== undefined && Object.hasOwn(ports, name) ? ports[name] : undefined;
}

export function compileWorkloadEntry(
  resource: Resource<WorkloadEntryBody>,
  collector: Collector,
): SelectableWorkload | undefined {
  const { spec } = resource.body;
  const owner = { subject: resource, path: ['spec'], name: resource.name };
  const before = collector.problems.length;
  checkWorkload(spec, owner, collector, 'allowed');
  if (collector.problems.length > before) return undefined;
  const endpoint = workloadEndpoint(spec, owner, resource.labels, collector);
  if (endpoint === undefined) return undefined;
  return { namespace: resource.namespace, endpoint, ports: spec.ports ?? {}, resource };
}
