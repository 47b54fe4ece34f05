import { type HeaderList, headerValue } from '../lib/header-list.ts';
import type { Route, RouteMatch, VirtualHost } from '../model/route.ts';
import { compileStringMatch } from '../model/string-match.ts';

/** What route conditions look at. */
export interface RoutableRequest {
  readonly path: string;
  readonly headers: HeaderList;
}

/** The route that a request takes, and the path condition that it met (for prefix rewrites). */
export interface RouteChoice {
  readonly route: Route;
  readonly match: RouteMatch | undefined;
}

export type RouteMatcher = (request: RoutableRequest) => RouteChoice | undefined;

/** Compiles a virtual host once; matching then goes through the routes in order, first match wins. */
export function compileVirtualHost(host: VirtualHost): RouteMatcher {
  const compiled = host.routes.map(compileRoute);
  const [only] = host.routes;
  if (host.routes.length === 1 && only !== undefined && only.matches.length === 0) {
    const choice: RouteChoice = { route: only, match: undefined };
    return () => choice;
  }
  return (request) => {
    for (const matchRoute of compiled) {
      const choice = matchRoute(request);
      if (choice !== undefined) return choice;
    }
    return undefined;
  };
}

function compileRoute(route: Route): RouteMatcher {
  if (route.matches.length === 0) {
    const choice: RouteChoice = { route, match: undefined };
    return () => choice;
  }
  const matches = route.matches.map((match) => {
    const choice: RouteChoice = { route, match };
    return { choice, test: compileMatch(match) };
  });
  return (request) => {
    for (const { choice, test } of matches) if (test(request)) return choice;
    return undefined;
  };
}

function compileMatch(match: RouteMatch): (request: RoutableRequest) => boolean {
  const path = match.path === undefined ? undefined : compileStringMatch(match.path, match.pathIgnoreCase);
  const headers = (match.headers ?? []).map((header) => ({
    name: header.name,
    test: compileStringMatch(header.match),
  }));
  return (request) => {
    if (path !== undefined && !path(pathOnly(request.path))) return false;
    for (const { name, test } of headers) {
      const value = headerValue(request.headers, name);
      if (value === undefined || !test(value)) return false;
    }
    return true;
  };
}

/** The path without query and fragment. */
export function pathOnly(target: string): string {
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === 0x3f || code === 0x23) return target.slice(0, i);
  }
  return target;
}
