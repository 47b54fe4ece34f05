import type { Provenance } from '../model/provenance.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';

/**
 * Where configuration comes from: a folder of YAML, an xDS server. Runs until `signal` aborts and
 * reports through the sink. It never throws for bad input: bad input is `reject`ed.
 */
export interface ConfigSource {
  /** For messages: `file:./mesh`. */
  readonly name: string;
  run(sink: ConfigSink, signal: AbortSignal, mesh?: SourceContext): Promise<void>;
}

/** What a mesh tells its source of configuration. */
export interface SourceContext {
  /** The process that the configuration is for. */
  readonly workload: Workload;
  /** Certificate, key and roots of the mesh's identity; nothing as long as there is none. */
  credentials(): SourceCredentials | undefined;
}

/** The mesh's identity, for sources that show it to whom they ask. */
export interface SourceCredentials {
  readonly spiffeId: string;
  /** Leaf first, PEM. */
  readonly certificateChainPem: string;
  /** PKCS#8, PEM. Never logged. */
  readonly privateKeyPem: string;
  /** Roots (PEM) by trust domain. */
  readonly trustBundles: ReadonlyMap<string, readonly string[]>;
}

/** The three things that can happen to configuration. */
export interface ConfigSink {
  /** A new, complete and valid configuration. */
  update(snapshot: Snapshot, report: EnforcementReport): void;
  /** The configuration is now bad; the last good one stays in force. */
  reject(problems: readonly ConfigProblem[]): void;
  /** The source cannot be reached; the last good configuration stays in force. */
  lost(reason: Error): void;
}

/** One reason why a configuration was refused, or a warning about it. */
export interface ConfigProblem {
  readonly message: string;
  /** Resource, file, line and column. Absent when a whole file cannot be read. */
  readonly at?: Provenance;
  /** Path of the field: `spec.http[0].route[1].weight`. */
  readonly field?: string;
  /** The offending value as JSON, shortened. */
  readonly value?: string;
  /**
   * Valid for Istio, and refused nevertheless: inmesh could not do what it says, and the mesh would
   * be less secure than its configuration. Absent: invalid for Istio too.
   */
  readonly unenforceable?: true;
}

/** What happens to each field that was configured. */
export interface EnforcementReport {
  readonly entries: readonly EnforcementEntry[];
}

export interface EnforcementEntry {
  readonly at: Provenance;
  readonly field: string;
  /** `enforced` as documented by Istio, `approximated` (see note), or `ignored` (no effect). */
  readonly status: 'enforced' | 'approximated' | 'ignored';
  readonly note?: string;
  /** Probably not what the author meant: a host that does not exist, a resource that another shadows. */
  readonly warning?: true;
}
