import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { MeshError, type MeshErrorCode } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { parseIpAddress } from '../lib/ip-address.ts';
import type { Random } from '../lib/random.ts';
import type { JwtRule } from '../model/request-authentication.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { applyTokens, removeOutputs } from './apply.ts';
import { createAttempts } from './attempts.ts';
import { boundedVerify } from './bounded-verify.ts';
import { type Credential, extractTokens, maxTokensPerRequest } from './extract.ts';
import { type JwtFailure, type JwtFailureReason, jwtFailures } from './failure.ts';
import { createKeyScans, newScan } from './key-scans.ts';
import type { KeySource } from './keys.ts';
import { compileTokenRules, type LiveRule, type TokenRules } from './rules.ts';
import type { TokenOptions } from './token.ts';
import { cacheKey, type TokenCache } from './token-cache.ts';
import { costOf } from './verification-cost.ts';
import { type AcceptedToken, judgeTokens, type TokenVerdict, verdictOf, verifyToken } from './verify.ts';

/** What the filter is made of. */
export interface JwtFilterDependencies {
  /** Where the keys of a rule come from: the same source as long as the rule is the same. */
  keysOf(rule: JwtRule): KeySource;
  readonly cache: TokenCache;
  readonly clock: Clock;
  readonly options?: TokenOptions;
  /** Whether what bad tokens cost is bounded for slow keys, too. Default `bounded`. */
  readonly slowKeys?: 'bounded' | 'always';
  /** Default: that of the process. */
  readonly random?: Random;
}

/**
 * Makes filters that share what was verified, also when the configuration changes around a rule
 * that stays the same.
 */
export function jwtFilters(
  dependencies: JwtFilterDependencies,
): (rules: readonly JwtRule[]) => Filter<ServerCall, void> {
  const { cache, clock, keysOf, options, random, slowKeys = 'bounded' } = dependencies;
  const known = new WeakMap<JwtRule, LiveRule>();
  const liveOf = (rule: JwtRule): LiveRule => {
    const source = keysOf(rule);
    let live = known.get(rule);
    if (live?.source !== source) known.set(rule, (live = { rule, source }));
    return live;
  };
  const now = (): number => clock.now();
  const scans = createKeyScans(createAttempts(now, random), slowKeys === 'always' ? () => 1 : costOf, now);
  const verify = boundedVerify(
    (text, rules, waitAside, caller = '') =>
      verifyToken(text, rules, clock.wallNow(), options, waitAside, { scans, scan: newScan(caller) }),
    cache,
  );
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

/**
 * Who is told apart from others by the attempts that bad tokens may cost: an identity, or else an address. Behind proxies
 * that are trusted to tell it, the address counts also where the proxy has an identity: it is that of many callers.
 */
function callerOf(call: ServerCall): string {
  const { peer, trustedProxies } = call;
  if (peer !== undefined && trustedProxies === 0) return peer.spiffeId;
  return `${peer?.spiffeId ?? ''} ${networkOf(call.remoteAddress ?? '')}`;
}

/** Of an address of IPv6 the first 64 bits: the others are for whoever has them to choose (RFC 4291 section 2.5.1). */
function networkOf(address: string): string {
  const parsed = parseIpAddress(address);
  return parsed?.bits === 128 ? parsed.words.slice(0, 2).join(':') : address;
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
