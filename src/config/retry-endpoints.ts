import type { RetryPolicy } from '../model/route.ts';
import type { DestinationRule } from './destination-rules.ts';
import type { TrafficPolicy } from './traffic-policy-spec.ts';

/**
 * Does istiod let retries of a route to this destination alone go to the same endpoint again? It asks for a consistent
 * hash by rules of its own (`HashForHTTPDestination`), which are not those by which clusters get one: settings of a port
 * count where the destination names the port, and what a subset or a port says instead takes nothing away.
 */
export function keepsEndpoint(
  rule: Pick<DestinationRule, 'trafficPolicy' | 'subsets'> | undefined,
  subset: string,
  port: number | undefined,
): boolean {
  if (rule === undefined) return false;
  return hashes(rule.trafficPolicy, port) || hashes(rule.subsets.get(subset)?.trafficPolicy, port);
}

function hashes(policy: TrafficPolicy | undefined, port: number | undefined): boolean {
  if (policy?.loadBalancer?.consistentHash !== undefined) return true;
  const settings = policy?.portLevelSettings ?? [];
  const ofPort = port === undefined ? undefined : settings.find((each) => each.port.number === port);
  return ofPort?.loadBalancer?.consistentHash !== undefined;
}

/** The policy of a route to the endpoint of a key, unless it says itself what becomes of endpoints that were tried. */
export function keepingEndpoint(retry: RetryPolicy): RetryPolicy {
  return retry.ignorePreviousHosts === undefined ? { ...retry, ignorePreviousHosts: 'unreached' } : retry;
}
