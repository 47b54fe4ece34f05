import type { ExternalCheck, Fault, LocalRateLimit, Provenance, RbacFilter } from 'inmesh/model';
import type { Any } from '../proto/any.ts';
import { extAuthzSchema } from '../proto/envoy/ext-authz.ts';
import type { HttpConnectionManager, HttpFilter } from '../proto/envoy/http-connection-manager.ts';
import { httpFaultSchema } from '../proto/envoy/http-filters.ts';
import { jwtAuthenticationSchema } from '../proto/envoy/jwt-authn.ts';
import { localRateLimitSchema } from '../proto/envoy/local-ratelimit.ts';
import { httpRbacSchema } from '../proto/envoy/rbac-filters.ts';
import type { Steps } from '../turns.ts';
import { externalAuthorizer, harmlessExtAuthz } from './inbound-ext-authz.ts';
import { harmlessJwt, type ReadTokens, tokenRules } from './inbound-jwt.ts';
import { localRateLimit } from './inbound-limits.ts';
import type { RbacReader } from './inbound-rbac.ts';
import { checkRoutes } from './inbound-routes.ts';
import type { ServedRoutes } from './inbound-served.ts';
import { type ConnectionSettings, connectionSettings } from './inbound-settings.ts';
import { below, cannot, type Place, typeIn, unpackFilter, wrong } from './inbound-unpack.ts';
import { faultOf } from './outbound-filters.ts';
import { createRemarks } from './outbound-remarks.ts';

/** What a chain of HTTP filters says about the requests of one port. */
export interface HttpChain extends ConnectionSettings {
  readonly kind: 'http';
  readonly rbac: readonly RbacFilter[];
  readonly checks: readonly ExternalCheck[];
  readonly tokens: ReadTokens;
  readonly limits: readonly LocalRateLimit[];
  readonly served: ServedRoutes;
  /** Name of the route configuration, where it is a resource of its own. */
  readonly routes: string | undefined;
}

/** Filters that watch, mark or count, and let everything pass: those of Istio's sidecars, and Envoy's. */
const observers: ReadonlySet<string> = new Set([
  'io.istio.http.peer_metadata.Config',
  'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
  'stats.PluginConfig',
  'envoy.extensions.filters.http.wasm.v3.Wasm/istio.stats',
  'envoy.extensions.filters.http.wasm.v3.Wasm/istio.metadata_exchange',
  'envoy.extensions.filters.http.stateful_session.v3.StatefulSession',
]);

const router = 'envoy.extensions.filters.http.router.v3.Router';
const cors = 'envoy.extensions.filters.http.cors.v3.Cors';

/** How a chain is read. */
export interface HttpOptions {
  readonly provenance: Provenance;
  /** Filters may share a name, as those of istiod do; gRFC A39 has each name once. */
  readonly sharedNames: boolean;
  readonly policies: RbacReader;
}

/** The filters of a HttpConnectionManager, in their order. @throws ResourceError for what lets more pass if it is left out */
export function* httpChain(manager: HttpConnectionManager, options: HttpOptions, place: Place): Steps<HttpChain> {
  const filters = activeFilters(manager.http_filters, options, place);
  const tokens = tokensOf(filters);
  const rbac: RbacFilter[] = [];
  const checks: ExternalCheck[] = [];
  const limits: LocalRateLimit[] = [];
  let asked = false;
  let judged = false;
  let fault: Fault | undefined;
  for (const [i, { at, packed, type }] of filters.entries()) {
    const provenance = { ...options.provenance, field: at.path };
    switch (type) {
      case httpRbacSchema.name: {
        // Policies that are asked before tokens are read find no claims.
        const before = filters.slice(i).some((later) => later.type === jwtAuthenticationSchema.name);
        const context = { provenance, payload: before ? undefined : tokens.payload };
        const { rules, shadow, shadowStatPrefix } = yield* options.policies(packed, context, at);
        const next = filters[i + 1];
        const gate = next?.type === extAuthzSchema.name && isGate(next, shadowStatPrefix);
        if (gate && shadow !== undefined) {
          checks.push(checkOf(next, options, prefixOf(next), shadow.policies, judged));
          asked = true;
        } else if (shadow !== undefined) rbac.push({ provenance, shadow });
        if (rules !== undefined) {
          rbac.push({ provenance, rules });
          judged ||= !gate;
        }
        break;
      }
      case extAuthzSchema.name:
        // The one before it was its gate.
        if (!asked) checks.push(checkOf({ at, packed }, options, undefined, undefined, judged));
        asked = false;
        break;
      case jwtAuthenticationSchema.name:
        judged = true;
        break;
      case localRateLimitSchema.name: {
        const config = unpackFilter(localRateLimitSchema, packed, at, { harmless: harmlessLimits });
        const limit = localRateLimit(config, undefined, provenance, at);
        if (limit !== undefined) limits.push(limit);
        break;
      }
      case httpFaultSchema.name: {
        const remarks = createRemarks();
        fault = faultOf(unpackFilter(httpFaultSchema, packed, at), '', remarks);
        for (const { field } of remarks.all) at.note(field.replace(/^\./, ''));
        break;
      }
      default:
    }
  }
  if (checks.some(({ last }) => last === true) && filters.findLastIndex(isJudge) > filters.findLastIndex(isCheck)) {
    throw cannot(place, 'http_filters', 'expected ext_authz before all tokens and policies, or behind all of them');
  }
  if (manager.route_config !== undefined) checkRoutes(manager.route_config, below(place, 'route_config'));
  return {
    kind: 'http',
    rbac,
    checks,
    tokens,
    limits,
    served: {
      profile: options.sharedNames ? 'istio' : 'grpc',
      inline: manager.route_config,
      name: manager.rds?.route_config_name,
      cors: filters.some(({ type }) => type === cors),
      faults: filters.some(({ type }) => type === httpFaultSchema.name),
      fault,
    },
    routes: manager.rds?.route_config_name,
    ...connectionSettings(manager, rbac, place),
  };
}

