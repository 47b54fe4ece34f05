/** Where a piece of configuration came from, for every message that names it. */
export interface Provenance {
  /** Resource kind, for example `VirtualService`. */
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** File the resource was read from; absent for sources that are not files. */
  readonly file?: string;
  /** Line and column of the resource or field, from 1. */
  readonly line?: number;
  readonly column?: number;
  /** Place within the resource, from below `spec`: `http[2]`. */
  readonly field?: string;
}

/** `VirtualService bookinfo/reviews (mesh/reviews.yaml:12:3)`. */
export function describeProvenance(at: Provenance): string {
  const name = `${at.kind} ${at.namespace}/${at.name}`;
  if (at.file === undefined) return name;
  return `${name} (${at.file}:${at.line ?? 1}:${at.column ?? 1})`;
}
