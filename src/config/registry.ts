import type { Collector } from './collector.ts';
import { describePlace, describeResource } from './problem.ts';
import { byAge, isExported } from './resource.ts';
import type { MeshService } from './service.ts';

/** All services that the workload may call, one per host. */
export interface Registry {
  readonly services: readonly MeshService[];
  find(host: string): MeshService | undefined;
}

/**
 * Keeps what is exported to the namespace, takes descriptions of the same service together, and
 * lets one service per host win: that of the own namespace, then a Kubernetes Service, then the older.
 */
export function createRegistry(all: readonly MeshService[], namespace: string, collector: Collector): Registry {
  const visible = all.filter((service) => isExported(service.exportTo, service.namespace, namespace));
  const rank = (service: MeshService): number =>
    (service.namespace === namespace ? 0 : 2) + (service.resource.kind === 'Service' ? 0 : 1);
  const ordered = [...visible].sort((a, b) => rank(a) - rank(b) || byAge(a.resource, b.resource));
  const byHost = new Map<string, MeshService>();
  for (const service of ordered) {
    const first = byHost.get(service.host);
    if (first === undefined) byHost.set(service.host, service);
    else if (first.namespace === service.namespace && first.resolution === service.resolution) {
      byHost.set(service.host, merge(first, service));
    } else {
      const { resource } = first;
      const winner = `${describeResource(resource)} (${describePlace(collector.at(resource, []))})`;
      const path = service.resource.kind === 'ServiceEntry' ? ['spec', 'hosts'] : ['metadata', 'name'];
      collector.warn(service.resource, path, 'ignored', `${service.host} is already described by ${winner}`);
    }
  }
  return { services: [...byHost.values()], find: (host) => byHost.get(host) };
}

/** Istio adds up endpoints that several resources give to the same host of the same namespace. */
function merge(first: MeshService, second: MeshService): MeshService {
  const numbers = new Set(first.ports.map((port) => port.number));
  return {
    ...first,
    ports: [...first.ports, ...second.ports.filter((port) => !numbers.has(port.number))],
    addresses: [...new Set([...first.addresses, ...second.addresses])],
    endpoints: [...first.endpoints, ...second.endpoints],
    identities: [...new Set([...first.identities, ...second.identities])],
  };
}
