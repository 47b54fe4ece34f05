import { MeshError } from '../errors.ts';
import type { RetryOn, RetryPolicy } from '../model/route.ts';

/** How one try ended, as far as the retry policy asks. */
export type TryOutcome =
  | {
      readonly kind: 'response';
      readonly status: number;
      /** `grpc-status` of a response that consists of headers only; absent otherwise. */
      readonly grpcStatus?: string;
      readonly rateLimited: boolean;
    }
  | { readonly kind: 'error'; readonly error: unknown };

/** Decides whether the policy's conditions ask for another try. Counts and budgets are not its business. */
export type RetryDecision = (outcome: TryOutcome) => boolean;

const never: RetryDecision = () => false;

/**
 * The lowest status that can be asked to be tried again, unless the response speaks gRPC: lets the
 * common case be told by one comparison.
 */
export function lowestRetriedStatus(policy: RetryPolicy): number {
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
  const statuses = new Set<number>(words.has('retriable-status-codes') ? policy.retriableStatusCodes : []);
  if (words.has('gateway-error')) for (const status of [502, 503, 504]) statuses.add(status);
  if (words.has('retriable-4xx')) statuses.add(409);
  const all5xx = words.has('5xx');
  const grpc = new Set<string>();
  for (const word of words) {
    const code = grpcCodes[word];
    if (code !== undefined) grpc.add(code);
  }
  // An answer that says "slow down" is not retried unless the policy asks for just that.
  const rateLimited = words.has('envoy-ratelimited');
  // A gateway error includes a failed connection: Envoy answers those with a 503 of its own.
  const broken = all5xx || words.has('gateway-error');
  const reset = broken || words.has('reset');
  const connect = reset || words.has('connect-failure') || words.has('reset-before-request');
  // `refused-stream` is a word of HTTP/2: a connection of HTTP/1.1 has no streams to refuse.

  return (outcome) => {
    if (outcome.kind === 'response') {
      if (outcome.rateLimited) return rateLimited;
      if (statuses.has(outcome.status) || (all5xx && outcome.status >= 500 && outcome.status < 600)) return true;
      return outcome.grpcStatus !== undefined && grpc.has(outcome.grpcStatus);
    }
    if (!(outcome.error instanceof MeshError)) return false;
    switch (outcome.error.code) {
      case 'ERR_MESH_CONNECT_FAILED':
      case 'ERR_MESH_TLS_FAILED':
      case 'ERR_MESH_PEER_IDENTITY':
        return connect;
      case 'ERR_MESH_UPSTREAM_RESET':
        return reset;
      case 'ERR_MESH_TRY_TIMEOUT':
        // Envoy resets the try when its time is up; the words that cover a reset cover this.
        return reset;
      default:
        // Refused by a limit, nobody there, out of time: trying again would only add to the load.
        return false;
    }
  };
}

/** Did the request provably never reach the server, so that its body is untouched? */
export function neverSent(error: unknown): boolean {
  return (
    error instanceof MeshError &&
    (error.code === 'ERR_MESH_CONNECT_FAILED' ||
      error.code === 'ERR_MESH_TLS_FAILED' ||
      error.code === 'ERR_MESH_PEER_IDENTITY')
  );
}
