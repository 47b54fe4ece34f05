import { isRegex } from '../lib/regex.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import { type Targets, validateTargets } from './validate-targets.ts';

interface Filter {
  readonly name?: string;
  readonly subFilter?: { readonly name?: string };
}

interface Match {
  readonly context?: string;
  readonly proxy?: { readonly proxyVersion?: string };
  readonly listener?: { readonly filterChain?: { readonly filter?: Filter } };
  readonly routeConfiguration?: unknown;
  readonly cluster?: unknown;
  readonly waypoint?: unknown;
}

interface ConfigPatch {
  readonly applyTo?: string;
  readonly match?: Match;
  readonly patch?: { readonly operation?: string; readonly value?: unknown };
}

export interface EnvoyFilterBody {
  readonly spec: Targets & { readonly configPatches?: readonly ConfigPatch[] };
}

const listenerClass = new Set(['LISTENER', 'FILTER_CHAIN', 'NETWORK_FILTER', 'HTTP_FILTER']);
const routeClass = new Set(['ROUTE_CONFIGURATION', 'VIRTUAL_HOST', 'HTTP_ROUTE']);
const connectionManagers = ['envoy.filters.network.http_connection_manager', 'envoy.http_connection_manager'];

/** Istio ignores a longer pattern, with a warning. */
const maxProxyVersion = 1_024;

/**
 * The rules of Istio's webhook for an EnvoyFilter. Of the patches themselves only the frame of
 * `Any` messages is checked: Envoy's own messages are not known here.
 */
export function validateEnvoyFilter(resource: Resource<EnvoyFilterBody>, collector: Collector): void {
  const { spec } = resource.body;
  validateTargets(resource, spec, collector, 'any kind');
  for (const [index, each] of (spec.configPatches ?? []).entries()) {
    validatePatch(each, resource, ['spec', 'configPatches', index], collector);
  }
}

function validatePatch(each: ConfigPatch, resource: Resource, path: Path, collector: Collector): void {
  const { applyTo = 'INVALID', match, patch } = each;
  if (match !== undefined && (match.context === 'WAYPOINT') !== (match.waypoint !== undefined)) {
    const text = 'must have waypoint with the context WAYPOINT, and only with it';
    collector.problem(resource, [...path, 'match'], text);
  }
  // What is for waypoints Istio does not look into yet.
  if (match?.context === 'WAYPOINT') return;
  if (applyTo === 'INVALID') {
    collector.problem(resource, path, 'needs applyTo');
    return;
  }
  const { operation = 'INVALID', value } = patch ?? {};
  if (operation === 'INVALID') {
    collector.problem(resource, path, patch === undefined ? 'needs a patch' : 'needs patch.operation');
    return;
  }
  if (operation !== 'REMOVE' && value === undefined) {
    collector.problem(resource, [...path, 'patch'], `needs a value for the operation ${operation}`);
    return;
  }
  const { proxyVersion = '' } = match?.proxy ?? {};
  if (proxyVersion !== '' && proxyVersion.length <= maxProxyVersion && !isRegex(proxyVersion)) {
    const text = 'must be a regular expression in RE2 syntax';
    collector.problem(resource, [...path, 'match', 'proxy', 'proxyVersion'], text, proxyVersion);
    return;
  }
  if (match !== undefined) validateMatch(match, applyTo, resource, [...path, 'match'], collector);
  const at = [...path, 'patch', 'value'];
  const { name } = (value ?? {}) as { readonly name?: unknown };
  // All of Envoy's messages that can be patched have a name, but for the bootstrap.
  if (applyTo !== 'BOOTSTRAP' && name !== undefined && name !== null && typeof name !== 'string') {
    collector.problem(resource, [...at, 'name'], 'must be a text', name);
  }
  validateAny(value, resource, at, collector, 0);
}

function validateMatch(match: Match, applyTo: string, resource: Resource, path: Path, collector: Collector): void {
  const kind = (['listener', 'routeConfiguration', 'cluster', 'waypoint'] as const).find(
    (name) => match[name] !== undefined,
  );
  if (kind === undefined) return;
  const wanted = listenerClass.has(applyTo)
    ? 'listener'
    : routeClass.has(applyTo)
      ? 'routeConfiguration'
      : applyTo === 'CLUSTER'
        ? 'cluster'
        : undefined;
  // A waypoint is matched by filter or route, not by what the sidecar's objects are called.
  if (wanted !== undefined && kind !== wanted && kind !== 'waypoint') {
    collector.problem(resource, [...path, kind], `must be ${wanted} for applyTo ${applyTo}`);
    return;
  }
  const filter = match.listener?.filterChain?.filter;
  if (filter === undefined || !listenerClass.has(applyTo)) return;
  const at = [...path, 'listener', 'filterChain', 'filter'];
  if (!filter.name) collector.problem(resource, at, 'needs a name to match');
  else if (filter.subFilter !== undefined) {
    if (applyTo !== 'HTTP_FILTER') collector.problem(resource, [...at, 'subFilter'], 'is only for applyTo HTTP_FILTER');
    else if (!connectionManagers.includes(filter.name)) {
      collector.problem(resource, [...at, 'name'], `must be ${connectionManagers[0]} beside subFilter`, filter.name);
    } else if (!filter.subFilter.name) collector.problem(resource, [...at, 'subFilter'], 'needs a name to match');
  }
}

/** Deep enough for every Envoy message, shallow enough for the stack. */
const maxDepth = 64;

/** A typed configuration says its type, and Istio has no types of Envoy's API version 2 any more. */
function validateAny(value: unknown, resource: Resource, path: Path, collector: Collector, depth: number): void {
  if (typeof value !== 'object' || value === null || depth > maxDepth) return;
  if (Array.isArray(value)) {
    value.forEach((item, index) => void validateAny(item, resource, [...path, index], collector, depth + 1));
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    const at = [...path, key];
    if (key === 'typed_config' || key === 'typedConfig') {
      const type = typeof item === 'object' && item !== null ? (item as Record<string, unknown>)['@type'] : undefined;
      if (typeof type !== 'string') collector.problem(resource, at, 'needs the field @type');
      else if (/(^|\/)envoy\..*\.v2\./.test(type)) {
        collector.problem(resource, [...at, '@type'], 'is a type of Envoy’s API version 2; use version 3', type);
      }
    }
    validateAny(item, resource, at, collector, depth + 1);
  }
}
