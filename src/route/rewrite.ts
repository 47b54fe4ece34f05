import { compileReplacement } from '../lib/regex.ts';
import { pathOnly } from '../lib/request-target.ts';
import type { Rewrite, RouteMatch } from '../model/route.ts';

/** The path to send for a request target that met this match. */
export type PathRewriter = (target: string, match: RouteMatch | undefined) => string;

/** Compiles what Istio `HTTPRewrite` says about the path, once per route; nothing when it says nothing. */
export function compilePathRewrite({ pathPrefix, pathRegex }: Rewrite): PathRewriter | undefined {
  if (pathRegex !== undefined) {
    const replace = compileReplacement(pathRegex.pattern, pathRegex.substitution);
    return (target) => {
      const path = pathOnly(target);
      return rooted(replace(path)) + target.slice(path.length);
    };
  }
  if (pathPrefix === undefined) return undefined;
  return (target, match) => rooted(replacePrefix(target, pathPrefix, match));
}

/**
 * A prefix match has its prefix replaced; exact and regex matches have the whole path replaced;
 * without a path condition the route matched the prefix `/`, so that is what is replaced, as in
 * Envoy. The query stays.
 */
export function replacePrefix(target: string, replacement: string, match: RouteMatch | undefined): string {
  const path = pathOnly(target);
  const query = target.slice(path.length);
  const matched = match?.path;
  if (matched?.kind === 'exact' || matched?.kind === 'regex') return replacement + query;
  const prefix = matched?.kind === 'prefix' ? matched.value : '/';
  return replacement + path.slice(prefix.length) + query;
}

/** A target in HTTP/1.1 begins with a slash; what a rewrite makes need not. */
function rooted(target: string): string {
  return target.startsWith('/') ? target : `/${target}`;
}
