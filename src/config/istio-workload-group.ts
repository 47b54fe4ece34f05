import type { Collector } from './collector.ts';
import { checkLabels, checkSocket, type WorkloadSpec } from './istio-workload-entry.ts';
import type { Resource } from './resource.ts';

export interface WorkloadGroupBody {
  readonly spec: {
    readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
    readonly template: WorkloadSpec;
    readonly probe?: Readonly<Record<string, unknown>>;
  };
}

/** `grpc` is in Istio's API, and its webhook refuses it. */
const probes = ['httpGet', 'tcpSocket', 'exec'] as const;

/** Checks a WorkloadGroup as Istio's webhook does. It has no effect in a process. */
export function checkWorkloadGroup(resource: Resource<WorkloadGroupBody>, collector: Collector): void {
  const { metadata, probe, template } = resource.body.spec;
  checkLabels(metadata?.labels ?? {}, resource, ['spec', 'metadata', 'labels'], collector);
  if (probe !== undefined && !probes.some((name) => Object.hasOwn(probe, name))) {
    collector.problem(resource, ['spec', 'probe'], `needs one of ${probes.join(', ')}`);
  }
  checkSocket(template, resource, ['spec', 'template'], collector);
  for (const name of ['address', 'labels'] as const) {
    if (template[name] === undefined) continue;
    collector.warn(resource, ['spec', 'template', name], 'ignored', 'Istio advises against it in a template');
  }
}
