import type { Rewrite, RouteMatch } from '../model/route.ts';
import { pathOnly } from './matcher.ts';

/**
 * The path to send (Istio `HTTPRewrite.uri`). A prefix match has its prefix replaced; exact and
 * regex matches have the whole path replaced; without a path condition the route matched the
 * prefix `/`, so that is what is replaced, as in Envoy. The query stays.
 */
export function rewritePath(target: string, rewrite: Rewrite, match: RouteMatch | undefined): string {
  const { pathPrefix } = rewrite;
  if (pathPrefix === undefined) return target;
  const path = pathOnly(target);
  const query = target.slice(path.length);
  const matched = match?.path;
  if (matched?.kind === 'exact' || matched?.kind === 'regex') return pathPrefix + query;
  const prefix = matched?.kind === 'prefix' ? matched.value : '/';
  return pathPrefix + path.slice(prefix.length) + query;
}
