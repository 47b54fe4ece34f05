import { boolean, enforced, integer, list, map, type ObjectType, object, string } from './schema.ts';

const uint32 = integer(0, 4_294_967_295);
const failover = enforced(
  list(object({ from: string(), to: string() })),
  'regions; endpoints of other ones than the own and that one come last',
);
const failoverPriority = enforced(
  list(string()),
  'with outlierDetection; of endpoints by DNS names as well, where Istio leaves it out',
);

/** Istio `LocalityLoadBalancerSetting`. */
export const localityFields: ObjectType = object({
  enabled: enforced(boolean, 'true unless it says false; without outlierDetection only `distribute` has an effect'),
  distribute: enforced(
    list(object({ from: string(), to: map(uint32) })),
    'endpoints of localities that are not named get nothing',
  ),
  failover,
  failoverPriority,
});

/** Istio `ZoneAwareLoadBalancerSetting`. */
export const zoneAwareFields: ObjectType = object({
  enabled: enforced(boolean, 'true unless it says false'),
  failover,
  failoverPriority,
  minClusterSize: enforced(integer(1, 4_294_967_295), 'default 6'),
});
