import { inScope } from './authz/rbac.ts';
import { type CorsDecider, compileCors } from './cors/decide.ts';
import { inboundCorsFilter } from './cors/inbound-filter.ts';
import { MeshError } from './errors.ts';
import type { ActiveFaults } from './fault/active.ts';
import { type FaultPlan, planFault } from './fault/decide.ts';
import { inboundFaultFilter } from './fault/inbound-filter.ts';
import type { Clock } from './lib/clock.ts';
import type { Random } from './lib/random.ts';
import type { InboundPolicy, InboundRoutes } from './model/inbound.ts';
import type { Route } from './model/route.ts';
import type { Filter } from './pipeline/filter.ts';
import type { ServerCall } from './pipeline/server-call.ts';
import { domainFinder } from './route/domains.ts';
import { routesOf } from './route/matcher.ts';
import { routable } from './server-routable.ts';

/** What is for a request: its route, and what it is part of. */
interface Found {
  readonly routes: InboundRoutes;
  readonly route: Route | undefined;
}

/** What a request passes, and where. */
export interface RouteFilters {
  readonly filters: readonly Filter<ServerCall, void>[];
  /** Inside of the caller's deadline, which it may shorten. */
  readonly time: readonly Filter<ServerCall, void>[];
}

/**
 * What a request passes, where a control plane has routes for what is served here: faults, then CORS, as Istio orders
 * them, then the time that the route gives.
 */
export function routeFilters(
  { routes = [] }: InboundPolicy,
  parts: { readonly clock: Clock; readonly random: Random; readonly active: ActiveFaults },
): RouteFilters {
  if (routes.length === 0) return { filters: [], time: [] };
  const find = finder(routes);
  const all = routes.flatMap(({ hosts }) => hosts.flatMap(({ virtualHost }) => virtualHost.routes));
  const filters: Filter<ServerCall, void>[] = [];
  if (routes.some(({ fault }) => fault !== undefined) || all.some(({ fault }) => fault !== undefined)) {
    filters.push(inboundFaultFilter({ ...parts, planFor: (call) => planOf(find(call)) }));
  }
  if (all.some(({ cors }) => cors !== undefined)) filters.push(inboundCorsFilter((call) => corsOf(find(call)?.route)));
  const timed = all.some(({ timeoutMs }) => timeoutMs !== undefined);
  return { filters, time: timed ? [timeFilter(parts.clock, find)] : [] };
}

function finder(all: readonly InboundRoutes[]): (call: ServerCall) => Found | undefined {
  const compiled = all.map((routes) => ({
    routes,
    applies: inScope(routes.scope),
    hostFor: domainFinder(routes.hosts.map((host) => ({ ...host, routeOf: routesOf(host.virtualHost) }))),
  }));
  return (call) => {
    for (const { applies, hostFor, routes } of compiled) {
      if (applies(call.localPort)) return { routes, route: hostFor(call.host)?.routeOf(routable(call)) };
    }
    return undefined;
  };
}

const plans = new WeakMap<object, FaultPlan | 'none'>();

function planOf(found: Found | undefined): FaultPlan | undefined {
  if (found === undefined) return undefined;
  const fault = found.route === undefined ? found.routes.fault : found.route.fault;
  if (fault === undefined) return undefined;
  let plan = plans.get(fault);
  if (plan === undefined) plans.set(fault, (plan = planFault(fault) ?? 'none'));
  return plan === 'none' ? undefined : plan;
}

const deciders = new WeakMap<Route, CorsDecider>();

function corsOf(route: Route | undefined): CorsDecider | undefined {
  if (route?.cors === undefined) return undefined;
  let decide = deciders.get(route);
  if (decide === undefined) deciders.set(route, (decide = compileCors(route.cors)));
  return decide;
}

/**
 * The time of a route is that of the handler, as a caller's deadline is: its signal, and the calls that it causes, end
 * with it. An answer that comes too late is not taken from the application.
 */
function timeFilter(clock: Clock, find: (call: ServerCall) => Found | undefined): Filter<ServerCall, void> {
  return (call, next) => {
    const timeoutMs = find(call)?.route?.timeoutMs;
    if (timeoutMs === undefined) return next(call);
    call.deadline = Math.min(call.deadline, call.startedAt + timeoutMs);
    if (call.deadline <= clock.now()) {
      throw new MeshError('ERR_MESH_DEADLINE_EXPIRED', `the route of the request gives it ${timeoutMs} ms`);
    }
    return next(call);
  };
}
