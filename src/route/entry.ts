import type { Route, RouteMatch } from '../model/route.ts';
import type { StringPredicate } from '../model/string-match.ts';
import { type Condition, compileConditions, compilePath, holds } from './conditions.ts';
import type { RoutableRequest } from './request-view.ts';

/** The route that a request takes, and the match that it met (for prefix rewrites). */
export interface RouteChoice {
  readonly route: Route;
  readonly match: RouteMatch | undefined;
}

/** One `match` entry of one route, compiled. */
export interface RouteEntry {
  readonly choice: RouteChoice;
  /** Nothing: any path. */
  readonly path: StringPredicate | undefined;
  readonly conditions: readonly Condition[];
}

const none: readonly Condition[] = [];

/** `match` is absent for a route that every request may take. */
export function compileEntry(route: Route, match: RouteMatch | undefined): RouteEntry {
  const choice: RouteChoice = { route, match };
  if (match === undefined) return { choice, path: undefined, conditions: none };
  return { choice, path: compilePath(match), conditions: compileConditions(match) };
}

/** Does every request meet it? */
export function meetsAll({ path, conditions }: RouteEntry): boolean {
  return path === undefined && conditions.length === 0;
}

/** All conditions besides the path. */
export function meets({ conditions }: RouteEntry, request: RoutableRequest): boolean {
  for (const condition of conditions) if (!holds(condition, request)) return false;
  return true;
}
