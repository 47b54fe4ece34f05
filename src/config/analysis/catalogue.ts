/** How much a finding matters. `error`: the configuration does not do what it says. */
export type Severity = 'error' | 'warning' | 'info';

/**
 * What a finding is about. `schema`: Istio would not accept the resource. `analysis`: it is valid, and
 * probably not what was meant. `enforcement`: valid, and inmesh does not do all that it says.
 */
export type FindingClass = 'schema' | 'analysis' | 'enforcement';

export interface CatalogueEntry {
  /** Of `istioctl analyze` where the code begins with IST. */
  readonly name: string;
  readonly class: FindingClass;
  readonly severity: Severity;
}

export type FindingCode = 'IST0106' | 'INMESH0001' | 'INMESH0002' | 'INMESH0003' | 'INMESH0004' | 'INMESH0005';

/**
 * Every code that analysis can report. Codes that begin with IST are those of `istioctl analyze` for
 * the same finding, so that suppressions carry over. `docs/reference/analysis.md` has a section for each.
 */
export const catalogue: Readonly<Record<FindingCode, CatalogueEntry>> = {
  IST0106: { name: 'SchemaValidationError', class: 'schema', severity: 'error' },
  INMESH0001: { name: 'Unreadable', class: 'schema', severity: 'error' },
  INMESH0002: { name: 'NotEnforceable', class: 'enforcement', severity: 'error' },
  INMESH0003: { name: 'Approximated', class: 'enforcement', severity: 'info' },
  INMESH0004: { name: 'Ignored', class: 'enforcement', severity: 'info' },
  INMESH0005: { name: 'Questionable', class: 'analysis', severity: 'warning' },
};

/** Worst first. */
export const severities: readonly Severity[] = ['error', 'warning', 'info'];

/** Is a finding at least as bad as the threshold? */
export function reaches(severity: Severity, threshold: Severity): boolean {
  return severities.indexOf(severity) <= severities.indexOf(threshold);
}

/** Where the documentation explains a code. */
export function linkTo(code: FindingCode): string {
  return `docs/reference/analysis.md#${code.toLowerCase()}`;
}
