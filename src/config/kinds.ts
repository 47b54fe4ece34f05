import { circuitBreakerTable } from './fields-circuit-breaker.ts';
import { serviceIntentionsResourceTable, serviceIntentionsTable } from './fields-consul.ts';
import { destinationRuleTable } from './fields-destination-rule.ts';
import { egressPolicyTable } from './fields-egress-policy.ts';
import { envoyFilterTable } from './fields-envoy-filter.ts';
import { trafficExtensionTable, wasmPluginTable } from './fields-extensions.ts';
import { gatewayTable } from './fields-gateway.ts';
import { healthCheckTable } from './fields-health-check.ts';
import { endpointSliceTable, podTable, serviceTable } from './fields-kubernetes.ts';
import { istioOperatorTable, meshConfigTable } from './fields-mesh-config.ts';
import { overloadPolicyTable } from './fields-overload-policy.ts';
import { proxyConfigTable } from './fields-proxy-config.ts';
import { rateLimitTable } from './fields-rate-limit.ts';
import { authorizationPolicyTable, peerAuthenticationTable, requestAuthenticationTable } from './fields-security.ts';
import { serviceEntryTable, workloadEntryTable, workloadGroupTable } from './fields-service-entry.ts';
import { sidecarTable } from './fields-sidecar.ts';
import { telemetryTable } from './fields-telemetry.ts';
import { virtualServiceTable } from './fields-virtual-service.ts';
import type { KindTable } from './schema.ts';

/** Every kind that inmesh knows by name. */
export const kindTables: readonly KindTable[] = [
  virtualServiceTable,
  destinationRuleTable,
  serviceEntryTable,
  workloadEntryTable,
  workloadGroupTable,
  sidecarTable,
  serviceTable,
  endpointSliceTable,
  podTable,
  peerAuthenticationTable,
  authorizationPolicyTable,
  requestAuthenticationTable,
  serviceIntentionsTable,
  serviceIntentionsResourceTable,
  gatewayTable,
  meshConfigTable,
  istioOperatorTable,
  proxyConfigTable,
  envoyFilterTable,
  wasmPluginTable,
  trafficExtensionTable,
  telemetryTable,
  circuitBreakerTable,
  rateLimitTable,
  overloadPolicyTable,
  egressPolicyTable,
  healthCheckTable,
];

/** Table of a kind, by API group and kind. */
export function findKind(group: string, kind: string): KindTable | undefined {
  return kindTables.find((table) => table.group === group && table.kind === kind);
}
