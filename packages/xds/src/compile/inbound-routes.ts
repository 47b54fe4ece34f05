import type { Any } from '../proto/any.ts';
import { corsPolicySchema, httpFaultSchema, statefulSessionPerRouteSchema } from '../proto/envoy/http-filters.ts';
import type { RouteConfiguration } from '../proto/envoy/route-config.ts';
import { below, cannot, type Place, typeIn } from './inbound-unpack.ts';

/** What routes may say of filters without anybody being let in by it. */
const harmless: ReadonlySet<string> = new Set([
  corsPolicySchema.name,
  httpFaultSchema.name,
  statefulSessionPerRouteSchema.name,
]);

/**
 * The routes of what is served here. The application routes for itself, so that they have no effect; but what they
 * say of policies, tokens and limits would be lost, and is refused.
 */
export function checkRoutes(config: RouteConfiguration, place: Place): void {
  checkFilters(config.typed_per_filter_config, place);
  for (const [i, host] of config.virtual_hosts.entries()) {
    const at = below(place, `virtual_hosts[${i}]`);
    checkFilters(host.typed_per_filter_config, at);
    if (host.require_tls !== 'NONE') throw cannot(at, 'require_tls', 'expected NONE', host.require_tls);
    for (const [j, route] of host.routes.entries()) {
      const here = below(at, `routes[${j}]`);
      checkFilters(route.typed_per_filter_config, here);
      for (const action of ['redirect', 'direct_response'] as const) if (route[action] !== undefined) here.note(action);
      const { route: forward } = route;
      if ((forward?.request_mirror_policies.length ?? 0) > 0) here.note('route.request_mirror_policies');
      if (forward?.weighted_clusters !== undefined) here.note('route.weighted_clusters');
    }
  }
}

function checkFilters(filters: ReadonlyMap<string, Any | undefined>, place: Place): void {
  for (const [name, config] of filters) {
    const field = `typed_per_filter_config[${JSON.stringify(name)}]`;
    const type = config === undefined ? '' : typeIn(config);
    if (!harmless.has(type)) {
      throw cannot(
        place,
        field,
        'cannot be enforced for some routes only, since the application routes for itself',
        type,
      );
    }
    if (type === statefulSessionPerRouteSchema.name) place.note(field);
  }
}
