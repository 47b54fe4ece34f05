import type { Cluster } from '../model/cluster.ts';
import type { InboundCors } from '../model/inbound.ts';
import type { VirtualHost } from '../model/route.ts';
import type { Workload } from '../model/workload.ts';
import type { ServiceSource } from './service.ts';
import { selects } from './values.ts';

type Selector = Readonly<Record<string, string>>;

/**
 * The virtual hosts of the services that this workload is behind, where a rule has a `corsPolicy`. Istio's
 * sidecars enforce it for those who call; a browser that calls directly has none.
 */
export function inboundCorsOf(
  hosts: ReadonlyMap<string, VirtualHost>,
  clusters: ReadonlyMap<string, Cluster>,
  services: readonly ServiceSource[],
  workload: Workload,
): readonly InboundCors[] {
  const found = new Map<VirtualHost, Set<string>>();
  let own: ReadonlySet<string> | undefined;
  for (const [key, host] of hosts) {
    if (!host.routes.some(({ cors }) => cors !== undefined)) continue;
    own ??= ownServices(services, workload);
    const mine = (cluster: string): boolean => own?.has(clusters.get(cluster)?.host ?? '') === true;
    const leadsHere = host.routes.some(
      ({ cors, destinations }) => cors !== undefined && destinations.some(({ cluster }) => mine(cluster)),
    );
    if (!leadsHere) continue;
    let names = found.get(host);
    if (names === undefined) found.set(host, (names = new Set()));
    names.add(key.slice(0, key.lastIndexOf(':')));
  }
  return [...found].map(([virtualHost, names]) => ({ hosts: [...names], virtualHost }));
}

function ownServices(services: readonly ServiceSource[], { labels, name, namespace }: Workload): ReadonlySet<string> {
  const own = new Set<string>();
  for (const service of services) {
    const { endpoints, host, resource } = service;
    const { spec } = resource.body as { readonly spec?: { readonly selector?: Selector } };
    const selector = service.selector ?? (resource.kind === 'Service' ? spec?.selector : undefined);
    const selected =
      resource.namespace === namespace &&
      selector !== undefined &&
      Object.keys(selector).length > 0 &&
      selects(selector, labels);
    const listed = endpoints.some((each) => each.workload === name && each.namespace === namespace);
    if (selected || listed) own.add(host);
  }
  return own;
}
