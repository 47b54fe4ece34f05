import { type CorsDecider, compileCors } from './cors/decide.ts';
import { inboundCorsFilter } from './cors/inbound-filter.ts';
import type { InboundCors, InboundPolicy } from './model/inbound.ts';
import type { Route } from './model/route.ts';
import type { Filter } from './pipeline/filter.ts';
import type { ServerCall } from './pipeline/server-call.ts';
import { compileVirtualHost, type RouteMatcher } from './route/matcher.ts';

/** What a request passes, where VirtualServices of the own services say something of CORS. */
export function corsFilters({ cors = [] }: InboundPolicy): readonly Filter<ServerCall, void>[] {
  return cors.length === 0 ? [] : [inboundCorsFilter(policiesOf(cors))];
}

function policiesOf(all: readonly InboundCors[]): (call: ServerCall) => CorsDecider | undefined {
  const byHost = new Map<string, RouteMatcher>();
  for (const { hosts, virtualHost } of all) {
    const matcher = compileVirtualHost(virtualHost);
    for (const host of hosts) if (!byHost.has(host)) byHost.set(host, matcher);
  }
  const deciders = new WeakMap<Route, CorsDecider>();
  return (call) => {
    const matcher = byHost.get(hostName(call.host));
    const { request } = call;
    const view = {
      method: call.method,
      path: request.url ?? '',
      headers: request.rawHeaders as string[],
      secure: call.connection?.encrypted === true,
      hostHeader: call.host,
      scope: undefined,
    };
    const route = (matcher?.always ?? matcher?.find(view))?.route;
    if (route?.cors === undefined) return undefined;
    let decide = deciders.get(route);
    if (decide === undefined) deciders.set(route, (decide = compileCors(route.cors)));
    return decide;
  };
}

/** Without port and final dot: a server is reached by ports that its services know nothing of. */
function hostName(host: string): string {
  const colon = host.lastIndexOf(':');
  const name = colon > host.lastIndexOf(']') ? host.slice(0, colon) : host;
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase();
}