interface ActiveFilter {
  readonly type: string;
  readonly packed: Any;
  readonly at: Place;
}

const isJudge = ({ type }: ActiveFilter): boolean =>
  type === httpRbacSchema.name || type === jwtAuthenticationSchema.name;
const isCheck = ({ type }: ActiveFilter): boolean => type === extAuthzSchema.name;

const harmlessLimits = [
  'request_headers_to_add_when_not_enforced',
  'response_headers_to_add',
  'stage',
  'vh_rate_limits',
  'local_cluster_rate_limit',
  'always_consume_default_token_bucket',
  'rate_limited_as_resource_exhausted',
  'runtime_key',
];

const known: ReadonlySet<string> = new Set([
  router,
  cors,
  httpRbacSchema.name,
  extAuthzSchema.name,
  jwtAuthenticationSchema.name,
  localRateLimitSchema.name,
  httpFaultSchema.name,
]);

/** Those that do something; the last is the router (gRFC A39). */
function activeFilters(
  all: readonly HttpFilter[],
  { sharedNames }: HttpOptions,
  place: Place,
): readonly ActiveFilter[] {
  const names = new Set<string>();
  const active: ActiveFilter[] = [];
  for (const [i, filter] of all.entries()) {
    const here = below(place, `http_filters[${i}]`);
    const { disabled, is_optional: optional, name, typed_config: packed } = filter;
    if (name === '') throw wrong(here, 'name', 'expected a name');
    if (!sharedNames && names.has(name)) throw wrong(here, 'name', 'expected each name once (gRFC A39)', name);
    names.add(name);
    const at = below(here, 'typed_config');
    const type = packed === undefined ? '' : typeIn(packed);
    if (disabled) {
      here.note('disabled');
      if (i === all.length - 1) throw wrong(here, 'disabled', 'expected a router that is not disabled', true);
      continue;
    }
    if (type === router && i < all.length - 1) throw wrong(here, '', 'expected the router to be the last filter', name);
    if (packed !== undefined && known.has(type)) active.push({ type, packed, at });
    else if (observers.has(type) || observers.has(`${type}/${name}`)) at.note('');
    else if (optional) here.note('');
    else
      throw cannot(here, 'typed_config', 'expected a filter that is known here, or one that is_optional', type || name);
  }
  if (active.at(-1)?.type !== router)
    throw wrong(place, 'http_filters', 'expected the router as the last filter (gRFC A39)');
  return active;
}

function tokensOf(filters: readonly ActiveFilter[]): ReadTokens {
  const [first, second] = filters.filter(({ type }) => type === jwtAuthenticationSchema.name);
  if (second !== undefined) throw cannot(second.at, '', 'expected one filter for tokens');
  if (first === undefined) return { rules: [], payload: undefined };
  return tokenRules(unpackFilter(jwtAuthenticationSchema, first.packed, first.at, { harmless: harmlessJwt }), first.at);
}

/** An ext_authz filter that asks where the shadow rules before it match: how istiod writes CUSTOM policies. */
function isGate({ at, packed }: Pick<ActiveFilter, 'at' | 'packed'>, statPrefix: string): boolean {
  const { filter_enabled_metadata: when } = unpackFilter(extAuthzSchema, packed, at, { harmless: harmlessExtAuthz });
  return (
    when?.filter === 'envoy.filters.http.rbac' &&
    !when.invert &&
    when.path.length === 1 &&
    when.path[0]?.key === `${statPrefix}shadow_effective_policy_id`
  );
}

function prefixOf({ at, packed }: Pick<ActiveFilter, 'at' | 'packed'>): string {
  const { filter_enabled_metadata: when } = unpackFilter(extAuthzSchema, packed, at, { harmless: harmlessExtAuthz });
  const { exact, ignore_case: anyCase, prefix } = when?.value?.string_match ?? {};
  const text = prefix ?? (exact === undefined ? undefined : exact);
  if (text === undefined || anyCase === true) {
    throw cannot(at, 'filter_enabled_metadata.value', 'expected the beginning of names of policies');
  }
  return text;
}

function checkOf(
  { at, packed }: Pick<ActiveFilter, 'at' | 'packed'>,
  options: HttpOptions,
  prefix: string | undefined,
  policies: NonNullable<ExternalCheck['when']> | undefined,
  last: boolean,
): ExternalCheck {
  const provenance = { ...options.provenance, field: at.path };
  const config = unpackFilter(extAuthzSchema, packed, at, { harmless: harmlessExtAuthz });
  if (policies === undefined && config.filter_enabled_metadata !== undefined) {
    throw cannot(at, 'filter_enabled_metadata', 'expected shadow rules of an RBAC filter right before it');
  }
  // Envoy looks at the first policy that matches; with names that all begin so, that is any of them.
  if (config.deny_at_disable?.default_value === true)
    throw cannot(at, 'deny_at_disable', 'cannot be enforced here', true);
  if (policies?.every(({ name }) => name.startsWith(prefix ?? '')) === false) {
    throw cannot(
      at,
      'filter_enabled_metadata.value',
      'expected the beginning of the names of all policies before it',
      prefix,
    );
  }
  return {
    authorizer: externalAuthorizer(config, provenance, at),
    ...(policies === undefined ? {} : { when: policies }),
    ...(last ? { last } : {}),
    provenance,
  };
}
