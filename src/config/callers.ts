import { readLocality } from '../model/locality.ts';
import type { Callers } from '../model/snapshot.ts';
import { localityOfWorkload, type Workload } from '../model/workload.ts';
import type { MeshService, ServiceEndpoint } from './service.ts';

/**
 * How many processes of this workload there are in each locality of its region, as Istio's self
 * discovery finds them for `local_cluster`: the endpoints of the services that this workload is
 * behind, with its name and of its generation, each address once.
 */
export function callersOf(services: readonly MeshService[], workload: Workload): Callers {
  const { region } = readLocality(localityOfWorkload(workload));
  const seen = new Set<string>();
  const callers: Record<string, number> = {};
  for (const { endpoints, resolution } of services) {
    if (resolution !== 'static') continue;
    for (const endpoint of endpoints) {
      const { address, locality } = endpoint;
      if (!isLike(endpoint, workload) || readLocality(locality).region !== region || seen.has(address)) continue;
      seen.add(address);
      callers[locality] = (callers[locality] ?? 0) + 1;
    }
  }
  return callers;
}

/** Of one generation: a canary may be spread in another way. */
const generationLabel = 'pod-template-hash';

function isLike(endpoint: ServiceEndpoint, { labels, name, namespace }: Workload): boolean {
  return (
    endpoint.namespace === namespace &&
    endpoint.workload === name &&
    (endpoint.labels[generationLabel] ?? '') === (labels[generationLabel] ?? '')
  );
}
