import { compileReplacement } from '../lib/regex.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { isLabel } from './host-syntax.ts';
import { allowsBaggage, baggageMember } from './inmesh-annotations.ts';
import { checkAuthority, checkHeaders } from './istio-header-check.ts';
import { isHeaderPattern } from './istio-headers.ts';
import { checkCors, checkDirectResponse, checkFault, checkMirrors, checkRedirect } from './istio-http-action-check.ts';
import { isClaimHeader } from './istio-http-match.ts';
import { checkRetry } from './istio-retry.ts';
import { checkDestinations, checkGatewayNames, checkLabels, checkRegex } from './istio-rule-checks.ts';
import {
  type HttpMatchSpec,
  type HttpRouteSpec,
  isDelegate,
  type RewriteSpec,
  type StringMatchSpec,
  type VirtualService,
} from './istio-virtual-service.ts';

/** Istio's rules for one `http` rule. */
export function checkHttpRoute(resource: VirtualService, spec: HttpRouteSpec, path: Path, collector: Collector): void {
  checkActions(resource, spec, path, collector);
  spec.match?.forEach((match, index) => void checkMatch(resource, match, [...path, 'match', index], collector));
  checkHeaders(resource, spec.headers, [...path, 'headers'], collector);
  checkCors(resource, spec.corsPolicy, [...path, 'corsPolicy'], collector);
  checkFault(resource, spec.fault, [...path, 'fault'], collector);
  checkMirrors(resource, spec, path, collector);
  checkRedirect(resource, spec, path, collector);
  checkDirectResponse(resource, spec.directResponse, [...path, 'directResponse'], collector);
  checkRetry(resource, spec.retries, [...path, 'retries'], collector);
  checkRewrite(resource, spec.rewrite, [...path, 'rewrite'], collector);
  checkAuthority(resource, spec.rewrite, spec.headers, path, collector);
  const { route = [] } = spec;
  checkDestinations(resource, route, [...path, 'route'], collector);
  for (const [index, { headers }] of route.entries()) {
    checkHeaders(resource, headers, [...path, 'route', index, 'headers'], collector);
  }
}

/** What must not stand beside a redirect, and what beside a direct response. */
const beside = { redirect: ['fault', 'rewrite', 'directResponse'], directResponse: ['fault', 'rewrite'] } as const;

/** One rule does one thing. */
function checkActions(resource: VirtualService, spec: HttpRouteSpec, path: Path, collector: Collector): void {
  const has = (name: keyof HttpRouteSpec): boolean => Object.hasOwn(spec, name);
  const delegates = has('delegate');
  if (delegates && isDelegate(resource)) {
    collector.problem(resource, [...path, 'delegate'], 'must not be there: a delegate does not delegate further');
  } else if (delegates) {
    const others = [...(has('redirect') ? ['redirect'] : []), ...((spec.route ?? []).length > 0 ? ['route'] : [])];
    for (const name of others) {
      collector.problem(resource, [...path, name], 'must not be there beside delegate');
    }
    return;
  }
  const action = has('redirect') ? 'redirect' : has('directResponse') ? 'directResponse' : undefined;
  const routed = (spec.route ?? []).length > 0;
  if (action === undefined && !routed) {
    collector.problem(resource, path, 'needs a route with a destination, a redirect or a directResponse');
  } else if (action !== undefined) {
    const others = [...(routed ? ['route'] : []), ...beside[action].filter(has)];
    for (const name of others) collector.problem(resource, [...path, name], `must not be there beside ${action}`);
  }
  if (has('mirror') && (spec.mirrors ?? []).length > 0) {
    collector.problem(resource, [...path, 'mirrors'], 'must not be there beside mirror');
  }
}

function checkMatch(resource: VirtualService, match: HttpMatchSpec, path: Path, collector: Collector): void {
  // An empty prefix of a path is allowed: it means any path.
  checkRegex(resource, match.uri?.regex, [...path, 'uri', 'regex'], collector);
  for (const field of ['scheme', 'method', 'authority'] as const) {
    checkStringMatch(resource, match[field], [...path, field], collector);
  }
  for (const field of ['headers', 'withoutHeaders', 'queryParams'] as const) {
    for (const [name, spec] of Object.entries(match[field] ?? {})) {
      const at = [...path, field, name];
      if (field !== 'queryParams') checkHeaderName(resource, name, field === 'headers', at, collector);
      // Of a header that must not be there the text `*` means any value.
      if (field === 'withoutHeaders' && spec.regex === '*') continue;
      checkStringMatch(resource, spec, at, collector);
    }
  }
  checkLabels(resource, match.sourceLabels, [...path, 'sourceLabels'], collector);
  checkGatewayNames(resource, match.gateways ?? [], [...path, 'gateways'], collector);
  const { sourceNamespace = '' } = match;
  if (sourceNamespace !== '' && !isLabel(sourceNamespace)) {
    collector.problem(resource, [...path, 'sourceNamespace'], 'must be the name of a namespace', sourceNamespace);
  }
}

const pseudoHeaders: readonly string[] = [':method', ':scheme', ':authority', ':path', ':status'];

function checkHeaderName(
  resource: VirtualService,
  name: string,
  positive: boolean,
  path: Path,
  collector: Collector,
): void {
  if (isHeaderPattern(name) || isClaimHeader(name) || pseudoHeaders.includes(name)) return;
  const member = positive ? baggageMember(name) : undefined;
  if (member !== undefined && allowsBaggage(resource)) return;
  const hint = member === undefined ? '' : '; with the annotation inmesh.dev/baggage: enabled it is a condition';
  collector.problem(resource, path, `must be the name of a header${hint}`, name);
}

function checkStringMatch(
  resource: VirtualService,
  spec: StringMatchSpec | undefined,
  path: Path,
  collector: Collector,
): void {
  if (spec?.prefix === '') collector.problem(resource, [...path, 'prefix'], 'must not be empty', '');
  checkRegex(resource, spec?.regex, [...path, 'regex'], collector);
}

function checkRewrite(resource: VirtualService, spec: RewriteSpec | undefined, path: Path, collector: Collector): void {
  if (spec === undefined) return;
  const { uri = '', authority = '', uriRegexRewrite } = spec;
  if (uri !== '' && uriRegexRewrite !== undefined) {
    collector.problem(resource, path, 'may have only one of uri and uriRegexRewrite');
  } else if (uri === '' && authority === '' && uriRegexRewrite === undefined) {
    collector.problem(resource, path, 'needs a uri, a uriRegexRewrite or an authority');
  } else if (uriRegexRewrite !== undefined) {
    const at = [...path, 'uriRegexRewrite'];
    const { match = '', rewrite = '' } = uriRegexRewrite;
    if (match === '' || rewrite === '') collector.problem(resource, at, 'needs match and rewrite');
    else if (checkRegex(resource, match, [...at, 'match'], collector)) {
      try {
        compileReplacement(match, rewrite);
      } catch (error) {
        collector.problem(resource, [...at, 'rewrite'], (error as Error).message, rewrite);
      }
    }
  }
}
