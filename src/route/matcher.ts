import { pathOnly } from '../lib/request-target.ts';
import type { Route, VirtualHost } from '../model/route.ts';
import { compileEntry, meets, meetsAll, type RouteChoice, type RouteEntry } from './entry.ts';
import { createPathIndex } from './path-index.ts';
import type { RoutableRequest } from './request-view.ts';

/** Finds the route of a request: the first that matches, in the order of the virtual host. */
export interface RouteMatcher {
  /** What every request gets; present when nothing about a request matters. */
  readonly always: RouteChoice | undefined;
  find(request: RoutableRequest): RouteChoice | undefined;
}

/** From here on an index over paths costs less than asking every entry. */
const worthAnIndex = 8;

/** Compiles a virtual host once. */
export function compileVirtualHost(host: VirtualHost): RouteMatcher {
  const entries = compileEntries(host);
  const [first] = entries;
  if (first !== undefined && meetsAll(first)) {
    const always = first.choice;
    return { always, find: () => always };
  }
  const find = entries.length < worthAnIndex ? inOrder(entries) : createPathIndex(entries);
  return { always: undefined, find: (request) => find(request, pathOnly(request.path)) };
}

/** {@link compileVirtualHost}, for those who want to know the rule and not where it leads. */
export function routesOf(host: VirtualHost): (request: RoutableRequest) => Route | undefined {
  const { find } = compileVirtualHost(host);
  return (request) => find(request)?.route;
}

function compileEntries(host: VirtualHost): readonly RouteEntry[] {
  const entries: RouteEntry[] = [];
  for (const route of host.routes) {
    for (const match of route.matches.length === 0 ? [undefined] : route.matches) {
      const entry = compileEntry(route, match);
      entries.push(entry);
      // What stands behind it can never be reached.
      if (meetsAll(entry)) return entries;
    }
  }
  return entries;
}

function inOrder(entries: readonly RouteEntry[]) {
  return (request: RoutableRequest, path: string): RouteChoice | undefined => {
    for (const entry of entries) {
      if ((entry.path === undefined || entry.path(path)) && meets(entry, request)) return entry.choice;
    }
    return undefined;
  };
}
