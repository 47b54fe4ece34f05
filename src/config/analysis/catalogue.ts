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

export type FindingCode =
  | 'IST0002'
  | 'IST0101'
  | 'IST0106'
  | 'IST0107'
  | 'IST0108'
  | 'IST0109'
  | 'IST0110'
  | 'IST0111'
  | 'IST0112'
  | 'IST0113'
  | 'IST0118'
  | 'IST0125'
  | 'IST0127'
  | 'IST0128'
  | 'IST0129'
  | 'IST0130'
  | 'IST0131'
  | 'IST0132'
  | 'IST0133'
  | 'IST0134'
  | 'IST0135'
  | 'IST0145'
  | 'IST0150'
  | 'IST0151'
  | 'IST0152'
  | 'IST0153'
  | 'IST0154'
  | 'IST0155'
  | 'IST0159'
  | 'IST0160'
  | 'IST0173'
  | 'IST0174'
  | 'INMESH0001'
  | 'INMESH0002'
  | 'INMESH0003'
  | 'INMESH0004'
  | 'INMESH0005'
  | 'INMESH0006'
  | 'INMESH0007'
  | 'INMESH0008';

/**
 * Every code that analysis can report. Codes that begin with IST are those of `istioctl analyze` for
 * the same finding, so that suppressions carry over. `docs/reference/analysis.md` has a section for each.
 */
export const catalogue: Readonly<Record<FindingCode, CatalogueEntry>> = {
  IST0002: { name: 'Deprecated', class: 'analysis', severity: 'warning' },
  IST0101: { name: 'ReferencedResourceNotFound', class: 'analysis', severity: 'error' },
  IST0106: { name: 'SchemaValidationError', class: 'schema', severity: 'error' },
  IST0107: { name: 'MisplacedAnnotation', class: 'analysis', severity: 'warning' },
  IST0108: { name: 'UnknownAnnotation', class: 'analysis', severity: 'warning' },
  IST0109: { name: 'ConflictingMeshGatewayVirtualServiceHosts', class: 'analysis', severity: 'error' },
  IST0110: { name: 'ConflictingSidecarWorkloadSelectors', class: 'analysis', severity: 'error' },
  IST0111: { name: 'MultipleSidecarsWithoutWorkloadSelectors', class: 'analysis', severity: 'error' },
  IST0112: { name: 'VirtualServiceDestinationPortSelectorRequired', class: 'analysis', severity: 'error' },
  IST0113: { name: 'MTLSPolicyConflict', class: 'analysis', severity: 'error' },
  IST0118: { name: 'PortNameIsNotUnderNamingConvention', class: 'analysis', severity: 'info' },
  IST0125: { name: 'InvalidAnnotation', class: 'analysis', severity: 'warning' },
  IST0127: { name: 'NoMatchingWorkloadsFound', class: 'analysis', severity: 'warning' },
  IST0128: { name: 'NoServerCertificateVerificationDestinationLevel', class: 'analysis', severity: 'warning' },
  IST0129: { name: 'NoServerCertificateVerificationPortLevel', class: 'analysis', severity: 'warning' },
  IST0130: { name: 'VirtualServiceUnreachableRule', class: 'analysis', severity: 'warning' },
  IST0131: { name: 'VirtualServiceIneffectiveMatch', class: 'analysis', severity: 'info' },
  IST0132: { name: 'VirtualServiceHostNotFoundInGateway', class: 'analysis', severity: 'warning' },
  IST0133: { name: 'SchemaWarning', class: 'analysis', severity: 'warning' },
  IST0134: { name: 'ServiceEntryAddressesRequired', class: 'analysis', severity: 'warning' },
  IST0135: { name: 'DeprecatedAnnotation', class: 'analysis', severity: 'info' },
  IST0145: { name: 'ConflictingGateways', class: 'analysis', severity: 'error' },
  IST0150: { name: 'ExternalNameServiceTypeInvalidPortName', class: 'analysis', severity: 'warning' },
  IST0151: { name: 'EnvoyFilterUsesRelativeOperation', class: 'analysis', severity: 'warning' },
  IST0152: { name: 'EnvoyFilterUsesReplaceOperationIncorrectly', class: 'analysis', severity: 'error' },
  IST0153: { name: 'EnvoyFilterUsesAddOperationIncorrectly', class: 'analysis', severity: 'error' },
  IST0154: { name: 'EnvoyFilterUsesRemoveOperationIncorrectly', class: 'analysis', severity: 'error' },
  IST0155: { name: 'EnvoyFilterUsesRelativeOperationWithProxyVersion', class: 'analysis', severity: 'warning' },
  IST0159: { name: 'ConflictingTelemetryWorkloadSelectors', class: 'analysis', severity: 'error' },
  IST0160: { name: 'MultipleTelemetriesWithoutWorkloadSelectors', class: 'analysis', severity: 'error' },
  IST0173: { name: 'DestinationRuleSubsetNotSelectPods', class: 'analysis', severity: 'error' },
  IST0174: { name: 'UnknownDestinationRuleHost', class: 'analysis', severity: 'warning' },
  INMESH0001: { name: 'Unreadable', class: 'schema', severity: 'error' },
  INMESH0002: { name: 'NotEnforceable', class: 'enforcement', severity: 'error' },
  INMESH0003: { name: 'Approximated', class: 'enforcement', severity: 'info' },
  INMESH0004: { name: 'Ignored', class: 'enforcement', severity: 'info' },
  INMESH0005: { name: 'Questionable', class: 'analysis', severity: 'warning' },
  INMESH0006: { name: 'IssuerWithoutKeys', class: 'analysis', severity: 'error' },
  INMESH0007: { name: 'KeysInPlaintext', class: 'analysis', severity: 'warning' },
  INMESH0008: { name: 'OptionalTokens', class: 'analysis', severity: 'warning' },
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
