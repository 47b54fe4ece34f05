import { topologyLabels } from '../model/locality.ts';
import type { PlacementPolicy } from './endpoint-placement.ts';
import { defaultLocality, type LocalityPolicy, type ZoneAwarePolicy } from './locality-policy.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { TrafficDistribution } from './service.ts';

/** What counts for a cluster, in Istio's order: its rule, its service, the mesh (`GetEffectiveLbSetting`). */
export function placementOf(
  rule: { readonly locality?: LocalityPolicy; readonly zoneAware?: ZoneAwarePolicy; readonly outlier?: unknown },
  distribution: TrafficDistribution | undefined,
  mesh: Pick<MeshSettings, 'locality' | 'zoneAware'>,
): PlacementPolicy {
  const failsOver = rule.outlier !== undefined;
  const { locality, zoneAware } = rule;
  if (zoneAware !== undefined) return zoneAware.enabled ? { zones: zoneAware, failsOver } : nowhere;
  if (locality !== undefined) return locality.enabled ? { locality, failsOver } : nowhere;
  if (distribution !== undefined) return { locality: preferred[distribution], failsOver: true };
  if (mesh.zoneAware?.enabled === true) return { zones: mesh.zoneAware, failsOver };
  return mesh.locality.enabled ? { locality: mesh.locality, failsOver } : nowhere;
}

const nowhere: PlacementPolicy = { failsOver: false };

const { network, node, region, subzone, zone } = topologyLabels;
const preferred: Readonly<Record<TrafficDistribution, LocalityPolicy>> = {
  'same-zone': { ...defaultLocality, failoverPriority: [network, region, zone] },
  'same-node': { ...defaultLocality, failoverPriority: [network, region, zone, subzone, node] },
};
