import type { Any } from '../proto/any.ts';
import { type RouteConfiguration, routeConfigurationSchema } from '../proto/envoy/route-config.ts';
import { ResourceError, type ResourceType } from '../resources.ts';
import type { XdsProfile } from './compile.ts';
import type { ReadFilters } from './outbound-filters.ts';
import { createRemarks, type Remark } from './outbound-remarks.ts';
import { createRouteReader, type ReadRoute } from './outbound-routes.ts';
import { type Read, readerOf } from './reader.ts';

/** One virtual host with the names that it answers to. */
export interface ReadHost {
  readonly name: string;
  readonly domains: readonly string[];
  readonly routes: readonly ReadRoute[];
}

/** A route configuration that can be used. */
export interface ReadRoutes {
  readonly name: string;
  readonly hosts: readonly ReadHost[];
  /** A domain without a port stands for every port. */
  readonly ignorePort: boolean;
  readonly remarks: readonly Remark[];
}

/** Which resource a route configuration is in, and where: '' for one that is a resource itself. */
export interface RoutesOwner {
  readonly type: ResourceType;
  readonly name: string;
  readonly path: string;
}

/** @param above what filters have for routes that say nothing of it. @throws ResourceError for routes that cannot be used */
export function routesOf(
  config: RouteConfiguration,
  profile: XdsProfile,
  owner: RoutesOwner = { type: 'routes', name: config.name, path: '' },
  above: ReadFilters = {},
): ReadRoutes {
  const remarks = createRemarks();
  const reader = createRouteReader(config, { profile, owner, remarks, above });
  const prefix = owner.path === '' ? '' : `${owner.path}.`;
  const seen = new Map<string, string>();
  const hosts = config.virtual_hosts.map((host, index) => {
    const path = `${prefix}virtual_hosts[${index}]`;
    if (host.domains.length === 0) throw new ResourceError(`${path}.domains`, 'must not be empty');
    for (const [at, domain] of host.domains.entries()) checkDomain(domain, `${path}.domains[${at}]`, host.name, seen);
    if (host.require_tls !== 'NONE') {
      remarks.ignored(`${path}.require_tls`, 'the caller is this process itself, and is not redirected');
    }
    const domains = host.domains.map((domain) => domain.toLowerCase());
    return { name: host.name, domains, routes: reader.routesOf(host, path) };
  });
  return { name: config.name, hosts, ignorePort: config.ignore_port_in_host_matching, remarks: remarks.all };
}

function checkDomain(domain: string, path: string, host: string, seen: Map<string, string>): void {
  const stars = domain.split('*').length - 1;
  const isWildcard = stars === 1 && (domain.startsWith('*') || domain.endsWith('*'));
  if (domain === '' || (stars > 0 && !isWildcard)) {
    throw new ResourceError(path, 'expected a name, or one with * at its beginning or its end', { value: domain });
  }
  const key = domain.toLowerCase();
  const other = seen.get(key);
  if (other !== undefined) {
    throw new ResourceError(path, `is a domain of ${JSON.stringify(other)} too: each may be there once`, {
      value: domain,
    });
  }
  seen.set(key, host);
}

/** Readers by the profile: a route that says nothing of time has another one in each. */
const byProfile: Readonly<Record<XdsProfile, (any: Any) => Read<ReadRoutes>>> = {
  istio: readerOf('routes', routeConfigurationSchema, (message) => routesOf(message, 'istio')),
  grpc: readerOf('routes', routeConfigurationSchema, (message) => routesOf(message, 'grpc')),
};

/** Reads a route configuration. @throws ResourceError for one that cannot be used */
export const readRoute: (any: Any) => Read<ReadRoutes> = byProfile.istio;

export function readRouteFor(profile: XdsProfile): (any: Any) => Read<ReadRoutes> {
  return byProfile[profile];
}
