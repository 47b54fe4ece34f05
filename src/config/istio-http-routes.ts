import type { RetryPolicy, Route, RouteMatch, SkippedRule } from '../model/route.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Collector } from './collector.ts';
import type { HttpRule } from './delegates.ts';
import { formatPath } from './document.ts';
import type { RuleExtensions } from './inmesh-annotations.ts';
import { compileHeaders, mergeEdits } from './istio-headers.ts';
import {
  type ClusterOf,
  compileCors,
  compileDestinations,
  compileDirectResponse,
  compileFault,
  compileMirrors,
  compileRedirect,
  compileRewrite,
} from './istio-http-actions.ts';
import { compileHttpMatch, isCatchAll, whyNeverHttp } from './istio-http-match.ts';
import { compileRetry } from './istio-retry.ts';
import type { CallerContext, DestinationSpec, HttpMatchSpec, HttpRouteSpec } from './istio-virtual-service.ts';
import { keepingEndpoint } from './retry-endpoints.ts';
import { durationMs } from './values.ts';

/** What rules need to know of the world around them. */
export interface HttpRouteContext {
  readonly caller: CallerContext;
  /** For rules without `retries`: the mesh-wide default; nothing when that is no retries. */
  readonly defaultRetry: RetryPolicy | undefined;
  readonly clusterOf: (rule: HttpRule) => ClusterOf;
  /** Do retries of a route to this destination alone go to the same endpoint again? */
  readonly keepsEndpoint: (destination: DestinationSpec) => boolean;
  /** What the annotations of the resource say of a rule. */
  readonly extensionsOf: (rule: HttpRule) => RuleExtensions;
  /**
   * Routes that were made of the same rules for another port of the same caller. Most are the same here: what can be is
   * shared, as a large mesh serves each host on two ports. Routes that are made are added.
   */
  readonly elsewhere: Map<HttpRule, Route>;
}

export interface CompiledRules {
  readonly routes: readonly Route[];
  readonly skipped: readonly SkippedRule[];
}

/**
 * The routes for one caller and port, in order. Rules that cannot apply are left out, and so is what stands behind a
 * condition that holds for every request, as in Istio.
 */
export function compileHttpRules(
  rules: readonly HttpRule[],
  context: HttpRouteContext,
  collector: Collector,
): CompiledRules {
  const routes: Route[] = [];
  const skipped: SkippedRule[] = [];
  let everything: string | undefined;
  for (const rule of rules) {
    const name = nameOf(rule);
    const skip = (reason: string): void => {
      skipped.push({ name, reason, provenance: provenanceOf(rule, collector) });
    };
    if (everything !== undefined) {
      skip(`${everything} matches every request before it`);
      continue;
    }
    const twin = context.elsewhere.get(rule);
    if (twin !== undefined && !isForOnePort(rule.spec)) {
      routes.push(adaptRoute(twin, rule.spec, context.clusterOf(rule)));
      if (takesEverything(twin)) everything = name;
      continue;
    }
    const { matches, reasons } = matchesOf(rule.spec.match ?? [], context.caller);
    if (matches === undefined) {
      skip(reasons.join('; '));
      continue;
    }
    const route = compileRule(rule, name, matches, context, collector);
    context.elsewhere.set(rule, route);
    routes.push(route);
    if (takesEverything(route)) everything = name;
  }
  return { routes, skipped };
}

function takesEverything({ matches }: Route): boolean {
  return matches.length === 0 || matches.some(isCatchAll);
}

/** Does the port of the request decide more than where a destination without a port leads? */
function isForOnePort({ match = [], redirect }: HttpRouteSpec): boolean {
  return redirect?.derivePort === 'FROM_REQUEST_PORT' || match.some(({ port = 0 }) => port !== 0);
}

/** The same route on another port; the very same one unless a destination leads elsewhere there. */
function adaptRoute(twin: Route, spec: HttpRouteSpec, clusterOf: ClusterOf): Route {
  if (twin.redirect !== undefined || twin.direct !== undefined) return twin;
  const destinations = compileDestinations(spec.route ?? [], clusterOf, twin.rewrite?.authority === undefined);
  const mirrors = compileMirrors(spec, clusterOf);
  const isSame =
    destinations.every(({ cluster }, index) => cluster === twin.destinations[index]?.cluster) &&
    mirrors.every(({ cluster }, index) => cluster === twin.mirrors?.[index]?.cluster);
  return isSame ? twin : { ...twin, destinations, ...(mirrors.length === 0 ? {} : { mirrors }) };
}

