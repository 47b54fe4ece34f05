import type { Clock } from '../lib/clock.ts';
import { grpcTimeout } from '../lib/grpc-timeout.ts';
import { headerValue, setHeader } from '../lib/header-list.ts';
import type { ClientCall } from '../pipeline/client-call.ts';

/** The header in which the time that is left travels, in milliseconds (Envoy). */
export const remainingHeader = 'x-envoy-expected-rq-timeout-ms';
/** The header in which it travels with gRPC. */
export const grpcHeader = 'grpc-timeout';

/**
 * Tells the next hop how long somebody waits for its answer, so that it does not work for nobody:
 * the time for one try or what is left for the whole call, whichever is less, as Envoy computes it.
 * `grpc`: the call may be one of gRPC, whose servers look at their own header.
 */
export function stampRemaining(call: ClientCall, clock: Clock, perTryMs: number | undefined, grpc = false): void {
  const leftMs = Math.min(perTryMs ?? Number.POSITIVE_INFINITY, call.deadline - clock.now());
  if (!Number.isFinite(leftMs)) return;
  const { headers } = call.request;
  setHeader(headers, remainingHeader, String(Math.max(1, Math.ceil(leftMs))));
  if (call.request.grpc !== undefined || (grpc && isGrpc(call))) setHeader(headers, grpcHeader, grpcTimeout(leftMs));
}

/** Is it a request of gRPC, as its content says? */
export function isGrpc(call: ClientCall): boolean {
  return headerValue(call.request.headers, 'content-type')?.startsWith('application/grpc') ?? false;
}
