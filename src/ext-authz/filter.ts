import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { ExternalAuthorizer } from '../model/external-authorizer.ts';
import { describeProvenance, type Provenance } from '../model/provenance.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { applyToRequest, applyToResponse, isFixed, isSendable, isSingle } from './apply.ts';
import { attributesOf } from './attributes.ts';
import { hasBody, peekBody } from './request-body.ts';
import type { AuthorizationVerdict, CheckAttributes, CheckBody, HeaderMutation } from './service.ts';

/** What an authorizer has been asked and has said so far. */
export interface AuthorizerCounts {
  /** Requests that it was, or should have been, asked about. */
  asked: number;
  allowed: number;
  denied: number;
  /** It could not be asked, or did not answer in time, or not so that it could be understood. */
  failed: number;
  /** Of these, requests that passed because of `failOpen`. */
  failedOpen: number;
}

export interface ExternalAuthorizationOptions {
  readonly authorizer: ExternalAuthorizer;
  /** The CUSTOM policy for which this request is asked about; nothing when none matches. */
  asksFor(call: ServerCall): Provenance | undefined;
  /** Asks. Rejects when there is no answer; ends early when the signal says so. */
  check(attributes: CheckAttributes, signal: AbortSignal): Promise<AuthorizationVerdict>;
  ownPrincipal(): string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counts: AuthorizerCounts;
}

/**
 * Asks an external authorizer about the requests that CUSTOM policies are for: outside of tokens and of
 * the other policies, as Istio orders them. Without an answer the request is refused, unless the
 * provider says `failOpen`.
 */
export function externalAuthorizationFilter(options: ExternalAuthorizationOptions): Filter<ServerCall, void> {
  const { asksFor, authorizer, clock, counts, logger } = options;
  let failing = false;
  let count = 0;

  const ask = async (call: ServerCall): Promise<AuthorizationVerdict | Error> => {
    const body = await bodyOf(call, authorizer);
    const attributes = attributesOf(call, {
      id: String(++count),
      timeMs: clock.wallNow() - (clock.now() - call.startedAt),
      ownPrincipal: options.ownPrincipal(),
      ...(body === undefined ? {} : { body }),
    });
    try {
      const verdict = await inTime(call, authorizer.timeoutMs, clock, (signal) => options.check(attributes, signal));
      if (!isSendable(verdict)) return unsendable(verdict);
      if (verdict.kind !== 'error' && failing) {
        failing = false;
        logger.info({ provider: authorizer.name }, 'the external authorizer answers again');
      }
      return verdict;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  };

  /** Said once, and again only after it had answered: an outage is no reason to fill the log. */
  const complain = (why: unknown): void => {
    if (failing) return;
    failing = true;
    const spoilt = why instanceof UnsendableAnswer;
    const open = authorizer.failOpen && !spoilt;
    const what = open ? 'requests pass without being asked about' : 'requests are refused';
    const fails = spoilt
      ? 'an answer of the external authorizer cannot be used'
      : 'the external authorizer does not answer';
    logger.warn({ provider: authorizer.name, error: why }, `${fails}: ${what}`);
  };

  const decide = async (call: ServerCall, next: Service<ServerCall, void>, policy: Provenance): Promise<void> => {
    counts.asked++;
    const verdict = await ask(call);
    if (isResponseClosed(call.response))
      throw new MeshError('ERR_MESH_CLIENT_GONE', 'the client did not wait for the authorizer');
    if (!(verdict instanceof Error) && verdict.kind === 'allow') {
      counts.allowed++;
      applyToRequest(call.request, verdict);
      applyToResponse(call.response, verdict.responseHeaders);
      return next(call);
    }
    const about = `${call.method} ${call.path} by ${call.peer?.spiffeId ?? 'a caller without identity'}`;
    const asked = `${authorizer.name}, which ${describeProvenance(policy)} names`;
    if (!(verdict instanceof Error) && verdict.kind === 'deny') {
      counts.denied++;
      const { body, headers, status } = verdict;
      const answer = { status, headers: answerHeaders(headers), body };
      throw new MeshError('ERR_MESH_FORBIDDEN', `${about}: ${asked}, denies it`, { answer });
    }
    counts.failed++;
    complain(verdict instanceof Error ? verdict : new Error('it says that it cannot decide'));
    // It has answered, if not so that it could be done: whoever can bring that about must not pass by it.
    if (authorizer.failOpen && !(verdict instanceof UnsendableAnswer)) {
      counts.failedOpen++;
      return next(call);
    }
    const { body, headers, status } = verdict instanceof Error ? silence : verdict;
    const answer = {
      status: status ?? authorizer.statusOnError,
      headers: [...answerHeaders(headers), ownHeader],
      body,
    };
    const cause = verdict instanceof Error ? { cause: verdict } : {};
    throw new MeshError('ERR_MESH_AUTHORIZER', `${about}: there is no answer from ${asked}`, { answer, ...cause });
  };

  // Requests that nobody is asked about cost no promise.
  return (call, next) => {
    const policy = asksFor(call);
    return policy === undefined ? next(call) : decide(call, next, policy);
  };
}

/** As Envoy's `validate_mutations`: half of what an authorizer wants could be less than it meant. */
class UnsendableAnswer extends Error {}

function unsendable({ kind }: AuthorizationVerdict): Error {
  const message = 'its answer has a status or headers that HTTP cannot carry';
  // One that could not decide has not decided.
  return kind === 'error' ? new Error(message) : new UnsendableAnswer(message);
}

const silence: { readonly status?: number; readonly headers: readonly HeaderMutation[]; readonly body: Uint8Array } = {
  headers: [],
  body: new Uint8Array(0),
};

const ownHeader = ['x-inmesh-error', 'ERR_MESH_AUTHORIZER'] as const;

async function bodyOf(
  { connection, request, response }: ServerCall,
  { body }: ExternalAuthorizer,
): Promise<CheckBody | undefined> {
  if (body === undefined || !hasBody(request)) return undefined;
  if (connection?.awaitsContinue === response) {
    connection.awaitsContinue = undefined;
    response.writeContinue();
  }
  return peekBody(request, body);
}

/** The headers of an answer that has none yet. */
function answerHeaders(mutations: readonly HeaderMutation[]): readonly (readonly [string, string])[] {
  let headers: (readonly [string, string])[] = [];
  for (const { action, name, value } of mutations) {
    const lower = name.toLowerCase();
    if (isFixed(lower)) continue;
    const there = headers.some(([each]) => each === lower);
    if ((action === 'add-if-absent' && there) || (action === 'overwrite-if-exists' && !there)) continue;
    if (action !== 'append' || isSingle(lower)) headers = headers.filter(([each]) => each !== lower);
    headers.push([lower, value]);
  }
  return headers;
}

/** An authorizer that never answers must not hold requests, and nobody asks for clients that have gone. */
function inTime<T>(
  { response }: ServerCall,
  timeoutMs: number,
  clock: Clock,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const controller = new AbortController();
    const end = (why: string): void => {
      const error = new Error(why);
      reject(error);
      controller.abort(error);
    };
    // An answer that came while the event loop stood still counts.
    const cancel = clock.after(timeoutMs, () => clock.afterIo(() => end(`no answer within ${timeoutMs} ms`)), true);
    const gone = (): void => end('the client has gone');
    response.once('close', gone);
    ask(controller.signal)
      .then(resolve, reject)
      .finally(() => {
        cancel();
        response.off('close', gone);
      });
  });
}
