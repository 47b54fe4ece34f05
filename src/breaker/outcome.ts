import { endpointFailures, MeshError, type MeshErrorCode } from '../errors.ts';
import { failureKind } from '../lib/failure-kind.ts';
import type { BreakerFailures } from '../model/breaker.ts';
import type { Outcome } from './breaker.ts';

/** The destination could not be reached, broke off, or has nobody who answers. */
const unanswered: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  ...endpointFailures,
  'ERR_MESH_NO_HEALTHY_ENDPOINT',
]);

/** The time that the configuration gives a call ran out; what its caller gave it is another matter. */
const late: ReadonlySet<MeshErrorCode> = new Set(['ERR_MESH_TRY_TIMEOUT', 'ERR_MESH_TIMEOUT'] as const);

/** What responses and errors say about the destination. */
export interface Judge {
  ofStatus(status: number): Outcome;
  /**
   * Limits of our own, a deadline of the caller, policy, aborts of the application: what did not
   * come from the destination is `neutral`.
   */
  ofError(error: unknown): Outcome;
}

export function createJudge({ errors, statuses, timeouts }: BreakerFailures): Judge {
  const named = statuses === undefined ? undefined : new Set(statuses);
  const ofUnanswered: Outcome = errors ? 'failure' : 'neutral';
  const ofLate: Outcome = timeouts ? 'failure' : 'neutral';
  return {
    ofStatus(status) {
      const failed = named === undefined ? status >= 500 && status <= 599 : named.has(status);
      return failed ? 'failure' : 'success';
    },
    ofError(error) {
      if (error instanceof MeshError) {
        if (unanswered.has(error.code)) return ofUnanswered;
        return late.has(error.code) ? ofLate : 'neutral';
      }
      const kind = failureKind(error);
      if (kind === undefined) return 'neutral';
      return kind === 'timeout' ? ofLate : ofUnanswered;
    },
  };
}
