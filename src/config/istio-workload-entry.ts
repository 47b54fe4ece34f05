import type { Collector, Subject } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import { type ServiceEndpoint, speaksMtls, workloadName } from './service.ts';
import { isHostName, isIpAddress } from './values.ts';

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

/**
 * Turns a workload into an endpoint. Nothing when it cannot be reached from here (another network,
 * a Unix socket); that is said in the report. A malformed address is a problem.
 */
export function workloadEndpoint(
  spec: WorkloadSpec,
  owner: { readonly subject: Subject; readonly path: Path; readonly name: string },
  metadataLabels: Readonly<Record<string, string>>,
  collector: Collector,
): ServiceEndpoint | undefined {
  const { subject, path } = owner;
  const address = spec.address ?? '';
  if (address === '') {
    if (spec.network === undefined) collector.problem(subject, path, 'needs the field address');
    else collector.warn(subject, path, 'ignored', 'an endpoint in another network cannot be reached directly');
    return undefined;
  }
  if (address.startsWith('unix://')) {
    collector.warn(subject, [...path, 'address'], 'ignored', 'endpoints at Unix sockets are left out');
    return undefined;
  }
  if (!isIpAddress(address) && !isHostName(address)) {
    collector.problem(subject, [...path, 'address'], 'must be an IP address or a DNS name, without a port', address);
    return undefined;
  }
  // Istio merges both; metadata wins.
  const labels = { ...spec.labels, ...metadataLabels };
  const { ports = {}, serviceAccount } = spec;
  return {
    address: address.toLowerCase(),
    namespace: subject.namespace,
    labels,
    weight: Math.max(1, spec.weight ?? 1),
    locality: spec.locality ?? '',
    workload: workloadName(labels) || owner.name,
    ...(serviceAccount === undefined || serviceAccount === '' ? {} : { serviceAccount }),
    speaksMtls: speaksMtls(labels, serviceAccount),
    portOf: (port) => (Object.hasOwn(ports, port.name) ? ports[port.name] : (port.targetPort ?? port.number)),
  };
}

/** A WorkloadEntry that selectors may choose. */
export interface SelectableWorkload {
  readonly namespace: string;
  readonly endpoint: ServiceEndpoint;
  readonly resource: Resource;
}

export function compileWorkloadEntry(
  resource: Resource<WorkloadEntryBody>,
  collector: Collector,
): SelectableWorkload | undefined {
  const owner = { subject: resource, path: ['spec'], name: resource.name };
  const endpoint = workloadEndpoint(resource.body.spec, owner, resource.labels, collector);
  return endpoint === undefined ? undefined : { namespace: resource.namespace, endpoint, resource };
}
