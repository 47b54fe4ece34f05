import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Filter } from '../pipeline/filter.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';
import { callerTimeoutMs } from './inbound.ts';

/**
 * Innermost: what is left of the caller's deadline becomes the handler's. Work that nobody waits
 * for any more is answered 504 before the handler runs; the time that was spent in filters, or
 * while the event loop stood still, counts.
 */
export function inboundDeadlineFilter(clock: Clock): Filter<ServerCall, void> {
  return (call, next) => {
    if ((call.hints & headerHints.timeout) !== 0) {
      const { headers } = call.request;
      const timeoutMs = callerTimeoutMs(text(headers['x-envoy-expected-rq-timeout-ms']), text(headers['grpc-timeout']));
      call.deadline = call.startedAt + timeoutMs;
      if (call.deadline <= clock.now()) {
        throw new MeshError('ERR_MESH_DEADLINE_EXPIRED', `the caller waited ${timeoutMs} ms and no longer`);
      }
    }
    return next(call);
  };
}

function text(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
