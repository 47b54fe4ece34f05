import { isInShare, millionths } from '../lib/percent.ts';
import type { Fault } from '../model/route.ts';

/** A fault with its percentages as shares. */
export interface FaultPlan {
  /** 0: no delay. */
  readonly delayMs: number;
  readonly delayShare: number;
  readonly abort: Fault['abort'];
  readonly abortShare: number;
  /** Infinity: no limit. */
  readonly maxActive: number;
  /** Highest percentage of faults that callers ask for; absent: they may not. */
  readonly byHeaders?: number;
}

/** What a fault does to one call. */
export interface FaultDecision {
  /** Wait this long first; 0 is not at all. */
  readonly delayMs: number;
  /** Then answer with this, and send nothing. */
  readonly abort?: NonNullable<Fault['abort']>;
}

/** Prepares a fault; nothing when it can never happen, so that it needs no filter. */
export function planFault(fault: Fault | undefined): FaultPlan | undefined {
  const delayMs = fault?.delay?.delayMs ?? 0;
  const delayShare = delayMs > 0 ? millionths(fault?.delay?.percent ?? 0) : 0;
  const abortShare = millionths(fault?.abort?.percent ?? 0);
  const byHeaders = fault?.byHeaders?.maxPercent;
  if (delayShare === 0 && abortShare === 0 && byHeaders === undefined) return undefined;
  return {
    delayMs: delayShare === 0 ? 0 : delayMs,
    delayShare,
    abort: fault?.abort,
    abortShare,
    maxActive: fault?.maxActive ?? Number.POSITIVE_INFINITY,
    ...(byHeaders === undefined ? {} : { byHeaders }),
  };
}

/**
 * May whoever causes a call ask for faults? The application itself may, and whoever has proven an
 * identity; an application that hands on what a stranger has sent does not make it trusted.
 */
export function mayAskForFaults(scope: { readonly peer?: unknown } | undefined): boolean {
  return scope === undefined || scope.peer !== undefined;
}

/** Is this call delayed? Delay and abort are independent, as in Envoy: give each a number of its own. */
export function isDelayed(plan: FaultPlan, random: number): boolean {
  return isInShare(plan.delayShare, random);
}

/** Is this call, after its delay if it has one, answered with the abort? */
export function isAborted(plan: FaultPlan, random: number): boolean {
  return isInShare(plan.abortShare, random);
}

/**
 * What a fault does to the call that draws `random` (in [0, 1)) for each of its choices. For
 * `explain`, where one number stands for all: the same number is compared with the percentage of
 * the delay and with that of the abort, so whoever draws less than both gets both.
 */
export function decideFault(fault: Fault | undefined, random: number): FaultDecision {
  const plan = planFault(fault);
  if (plan === undefined) return { delayMs: 0 };
  const delayMs = isDelayed(plan, random) ? plan.delayMs : 0;
  return plan.abort !== undefined && isAborted(plan, random) ? { delayMs, abort: plan.abort } : { delayMs };
}
