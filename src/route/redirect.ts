import { compileReplacement } from '../lib/regex.ts';
import { pathOnly } from '../lib/request-target.ts';
import type { Redirect, RouteMatch } from '../model/route.ts';
import { authorityOf, type RoutableRequest, schemeOf } from './request-view.ts';
import { replacePrefix } from './rewrite.ts';

/** Value of `location` for a request that met this match and came to this port. */
export type LocationOf = (request: RoutableRequest, match: RouteMatch | undefined, port: number) => string;

/**
 * Compiles a redirect, once per route. As Istio has Envoy do it: what is not given stays as it was
 * requested, query included, unless the new path brings one. A port is named only when the redirect
 * names one that is not the default of its scheme; otherwise the requested host keeps its port, less
 * a default port when the scheme changes.
 */
export function compileRedirect(redirect: Redirect): LocationOf {
  const newTarget = compileTarget(redirect);
  return (request, match, requestPort) => {
    const before = schemeOf(request);
    const scheme = redirect.scheme ?? before;
    const port = portText(redirect, scheme, requestPort);
    const host = redirect.authority ?? requestedHost(authorityOf(request), before, scheme, port !== '');
    return `${scheme}://${host}${port}${newTarget(request.path, match)}`;
  };
}

/** Where the request itself went: what Envoy says of a direct response whose status is 201 or 3xx. */
export function requestedUrl(request: RoutableRequest): string {
  return `${schemeOf(request)}://${authorityOf(request)}${request.path}`;
}

function compileTarget({ path, pathRegex }: Redirect): (target: string, match: RouteMatch | undefined) => string {
  if (pathRegex !== undefined) {
    const replace = compileReplacement(pathRegex.pattern, pathRegex.substitution);
    return (target) => {
      const old = pathOnly(target);
      return replace(old) + target.slice(old.length);
    };
  }
  if (path === undefined) return (target) => target;
  const { value, prefix } = path;
  if (prefix) return (target, match) => replacePrefix(target, value, match);
  if (value.includes('?')) return () => value;
  return (target) => {
    const query = target.indexOf('?');
    return query === -1 ? value : value + target.slice(query);
  };
}

function portText({ port }: Redirect, scheme: string, requestPort: number): string {
  // `protocol-default` leaves the port out; for Envoy that is the same as not to speak of it.
  if (port === undefined || port === 'protocol-default') return '';
  const number = port === 'request' ? requestPort : port;
  const usual = (scheme === 'http' && number === 80) || (scheme === 'https' && number === 443);
  return usual ? '' : `:${number}`;
}

function requestedHost(authority: string, before: string, scheme: string, replacesPort: boolean): string {
  // The colons inside of the brackets of an IPv6 address are not before a port.
  const colon = authority.startsWith('[') ? authority.lastIndexOf(']:') + 1 : authority.lastIndexOf(':');
  if (colon <= 0) return authority;
  const port = authority.slice(colon);
  const usual = scheme !== before && port === (before === 'https' ? ':443' : ':80');
  return replacesPort || usual ? authority.slice(0, colon) : authority;
}
