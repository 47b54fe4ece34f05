import { whyNeverFetched } from '../lib/special-addresses.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import { schemeOf } from './go-url.ts';
import type { Resource } from './resource.ts';
import { type Targets, validateTargets } from './validate-targets.ts';

/** One of the `jwtRules`. */
export interface JwtRuleSpec {
  readonly issuer?: string;
  readonly audiences?: readonly string[];
  readonly jwksUri?: string;
  readonly jwks_uri?: string;
  readonly jwks?: string;
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix?: string }[];
  readonly fromParams?: readonly string[];
  readonly fromCookies?: readonly string[];
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[];
  readonly forwardOriginalToken?: boolean;
  readonly timeout?: string;
  readonly spaceDelimitedClaims?: readonly string[];
  readonly presence?: 'OPTIONAL' | 'REQUIRED';
}

export interface RequestAuthenticationBody {
  readonly spec?: Targets & {
    readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly jwtRules?: readonly JwtRuleSpec[];
  };
}

/** The rules of Istio's webhook for a RequestAuthentication. */
export function validateRequestAuthentication(
  resource: Resource<RequestAuthenticationBody>,
  collector: Collector,
): void {
  const { spec = {} } = resource.body;
  validateTargets(resource, spec, collector);
  for (const [index, rule] of (spec.jwtRules ?? []).entries()) {
    validateRule(rule, resource, ['spec', 'jwtRules', index], collector);
  }
}

function validateRule(rule: JwtRuleSpec, resource: Resource, path: Path, collector: Collector): void {
  const { issuer = '', jwks = '' } = rule;
  const name = rule.jwksUri === undefined ? 'jwks_uri' : 'jwksUri';
  const uri = rule[name] ?? '';
  if (issuer === '' && uri === '') collector.problem(resource, path, 'needs an issuer or a jwksUri');
  if (uri !== '') {
    const scheme = schemeOf(uri);
    if (scheme !== 'http' && scheme !== 'https') {
      collector.problem(resource, [...path, name], 'must be a URL of the scheme http or https', uri);
    }
    const never = whyNeverFetched(uri);
    if (never !== undefined) collector.refuse(resource, [...path, name], `must be elsewhere: ${never}`, uri);
  }
  const wrong = jwks === '' ? undefined : wrongKeySet(jwks);
  if (wrong !== undefined) collector.problem(resource, [...path, 'jwks'], `must be a JSON Web Key Set: ${wrong}`);
}

/** The members that a key of a type cannot do without (RFC 7518 section 6). */
const members: Readonly<Record<string, readonly string[]>> = {
  RSA: ['n', 'e'],
  EC: ['crv', 'x', 'y'],
  OKP: ['crv', 'x'],
  oct: ['k'],
};

/** What is wrong with a key set (RFC 7517), or with a key alone; nothing when it can be read. */
export function wrongKeySet(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  if (!isRecord(value)) return 'it is not an object';
  const keys = Object.hasOwn(value, 'keys') ? value['keys'] : [value];
  if (keys === null) return undefined;
  if (!Array.isArray(keys)) return 'keys is not a list';
  for (const key of keys) {
    if (!isRecord(key)) return 'a key is not an object';
    const { kty } = key;
    const needed = typeof kty === 'string' && Object.hasOwn(members, kty) ? members[kty] : undefined;
    if (needed === undefined) return `a key has the type ${JSON.stringify(kty) ?? 'undefined'}`;
    const missing = needed.find(
      (member) => !Object.hasOwn(key, member) || !(member === 'crv' ? isTextOrNull : isBase64)(key[member]),
    );
    if (missing !== undefined) return `a key of type ${kty} has no good ${missing}`;
    const wrong = ['kid', 'alg', 'use'].find((member) => !isTextOrNull(key[member]));
    if (wrong !== undefined) return `the ${wrong} of a key is not a text`;
    if (!Array.isArray(key['key_ops'] ?? [])) return 'the key_ops of a key are not a list';
  }
  return undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTextOrNull(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'string';
}

/** Base64 of either alphabet. Istio does not ask whether the key is one that could be used. */
function isBase64(value: unknown): boolean {
  if (value === null) return true;
  return typeof value === 'string' && /^[A-Za-z0-9_+/-]*=*$/.test(value) && value.replaceAll('=', '').length % 4 !== 1;
}
