/**
 * Published as `inmesh/config`: compile, check and watch mesh configuration without a mesh.
 */
import '../lib/require-node.ts';

export { type Analysis, type AnalyzeOptions, analyzeConfig } from '../config/analysis/analyze.ts';
export {
  type CatalogueEntry,
  catalogue,
  type FindingClass,
  type FindingCode,
  reaches,
  type Severity,
  severities,
} from '../config/analysis/catalogue.ts';
export type { Finding } from '../config/analysis/finding.ts';
export { type CompileOptions, type CompileResult, compile } from '../config/compile.ts';
export { readConfigPath } from '../config/config-files.ts';
export { type ConfigDocument, documentOf, formatPath, type Path, type Position } from '../config/document.ts';
export { type FileSourceOptions, fileSource } from '../config/file-source.ts';
export type { ForeignRoutes } from '../config/foreign-routes.ts';
export { meshConfigDocument } from '../config/istio-mesh-config.ts';
export { describePlace, describeProblem, describeResource } from '../config/problem.ts';
export type {
  ConfigProblem,
  ConfigSink,
  ConfigSource,
  EnforcementEntry,
  EnforcementReport,
  SourceContext,
  SourceCredentials,
} from '../config/source.ts';
export { type StaticSourceOptions, staticSource } from '../config/static-source.ts';
export { type ConfigStore, createConfigStore } from '../config/store.ts';
export { parseDurationMs } from '../config/values.ts';
export { type ParsedYaml, parseYaml } from '../config/yaml.ts';
export { type YamlLimits, yamlLimits } from '../config/yaml-limits.ts';
export { isSecretName, redacted, redactText } from '../lib/redact.ts';
export type { OutboundPolicy, Snapshot } from '../model/snapshot.ts';
export type { Workload } from '../model/workload.ts';
export { type ResolvedSettings, resolveSettings } from '../settings.ts';
