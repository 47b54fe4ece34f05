import type { JwtRule } from '../model/request-authentication.ts';
import { type JwtFailure, jwtFailure } from './failure.ts';
import type { Claims, ParsedToken } from './token.ts';

/** How far the clocks of an issuer and of this process may be apart: Envoy's `clock_skew_seconds`. */
export const clockSkewSeconds = 60;

/**
 * What a rule says about a token before its signature is looked at, in Envoy's order: issuer, time,
 * audience. Nothing: go on.
 *
 * @param now milliseconds since the epoch
 */
export function refusedByRule(token: ParsedToken, rule: JwtRule, now: number): JwtFailure | undefined {
  if (rule.issuer !== '' && token.issuer !== rule.issuer) return jwtFailure('unknown-issuer');
  const time = refusedByTime(token, now);
  if (time !== undefined) return time;
  if (rule.audiences.length === 0) return token.audiences === undefined ? jwtFailure('bad-aud') : undefined;
  return isForUs(token.audiences ?? [], rule.audiences) ? undefined : jwtFailure('audience');
}

/** @param now milliseconds since the epoch; judged in whole seconds, as in Envoy */
export function refusedByTime(
  { expiresAt, notBefore }: Pick<ParsedToken, 'expiresAt' | 'notBefore'>,
  now: number,
): JwtFailure | undefined {
  const seconds = Math.floor(now / 1_000);
  if (notBefore !== undefined && seconds + clockSkewSeconds < Math.floor(notBefore)) return jwtFailure('not-yet-valid');
  if (expiresAt !== undefined && seconds > Math.floor(expiresAt) + clockSkewSeconds) return jwtFailure('expired');
  return undefined;
}

/** By the list of a rule: tokens may have thousands of audiences. */
const bareAudiences = new WeakMap<readonly string[], ReadonlySet<string>>();

function isForUs(audiences: readonly string[], allowed: readonly string[]): boolean {
  let bare = bareAudiences.get(allowed);
  if (bare === undefined) bareAudiences.set(allowed, (bare = new Set(allowed.map(bareAudience))));
  for (const audience of audiences) if (bare.has(bareAudience(audience))) return true;
  return false;
}

/** Envoy compares audiences without `http://` or `https://` and without a slash at the end. */
function bareAudience(audience: string): string {
  const start = audience.startsWith('http://') ? 7 : audience.startsWith('https://') ? 8 : 0;
  return audience.slice(start, audience.endsWith('/') ? Math.max(start, audience.length - 1) : undefined);
}

/** Claims that are lists separated by spaces, whatever a rule says. */
const alwaysSpaceDelimited = ['scope', 'permission'] as const;

/**
 * The claims as policy sees them: those that are lists separated by spaces as lists (Istio's
 * `spaceDelimitedClaims`). The same object when there are none.
 */
export function policyClaims(claims: Claims, rule: JwtRule): Claims {
  let copy: Record<string, unknown> | undefined;
  for (const name of [...alwaysSpaceDelimited, ...rule.spaceDelimitedClaims]) {
    const value = claims[name];
    if (typeof value !== 'string') continue;
    copy ??= Object.assign(Object.create(null) as Record<string, unknown>, claims);
    copy[name] = Object.freeze(value.split(' ').filter((part) => part !== ''));
  }
  return copy === undefined ? claims : Object.freeze(copy);
}

/** `<iss>/<sub>`: Istio's `request.auth.principal`. A token without either names nobody. */
export function principalOf({ issuer, subject }: ParsedToken): string | undefined {
  return issuer === '' || subject === '' ? undefined : `${issuer}/${subject}`;
}
