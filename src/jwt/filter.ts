import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { MeshError, type MeshErrorCode } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { JwtRule } from '../model/request-authentication.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { applyTokens, removeOutputs } from './apply.ts';
import { boundedVerify } from './bounded-verify.ts';
import { type Credential, extractTokens } from './extract.ts';
import { type JwtFailure, type JwtFailureReason, jwtFailures } from './failure.ts';
import { createKeyScans } from './key-scans.ts';
import type { KeySource } from './keys.ts';
import { compileTokenRules, type LiveRule, type TokenRules } from './rules.ts';
import type { TokenOptions } from './token.ts';
import { cacheKey, type TokenCache } from './token-cache.ts';
import {
  type AcceptedToken,
  judgeTokens,
  maxTokensPerRequest,
  type TokenVerdict,
  verdictOf,
  verifyToken,
} from './verify.ts';

/** What the filter is made of. */
export interface JwtFilterDependencies {
  /** Where the keys of a rule come from: the same source as long as the rule is the same. */
  keysOf(rule: JwtRule): KeySource;
  readonly cache: TokenCache;
  readonly clock: Clock;
  readonly options?: TokenOptions;
}

/**
 * Makes filters that share what was verified, also when the configuration changes around a rule
 * that stays the same.
 */
export function jwtFilters(
  dependencies: JwtFilterDependencies,
): (rules: readonly JwtRule[]) => Filter<ServerCall, void> {
  const { cache, clock, keysOf, options } = dependencies;
  const known = new WeakMap<JwtRule, LiveRule>();
  const liveOf = (rule: JwtRule): LiveRule => {
    const source = keysOf(rule);
    let live = known.get(rule);
    if (live?.source !== source) known.set(rule, (live = { rule, source }));
    return live;
  };
  const scans = createKeyScans();
  const verify = boundedVerify((text, rules, waitForKeys, caller = '') => {
    const now = clock.wallNow();
    return verifyToken(text, rules, now, options, waitForKeys, { scans, scan: { caller, now, taken: 0 } });
  }, cache);
  return (rules) => jwtFilter(compileTokenRules(rules, liveOf), { ...dependencies, verify });
}

interface Verification extends JwtFilterDependencies {
  readonly verify: ReturnType<typeof boundedVerify>;
}

/**
 * RequestAuthentication for one request. Inside mtls, outside authorization, whose input it makes.
 * A request with tokens that are all remembered passes without a promise of its own.
 */
function jwtFilter(rules: TokenRules, { cache, clock, verify }: Verification): Filter<ServerCall, void> {
  return (call, next) => {
    const { request } = call;
    removeOutputs(request, rules.outputs);
    // A browser asks without credentials; what it asks about comes with them (Envoy's bypass_cors_preflight).
    if (call.method === 'OPTIONS' && isPreflight(request)) return next(call);
    const { rawHeaders, url = '' } = request;
    const credentials = extractTokens(rules, { rawHeaders, url });
    const remembered = recall(credentials, cache, clock);
    if (remembered !== undefined) return pass(call, verdictOf(rules, remembered), next);
    return verifyAll(call, judgeTokens(rules, credentials, verify, callerOf(call)), next);
  };
}

/** Who is told apart from others by the attempts that tokens without `kid` may cost. */
function callerOf({ peer, sourceAddress }: ServerCall): string {
  return peer?.spiffeId ?? sourceAddress ?? '';
}

async function verifyAll(
  call: ServerCall,
  verdict: Promise<TokenVerdict>,
  next: Service<ServerCall, void>,
): Promise<void> {
  const found = await verdict;
  // The caller did not wait for it.
  if (isResponseClosed(call.response)) throw new MeshError('ERR_MESH_CLIENT_GONE', 'the caller went away');
  return await pass(call, found, next);
}

function isPreflight({ headers }: IncomingMessage): boolean {
  const { origin } = headers;
  const method = headers['access-control-request-method'];
  return origin !== undefined && origin !== '' && method !== undefined && method !== '';
}

const none: readonly AcceptedToken[] = [];

/** All tokens of a request, if every one is remembered. */
function recall(
  credentials: readonly Credential[],
  cache: TokenCache,
  clock: Clock,
): readonly AcceptedToken[] | undefined {
  if (credentials.length === 0) return none;
  // Too many are refused, remembered or not.
  if (credentials.length > maxTokensPerRequest) return undefined;
  const now = clock.wallNow();
  const accepted: AcceptedToken[] = [];
  for (const [first, second] of credentials) {
    // What several prefixes could be meant for is rare, and takes the long way.
    if (first === undefined || second !== undefined) return undefined;
    const { location, text } = first;
    const verified = cache.find(cacheKey(text), location.rules, now);
    if (verified === undefined) return undefined;
    accepted.push({ location, verified });
  }
  return accepted;
}

function pass(call: ServerCall, verdict: TokenVerdict, next: Service<ServerCall, void>): Promise<void> {
  if ('failure' in verdict) throw refusal(call, verdict.failure);
  const { accepted, claims, policyClaims, principal } = verdict;
  if (accepted.length > 0) {
    applyTokens(call.request, accepted);
    call.claims = policyClaims;
    call.tokenClaims = claims;
    call.requestPrincipal = principal;
  }
  return next(call);
}

function codeOf(reason: JwtFailureReason): MeshErrorCode {
  if (reason === 'audience') return 'ERR_MESH_TOKEN_AUDIENCE';
  return reason === 'busy' ? 'ERR_MESH_OVERLOADED' : 'ERR_MESH_UNAUTHENTICATED';
}

function refusal(call: ServerCall, { detail, reason }: JwtFailure): MeshError {
  const text = jwtFailures[reason];
  const code = codeOf(reason);
  const message = `${call.method} ${call.path}: ${text}${detail === undefined ? '' : ` (${detail})`}`;
  if (reason === 'busy') return new MeshError(code, message);
  // RFC 6750 section 3.1: who sent no token is not told that it is wrong.
  const error = reason === 'missing' ? '' : ', error="invalid_token"';
  return new MeshError(code, message, {
    answerBody: text,
    answerHeaders: [['www-authenticate', `Bearer realm="${realmOf(call)}"${error}`]],
  });
}

const maxRealmPath = 256;

/**
 * The URL that was asked for, as Envoy says it, but without the query: it may hold the token. What
 * could end the quoted text, or the header, is percent-encoded.
 */
function realmOf({ connection, host, path, request }: ServerCall): string {
  const secure = connection?.encrypted ?? (request.socket as TLSSocket).encrypted === true;
  const url = `${secure ? 'https' : 'http'}://${host}${path.slice(0, maxRealmPath)}`;
  return url.replaceAll(/[^\x21\x23-\x5b\x5d-\x7e]/gu, (char) =>
    char.isWellFormed() ? encodeURIComponent(char) : '%EF%BF%BD',
  );
}
