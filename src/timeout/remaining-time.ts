import type { Clock } from '../lib/clock.ts';
import { setHeader } from '../lib/header-list.ts';
import type { ClientCall } from '../pipeline/client-call.ts';

/** The header in which the time that is left travels, in milliseconds (Envoy). */
export const remainingHeader = 'x-envoy-expected-rq-timeout-ms';

/**
 * Tells the next hop how long somebody waits for its answer, so that it does not work for nobody:
 * the time for one try or what is left for the whole call, whichever is less, as Envoy computes it.
 */
export function stampRemaining(call: ClientCall, clock: Clock, perTryMs: number | undefined): void {
  const leftMs = Math.min(perTryMs ?? Number.POSITIVE_INFINITY, call.deadline - clock.now());
  if (Number.isFinite(leftMs)) setHeader(call.request.headers, remainingHeader, String(Math.max(1, Math.ceil(leftMs))));
}
