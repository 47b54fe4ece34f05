import type { Fault, InboundRoutes, Route } from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import { unpack } from '../proto/any.ts';
import { type RouteConfiguration, routeConfigurationSchema } from '../proto/envoy/route-config.ts';
import { problemOf } from '../resources.ts';
import type { XdsProfile } from './compile.ts';
import { type ReadRoutes, type RoutesOwner, routesOf } from './route.ts';

/** What filters of a chain do by the routes of a request. */
export interface ServedRoutes {
  readonly profile: XdsProfile;
  /** Those in the listener itself. */
  readonly inline: RouteConfiguration | undefined;
  /** Name of those that are a resource of their own. */
  readonly name: string | undefined;
  /** Whether there is a filter for CORS; without one routes say it in vain. */
  readonly cors: boolean;
  /** The same for faults, and what it has for requests whose route says nothing. */
  readonly faults: boolean;
  readonly fault: Fault | undefined;
}

/** What has no effect of the routes that something is done by. */
export interface UnservedRoutes {
  /** Name of the resource that they are; nothing where they are in the listener. */
  readonly name: string | undefined;
  /** Path from the routes on; '' for all of them. */
  readonly field: string;
  readonly status: 'approximated' | 'ignored';
  readonly note: string;
  readonly warning?: true;
}

/**
 * What routes say that is done here; nothing where that is nothing, or where they cannot be read.
 *
 * @param tell is told of what they say in vain
 */
export function servedRoutes(
  { cors, fault, faults, inline, name, profile }: ServedRoutes,
  all: ReadonlyMap<string, Any>,
  tell: (unserved: UnservedRoutes) => void,
): readonly Omit<InboundRoutes, 'scope'>[] {
  const owner: RoutesOwner = { type: 'routes', name: name ?? inline?.name ?? '', path: '' };
  const any = name === undefined ? undefined : all.get(name);
  const above = fault === undefined ? {} : { fault };
  let read: ReadRoutes | undefined;
  try {
    const config = inline ?? (any && unpack(routeConfigurationSchema, any));
    read = config && routesOf(config, profile, owner, above);
  } catch (error) {
    // The application routes for itself: what cannot be read is only missed here, and nobody is let in by that.
    const { field, message } = problemOf('routes', owner.name, error);
    const note = `${message}: no faults, CORS and times of these routes`;
    tell({ name, field, status: 'ignored', note, warning: true });
  }
  for (const { field, note, status } of read?.remarks ?? [])
    if (field.includes('typed_per_filter_config[')) tell({ name, field, status, note });
  const slim = (route: Route): Route => ({
    name: route.name,
    matches: route.matches,
    destinations: [],
    ...(cors && route.cors !== undefined ? { cors: route.cors } : {}),
    ...(faults && route.fault !== undefined ? { fault: route.fault } : {}),
    ...(route.timeoutMs === undefined ? {} : { timeoutMs: route.timeoutMs }),
    ...(route.provenance === undefined ? {} : { provenance: route.provenance }),
  });
  const hosts = (read?.hosts ?? []).map(({ domains, name: host, routes }) => ({
    domains,
    virtualHost: { name: host, routes: routes.map(({ route }) => slim(route)) },
  }));
  const says = hosts.some(({ virtualHost }) =>
    virtualHost.routes.some((route) => (route.cors ?? route.fault ?? route.timeoutMs) !== undefined),
  );
  if (!says && fault === undefined) return [];
  return [{ hosts, ...(fault === undefined ? {} : { fault }) }];
}
