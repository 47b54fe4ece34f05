import type { Collector } from './collector.ts';
import { checkSidecar } from './istio-sidecar-check.ts';
import { checkWorkloadGroup } from './istio-workload-group.ts';
import type { Resource } from './resource.ts';
import type { KindTable } from './schema.ts';
import { validateAuthorizationPolicy } from './validate-authorization-policy.ts';
import { validateServiceIntentions } from './validate-consul-intentions.ts';
import { validateEnvoyFilter } from './validate-envoy-filter.ts';
import { validateTrafficExtension, validateWasmPlugin } from './validate-extensions.ts';
import { validateGateway } from './validate-gateway.ts';
import { validateRequestAuthentication } from './validate-request-authentication.ts';
import { validateTelemetry } from './validate-telemetry.ts';

/** Says what Istio's webhook would refuse in a resource whose fields have the right types. */
export type Validator = (resource: Resource, collector: Collector) => void;

/** A table has checked the body, so the validator of a kind knows its shape. */
function of<Body>(validate: (resource: Resource<Body>, collector: Collector) => void): Validator {
  return (resource, collector) => validate(resource as Resource<Body>, collector);
}

/** By API group and kind. Kinds that are missing here are checked where they are compiled. */
const validators: Readonly<Record<string, Validator>> = {
  'networking.istio.io/Gateway': of(validateGateway),
  'networking.istio.io/Sidecar': of(checkSidecar),
  'networking.istio.io/EnvoyFilter': of(validateEnvoyFilter),
  'networking.istio.io/WorkloadGroup': of(checkWorkloadGroup),
  'security.istio.io/AuthorizationPolicy': of(validateAuthorizationPolicy),
  'security.istio.io/RequestAuthentication': of(validateRequestAuthentication),
  '/service-intentions': of(validateServiceIntentions),
  'telemetry.istio.io/Telemetry': of(validateTelemetry),
  'extensions.istio.io/WasmPlugin': of(validateWasmPlugin),
  'extensions.istio.io/TrafficExtension': of(validateTrafficExtension),
};

/** The validator of a kind, if it has one of its own. */
export function validatorOf({ group, kind }: KindTable): Validator | undefined {
  return validators[`${group}/${kind}`];
}
