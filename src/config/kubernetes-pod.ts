import { localityOfLabels, localityOfTopology } from '../model/locality.ts';
import type { SelectableWorkload } from './istio-workload-entry.ts';
import type { Resource } from './resource.ts';
import { type ServiceEndpoint, speaksMtls, workloadName } from './service.ts';
import { canonicalAddress, isIpAddress } from './values.ts';

export interface PodBody {
  readonly metadata: {
    readonly deletionTimestamp?: unknown;
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
  readonly spec?: {
    readonly serviceAccountName?: string;
    readonly nodeName?: string;
    readonly containers?: readonly {
      readonly ports?: readonly {
        readonly name?: string;
        readonly containerPort?: number;
        readonly protocol?: string;
      }[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type?: string; readonly status?: string }[];
  };
}

type PodFacts = Omit<ServiceEndpoint, 'address' | 'weight' | 'portOf'>;

/** What an endpoint takes over from the pod behind it. */
export function describePod(pod: Resource<PodBody> | undefined, namespace: string): PodFacts {
  if (pod === undefined) return { namespace, labels: {}, locality: '', workload: '', speaksMtls: false };
  const { labels } = pod;
  return {
    namespace: pod.namespace,
    labels,
    // Istio asks the node, whose labels Kubernetes copies to its pods.
    locality: localityOfLabels(labels) || localityOfTopology(labels),
    workload: workloadOfPod(pod),
    ...(pod.body.spec?.nodeName === undefined ? {} : { node: pod.body.spec.nodeName }),
    serviceAccount: pod.body.spec?.serviceAccountName ?? 'default',
    // Every pod has a service account, so here only the label tells.
    speaksMtls: speaksMtls(labels, undefined),
  };
}

/** A running and ready pod as a workload that a ServiceEntry may select. */
export function podWorkload(pod: Resource<PodBody>): SelectableWorkload | undefined {
  const { metadata, spec, status } = pod.body;
  const address = status?.podIP;
  if (address === undefined || !isIpAddress(address) || metadata.deletionTimestamp !== undefined) return undefined;
  if (status?.phase === 'Failed' || status?.phase === 'Succeeded') return undefined;
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  if (ready !== undefined && ready.status !== 'True') return undefined;
  const ports: Record<string, number> = {};
  for (const container of spec?.containers ?? []) {
    for (const { name, containerPort, protocol = 'TCP' } of container.ports ?? []) {
      if (name !== undefined && containerPort !== undefined && protocol === 'TCP') ports[name] = containerPort;
    }
  }
  const endpoint: ServiceEndpoint = {
    ...describePod(pod, pod.namespace),
    address: canonicalAddress(address),
    weight: 1,
    portOf: (port) => ports[port.name] ?? port.targetPort ?? port.number,
  };
  return { namespace: pod.namespace, endpoint, ports, resource: pod };
}

/** Name of the Deployment, StatefulSet … behind a pod, as Istio finds it. */
function workloadOfPod(pod: Resource<PodBody>): string {
  const owner = pod.body.metadata.ownerReferences?.find((each) => each.controller === true);
  if (owner?.name === undefined) return workloadName(pod.labels) || pod.name;
  const hash = pod.labels['pod-template-hash'];
  const suffix = `-${hash}`;
  return owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(suffix)
    ? owner.name.slice(0, -suffix.length)
    : owner.name;
}
