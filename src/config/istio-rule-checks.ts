import { MeshError } from '../errors.ts';
import { subjectLimit } from '../lib/regex.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isFqdn, isLabel, isLabelKey, isLabelValue, isWildcardDomain } from './host-syntax.ts';
import type { DestinationSpec, RouteDestinationSpec, VirtualService } from './istio-virtual-service.ts';

/** Names of gateways: `mesh`, a name, `<namespace>/<name>`, or the old `<name>.<namespace>…`. */
export function checkGatewayNames(
  resource: VirtualService,
  names: readonly string[],
  path: Path,
  collector: Collector,
): void {
  for (const [index, name] of names.entries()) {
    const slash = name.indexOf('/');
    if (slash === -1) {
      if (!isFqdn(name)) collector.problem(resource, [...path, index], 'must be mesh or <namespace>/<name>', name);
      else if (name.includes('.')) {
        const [gateway, namespace] = name.split('.');
        const note = `is an old form: write ${namespace}/${gateway}`;
        collector.warn(resource, [...path, index], 'enforced', note);
      }
      // Istio looks no further after a name of this form.
      return;
    }
    if (!isLabel(name.slice(0, slash)) || !isLabel(name.slice(slash + 1))) {
      collector.problem(resource, [...path, index], 'must be mesh or <namespace>/<name>', name);
    }
  }
}

/** `outbound_.80_._.reviews.shop.svc.cluster.local`, which gateways between clusters understand. */
export function isPassthroughName(host: string): boolean {
  const [direction, port = '', , name] = host.split('_');
  return direction === 'outbound' && /[0-9]/.test(port) && name !== undefined && /[a-zA-Z]/.test(name);
}

/** Labels that a workload can have. */
export function checkLabels(
  resource: VirtualService,
  labels: Readonly<Record<string, string>> = {},
  path: Path,
  collector: Collector,
): void {
  for (const [key, value] of Object.entries(labels)) {
    if (!isLabelKey(key)) collector.problem(resource, [...path, key], 'must be the key of a label', key);
    if (!isLabelValue(value)) collector.problem(resource, [...path, key], 'must be the value of a label', value);
  }
}

/** Destinations and their weights, of any kind of rule. */
export function checkDestinations(
  resource: VirtualService,
  route: readonly RouteDestinationSpec[],
  path: Path,
  collector: Collector,
): void {
  let total = 0;
  for (const [index, { destination, weight = 0 }] of route.entries()) {
    total += weight;
    checkDestination(resource, destination, [...path, index, 'destination'], collector);
  }
  if (route.length > 1 && total === 0) {
    collector.problem(resource, path, 'needs weights whose sum is more than 0');
  }
  if (total > maxTotalWeight) {
    collector.warn(resource, path, 'enforced', 'has weights whose sum is more than a sidecar takes');
  }
}

/** Envoy keeps the sum in 32 bits. */
const maxTotalWeight = 4_294_967_295;

export function checkDestination(
  resource: VirtualService,
  { host }: DestinationSpec,
  path: Path,
  collector: Collector,
): void {
  if (host !== '*' && isWildcardDomain(host)) return;
  collector.problem(resource, [...path, 'host'], 'must be a host name', host);
}

/** Paths and headers are seldom longer; who writes a pattern that stops below should know. */
const narrow = 1_024;

/** A regular expression in RE2 syntax, which Istio bounds to 1024 characters. */
export function checkRegex(
  resource: VirtualService,
  pattern: string | undefined,
  path: Path,
  collector: Collector,
): boolean {
  if (pattern === undefined) return true;
  if (pattern === '') {
    collector.problem(resource, path, 'must not be empty', pattern);
    return false;
  }
  try {
    const limit = subjectLimit(pattern);
    if (limit < narrow) {
      collector.warn(resource, path, 'enforced', `is wide: texts longer than ${limit} characters do not match`);
    }
    return true;
  } catch (error) {
    collector.problem(resource, path, error instanceof MeshError ? error.message : String(error), pattern);
    return false;
  }
}
