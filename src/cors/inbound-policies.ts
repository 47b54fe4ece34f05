import type { InboundCors } from '../model/inbound.ts';
import type { Route, VirtualHost } from '../model/route.ts';
import { type CorsDecider, compileCors } from './decide.ts';

/**
 * Finds the policy of a request among those of the services of this workload: by the host that it names, then by the
 * rule that it matches.
 *
 * @param routesOf finds the rule of a virtual host that is for a request
 */
export function inboundCorsPolicies<R extends { readonly hostHeader: string }>(
  all: readonly InboundCors[],
  routesOf: (virtualHost: VirtualHost) => (request: R) => Route | undefined,
): (request: R) => CorsDecider | undefined {
  const byHost = new Map<string, (request: R) => Route | undefined>();
  for (const { hosts, virtualHost } of all) {
    const find = routesOf(virtualHost);
    for (const host of hosts) if (!byHost.has(host)) byHost.set(host, find);
  }
  const deciders = new WeakMap<Route, CorsDecider>();
  return (request) => {
    const route = byHost.get(hostName(request.hostHeader))?.(request);
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
