import type { Workload } from '../../model/workload.ts';
import { createCollector } from '../collector.ts';
import { compile } from '../compile.ts';
import type { ConfigDocument } from '../document.ts';
import { defaultMeshSettings, type MeshSettings } from '../mesh-settings.ts';
import type { Resource } from '../resource.ts';
import type { ConfigProblem, EnforcementEntry } from '../source.ts';
import { analyzers } from './analyzers.ts';
import { createContext } from './context.ts';
import { type Finding, findingOfEntry, findingOfProblem } from './finding.ts';

export interface AnalyzeOptions {
  /** The process for which the enforcement report is made. */
  readonly workload: Workload;
  /** What reading the documents already found wrong. */
  readonly problems?: readonly ConfigProblem[];
}

export interface Analysis {
  /** Istio's webhook would accept every resource. Says nothing about what inmesh does with them. */
  readonly valid: boolean;
  /** Everything but what is simply enforced, in the order: invalid, questionable, not enforced. */
  readonly findings: readonly Finding[];
  /** What happens with each field of the resources that are valid. */
  readonly entries: readonly EnforcementEntry[];
}

/**
 * Looks at configuration without using it: is each resource valid for Istio, do they fit together,
 * and what would inmesh do with each field. Pure; the same input gives the same answer.
 */
export function analyzeConfig(documents: readonly ConfigDocument[], options: AnalyzeOptions): Analysis {
  const { workload, problems = [] } = options;
  const collector = createCollector();
  let resources: readonly Resource[] = [];
  let mesh = defaultMeshSettings;
  const see = (read: readonly Resource[], settings: MeshSettings): void => {
    resources = read;
    mesh = settings;
  };
  compile(documents, { workload }, { collector, see });
  const entries = collector.entries();
  const context = createContext(resources, workload, mesh);
  for (const analyze of analyzers) analyze(context);
  const { findings: analysis } = context;
  // What an analyzer explains with a code of its own needs no second message.
  const said = new Set(analysis.map(placeOf));
  const invalid = [
    ...problems.map((problem) => findingOfProblem(problem, true)),
    ...collector.problems.map((problem) => findingOfProblem(problem)),
  ];
  const reported = entries.flatMap((entry) => findingOfEntry(entry) ?? []);
  const findings = [
    ...invalid.filter((finding) => finding.class === 'schema'),
    ...analysis,
    ...reported.filter((finding) => finding.class === 'analysis' && !said.has(placeOf(finding))),
    ...invalid.filter((finding) => finding.class === 'enforcement'),
    ...reported.filter((finding) => finding.class === 'enforcement'),
  ];
  return { valid: findings.every((finding) => finding.class !== 'schema'), findings, entries };
}

function placeOf({ resource, field = '' }: Finding): string {
  return `${resource} ${field}`;
}
