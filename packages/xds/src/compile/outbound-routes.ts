import { isDeepStrictEqual } from 'node:util';
import type { HashKey, HeaderEdits, Provenance, Redirect, Route, RouteMatch } from 'inmesh/model';
import type { Route as Message, RouteConfiguration, VirtualHost } from '../proto/envoy/route-config.ts';
import { kindOf, ResourceError } from '../resources.ts';
import type { XdsProfile } from './compile.ts';
import { directOf, redirectOf, unavailable } from './outbound-answers.ts';
import { filtersOf, type ReadFilters } from './outbound-filters.ts';
import { allEdits, headerEditsOf, withoutAuthority } from './outbound-headers.ts';
import type { Remarks } from './outbound-remarks.ts';
import { actionOf } from './outbound-route-action.ts';
import { isCatchAll, matchOf, type ReadMatch } from './outbound-route-match.ts';
import type { RoutesOwner } from './route.ts';

/** A route, and what its clusters want to know of it. */
export interface ReadRoute {
  readonly route: Route;
  readonly hashKeys: readonly HashKey[];
  /** The VirtualService that istiod made it from, where it says so. */
  readonly origin?: string;
}

interface Level {
  readonly headers: HeaderEdits | undefined;
  readonly filters: ReadFilters;
}

/** Reads the virtual hosts of one route configuration. */
export interface RouteReader {
  routesOf(host: VirtualHost, path: string): readonly ReadRoute[];
}

/** What routes are read for. */
export interface RouteReaderContext {
  readonly profile: XdsProfile;
  readonly owner: RoutesOwner;
  readonly remarks: Remarks;
  readonly above: ReadFilters;
}

export function createRouteReader(
  config: RouteConfiguration,
  { above, owner, profile, remarks }: RouteReaderContext,
): RouteReader {
  const ofConfig: Level = {
    headers: headerEditsOf(config, owner.path, remarks),
    filters: filtersOf(config.typed_per_filter_config, above, owner.path, remarks),
  };
  const specificWins = config.most_specific_header_mutations_wins;
  const combine = (specific: HeaderEdits | undefined, general: HeaderEdits | undefined): HeaderEdits | undefined =>
    specificWins ? allEdits(general, specific) : allEdits(specific, general);
  const names = new Map<string, number>();

  return {
    routesOf(host, path) {
      const level: Level = {
        headers: combine(headerEditsOf(host, path, remarks), ofConfig.headers),
        filters: filtersOf(host.typed_per_filter_config, ofConfig.filters, path, remarks),
      };
      const all: ReadRoute[] = [];
      for (const [index, message] of host.routes.entries()) {
        for (const next of oneRoute(message, host, level, `${path}.routes[${index}]`)) {
          const last = all.at(-1);
          const merged = last === undefined ? undefined : mergeRoutes(last, next);
          if (merged === undefined) all.push(next);
          else all[all.length - 1] = merged;
        }
      }
      names.clear();
      return all.map((each) => withName(each, host.name, names));
    },
  };

  function oneRoute(message: Message, host: VirtualHost, level: Level, path: string): readonly ReadRoute[] {
    const match = matchOf(message.match, `${path}.match`, remarks);
    const headers = combine(headerEditsOf(message, path, remarks), level.headers);
    const origin = originOf(message);
    const filters = filtersOf(message.typed_per_filter_config, level.filters, path, remarks);
    const common = {
      name: message.name,
      ...filters,
      provenance: { kind: kindOf(owner.type), namespace: '', name: owner.name, field: path } satisfies Provenance,
    };
    const made = (matches: readonly RouteMatch[], action: Partial<Route>, hashKeys: readonly HashKey[] = []) => ({
      route: { ...common, matches, destinations: [], ...action },
      hashKeys,
      ...(origin === undefined ? {} : { origin }),
    });
    const withHeaders = (): Partial<Route> => {
      const { edits } = withoutAuthority(headers);
      return edits === undefined ? {} : { headers: edits };
    };
    if (message.redirect !== undefined) {
      const redirect = redirectOf(message.redirect, `${path}.redirect`, remarks);
      return spread(match, redirect.path?.prefix === true ? redirect.path.value : undefined, (matches, value) =>
        made(matches, { ...withHeaders(), redirect: withPrefix(redirect, value) }),
      );
    }
    if (message.direct_response !== undefined) {
      const max = config.max_direct_response_body_size_bytes;
      const direct = directOf(message.direct_response, max, `${path}.direct_response`, remarks);
      return spread(match, undefined, (matches) => made(matches, { ...withHeaders(), direct }));
    }
    if (message.route === undefined) {
      const action = message.filter_action !== undefined ? 'filter_action' : 'non_forwarding_action';
      if (message.filter_action === undefined && message.non_forwarding_action === undefined) {
        throw new ResourceError(path, 'needs one of route, redirect, direct_response and non_forwarding_action');
      }
      remarks.ignored(`${path}.${action}`, 'there is nobody to answer: calls are answered with 503');
      return spread(match, undefined, (matches) => made(matches, { direct: unavailable }));
    }
    const { hashKeys, route } = actionOf(
      message.route,
      {
        profile,
        retry: host.retry_policy,
        hedge: host.hedge_policy,
        mirrors:
          host.request_mirror_policies.length > 0 ? host.request_mirror_policies : config.request_mirror_policies,
        headers,
        template: match.template,
      },
      `${path}.route`,
      remarks,
    );
    return spread(match, route.rewrite?.pathPrefix, (matches, value) =>
      made(
        matches,
        value === undefined || route.rewrite === undefined
          ? route
          : { ...route, rewrite: { ...route.rewrite, pathPrefix: value } },
        hashKeys,
      ),
    );
  }
}

