import { status } from '@grpc/grpc-js';
import { type Clock, MeshError, parseSpiffeId, type Random, systemClock, systemRandom } from 'inmesh/identity';
import { findEndpoint } from './address.ts';
import { connectTo, failureOf, type StreamMethod, type UnaryMethod } from './connection.ts';
import { type JwtBundles, jwtBundlesOf } from './jwt-bundles.ts';
import { type JwtSvid, readJwtSvid } from './jwt-svid.ts';
import {
  readJwtBundlesMessage,
  readJwtSvidMessage,
  readValidateMessage,
  readX509BundlesMessage,
  readX509SvidMessage,
  writeJwtSvidRequest,
  writeValidateRequest,
} from './messages.ts';
import { badAnswer, quoted, reasonOf } from './problem.ts';
import type { Claims } from './struct.ts';
import { type Watched, type WatchHandler, watch } from './watch.ts';
import { checkHint, selectSvid, type X509BundleSet, type X509Context, x509BundlesOf, x509ContextOf } from './x509.ts';

/** Options of {@link createWorkloadApiClient}. */
export interface WorkloadApiOptions {
  /** `unix:///absolute/path` or `tcp://<IP address>:<port>`. Default: the variable `SPIFFE_ENDPOINT_SOCKET`. */
  readonly address?: string;
  /** Time for an answer, or for the first message of a stream, milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What JWT-SVIDs are wanted for. */
export interface JwtSvidRequest {
  /** Who is to accept the token. One audience keeps those who get it from using it elsewhere. */
  readonly audience: string | readonly string[];
  /** Which of the identities of this workload. Default: the first, or the one with `hint`. */
  readonly spiffeId?: string;
  readonly hint?: string;
}

/** What the Workload API says of a token that it found good. */
export interface ValidatedJwtSvid {
  readonly spiffeId: string;
  readonly claims: Claims;
}

/**
 * A client of the SPIFFE Workload API. Everything that it hands out was verified; it keeps no
 * connection between questions, and needs no closing unless something is under way.
 */
export interface WorkloadApiClient {
  /** Where it asks, as it was given. */
  readonly address: string;
  /** Asks once for all SVIDs and bundles. @throws MeshError `ERR_MESH_WORKLOAD_API` */
  fetchX509Svids(signal?: AbortSignal): Promise<X509Context>;
  /**
   * Follows SVIDs and bundles until the signal aborts, through every failure; then it resolves. An
   * open watch keeps the process alive.
   *
   * @throws MeshError `ERR_MESH_WORKLOAD_API` for an answer after which asking again is of no use
   */
  watchX509Svids(handler: WatchHandler<X509Context>, signal: AbortSignal): Promise<void>;
  /** Asks once for all bundles: for who verifies others and needs no identity. */
  fetchX509Bundles(signal?: AbortSignal): Promise<X509BundleSet>;
  watchX509Bundles(handler: WatchHandler<X509BundleSet>, signal: AbortSignal): Promise<void>;
  /** Asks for one JWT-SVID. A new one each time: keep it for as long as it is good for. */
  fetchJwtSvid(request: JwtSvidRequest, signal?: AbortSignal): Promise<JwtSvid>;
  /** Asks for JWT-SVIDs of all identities, or of the one that is named. */
  fetchJwtSvids(request: JwtSvidRequest, signal?: AbortSignal): Promise<readonly JwtSvid[]>;
  /** Asks once for the keys of JWT-SVIDs, for `verifyJwtSvid`. */
  fetchJwtBundles(signal?: AbortSignal): Promise<JwtBundles>;
  watchJwtBundles(handler: WatchHandler<JwtBundles>, signal: AbortSignal): Promise<void>;
  /** Has the Workload API verify a token. @throws MeshError `ERR_MESH_WORKLOAD_API` also when it finds it bad */
  validateJwtSvid(
    request: { readonly audience: string; readonly token: string },
    signal?: AbortSignal,
  ): Promise<ValidatedJwtSvid>;
  /** Ends everything that is under way; later questions fail with `ERR_MESH_CLOSED`. */
  close(): void;
}

/**
 * A client of the SPIFFE Workload API, as SPIRE's agent and others serve it.
 *
 * @throws MeshError `ERR_MESH_OPTION_INVALID` for an address that is none
 *
 * @example
 * const client = createWorkloadApiClient({ address: 'unix:///run/spire/sockets/agent.sock' });
 * const { svids } = await client.fetchX509Svids();
 */
export function createWorkloadApiClient(options: WorkloadApiOptions = {}): WorkloadApiClient {
  const { clock = systemClock, random = systemRandom, timeoutMs = 30_000 } = options;
  if (!(timeoutMs > 0)) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `timeoutMs: expected more than 0, not ${String(timeoutMs)}`);
  }
  const connection = connectTo(findEndpoint(options.address, process.env), { clock, timeoutMs });
  const { endpoint } = connection;
  const closing = new AbortController();

  const scope = (signal: AbortSignal | undefined): AbortSignal =>
    signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]);

  const first = async <T>({ method, read }: Watched<T>, signal: AbortSignal | undefined): Promise<T> => {
    const all = scope(signal);
    all.throwIfAborted();
    const enough = new AbortController();
    let state: { readonly value: T } | undefined;
    const outcome = await connection.follow(method, {
      signal: AbortSignal.any([all, enough.signal]),
      onMessage: (bytes) => {
        state = { value: readAnswer(method, () => read(bytes)) };
        enough.abort();
      },
    });
    if (state !== undefined) return state.value;
    all.throwIfAborted();
    throw failureOf(method, endpoint, outcome);
  };

  const ask = async <T>(
    method: UnaryMethod,
    request: Buffer,
    read: (bytes: Buffer) => T,
    signal: AbortSignal | undefined,
  ): Promise<T> => {
    const all = scope(signal);
    all.throwIfAborted();
    const { answer, ...outcome } = await connection.ask(method, request, all);
    if (outcome.code === status.OK && answer !== undefined) return readAnswer(method, () => read(answer));
    all.throwIfAborted();
    throw failureOf(method, endpoint, outcome);
  };

  const follow = async <T>(watched: Watched<T>, handler: WatchHandler<T>, signal: AbortSignal): Promise<void> => {
    closing.signal.throwIfAborted();
    await watch(watched, handler, { connection, clock, random, signal: scope(signal) });
  };

  const x509Svids: Watched<X509Context> = {
    method: 'FetchX509SVID',
    read: (bytes) => x509ContextOf(readX509SvidMessage(bytes), clock.wallNow()),
    // Agents renew at half of a life; a stream that is silent when a quarter is left has been forgotten.
    renewalDue: ({ svids }) =>
      Math.min(...svids.map(({ notAfter, notBefore }) => notAfter - (notAfter - notBefore) / 4)),
  };
  const x509Bundles: Watched<X509BundleSet> = {
    method: 'FetchX509Bundles',
    read: (bytes) => x509BundlesOf(readX509BundlesMessage(bytes)),
  };
  const jwtBundles: Watched<JwtBundles> = {
    method: 'FetchJWTBundles',
    read: (bytes) => jwtBundlesOf(readJwtBundlesMessage(bytes)),
  };

  const fetchJwtSvids = async (request: JwtSvidRequest, signal?: AbortSignal): Promise<readonly JwtSvid[]> => {
    const audience = audienceOf(request.audience);
    const { spiffeId } = request;
    if (spiffeId !== undefined) checkOption('spiffeId', () => parseSpiffeId(spiffeId));
    const read = (bytes: Buffer) => jwtSvidsOf(bytes, audience, spiffeId, clock.wallNow());
    return ask('FetchJWTSVID', writeJwtSvidRequest(audience, spiffeId ?? ''), read, signal);
  };

  return {
    address: endpoint.uri,
    fetchX509Svids: (signal) => first(x509Svids, signal),
    watchX509Svids: (handler, signal) => follow(x509Svids, handler, signal),
    fetchX509Bundles: (signal) => first(x509Bundles, signal),
    watchX509Bundles: (handler, signal) => follow(x509Bundles, handler, signal),
    fetchJwtSvid: async (request, signal) => {
      const { hint, spiffeId } = request;
      const choice = { ...(hint === undefined ? {} : { hint }), ...(spiffeId === undefined ? {} : { spiffeId }) };
      return selectSvid(await fetchJwtSvids(request, signal), choice);
    },
    fetchJwtSvids,
    fetchJwtBundles: (signal) => first(jwtBundles, signal),
    watchJwtBundles: (handler, signal) => follow(jwtBundles, handler, signal),
    validateJwtSvid: async ({ audience, token }, signal) => {
      const [one = ''] = audienceOf(audience);
      // The form is checked here, so that nothing absurd is sent.
      const { spiffeId } = readJwtSvid(token);
      return ask('ValidateJWTSVID', writeValidateRequest(one, token), (bytes) => validatedOf(bytes, spiffeId), signal);
    },
    close: () => closing.abort(new MeshError('ERR_MESH_CLOSED', 'the client of the Workload API was closed')),
  };
}

