import type { Collector } from './collector.ts';
import { isLabel } from './host-syntax.ts';
import type { Resource } from './resource.ts';

/** Istio's rules for `exportTo` of a VirtualService: `*` alone, or `.` and names of namespaces, each once. */
export function checkExportTo(resource: Resource, exportTo: readonly string[] | undefined, collector: Collector): void {
  const seen = new Set<string>();
  for (const [index, entry] of (exportTo ?? []).entries()) {
    const path = ['spec', 'exportTo', index];
    const name = entry === '.' ? resource.namespace : entry;
    if (entry === '~') collector.problem(resource, path, 'must not be ~, which is for services only', entry);
    else if (name !== '*' && !isLabel(name)) collector.problem(resource, path, 'must be *, . or a namespace', entry);
    else if (seen.has(name)) collector.problem(resource, path, 'is there twice', entry);
    seen.add(name);
  }
  if (seen.has('*') && seen.size > 1) {
    collector.problem(resource, ['spec', 'exportTo'], 'must not have others beside *', exportTo);
  }
}
