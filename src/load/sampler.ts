import type { Clock } from '../lib/clock.ts';
import { formatLoadReport } from '../lib/load-report.ts';

/** How long an event loop has been at work and idle, as `performance.eventLoopUtilization()` says. */
export interface LoopTime {
  readonly active: number;
  readonly idle: number;
}

/** Measures the load of this process for as long as somebody wants to know. */
export interface LoadSampler {
  /** The report for one response; nothing yet in the first second. */
  report(format: 'TEXT' | 'JSON'): string | undefined;
  /** Does it count? Then it is to be told how each request ends. */
  readonly running: boolean;
  /** A request was answered with this status; 0: with none. */
  ended(status: number): void;
  close(): void;
}

/** How often a sample is taken. */
export const sampleMs = 1_000;
/** A report is about so many samples. */
const windowSamples = 5;
/** Nobody asked for so long: no more samples until somebody does. */
const restMs = 60_000;

/** What was the case at one moment, as totals. */
interface Sample {
  readonly at: number;
  readonly loop: LoopTime;
  readonly requests: number;
  readonly errors: number;
}

export function createLoadSampler(clock: Clock, loopTime: () => LoopTime): LoadSampler {
  let samples: Sample[] = [];
  let requests = 0;
  let errors = 0;
  let askedAt = 0;
  let cancel: (() => void) | undefined;
  let text: string | undefined;
  let json: string | undefined;
  let closed = false;

  const take = (): void => {
    const last: Sample = { at: clock.now(), loop: loopTime(), requests, errors };
    samples.push(last);
    if (samples.length > windowSamples + 1) samples.shift();
    const first = samples[0] as Sample;
    const seconds = (last.at - first.at) / 1_000;
    const active = last.loop.active - first.loop.active;
    const whole = active + last.loop.idle - first.loop.idle;
    if (seconds <= 0 || whole <= 0) return;
    const load = {
      utilization: active / whole,
      rps: (last.requests - first.requests) / seconds,
      eps: (last.errors - first.errors) / seconds,
    };
    text = formatLoadReport(load, 'TEXT');
    json = formatLoadReport(load, 'JSON');
  };
  const tick = (): void => {
    if (clock.now() - askedAt >= restMs) {
      stop();
      return;
    }
    take();
    cancel = clock.after(sampleMs, tick);
  };
  const stop = (): void => {
    cancel?.();
    cancel = undefined;
    samples = [];
    text = undefined;
    json = undefined;
  };

  return {
    get running() {
      return cancel !== undefined;
    },
    report(format) {
      askedAt = clock.now();
      if (cancel === undefined && !closed) {
        take();
        cancel = clock.after(sampleMs, tick);
      }
      return format === 'TEXT' ? text : json;
    },
    ended(status) {
      requests++;
      if (status >= 500 || status === 429 || status === 0) errors++;
    },
    close() {
      closed = true;
      stop();
    },
  };
}
