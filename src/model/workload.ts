import { localityOfLabels, localityOfTopology } from './locality.ts';

/** Who this process is in the mesh. */
export interface Workload {
  /** Name for people, for example `reviews-v2`. */
  readonly name: string;
  /** Kubernetes namespace, or what stands for it outside a cluster. Default `default`. */
  readonly namespace: string;
  /** Service account: the last part of the SPIFFE ID. Default `default`. */
  readonly serviceAccount: string;
  /** Labels that selectors match. */
  readonly labels: Readonly<Record<string, string>>;
  /** SPIFFE trust domain. Default `cluster.local`. */
  readonly trustDomain: string;
  /** DNS suffix of services. Default `cluster.local`. */
  readonly clusterDomain: string;
  /** `region/zone/subzone`: where it runs, for balancers that prefer what is near. Absent: its labels may tell. */
  readonly locality?: string;
}

/** `region/zone/subzone` of a workload, '' where nobody knows. */
export function localityOfWorkload({ labels, locality }: Workload): string {
  return locality ?? (localityOfLabels(labels) || localityOfTopology(labels));
}

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, as Istio writes it. */
export function workloadSpiffeId(workload: Workload): string {
  return `spiffe://${workload.trustDomain}/ns/${workload.namespace}/sa/${workload.serviceAccount}`;
}
