import type { WeightedDestination } from '../model/route.ts';
import type { ExplainedDestination } from './result.ts';

/** The parts of Istio's cluster name `outbound|9080|v1|reviews.default.svc.cluster.local`. */
export function clusterParts(cluster: string): Omit<ExplainedDestination, 'weight'> {
  const [, port = '0', subset = '', ...host] = cluster.split('|');
  return { cluster, host: host.join('|'), subset, port: Number(port) };
}

/** All destinations of a route. The only one of a rule gets everything, whatever its weight says. */
export function explainDestinations(destinations: readonly WeightedDestination[]): readonly ExplainedDestination[] {
  const only = destinations.length === 1;
  return destinations.map(({ cluster, weight }) => ({
    ...clusterParts(cluster),
    weight: only && weight <= 1 ? 100 : weight,
  }));
}
