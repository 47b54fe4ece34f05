import type { Workload } from '../../model/workload.ts';
import { createCollector } from '../collector.ts';
import type { Path } from '../document.ts';
import { formatPath } from '../document.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { showValue } from '../problem.ts';
import type { Resource } from '../resource.ts';
import type { FindingCode } from './catalogue.ts';
import { type Finding, findingOf } from './finding.ts';

/** What an analyzer sees, and where it reports. */
export interface AnalysisContext {
  readonly workload: Workload;
  readonly mesh: MeshSettings;
  readonly resources: readonly Resource[];
  readonly findings: readonly Finding[];
  /** Resources of a kind; the field tables have checked their shape. */
  ofKind<Body = unknown>(kind: string): readonly Resource<Body>[];
  /** Reports, unless the resource suppresses the code. `key`: the key is wrong, not its value. */
  report(code: FindingCode, resource: Resource, path: Path, message: string, more?: ReportDetails): void;
}

export interface ReportDetails {
  readonly value?: unknown;
  readonly key?: boolean;
}

/** Looks for one sort of mistake among all resources. */
export type Analyzer = (context: AnalysisContext) => void;

const suppressAnnotation = 'galley.istio.io/analyze-suppress';

export function createContext(resources: readonly Resource[], workload: Workload, mesh: MeshSettings): AnalysisContext {
  const findings: Finding[] = [];
  const byKind = new Map<string, Resource[]>();
  for (const resource of resources) {
    const list = byKind.get(resource.kind);
    if (list === undefined) byKind.set(resource.kind, [resource]);
    else list.push(resource);
  }
  const { at } = createCollector();
  return {
    workload,
    mesh,
    resources,
    findings,
    ofKind: <Body>(kind: string) => (byKind.get(kind) ?? []) as readonly Resource<Body>[],
    report(code, resource, path, message, more = {}) {
      if (suppresses(resource, code)) return;
      const details = { message, at: at(resource, path, more.key), field: formatPath(path) };
      findings.push(findingOf(code, 'value' in more ? { ...details, value: showValue(more.value) } : details));
    },
  };
}

/** `galley.istio.io/analyze-suppress: IST0101,IST0107`, or `*`. */
function suppresses({ annotations }: Resource, code: FindingCode): boolean {
  const codes = annotations[suppressAnnotation]?.split(',').map((each) => each.trim()) ?? [];
  return codes.includes('*') || codes.includes(code);
}
