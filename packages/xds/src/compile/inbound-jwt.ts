import type { JwtKeys, JwtRule } from 'inmesh/model';
import type { DataSource } from '../proto/envoy/base.ts';
import type { JwtAuthentication, JwtProvider, JwtRequirement, RequirementRule } from '../proto/envoy/jwt-authn.ts';
import { below, cannot, type Place, wrong } from './inbound-unpack.ts';

/** What a jwt_authn filter comes to. */
export interface ReadTokens {
  readonly rules: readonly JwtRule[];
  /** Name of the metadata under which policies find the claims; nothing when no token is read. */
  readonly payload: string | undefined;
}

/** Only what caches and fetches is left unread in a filter for tokens. */
export const harmlessJwt: readonly string[] = [
  'jwt_cache_config',
  'async_fetch',
  'retry_policy',
  'clear_route_cache',
  'header_in_metadata',
  'failed_status_in_metadata',
  'strip_failure_response',
];

/**
 * Envoy's jwt_authn filter: one requirement for all requests, made of providers whose tokens may be missing or not.
 * That is what istiod writes; other trees are refused.
 */
export function tokenRules(config: JwtAuthentication, place: Place): ReadTokens {
  const required = new Map<string, boolean>();
  const [rule, ...others] = config.rules;
  if (others.length > 0) throw cannot(place, 'rules', 'expected one rule for all requests', config.rules.length);
  if (rule !== undefined) {
    const at = below(place, 'rules[0]');
    checkMatch(rule, at);
    const requirement =
      rule.requirement_name === undefined ? rule.requires : config.requirement_map.get(rule.requirement_name);
    if (rule.requirement_name !== undefined && requirement === undefined) {
      throw wrong(at, 'requirement_name', 'expected a name of requirement_map', rule.requirement_name);
    }
    if (requirement !== undefined) collect(requirement, required, below(at, 'requires'));
  }
  if (!config.bypass_cors_preflight && required.size > 0) place.note('bypass_cors_preflight');
  const payloads = new Set<string>();
  const rules = [...required].map(([name, isRequired]): JwtRule => {
    const provider = config.providers.get(name);
    const at = below(place, `providers[${JSON.stringify(name)}]`);
    if (provider === undefined) throw wrong(at, '', 'is required, and is not there');
    if (provider.payload_in_metadata !== '') payloads.add(provider.payload_in_metadata);
    return { ...jwtRule(provider, at), ...(isRequired ? { required: true } : {}) };
  });
  if (payloads.size > 1) {
    throw cannot(place, 'providers', 'expected one payload_in_metadata for all providers', [...payloads]);
  }
  const [payload] = payloads;
  return { rules: rules.sort((a, b) => (a.issuer < b.issuer ? -1 : a.issuer > b.issuer ? 1 : 0)), payload };
}

function checkMatch({ match }: RequirementRule, place: Place): void {
  const all = match?.prefix === '/' && match.headers.length === 0 && match.query_parameters.length === 0;
  if (!all || match.runtime_fraction !== undefined || match.grpc !== undefined || match.dynamic_metadata.length > 0) {
    throw cannot(place, 'match', 'expected the prefix /: a rule for all requests');
  }
}

/** `true`: a token of this provider must be there. */
type Required = Map<string, boolean>;

function collect(requirement: JwtRequirement, to: Required, place: Place): void {
  const { allow_missing, provider_name: provider, requires_all: all, requires_any: any } = requirement;
  if (provider !== undefined) return void to.set(provider, true);
  if (allow_missing !== undefined) return;
  if (all !== undefined) {
    for (const [i, each] of all.requirements.entries())
      collect(each, to, below(place, `requires_all.requirements[${i}]`));
    return;
  }
  if (any === undefined) throw cannot(place, '', 'expected provider_name, allow_missing, requires_any or requires_all');
  collectAny(any.requirements, to, below(place, 'requires_any'));
}

/** Either the tokens of some providers, or none at all: istiod's two forms. */
function collectAny(requirements: readonly JwtRequirement[], to: Required, place: Place): void {
  if (requirements.length === 0) throw wrong(place, 'requirements', 'expected at least one');
  const providers: string[] = [];
  let may = false;
  for (const [i, each] of requirements.entries()) {
    const inner: Required = new Map();
    if (each.allow_missing !== undefined) may = true;
    else if (each.provider_name !== undefined) providers.push(each.provider_name);
    else if (each.requires_all !== undefined) {
      // All that may be missing, each by itself: a token that is there has to be good.
      collect(each, inner, below(place, `requirements[${i}]`));
      if ([...inner.values()].includes(true))
        throw cannot(place, `requirements[${i}]`, 'expected tokens that may be missing');
      providers.push(...inner.keys());
      may = true;
    } else throw cannot(place, `requirements[${i}]`, 'expected a provider, allow_missing, or all of such');
  }
  if (!may && providers.length > 1) {
    throw cannot(
      place,
      '',
      'expected allow_missing as well: a token of any one of several providers cannot be demanded',
    );
  }
  for (const name of providers) if (to.get(name) !== true) to.set(name, !may);
}

function jwtRule(provider: JwtProvider, place: Place): JwtRule {
  if (provider.require_expiration) {
    throw cannot(place, 'require_expiration', 'is a setting of this process (tokenExpiry), not of one provider', true);
  }
  if (provider.pad_forward_payload_header) place.note('pad_forward_payload_header');
  if (provider.clock_skew_seconds !== 0 && provider.clock_skew_seconds !== 60) place.note('clock_skew_seconds');
  const {
    forward_payload_header: payloadHeader,
    normalize_payload_in_metadata: normalize,
    remote_jwks: remote,
  } = provider;
  return {
    issuer: provider.issuer,
    audiences: provider.audiences,
    keys: keysOf(provider, place),
    fromHeaders: provider.from_headers.map(({ name, value_prefix }) => ({
      name: name.toLowerCase(),
      prefix: value_prefix,
    })),
    fromParams: provider.from_params,
    fromCookies: provider.from_cookies,
    ...(payloadHeader === '' ? {} : { outputPayloadToHeader: payloadHeader.toLowerCase() }),
    outputClaimToHeaders: provider.claim_to_headers.map(({ claim_name, header_name }) => ({
      header: header_name.toLowerCase(),
      claim: claim_name,
    })),
    forwardOriginalToken: provider.forward,
    timeoutMs: remote?.http_uri?.timeout ?? 5_000,
    spaceDelimitedClaims: (normalize?.space_delimited_claims ?? []).filter(
      (claim) => claim !== 'scope' && claim !== 'permission',
    ),
  };
}

function keysOf({ local_jwks: local, remote_jwks: remote }: JwtProvider, place: Place): JwtKeys {
  if (local !== undefined) return { kind: 'inline', jwks: textOf(local, below(place, 'local_jwks')) };
  const uri = remote?.http_uri?.uri ?? '';
  if (uri === '') throw wrong(place, '', 'expected local_jwks, or remote_jwks with a URI');
  return { kind: 'uri', uri };
}

function textOf({ inline_bytes: bytes, inline_string: text }: DataSource, place: Place): string {
  if (text !== undefined) return text;
  if (bytes !== undefined) return Buffer.from(bytes).toString('utf8');
  throw cannot(place, '', 'expected inline_string or inline_bytes: control planes name no files here');
}
