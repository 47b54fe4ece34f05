import type { Collector } from './collector.ts';
import type { MeshSettings } from './mesh-settings.ts';
import { rememberPart } from './remember.ts';
import type { Resource } from './resource.ts';
import { isDnsLabel } from './values.ts';

interface Exported {
  readonly spec: {
    readonly exportTo?: readonly string[];
    readonly workloadSelector?: unknown;
  };
}

/** Where a Kubernetes Service says who sees it. */
export const exportToAnnotation = 'networking.istio.io/exportTo';

/**
 * Gives resources without `exportTo` that of the mesh, so that whoever asks later finds one place to
 * look at. A mesh that exports everything, the default, costs nothing. DestinationRules know their
 * default themselves.
 */
export function applyExportDefaults(resources: readonly Resource[], { exportTo }: MeshSettings): readonly Resource[] {
  const defaults: Readonly<Record<string, readonly string[]>> = {
    Service: exportTo.services,
    ServiceEntry: exportTo.services,
    VirtualService: exportTo.virtualServices,
  };
  if (Object.values(defaults).every((list) => list.includes('*'))) return resources;
  return resources.map((resource) => {
    const list = defaults[resource.kind];
    if (list === undefined || list.includes('*')) return resource;
    return withExportTo(resource, 'exportTo', [list], () => applyTo(resource, list));
  });
}

const withExportTo = rememberPart<Resource, Resource>();

function applyTo(resource: Resource, list: readonly string[]): Resource {
  if (resource.kind === 'Service') {
    if (resource.annotations[exportToAnnotation]) return resource;
    return { ...resource, annotations: { ...resource.annotations, [exportToAnnotation]: list.join(',') } };
  }
  const body = resource.body as Exported;
  if ((body.spec.exportTo ?? []).length > 0) return resource;
  return { ...resource, body: { ...body, spec: { ...body.spec, exportTo: list } } };
}

/** What Istio's webhook demands of `exportTo`. */
export function checkExportTo(resource: Resource, collector: Collector): void {
  const { exportTo = [], workloadSelector } = (resource.body as Exported).spec;
  if (exportTo.length === 0) return;
  const path = ['spec', 'exportTo'];
  const seen = new Set<string>();
  exportTo.forEach((to, index) => {
    const at = [...path, index];
    const namespace = to === '.' ? resource.namespace : to;
    if (seen.has(namespace)) collector.problem(resource, at, 'is there twice', to);
    seen.add(namespace);
    if (to === '~' && resource.kind !== 'ServiceEntry') {
      collector.problem(resource, at, 'may be ~ in a ServiceEntry only', to);
    } else if (!['*', '.', '~'].includes(to) && !isDnsLabel(to)) {
      collector.problem(resource, at, 'must be ., *, or the name of a namespace', to);
    }
  });
  if (exportTo.length < 2 && !(resource.kind === 'DestinationRule' && workloadSelector !== undefined)) return;
  if (seen.has('*') || seen.has('~')) {
    if (exportTo.length > 1) collector.problem(resource, path, 'cannot have * or ~ beside others', exportTo);
  }
  if (resource.kind === 'DestinationRule' && workloadSelector !== undefined && exportTo.length > 0) {
    const own = exportTo.length === 1 && seen.has(resource.namespace);
    if (!own) collector.problem(resource, path, 'must be . alone in a rule with a workloadSelector', exportTo);
  }
}
