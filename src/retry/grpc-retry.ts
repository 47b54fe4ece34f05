import { grpcStatusOf } from '../lib/grpc-answer.ts';
import { grpcStatusOfError, isFailedTry } from '../lib/grpc-failure.ts';
import type { Random } from '../lib/random.ts';
import type { RetryPolicy } from '../model/route.ts';
import type { GrpcRetry } from '../pipeline/client-call.ts';
import type { RetryDecision } from './decide.ts';

/** A policy of a gRPC client's service config, in so far as the model has words for it. */
export function policyOf({ initialBackoffMs, maxAttempts }: GrpcRetry): RetryPolicy {
  return { attempts: maxAttempts - 1, retryOn: [], retriableStatusCodes: [], backoffBaseMs: initialBackoffMs };
}

/**
 * Is the status one that the client's policy retries (gRFC A6)? A response counts as long as it is
 * nothing but a status; a call without a response has the status that its failure stands for.
 */
export function grpcRetryDecision({ retryableStatusCodes }: GrpcRetry): RetryDecision {
  return (outcome) => {
    if (outcome.kind === 'error') {
      return isFailedTry(outcome.error) && retryableStatusCodes.has(grpcStatusOfError(outcome.error));
    }
    const given = outcome.headers['grpc-status'];
    if (given === undefined) return outcome.status >= 300 && retryableStatusCodes.has(grpcStatusOf(outcome.status));
    return typeof given === 'string' && retryableStatusCodes.has(Number(given));
  };
}

/** Wait before retry number `retry` (from 1) in milliseconds: exponential, a fifth more or less (gRFC A6). */
export function grpcBackoffMs(retry: number, policy: GrpcRetry, random: Random): number {
  const { backoffMultiplier, initialBackoffMs, maxBackoffMs } = policy;
  const usual = Math.min(initialBackoffMs * backoffMultiplier ** Math.min(retry - 1, 100), maxBackoffMs);
  return usual * (0.8 + random() * 0.4);
}
