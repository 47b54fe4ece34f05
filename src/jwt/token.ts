import { checkUniqueNames, parseStrictJson } from '../lib/strict-json.ts';
import { type JwtFailure, type JwtFailureReason, jwtFailure } from './failure.ts';

/** Claims of a verified token: frozen to the last member, without prototypes, so that requests can share them. */
export type Claims = Readonly<Record<string, unknown>>;

/** A token that was taken apart, and not verified. */
export interface ParsedToken {
  readonly text: string;
  /** The second of its parts, as sent. */
  readonly payloadPart: string;
  readonly algorithm: string;
  readonly kid: string | undefined;
  /** As it was read, of several members of one name the last: only for {@link claimsOf}. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** The texts of its two parts. */
  readonly headerText: string;
  readonly payloadText: string;
  /** '' without one. */
  readonly issuer: string;
  /** '' without one. */
  readonly subject: string;
  /** Nothing when the claim is there and is neither a text nor a list of texts. */
  readonly audiences: readonly string[] | undefined;
  /** Seconds since the epoch; nothing without one. */
  readonly expiresAt: number | undefined;
  readonly notBefore: number | undefined;
}

/** How tokens are read. */
export interface TokenOptions {
  /** A token without `exp` is refused. Default: accepted, as in Envoy; RFC 7519 section 4.1.4 leaves it open. */
  readonly requireExpiry?: boolean;
}

/** Bounds of a token: characters, levels, and members and elements in each of its two parts. */
export const tokenLimits = { maxLength: 16_384, maxKidLength: 1_024, maxDepth: 16, maxValues: 2_000 } as const;

/** What a key of a key set may verify: never a symmetric algorithm, never none. */
const algorithms: ReadonlySet<string> = new Set([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]);

/**
 * Takes a token apart and refuses what a verifier of signatures leaves to its caller, so that a text
 * that is verified afterwards has one meaning: its size, three parts in canonical base64url, JSON
 * objects in UTF-8 (without a name twice: {@link refusedByNames}), no `crit` (there are no extensions that we understand),
 * no explicit type of another profile (RFC 8725 section 3.11), claims of the types of RFC 7519.
 *
 * Header members that name keys (`jwk`, `jku`, `x5u`, `x5c`) are not read.
 */
export function parseToken(text: string, options: TokenOptions = {}): ParsedToken | JwtFailure {
  if (text.length > tokenLimits.maxLength) {
    return jwtFailure('bad-format', `longer than ${tokenLimits.maxLength} characters`);
  }
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  if (first <= 0 || second <= first + 1 || second === text.length - 1 || text.indexOf('.', second + 1) !== -1) {
    return jwtFailure('bad-format');
  }
  const header = readObject(text.slice(0, first), 'header-encoding', 'header-json');
  if (isFailure(header)) return header;
  const { algorithm, failure, kid } = readHeader(header.value);
  if (failure !== undefined) return failure;
  const payloadPart = text.slice(first + 1, second);
  const payload = readObject(payloadPart, 'payload-encoding', 'payload-json');
  if (isFailure(payload)) return payload;
  if (bytesOf(text.slice(second + 1)) === undefined) return jwtFailure('signature-encoding');
  const claims = payload.value;
  const wrong = wrongClaim(claims, options);
  if (wrong !== undefined) return wrong;
  return {
    text,
    payloadPart,
    algorithm,
    kid,
    payload: claims,
    headerText: header.text,
    payloadText: payload.text,
    issuer: textOf(claims, 'iss'),
    subject: textOf(claims, 'sub'),
    audiences: audiencesOf(claimIn(claims, 'aud')),
    expiresAt: claimIn(claims, 'exp') as number | undefined,
    notBefore: claimIn(claims, 'nbf') as number | undefined,
  };
}

/**
 * Why a token whose signature is good is not accepted: an object of it has a name twice. That costs more than all else
 * that is looked at, and bad tokens are what somebody sends who wants to keep us busy.
 */
export function refusedByNames({ headerText, payloadText }: ParsedToken): JwtFailure | undefined {
  let reason: JwtFailureReason = 'header-json';
  try {
    checkUniqueNames(headerText);
    reason = 'payload-json';
    checkUniqueNames(payloadText);
  } catch (error) {
    return jwtFailure(reason, (error as Error).message);
  }
  return undefined;
}