/**
 * The routes for a match; none where it takes no request. A prefix that ends between segments is two
 * conditions, `/a` and `/a/`, and what replaces it is then different for each.
 */
function spread(
  { matches }: ReadMatch,
  replacement: string | undefined,
  make: (matches: readonly RouteMatch[], replacement?: string) => ReadRoute,
): readonly ReadRoute[] {
  if (matches === undefined || matches.length === 0) return [];
  const [first, second] = matches;
  if (replacement === undefined) {
    const everything = matches.some((each) => isCatchAll(each));
    return [make(everything ? [] : matches)];
  }
  const separated =
    first?.path?.kind === 'exact' &&
    matches.some(({ path }) => path?.kind === 'prefix' && path.value === `${pathOf(first)}/`);
  if (!separated || second === undefined) {
    return [
      make(
        matches.map((each) => ({ path: { kind: 'prefix', value: '/' }, ...each })),
        replacement,
      ),
    ];
  }
  const exact = matches.filter(({ path }) => path?.kind === 'exact');
  const below = matches.filter(({ path }) => path?.kind === 'prefix');
  return [make(exact, replacement), make(below, replacement.endsWith('/') ? replacement : `${replacement}/`)];
}

function pathOf({ path }: RouteMatch): string {
  return path === undefined || path.kind === 'present' ? '' : path.value;
}

function withPrefix(redirect: Redirect, value: string | undefined): Redirect {
  return value === undefined || redirect.path === undefined ? redirect : { ...redirect, path: { value, prefix: true } };
}

/**
 * One route of two that do the same: istiod makes a route of each entry of `match`, and the rule that
 * they come from is one. Nothing when they are different.
 */
function mergeRoutes(a: ReadRoute, b: ReadRoute): ReadRoute | undefined {
  if (a.route.name !== b.route.name || a.origin !== b.origin || a.route.matches.length === 0) return undefined;
  const { matches: first, provenance: _at, ...one } = a.route;
  const { matches: second, provenance: _other, ...other } = b.route;
  if (!isDeepStrictEqual(one, other) || !isDeepStrictEqual(a.hashKeys, b.hashKeys)) return undefined;
  // What always holds must stay last by itself: whatever it takes in would be lost to explain.
  const matches = second.length === 0 ? [...first, {}] : [...first, ...second];
  return { ...a, route: { ...a.route, matches } };
}

/** `reviews#0` for a rule without a name: its position among those of its VirtualService. */
function withName(read: ReadRoute, host: string, used: Map<string, number>): ReadRoute {
  const { origin = host, route } = read;
  const position = used.get(origin) ?? 0;
  used.set(origin, position + 1);
  const matches = route.matches.map((match, index) => (isPlainPrefix(match) ? match : { index, ...match }));
  return { ...read, route: { ...route, name: route.name === '' ? `${origin}#${position}` : route.name, matches } };
}

function isPlainPrefix({ path, ...others }: RouteMatch): boolean {
  return path?.kind === 'prefix' && path.value === '/' && Object.keys(others).length === 0;
}

/** The VirtualService that istiod made it from. */
function originOf({ metadata }: Message): string | undefined {
  const config = metadata?.filter_metadata.get('istio')?.['config'];
  return typeof config === 'string' ? /\/virtual-service\/([^/]+)$/.exec(config)?.[1] : undefined;
}
