import type { Cluster, Endpoint } from '../model/cluster.ts';

/** In which order endpoints are called, and where they are; nothing where all are alike. */
export function explainPlaces({ discovery, localities }: Cluster): string | undefined {
  if (discovery.kind === 'original') return undefined;
  const { endpoints } = discovery;
  const levels: Endpoint[][] = [];
  for (const endpoint of endpoints) (levels[endpoint.priority ?? 0] ??= []).push(endpoint);
  if (localities === undefined && levels.length < 2) return undefined;
  const shares = levels.map((level, priority) => {
    const counts = new Map<string, number>();
    for (const { locality } of level) counts.set(locality, (counts.get(locality) ?? 0) + 1);
    return [...counts]
      .map(([locality, count]) => `${count} in ${locality || 'no locality'}${weightOf(localities, priority, locality)}`)
      .join(', ');
  });
  const note = localities?.kind === 'zones' ? '; as many calls as possible stay in the own locality' : '';
  const how = levels.length < 2 ? 'by locality' : 'in this order';
  return `endpoints are called ${how}: ${shares.filter((text) => text !== '').join('; then ')}${note}`;
}

/** The proxy through which goes what the mesh does not read; nothing without one. */
export function explainTunnel({ tunnel }: Cluster): string | undefined {
  return tunnel && `through an HTTP proxy to ${tunnel.targetHost}:${tunnel.targetPort} (tunnel)`;
}

function weightOf(localities: Cluster['localities'], priority: number, locality: string): string {
  if (localities?.kind !== 'weighted') return '';
  const found = localities.weights.find((each) => each.priority === priority && each.locality === locality);
  return ` (weight ${found?.weight ?? 0})`;
}
