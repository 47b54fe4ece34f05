import type { JwtRule } from '../model/request-authentication.ts';
import { policyClaims, principalOf, refusedByRule } from './claims.ts';
import { type Credential, extractTokens, maxTokensPerRequest, type TokenRequest } from './extract.ts';
import { type JwtFailure, jwtFailure } from './failure.ts';
import type { KeySet, KeySource } from './keys.ts';
import { outputHeaders } from './outputs.ts';
import { compileTokenRules, type LiveRule, type TokenLocation, type TokenRules } from './rules.ts';
import { type BoundedScan, verifySignature, type WaitAside, waitHere } from './signature.ts';
import { type Claims, claimsOf, isFailure, parseToken, refusedByNames, type TokenOptions } from './token.ts';

/** What is known of a token that a rule accepts. Holds no part of its signature. */
export interface VerifiedToken {
  readonly live: LiveRule;
  /** It was verified with these: with others it would have to be again. */
  readonly keys: KeySet;
  /** As signed. */
  readonly claims: Claims;
  /** As policy sees them, see {@link policyClaims}. */
  readonly policyClaims: Claims;
  /** `<iss>/<sub>`. */
  readonly principal: string | undefined;
  /** Headers for the application, name and value. */
  readonly headers: readonly (readonly [string, string])[];
  /** Seconds since the epoch. */
  readonly expiresAt: number | undefined;
  readonly notBefore: number | undefined;
}

/** A token of a request that was accepted. */
export interface AcceptedToken {
  readonly location: TokenLocation;
  readonly verified: VerifiedToken;
}

/** What the tokens of a request say. */
export type TokenVerdict =
  | {
      /** All of them, the one that names the caller last: its headers count. */
      readonly accepted: readonly AcceptedToken[];
      /** Of the token that names the caller; nothing without tokens. */
      readonly principal: string | undefined;
      readonly claims: Claims | undefined;
      readonly policyClaims: Claims | undefined;
    }
  | { readonly failure: JwtFailure };

/** Verifies the text of one token for rules that look where it was found. */
export type VerifyToken = (
  text: string,
  rules: readonly LiveRule[],
  caller?: string,
) => Promise<VerifiedToken | JwtFailure>;

/**
 * Judges the tokens of a request, without traffic: what `explain` asks.
 *
 * - No token: accepted without claims, unless a rule is `required`.
 * - Every token that is presented must be good for one of the rules that look where it is.
 * - Several good ones: the caller is whom the token of the first rule in the order of their issuers
 *   names, and with `required` rules that of the last, as in Istio; of several tokens of that rule
 *   the first of headers, query parameters, cookies.
 *
 * @param keysOf where the keys of a rule come from
 * @param now milliseconds since the epoch
 */
export async function verifyRequestTokens(
  rules: readonly JwtRule[],
  request: TokenRequest,
  keysOf: (rule: JwtRule) => KeySource,
  now: number,
  options: TokenOptions = {},
): Promise<TokenVerdict> {
  const compiled = compileTokenRules(rules, (rule) => ({ rule, source: keysOf(rule) }));
  const verify: VerifyToken = (text, live) => verifyToken(text, live, now, options);
  return await judgeTokens(compiled, extractTokens(compiled, request), verify);
}

/** As {@link verifyRequestTokens}, for tokens that were found, with another way to verify them. */
export async function judgeTokens(
  rules: TokenRules,
  credentials: readonly Credential[],
  verify: VerifyToken,
  caller?: string,
): Promise<TokenVerdict> {
  if (credentials.length > maxTokensPerRequest) return { failure: jwtFailure('too-many-tokens') };
  const accepted: AcceptedToken[] = [];
  for (const credential of credentials) {
    let failure: JwtFailure | undefined;
    let found: AcceptedToken | undefined;
    for (const { location, text } of credential) {
      const verified = await verify(text, location.rules, caller);
      if (!isFailure(verified)) {
        found = { location, verified };
        break;
      }
      failure = worse(failure, verified);
    }
    if (found === undefined) return { failure: failure ?? jwtFailure('bad-format') };
    accepted.push(found);
  }
  return verdictOf(rules, accepted);
}

/** What accepted tokens say together. */
export function verdictOf(rules: TokenRules, accepted: readonly AcceptedToken[]): TokenVerdict {
  const { required } = rules;
  for (const live of required) {
    if (accepted.some(({ verified }) => verified.live === live)) continue;
    return { failure: jwtFailure('missing', `a token of ${live.rule.issuer || 'a rule'} is required`) };
  }
  const first = accepted[0];
  if (first === undefined) return { accepted, principal: undefined, claims: undefined, policyClaims: undefined };
  // Sorting is stable: of one rule the first that was found stays first, then all are turned around.
  const rank = ({ verified }: AcceptedToken): number =>
    required.length === 0 ? rules.rules.indexOf(verified.live) : -rules.rules.indexOf(verified.live);
  const ordered = accepted.length === 1 ? accepted : accepted.toSorted((a, b) => rank(a) - rank(b)).reverse();
  const { claims, policyClaims: forPolicy, principal } = (ordered.at(-1) as AcceptedToken).verified;
  return { accepted: ordered, principal, claims, policyClaims: forPolicy };
}

/**
 * Verifies one token: its form, then for each rule what it says about issuer, time and audience,
 * then the signature.
 *
 * @param now milliseconds since the epoch
 */
export async function verifyToken(
  text: string,
  rules: readonly LiveRule[],
  now: number,
  options: TokenOptions = {},
  waitAside?: WaitAside,
  bounded?: BoundedScan,
): Promise<VerifiedToken | JwtFailure> {
  if (bounded === undefined) return await verifyText(text, rules, now, options, waitAside, bounded);
  const { scan, scans } = bounded;
  const mayRead = scans.mayRead(text.length, scan);
  if (!(typeof mayRead === 'boolean' ? mayRead : await (waitAside ?? waitHere)(mayRead)))
    return jwtFailure('busy', 'too many long tokens of this caller were not good');
  try {
    return await verifyText(text, rules, now, options, waitAside, bounded);
  } finally {
    scans.end(scan);
  }
}

async function verifyText(
  text: string,
  rules: readonly LiveRule[],
  now: number,
  options: TokenOptions,
  waitAside: WaitAside | undefined,
  bounded: BoundedScan | undefined,
): Promise<VerifiedToken | JwtFailure> {
  const token = parseToken(text, options);
  if (isFailure(token)) return token;
  let failure: JwtFailure | undefined;
  for (const live of rules) {
    const { rule, source } = live;
    const refused = refusedByRule(token, rule, now);
    if (refused !== undefined) {
      failure = worse(failure, refused);
      continue;
    }
    const keys = await verifySignature(token, source, waitAside, bounded);
    if (isFailure(keys)) {
      failure = worse(failure, keys);
      continue;
    }
    const { expiresAt, notBefore } = token;
    const ambiguous = refusedByNames(token);
    if (ambiguous !== undefined) return ambiguous;
    const claims = claimsOf(token);
    return {
      live,
      keys,
      claims,
      policyClaims: policyClaims(claims, rule),
      principal: principalOf(token),
      headers: outputHeaders(token, claims, rule),
      expiresAt,
      notBefore,
    };
  }
  return failure ?? jwtFailure('unknown-issuer');
}

/**
 * Of the answers of several rules the last one that is not about its issuer, as in Envoy; but one for which the token
 * was not looked at to the end: nobody may be told that it is bad.
 */
function worse(before: JwtFailure | undefined, now: JwtFailure): JwtFailure {
  return before !== undefined && (before.reason === 'busy' || now.reason === 'unknown-issuer') ? before : now;
}