function audienceOf(audience: string | readonly string[]): readonly string[] {
  const list = typeof audience === 'string' ? [audience] : audience;
  if (list.length === 0 || list.some((one) => one === '')) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', 'audience: expected at least one, and none of them empty');
  }
  return list;
}

function checkOption(name: string, check: () => unknown): void {
  try {
    check();
  } catch (cause) {
    throw new MeshError('ERR_MESH_OPTION_INVALID', `${name}: ${reasonOf(cause)}`, { cause });
  }
}

/** Whatever is wrong with an answer is reported as an answer that is unusable. */
function readAnswer<T>(method: StreamMethod | UnaryMethod, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof MeshError && cause.code === 'ERR_MESH_WORKLOAD_API') throw cause;
    throw badAnswer(`${method}: ${reasonOf(cause)}`, cause);
  }
}

function jwtSvidsOf(
  bytes: Buffer,
  audience: readonly string[],
  wanted: string | undefined,
  now: number,
): readonly JwtSvid[] {
  const messages = readJwtSvidMessage(bytes);
  if (messages.length === 0) throw badAnswer('svids is empty');
  return messages.map(({ hint, spiffeId, token }, i) => {
    try {
      const { algorithm: _algorithm, keyId: _keyId, ...svid } = readJwtSvid(token, checkHint(hint));
      if (svid.spiffeId !== spiffeId)
        throw badAnswer(`spiffe_id is ${quoted(spiffeId)}, the token is ${svid.spiffeId}'s`);
      if (wanted !== undefined && spiffeId !== wanted) throw badAnswer(`asked for ${wanted}, got ${spiffeId}`);
      const missing = audience.find((one) => !svid.audience.includes(one));
      if (missing !== undefined) throw badAnswer(`the token is not for the audience ${quoted(missing)}`);
      if (!(now < svid.expiresAt)) throw badAnswer('the token has expired already');
      return svid;
    } catch (cause) {
      throw badAnswer(`svids[${i}]: ${reasonOf(cause)}`, cause);
    }
  });
}

function validatedOf(bytes: Buffer, expected: string): ValidatedJwtSvid {
  const { claims, spiffeId } = readValidateMessage(bytes);
  if (claims === undefined) throw badAnswer('claims is empty');
  if (spiffeId !== expected) throw badAnswer(`spiffe_id is ${quoted(spiffeId)}, the token is ${expected}'s`);
  return { spiffeId, claims };
}