/** The entries that may hold, up to the first that always does; none: no condition at all; absent: it never holds. */
function matchesOf(
  specs: readonly HttpMatchSpec[],
  caller: CallerContext,
): { readonly matches: readonly RouteMatch[] | undefined; readonly reasons: readonly string[] } {
  const reasons: string[] = [];
  const matches: RouteMatch[] = [];
  for (const [index, spec] of specs.entries()) {
    const never = whyNeverHttp(spec, caller);
    if (never !== undefined) reasons.push(`match[${index}]: ${never}`);
    else {
      const match = compileHttpMatch(spec, index);
      matches.push(match);
      if (isCatchAll(match)) break;
    }
  }
  if (specs.length > 0 && matches.length === 0) return { matches: undefined, reasons };
  const [first] = matches;
  const plain = first !== undefined && isCatchAll(first) && first.name === undefined && first.statPrefix === undefined;
  // Without room for more: there may be very many of them.
  return { matches: plain ? [] : matches.slice(), reasons };
}

function compileRule(
  rule: HttpRule,
  name: string,
  matches: readonly RouteMatch[],
  context: HttpRouteContext,
  collector: Collector,
): Route {
  const { spec } = rule;
  const { fault: faults, hedge, perTryIdleMs, sticky } = context.extensionsOf(rule);
  const { edits, authority } = compileHeaders(spec.headers);
  const fault = compileFault(spec.fault ?? {}, faults);
  const common = {
    name,
    ...(edits === undefined ? {} : { headers: edits }),
    ...(fault === undefined ? {} : { fault }),
    ...(spec.corsPolicy === undefined ? {} : { cors: compileCors(spec.corsPolicy) }),
    provenance: provenanceOf(rule, collector),
  };
  // The order counts where a delegate inherits an action from its root.
  if (spec.redirect !== undefined) {
    const redirect = compileRedirect(spec.redirect, context.caller.port);
    const all = redirect.path?.prefix === true ? withPath(matches) : matches;
    return { ...common, matches: all, destinations: [], redirect };
  }
  if (spec.directResponse !== undefined) {
    return { ...common, matches, destinations: [], direct: compileDirectResponse(spec.directResponse) };
  }
  const clusterOf = context.clusterOf(rule);
  const { route = [] } = spec;
  const only = route.length === 1 ? compileHeaders(route[0]?.headers) : {};
  const merged = mergeEdits(edits, only.edits);
  const rewrite = compileRewrite(spec.rewrite, authority ?? only.authority);
  const timeoutMs = durationMs(spec.timeout);
  const retry = compileRetries(spec, context);
  const mirrors = compileMirrors(spec, clusterOf);
  return {
    ...common,
    matches: rewrite?.pathPrefix === undefined ? matches : withPath(matches),
    destinations: compileDestinations(route, clusterOf, rewrite?.authority === undefined),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(perTryIdleMs === undefined ? {} : { perTryIdleMs }),
    ...(retry === undefined ? {} : { retry }),
    ...(hedge === undefined ? {} : { hedge }),
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(merged === undefined ? {} : { headers: merged }),
    ...(mirrors.length === 0 ? {} : { mirrors }),
    ...(sticky === undefined ? {} : { sticky }),
  };
}

/** As Istio: of a route that names several destinations the retries are not bound to the endpoint of a key. */
function compileRetries({ retries, route = [] }: HttpRouteSpec, context: HttpRouteContext): RetryPolicy | undefined {
  const retry = retries === undefined ? context.defaultRetry : compileRetry(retries);
  const [only] = route;
  if (retry === undefined || only === undefined || route.length > 1) return retry;
  return context.keepsEndpoint(only.destination) ? keepingEndpoint(retry) : retry;
}

/** Envoy's match for "any path" is the prefix `/`, and that is what replacing the prefix then replaces. */
function withPath(matches: readonly RouteMatch[]): readonly RouteMatch[] {
  const path: StringMatch = { kind: 'prefix', value: '/' };
  return matches.length === 0 ? [{ path }] : matches.map((match) => ({ path, ...match }));
}

/** Name for people; the Istio name of the route, or `reviews#2`. */
function nameOf({ spec, resource, index }: HttpRule): string {
  return spec.name === undefined || spec.name === '' ? `${resource.name}#${index}` : spec.name;
}

function provenanceOf({ resource, path }: HttpRule, collector: Collector): NonNullable<Route['provenance']> {
  return { ...collector.at(resource, path), field: formatPath(path.slice(1)) };
}