/** The claims of a token that is accepted. */
export function claimsOf({ payload }: ParsedToken): Claims {
  return sealed(payload) as Claims;
}

/** Told from a token by its `reason`. */
export function isFailure(result: object): result is JwtFailure {
  return 'reason' in result;
}

interface Header {
  readonly algorithm: string;
  readonly kid: string | undefined;
  readonly failure?: JwtFailure;
}

function readHeader(header: Readonly<Record<string, unknown>>): Header {
  const fail = (reason: JwtFailureReason, detail?: string): Header => ({
    algorithm: '',
    kid: undefined,
    failure: jwtFailure(reason, detail),
  });
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string') return fail('header-alg');
  if (!algorithms.has(alg)) return fail('alg-unsupported');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > tokenLimits.maxKidLength))
    return fail('header-kid');
  if (Object.hasOwn(header, 'crit')) return fail('header-json', 'crit demands an extension, and there is none');
  if (typ !== undefined && !isPlainType(typ)) return fail('header-json', 'typ is that of another profile');
  return { algorithm: alg, kid: kid === '' ? undefined : kid };
}

/**
 * RFC 8725 section 3.11: tokens for something else say so with a type that has a `+` in it
 * (`logout+jwt`, `dpop+jwt`, `secevent+jwt`). Of these only access tokens (RFC 9068) are meant here.
 */
function isPlainType(typ: unknown): boolean {
  if (typeof typ !== 'string') return false;
  const type = typ.toLowerCase().replace(/^application\//, '');
  return type === 'at+jwt' || !type.includes('+');
}

function readObject(
  part: string,
  encoding: JwtFailureReason,
  json: JwtFailureReason,
): { readonly value: Readonly<Record<string, unknown>>; readonly text: string } | JwtFailure {
  const bytes = bytesOf(part);
  if (bytes === undefined) return jwtFailure(encoding);
  let value: unknown;
  let text: string;
  try {
    text = utf8.decode(bytes);
    const { maxDepth, maxLength, maxValues } = tokenLimits;
    value = parseStrictJson(text, { maxLength, maxDepth, maxValues, exactIntegers: false, uniqueNames: false });
  } catch (error) {
    // What it says may name a claim; nothing else of the token.
    return jwtFailure(json, error instanceof SyntaxError ? error.message : 'it is not UTF-8');
  }
  return isObject(value) ? { value, text } : jwtFailure(json, 'it is no object');
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Nothing when the text is not the one that encoding gives: else a token would have many texts. */
function bytesOf(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.toString('base64url') === part ? bytes : undefined;
}

const stringClaims = ['iss', 'sub', 'jti'] as const;
const timeClaims = ['iat', 'nbf', 'exp'] as const;

type Payload = ParsedToken['payload'];

/** Own ones only: what is read has a prototype. */
function claimIn(payload: Payload, name: string): unknown {
  return Object.hasOwn(payload, name) ? payload[name] : undefined;
}

function wrongClaim(payload: Payload, { requireExpiry = false }: TokenOptions): JwtFailure | undefined {
  for (const name of stringClaims) {
    const value = claimIn(payload, name);
    if (value !== undefined && typeof value !== 'string') return jwtFailure(`bad-${name}`);
  }
  for (const name of timeClaims) {
    const value = claimIn(payload, name);
    if (value !== undefined && !isTime(value)) return jwtFailure(`bad-${name}`);
  }
  return requireExpiry && claimIn(payload, 'exp') === undefined ? jwtFailure('bad-exp', 'there is no exp') : undefined;
}

/** As Envoy: not negative, and below 2^64. Infinity (`1e400`) is none. */
function isTime(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value < 2 ** 64;
}

const nobody: readonly string[] = [];

function audiencesOf(claim: unknown): readonly string[] | undefined {
  if (claim === undefined) return nobody;
  if (typeof claim === 'string') return [claim];
  return Array.isArray(claim) && claim.every((each) => typeof each === 'string') ? claim : undefined;
}

function textOf(payload: Payload, name: string): string {
  const value = claimIn(payload, name);
  return typeof value === 'string' ? value : '';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A copy that nobody can change, without inherited members: `__proto__` is a name like any other. */
function sealed(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(sealed));
  if (!isObject(value)) return value;
  const copy = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(value)) copy[name] = sealed(value[name]);
  return Object.freeze(copy);
}
