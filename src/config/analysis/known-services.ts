import type { ServiceEntryBody } from '../istio-service-entry.ts';
import type { WorkloadEntryBody } from '../istio-workload-entry.ts';
import type { PodBody } from '../kubernetes-pod.ts';
import type { EndpointSliceBody, ServiceBody } from '../kubernetes-service.ts';
import { type PortProtocol, protocolOf, protocolOfPort } from '../protocol.ts';
import { isExported, type Resource, resolveHost } from '../resource.ts';
import { selects } from '../values.ts';
import type { AnalysisContext } from './context.ts';

/** A service as far as references to it are concerned. */
export interface KnownService {
  /** Full name in lower case, or `*.<domain>`. */
  readonly host: string;
  readonly resource: Resource;
  readonly ports: readonly { readonly number: number; readonly protocol: PortProtocol | undefined }[];
  /** Labels that choose its workloads; absent when it has none or names its endpoints itself. */
  readonly selector?: Readonly<Record<string, string>>;
  readonly exportTo?: readonly string[];
}

/** A workload as far as labels are concerned: a Pod, a WorkloadEntry, an endpoint with labels. */
export interface KnownWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface KnownServices {
  readonly all: readonly KnownService[];
  /** The service that a host of a resource in the namespace means, if it is visible there. */
  find(host: string, namespace: string): KnownService | undefined;
  readonly workloads: readonly KnownWorkload[];
}

const found = new WeakMap<AnalysisContext, KnownServices>();

/** Everything in the files that can be called. Collected once for one analysis. */
export function knownServices(context: AnalysisContext): KnownServices {
  let services = found.get(context);
  if (services === undefined) found.set(context, (services = collectServices(context)));
  return services;
}

function collectServices(context: AnalysisContext): KnownServices {
  const { clusterDomain } = context.workload;
  const all = [
    ...context.ofKind<ServiceBody>('Service').map((resource): KnownService => {
      const { ports = [], selector } = resource.body.spec;
      const exportTo = resource.annotations['networking.istio.io/exportTo']?.split(',').map((each) => each.trim());
      return {
        host: `${resource.name}.${resource.namespace}.svc.${clusterDomain}`,
        resource,
        ports: ports.map((port) => ({ number: port.port, protocol: protocolOfPort(port) })),
        ...(selector === undefined ? {} : { selector }),
        ...(exportTo === undefined ? {} : { exportTo }),
      };
    }),
    ...context.ofKind<ServiceEntryBody>('ServiceEntry').flatMap((resource) => {
      const { hosts, ports = [], exportTo, workloadSelector } = resource.body.spec;
      const more = {
        resource,
        ports: ports.map((port) => ({ number: port.number, protocol: protocolOf(port.protocol) })),
        ...(workloadSelector?.labels === undefined ? {} : { selector: workloadSelector.labels }),
        ...(exportTo === undefined ? {} : { exportTo }),
      };
      return hosts.map((host): KnownService => ({ host: host.toLowerCase().replace(/\.$/, ''), ...more }));
    }),
  ];
  const byHost = new Map<string, KnownService[]>();
  for (const service of all) {
    const list = byHost.get(service.host);
    if (list === undefined) byHost.set(service.host, [service]);
    else list.push(service);
  }
  const visible = (host: string, namespace: string): KnownService | undefined =>
    byHost
      .get(host)
      ?.find(
        ({ exportTo, resource }) =>
          exportTo?.includes('~') !== true && isExported(exportTo, resource.namespace, namespace),
      );
  return {
    all,
    find(host, namespace) {
      const full = resolveHost(host, namespace, clusterDomain).replace(/\.$/, '');
      const exact = visible(full, namespace);
      if (exact !== undefined) return exact;
      // The longest wildcard first: `*.b.c` before `*.c`.
      for (let dot = full.indexOf('.'); dot !== -1; dot = full.indexOf('.', dot + 1)) {
        const found = visible(`*${full.slice(dot)}`, namespace);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    workloads: workloadsOf(context),
  };
}

function workloadsOf(context: AnalysisContext): readonly KnownWorkload[] {
  return [
    ...context.ofKind<PodBody>('Pod').map(({ namespace, labels }) => ({ namespace, labels })),
    ...context.ofKind<WorkloadEntryBody>('WorkloadEntry').map(({ namespace, labels, body }) => ({
      namespace,
      labels: { ...body.spec.labels, ...labels },
    })),
    ...context
      .ofKind<ServiceEntryBody>('ServiceEntry')
      .flatMap(({ namespace, body }) => (body.spec.endpoints ?? []).map(({ labels = {} }) => ({ namespace, labels }))),
  ];
}

/** Does the service have endpoints whose labels are not known here? Then nothing can be said of them. */
export function hasHiddenEndpoints(service: KnownService, context: AnalysisContext): boolean {
  if (service.resource.kind !== 'Service') return false;
  const slices = context.ofKind<EndpointSliceBody>('EndpointSlice');
  const own = slices.filter(
    ({ namespace, labels }) =>
      namespace === service.resource.namespace && labels['kubernetes.io/service-name'] === service.resource.name,
  );
  const pods = new Set(context.ofKind('Pod').map(({ namespace, name }) => `${namespace}/${name}`));
  return own.some((slice) =>
    (slice.body.endpoints ?? []).some(({ targetRef }) => !pods.has(`${slice.namespace}/${targetRef?.name ?? ''}`)),
  );
}

/** Labels of the known workloads of a service. */
export function labelsOf(service: KnownService, known: KnownServices): readonly KnownWorkload['labels'][] {
  const { resource, selector } = service;
  if (selector === undefined) {
    if (resource.kind !== 'ServiceEntry') return [];
    const { endpoints = [] } = (resource.body as ServiceEntryBody).spec;
    return endpoints.map(({ labels = {} }) => labels);
  }
  return known.workloads
    .filter(({ namespace, labels }) => namespace === resource.namespace && selects(selector, labels))
    .map(({ labels }) => labels);
}
