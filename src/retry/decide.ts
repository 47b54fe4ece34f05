import { MeshError } from '../errors.ts';
import type { HeaderMatch, RetryOn, RetryPolicy } from '../model/route.ts';
import { compileStringMatch, type StringPredicate } from '../model/string-match.ts';
import type { ResponseHeaders } from '../pipeline/client-call.ts';

/** How one try ended, as far as the retry policy asks. */
export type TryOutcome =
  | {
      readonly kind: 'response';
      readonly status: number;
      /** Names in lower case. With `grpc-status` when the response consists of headers only. */
      readonly headers: ResponseHeaders;
    }
  | {
      readonly kind: 'error';
      readonly error: unknown;
      /** May a byte of the request have left? */
      readonly sent: boolean;
    };

/** Decides whether the policy's conditions ask for another try. Counts and budgets are not its business. */
export type RetryDecision = (outcome: TryOutcome) => boolean;

const never: RetryDecision = () => false;

/**
 * The lowest status that can be asked to be tried again, unless the response speaks gRPC: lets the
 * common case be told by one comparison.
 */
export function lowestRetriedStatus(policy: RetryPolicy): number {
  if (policy.retryOn.includes('retriable-headers') && (policy.retriableHeaders ?? []).length > 0) return 0;
  const named = policy.retryOn.includes('retriable-status-codes') ? policy.retriableStatusCodes : [];
  return Math.min(400, ...named);
}

/** gRPC status codes behind Envoy's gRPC retry words. */
const grpcCodes: Partial<Record<RetryOn, string>> = {
  cancelled: '1',
  'deadline-exceeded': '4',
  internal: '13',
  'resource-exhausted': '8',
  unavailable: '14',
};

/** Compiles the conditions of a policy, with the meaning that Envoy's router gives the words. */
export function compileRetryDecision(policy: RetryPolicy): RetryDecision {
  if (policy.attempts <= 0) return never;
  const words = new Set<RetryOn>(policy.retryOn);
  const byStatus = statusTest(words, policy.retriableStatusCodes);
  const byHeader = headerTest(words.has('retriable-headers') ? (policy.retriableHeaders ?? []) : []);
  const grpc = new Set<string>();
  for (const word of words) {
    const code = grpcCodes[word];
    if (code !== undefined) grpc.add(code);
  }
  // An answer that says "slow down" is not retried unless the policy asks for just that.
  const rateLimited = words.has('envoy-ratelimited');
  const ofError = errorTest(words);

  return (outcome) => {
    if (outcome.kind === 'error') {
      return outcome.error instanceof MeshError && ofError(outcome.error, outcome.sent);
    }
    const { headers, status } = outcome;
    if (headers['x-envoy-ratelimited'] !== undefined) return rateLimited;
    if (byStatus(status)) return true;
    if (byHeader !== undefined && !isRefusal(status) && byHeader(headers)) return true;
    const grpcStatus = headers['grpc-status'];
    return typeof grpcStatus === 'string' && grpc.has(grpcStatus);
  };
}

/** "Who are you" and "not you" are no better the next time: only a policy that names the code retries them. */
function isRefusal(status: number): boolean {
  return status === 401 || status === 403;
}

function statusTest(words: ReadonlySet<RetryOn>, named: readonly number[]): (status: number) => boolean {
  const statuses = new Set<number>(words.has('retriable-status-codes') ? named : []);
  if (words.has('gateway-error')) for (const status of [502, 503, 504]) statuses.add(status);
  if (words.has('retriable-4xx')) statuses.add(409);
  const all5xx = words.has('5xx');
  return (status) => statuses.has(status) || (all5xx && status >= 500 && status < 600);
}

function headerTest(matches: readonly HeaderMatch[]): ((headers: ResponseHeaders) => boolean) | undefined {
  if (matches.length === 0) return undefined;
  const tests = matches.map(({ name, match }): [string, StringPredicate] => [name, compileStringMatch(match)]);
  return (headers) =>
    tests.some(([name, test]) => {
      const value = headers[name];
      return value !== undefined && test(typeof value === 'string' ? value : value.join(','));
    });
}

/**
 * Words for tries without a response. `5xx` and `gateway-error` cover all of them, since Envoy
 * answers those with a 503 or 504 of its own; `reset` does, too. `reset-before-request` holds as
 * long as no byte of the request has left, `connect-failure` when there was no connection.
 */
function errorTest(words: ReadonlySet<RetryOn>): (error: MeshError, sent: boolean) => boolean {
  const any = words.has('5xx') || words.has('gateway-error') || words.has('reset');
  const unsent = any || words.has('reset-before-request');
  const connect = unsent || words.has('connect-failure');
  const refused = any || words.has('refused-stream');
  return (error, sent) => {
    switch (error.code) {
      case 'ERR_MESH_CONNECT_FAILED':
      case 'ERR_MESH_TLS_FAILED':
      case 'ERR_MESH_PEER_IDENTITY':
        return connect;
      case 'ERR_MESH_STREAM_REFUSED':
        return refused;
      case 'ERR_MESH_UPSTREAM_RESET':
      case 'ERR_MESH_UPSTREAM_PROTOCOL':
        // A connection that ended while the request waited for it is one that could not be had.
        return sent ? any : connect;
      case 'ERR_MESH_STREAM_RESET':
        return any;
      case 'ERR_MESH_TRY_TIMEOUT':
        // Envoy resets the try when its time is up; the words that cover a reset cover this.
        return sent ? any : unsent;
      default:
        // Refused by a limit, nobody there, out of time: trying again would only add to the load.
        return false;
    }
  };
}
