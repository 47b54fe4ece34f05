import { millionths } from '../lib/percent.ts';
import type { FaultPlan } from './decide.ts';

/** Envoy's headers by which a caller asks for faults. */
const names = {
  delay: 'x-envoy-fault-delay-request',
  delayPercent: 'x-envoy-fault-delay-request-percentage',
  abort: 'x-envoy-fault-abort-request',
  abortGrpc: 'x-envoy-fault-abort-grpc-request',
  abortPercent: 'x-envoy-fault-abort-request-percentage',
} as const;

/**
 * The fault of a call that asks for one: what its headers name takes the place of what the route has,
 * each for itself. A percentage in a header may lower the configured one, and not raise it. What is
 * not a whole number counts as absent. As in Envoy a status is one from 200 to 599, and a gRPC status
 * goes before it.
 */
export function planByHeaders(
  plan: FaultPlan,
  maxPercent: number,
  header: (name: string) => string | undefined,
): FaultPlan {
  const delayMs = whole(header(names.delay));
  const status = whole(header(names.abort));
  const grpcStatus = whole(header(names.abortGrpc));
  const asksForAbort = grpcStatus !== undefined || (status !== undefined && status >= 200 && status <= 599);
  if (delayMs === undefined && !asksForAbort) return plan;
  const percentOf = (name: string): number => Math.min(maxPercent, whole(header(name)) ?? maxPercent);
  const delay =
    delayMs === undefined ? {} : { delayMs, delayShare: delayMs === 0 ? 0 : millionths(percentOf(names.delayPercent)) };
  if (!asksForAbort) return { ...plan, ...delay };
  const percent = percentOf(names.abortPercent);
  const abort = grpcStatus === undefined ? { status: status as number, percent } : { status: 200, grpcStatus, percent };
  return { ...plan, ...delay, abort, abortShare: millionths(percent) };
}

/** At most nine digits, so that nothing overflows a timer. */
function whole(text: string | undefined): number | undefined {
  if (text === undefined || text.length === 0 || text.length > 9) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}
