import { analyzeAnnotations } from './annotations.ts';
import type { Analyzer } from './context.ts';
import { analyzeDeprecations } from './deprecations.ts';
import { analyzeMtlsConflicts, analyzeRuleTargets, analyzeServerVerification } from './destination-rules.ts';
import { analyzeEnvoyFilters } from './envoy-filters.ts';
import { analyzeConflictingGateways } from './gateways.ts';
import { analyzeReferences } from './references.ts';
import { analyzeSchemaWarnings } from './schema-warnings.ts';
import { analyzeExclusiveSelectors, analyzeIdleSelectors } from './selectors.ts';
import { analyzeServiceEntryAddresses, analyzeServicePorts } from './service-ports.ts';
import { analyzeKeysOfTokens, analyzeOptionalTokens } from './tokens.ts';
import { analyzeConflictingHosts, analyzeUnreachableRules } from './virtual-services.ts';

/** All analyzers, in the order in which their findings are shown. */
export const analyzers: readonly Analyzer[] = [
  analyzeReferences,
  analyzeConflictingHosts,
  analyzeUnreachableRules,
  analyzeRuleTargets,
  analyzeMtlsConflicts,
  analyzeServerVerification,
  analyzeConflictingGateways,
  analyzeExclusiveSelectors,
  analyzeIdleSelectors,
  analyzeKeysOfTokens,
  analyzeOptionalTokens,
  analyzeEnvoyFilters,
  analyzeServicePorts,
  analyzeServiceEntryAddresses,
  analyzeSchemaWarnings,
  analyzeDeprecations,
  analyzeAnnotations,
];
