import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { isDelegate, isForMesh, type VirtualService } from './istio-virtual-service.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { Resource } from './resource.ts';
import { resolveHost } from './resource.ts';
import type { MeshService } from './service.ts';

/**
 * Whether a namespace may say where the calls of other namespaces go to hosts that are not its own: `allow`, as in
 * Istio (ISTIO-SECURITY-2026-002), and the report says so; or `refuse`.
 */
export type ForeignRoutes = 'allow' | 'refuse';

export interface ForeignRouteSources {
  readonly virtualServices: readonly VirtualService[];
  readonly serviceEntries: readonly Resource<{
    readonly spec: { readonly hosts: readonly string[]; readonly exportTo?: readonly string[] };
  }>[];
  readonly services: readonly MeshService[];
  readonly workload: Workload;
  readonly mesh: MeshSettings;
}

/**
 * Finds hosts that a namespace claims for the callers of others although they are not its own. The root namespace may
 * claim all; what is exported to its own namespace alone concerns nobody else. With `refuse` it is a problem, also
 * for hosts of no service at all; else a warning where the service belongs to another namespace.
 */
export function checkForeignRoutes(
  { mesh, serviceEntries, services, virtualServices, workload }: ForeignRouteSources,
  mode: ForeignRoutes,
  collector: Collector,
): void {
  const { clusterDomain } = workload;
  const owners = ownersOf(services, clusterDomain);
  const called = callersNames(services, clusterDomain);
  const say = (resource: Resource, index: number, host: string, problem: string): void => {
    const path = ['spec', 'hosts', index];
    if (mode === 'refuse') collector.refuse(resource, path, `must be a host of its own namespace: ${problem}`, host);
    else collector.warn(resource, path, 'enforced', `is also for callers of other namespaces, and ${problem}`);
  };
  for (const resource of virtualServices) {
    if (!isForMesh(resource) || isDelegate(resource) || isForItself(resource, resource.body.spec.exportTo, mesh))
      continue;
    for (const [index, name] of (resource.body.spec.hosts ?? []).entries()) {
      const host = resolveHost(name, resource.namespace, clusterDomain);
      const found = called(host) ?? owners(host);
      if (found === nobody) {
        if (mode === 'refuse') say(resource, index, name, 'no service of the mesh has it');
      } else if (found !== resource.namespace) say(resource, index, name, belongsTo(found));
    }
  }
  for (const resource of serviceEntries) {
    if (isForItself(resource, resource.body.spec.exportTo, mesh)) continue;
    for (const [index, name] of resource.body.spec.hosts.entries()) {
      const host = resolveHost(name, resource.namespace, clusterDomain);
      const found = namespaceIn(host, clusterDomain) ?? called(host);
      if (found !== undefined && found !== resource.namespace) say(resource, index, name, belongsTo(found));
    }
  }
}

/** For no callers but its own, or of the namespace that speaks for the whole mesh. */
function isForItself(
  { namespace }: Resource,
  exportTo: readonly string[] = [],
  { rootNamespace }: MeshSettings,
): boolean {
  if (namespace === rootNamespace) return true;
  return exportTo.length > 0 && exportTo.every((to) => to === '.' || to === '~' || to === namespace);
}

/** No namespace has these names. */
const several = '*';
const nobody = '';

function belongsTo(namespace: string): string {
  return namespace === several ? 'it covers services of several namespaces' : `it belongs to namespace ${namespace}`;
}

/** The one namespace that all services have which a host covers; {@link several}, or {@link nobody}. */
function ownersOf(services: readonly MeshService[], clusterDomain: string): (host: string) => string {
  const exact = new Map<string, string>();
  const add = (map: Map<string, string>, key: string, namespace: string): void => {
    const known = map.get(key);
    map.set(key, known === undefined || known === namespace ? namespace : several);
  };
  const ownerOf = (service: MeshService): string => namespaceIn(service.host, clusterDomain) ?? service.namespace;
  for (const service of services) {
    const namespace = ownerOf(service);
    add(exact, service.host, namespace);
    for (const name of [...service.addresses, ...(service.aliases ?? [])]) add(exact, name, namespace);
  }
  // What a wildcard covers, by the suffix; made when there is one.
  let suffixes: Map<string, string> | undefined;
  const suffixesOf = (): Map<string, string> => {
    const made = new Map<string, string>();
    for (const service of services) {
      for (const suffix of suffixesIn(service.host)) add(made, suffix, ownerOf(service));
    }
    return made;
  };
  return (host) => {
    const named = namespaceIn(host, clusterDomain);
    if (named !== undefined) return named;
    const found = host.startsWith('*') ? (suffixes ??= suffixesOf()).get(host.slice(1)) : exact.get(host);
    if (found !== undefined) return found;
    // A service with a wildcard has all names below it.
    for (const suffix of suffixesIn(host)) {
      const wide = exact.get(`*${suffix}`);
      if (wide !== undefined) return wide;
    }
    return nobody;
  };
}

/**
 * The namespace of the service that callers of all namespaces mean by a name that is shorter than its host:
 * `<service>.<namespace>` and `<service>.<namespace>.svc`. Wildcards are for names that no service has.
 */
function callersNames(services: readonly MeshService[], clusterDomain: string): (name: string) => string | undefined {
  let known: Map<string, string> | undefined;
  const end = `.svc.${clusterDomain}`;
  const all = (): Map<string, string> => {
    const made = new Map<string, string>();
    for (const { host } of services) {
      const namespace = host.startsWith('*') ? undefined : namespaceIn(host, clusterDomain);
      if (namespace === undefined) continue;
      const short = host.slice(0, -end.length);
      made.set(short, namespace).set(`${short}.svc`, namespace);
    }
    return made;
  };
  // Of full names, which most are, nobody asks.
  return (name) => (name.startsWith('*') || name.endsWith(end) ? undefined : (known ??= all()).get(name));
}

/** `.b.c` and `.c` of `a.b.c`; of a wildcard all of it as well. */
function suffixesIn(host: string): readonly string[] {
  const found: string[] = [];
  for (let at = host.indexOf('.'); at !== -1; at = host.indexOf('.', at + 1)) found.push(host.slice(at));
  return found;
}

/** The namespace that a name of Kubernetes' shape says: `<service>.<namespace>.svc.<domain>`. */
function namespaceIn(host: string, clusterDomain: string): string | undefined {
  const end = `.svc.${clusterDomain}`;
  // Wide enough for names of all namespaces.
  if (host.startsWith('*') && end.endsWith(host.slice(1))) return several;
  if (!host.endsWith(end)) return undefined;
  return host.slice(0, -end.length).split('.').at(-1);
}
