import type { Path } from '../document.ts';
import type { Analyzer } from './context.ts';

/** Fields that Istio replaced, by kind; `*` stands for every key or index. */
const deprecated: Readonly<Record<string, readonly (readonly [field: string, instead: string])[]>> = {
  VirtualService: [
    ['spec.http.*.mirrorPercent', 'mirrorPercentage: {value: …}'],
    ['spec.http.*.mirror_percent', 'mirrorPercentage: {value: …}'],
    ['spec.http.*.corsPolicy.allowOrigin', 'allowOrigins: [{exact: …}]'],
    ['spec.http.*.fault.delay.percent', 'percentage: {value: …}'],
  ],
  DestinationRule: [
    ['spec.trafficPolicy.outlierDetection.consecutiveErrors', 'consecutive5xxErrors or consecutiveGatewayErrors'],
    ['spec.subsets.*.trafficPolicy.outlierDetection.consecutiveErrors', 'consecutive5xxErrors'],
    ['spec.trafficPolicy.portLevelSettings.*.outlierDetection.consecutiveErrors', 'consecutive5xxErrors'],
    ['spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize', 'ringHash: {minimumRingSize: …}'],
    ['spec.subsets.*.trafficPolicy.loadBalancer.consistentHash.minimumRingSize', 'ringHash: {minimumRingSize: …}'],
    ['spec.trafficPolicy.loadBalancer.warmupDurationSecs', 'warmup: {duration: …}'],
    ['spec.subsets.*.trafficPolicy.loadBalancer.warmupDurationSecs', 'warmup: {duration: …}'],
  ],
  RequestAuthentication: [['spec.jwtRules.*.jwks_uri', 'jwksUri']],
  AuthorizationPolicy: [['spec.targetRef', 'targetRefs']],
  Telemetry: [['spec.targetRef', 'targetRefs']],
  WasmPlugin: [['spec.targetRef', 'targetRefs']],
};

/** Fields and values that still work, and that Istio wants to be written otherwise. */
export const analyzeDeprecations: Analyzer = (context) => {
  for (const resource of context.resources) {
    for (const [field, instead] of deprecated[resource.kind] ?? []) {
      for (const path of placesOf(resource.body, field.split('.'))) {
        context.report('IST0002', resource, path, `is deprecated: write ${instead}`, { key: true });
      }
    }
    if (resource.kind !== 'DestinationRule') continue;
    for (const parts of simpleFields) {
      for (const path of placesOf(resource.body, parts)) {
        if (valueAt(resource.body, path) !== 'LEAST_CONN') continue;
        context.report('IST0002', resource, path, 'is deprecated: write LEAST_REQUEST', { value: 'LEAST_CONN' });
      }
    }
  }
};

const simpleFields: readonly (readonly string[])[] = [
  'spec.trafficPolicy.loadBalancer.simple',
  'spec.trafficPolicy.portLevelSettings.*.loadBalancer.simple',
  'spec.subsets.*.trafficPolicy.loadBalancer.simple',
  'spec.subsets.*.trafficPolicy.portLevelSettings.*.loadBalancer.simple',
].map((field) => field.split('.'));

/** Every place that a pattern names and that is there. */
function placesOf(value: unknown, parts: readonly string[], path: Path = []): readonly Path[] {
  const [part, ...rest] = parts;
  if (part === undefined) return [path];
  if (typeof value !== 'object' || value === null) return [];
  if (part === '*') {
    return Array.isArray(value) ? value.flatMap((item, index) => placesOf(item, rest, [...path, index])) : [];
  }
  return Object.hasOwn(value, part) ? placesOf((value as Record<string, unknown>)[part], rest, [...path, part]) : [];
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((each, key) => (each as Record<string | number, unknown>)[key], value);
}
