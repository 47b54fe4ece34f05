import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { compileServiceEntry, type ServiceEntryBody } from './istio-service-entry.ts';
import { compileWorkloadEntry, type SelectableWorkload, type WorkloadEntryBody } from './istio-workload-entry.ts';
import { type PodBody, podWorkload } from './kubernetes-pod.ts';
import {
  compileKubernetesService,
  type EndpointSliceBody,
  groupSlices,
  type ServiceBody,
} from './kubernetes-service.ts';
import { rememberStep, type Stages } from './remember.ts';
import type { Resource } from './resource.ts';
import type { ServiceSource } from './service.ts';

const entryCompiled = rememberStep<Resource, readonly ServiceSource[]>();
const serviceCompiled = rememberStep<Resource, ServiceSource>();

/** Every service that some resource describes. */
export function compileServices(
  ofKind: <Body>(kind: string) => readonly Resource<Body>[],
  workload: Workload,
  stages: Stages,
  collector: Collector,
): readonly ServiceSource[] {
  const entries = ofKind<WorkloadEntryBody>('WorkloadEntry');
  const pods = ofKind<PodBody>('Pod');
  const slices = ofKind<EndpointSliceBody>('EndpointSlice');
  const workloads = stages.run('workloads', [entries, pods, slices, workload], () => {
    const all = entries.flatMap((resource) => compileWorkloadEntry(resource, collector) ?? []);
    return {
      sources: {
        slices: groupSlices(slices, collector),
        pods: new Map(pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod])),
        workloadsOf: byNamespace(all),
        trustDomain: workload.trustDomain,
        clusterDomain: workload.clusterDomain,
      },
      // A ServiceEntry selects pods as well; a Kubernetes Service has its EndpointSlices for them.
      selectable: byNamespace([...all, ...pods.flatMap((pod) => podWorkload(pod) ?? [])]),
    };
  });
  const services = ofKind<ServiceBody>('Service');
  const serviceEntries = ofKind<ServiceEntryBody>('ServiceEntry');
  return stages.run('services', [services, serviceEntries, workloads], () => {
    const { selectable, sources } = workloads;
    const found: ServiceSource[] = [];
    for (const each of services) {
      found.push(serviceCompiled(each, [sources], collector, () => compileKubernetesService(each, sources, collector)));
    }
    for (const each of serviceEntries) {
      const selects = each.body.spec.workloadSelector !== undefined;
      const inputs = selects ? [selectable] : [];
      found.push(...entryCompiled(each, inputs, collector, () => compileServiceEntry(each, selectable, collector)));
    }
    return found;
  });
}

/** Selectors choose within a namespace. */
function byNamespace(workloads: readonly SelectableWorkload[]): (namespace: string) => readonly SelectableWorkload[] {
  const groups = Map.groupBy(workloads, (workload) => workload.namespace);
  return (namespace) => groups.get(namespace) ?? [];
}
