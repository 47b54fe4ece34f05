import { isDeepStrictEqual } from 'node:util';
import type { Collector } from './collector.ts';
import { describePlace, describeResource } from './problem.ts';
import { byAge, isExported } from './resource.ts';
import type { MeshService, ServiceEndpoint, ServicePort, ServiceSource } from './service.ts';

/** All services that the workload may call, one per host. */
export interface Registry {
  readonly services: readonly MeshService[];
  /** The service of a host, or of an alias of it. */
  find(host: string): MeshService | undefined;
}

/**
 * Keeps what is exported to the namespace and lets one service per host win, as Istio's sidecar
 * scope does: that of the own namespace, then a Kubernetes Service, then the oldest. Descriptions
 * of one service in one namespace are taken together.
 */
export function createRegistry(all: readonly ServiceSource[], namespace: string, collector: Collector): Registry {
  const visible = all.filter((service) => isExported(service.exportTo, service.namespace, namespace));
  const rank = (service: ServiceSource): number =>
    (service.namespace === namespace ? 0 : 2) + (isKubernetes(service) ? 0 : 1);
  const byHost = new Map<string, ServiceSource>();
  const ordered = visible
    .map((service) => ({ service, rank: rank(service) }))
    .sort((a, b) => a.rank - b.rank || byAge(a.service.resource, b.service.resource));
  for (const { service } of ordered) {
    const first = byHost.get(service.host);
    byHost.set(service.host, first === undefined ? service : add(first, service, collector));
  }
  const aliases = resolveAliases(byHost);
  const services = [...byHost.values()];
  return { services, find: (host) => byHost.get(host) ?? byHost.get(aliases.get(host) ?? '') };
}

function isKubernetes(service: ServiceSource): boolean {
  return service.resource.kind === 'Service';
}

/** Adds to a service what a later description of its host may add to it; the report has the rest. */
function add(first: ServiceSource, second: ServiceSource, collector: Collector): ServiceSource {
  const { resource } = first;
  const report = (note: string): void => {
    const winner = `${describeResource(resource)} (${describePlace(collector.at(resource, []))})`;
    const path = isKubernetes(second) ? ['metadata', 'name'] : ['spec', 'hosts'];
    collector.warn(second.resource, path, 'ignored', `${second.host} is already described by ${winner}${note}`);
  };
  if (first.namespace !== second.namespace) {
    report('');
    return first;
  }
  const identities = [...new Set([...first.identities, ...second.identities])];
  if (isKubernetes(first)) {
    const adds = second.resolution === 'static' && first.resolution === 'static';
    report(adds ? '; its endpoints and subjectAltNames are added' : '; only its subjectAltNames are added');
    return { ...first, identities, endpoints: adds ? [...first.endpoints, ...ofOwnPorts(second)] : first.endpoints };
  }
  if (first.resolution !== second.resolution) {
    report('');
    return first;
  }
  // Istio adds up endpoints that several resources give to the same host of the same namespace …
  const endpoints = [...ofOwnPorts(first), ...ofOwnPorts(second)];
  // … but adds ports only where nothing else distinguishes them.
  const same =
    isDeepStrictEqual(first.resource.labels, second.resource.labels) &&
    isDeepStrictEqual(first.selector, second.selector) &&
    isDeepStrictEqual(new Set(first.exportTo), new Set(second.exportTo));
  const numbers = new Set(first.ports.map((port) => port.number));
  const more = second.ports.filter((port) => !numbers.has(port.number));
  if (!same && more.length > 0) {
    report('; its ports are not added, because labels, workloadSelector or exportTo differ');
  }
  return {
    ...first,
    ports: same ? [...first.ports, ...more] : first.ports,
    addresses: [...new Set([...first.addresses, ...second.addresses])],
    endpoints,
    identities,
  };
}

const limited = new WeakSet<ServiceEndpoint>();

/** The endpoints of a description serve its own ports only, and at its own target ports. */
function ofOwnPorts({ endpoints, ports }: ServiceSource): readonly ServiceEndpoint[] {
  const own = new Map<number, ServicePort>(ports.map((port) => [port.number, port]));
  return endpoints.map((endpoint) => {
    if (limited.has(endpoint)) return endpoint;
    const copy: ServiceEndpoint = {
      ...endpoint,
      portOf(port) {
        const known = own.get(port.number);
        return known === undefined ? undefined : endpoint.portOf(known);
      },
    };
    limited.add(copy);
    return copy;
  });
}

/** Longest chain of names that stand for each other. */
const maxAliases = 10;

/** Replaces services that only name another one by aliases of it; those that name no service stay. */
function resolveAliases(byHost: Map<string, ServiceSource>): ReadonlyMap<string, string> {
  const aliases = new Map<string, string>();
  for (const [host, service] of byHost) {
    let target = service.aliasOf;
    for (let i = 0; i < maxAliases && target !== undefined; i++) {
      const next = byHost.get(target)?.aliasOf;
      if (next === undefined) break;
      target = next;
    }
    const concrete = target === undefined ? undefined : byHost.get(target);
    if (concrete !== undefined && concrete.aliasOf === undefined) aliases.set(host, concrete.host);
  }
  for (const [alias, host] of aliases) {
    const service = byHost.get(host) as ServiceSource;
    byHost.set(host, { ...service, aliases: [...(service.aliases ?? []), alias] });
  }
  for (const alias of aliases.keys()) byHost.delete(alias);
  return aliases;
}
