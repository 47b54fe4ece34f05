import { STATUS_CODES } from 'node:http';
import { suggest } from '../lib/suggest.ts';
import type { RetryOn, RetryPolicy } from '../model/route.ts';
import { defaultRetryPolicy, retryOnWords } from '../model/route.ts';
import type { Collector, Subject } from './collector.ts';
import type { Path } from './document.ts';
import { durationMs } from './values.ts';

/** Istio `HTTPRetry`. */
export interface RetrySpec {
  readonly attempts?: number;
  readonly perTryTimeout?: string;
  readonly retryOn?: string;
  readonly backoff?: string;
  readonly retryRemoteLocalities?: boolean;
  readonly retryIgnorePreviousHosts?: boolean;
}

/** Envoy's words that have nothing to act on here. */
const wordsWithoutEffect: readonly string[] = ['http3-post-connect-failure'];

/**
 * Istio's rules: no `retries` is the default policy; `attempts: 0` is none at all; what `retries` leaves out is that of
 * Istio's own default. The mesh-wide `defaultHttpRetryPolicy` is a `spec` too: it stands in for absent `retries` as a
 * whole, and is compiled by the same rules.
 */
export function compileRetry(spec: RetrySpec | undefined): RetryPolicy | undefined {
  if (spec === undefined) return defaultRetryPolicy;
  const attempts = spec.attempts ?? 0;
  if (attempts <= 0) return undefined;
  const perTryTimeoutMs = durationMs(spec.perTryTimeout);
  return {
    attempts,
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    ...parseRetryOn(spec.retryOn ?? ''),
    backoffBaseMs: durationMs(spec.backoff) ?? defaultRetryPolicy.backoffBaseMs,
    ...(typeof spec.retryIgnorePreviousHosts === 'boolean'
      ? { ignorePreviousHosts: spec.retryIgnorePreviousHosts }
      : {}),
    ...(spec.retryRemoteLocalities === true ? { otherPriorities: true } : {}),
  };
}

/** Refuses what Istio's webhook refuses in `retries`. */
export function checkRetry(subject: Subject, spec: RetrySpec | undefined, path: Path, collector: Collector): void {
  if (spec === undefined) return;
  if ((spec.attempts ?? 0) === 0) {
    const others = ['perTryTimeout', 'retryOn', 'retryRemoteLocalities'] as const;
    const set = others.filter((name) => Object.hasOwn(spec, name) && spec[name] !== '');
    if (set.length > 0) {
      collector.problem(subject, path, `needs attempts of at least 1 when ${set.join(', ')} is set, as in Istio`);
    }
  }
  if (spec.retryOn === undefined || spec.retryOn === '') return;
  for (const word of spec.retryOn.split(',')) {
    if (isRetryOn(word) || wordsWithoutEffect.includes(word) || isStatus(word)) continue;
    const at = [...path, 'retryOn'];
    if (/^[0-9]+$/.test(word)) collector.problem(subject, at, 'must name HTTP status codes that exist', word);
    else {
      const meant = suggest(word, retryOnWords);
      const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
      const text = `must be a list of ${retryOnWords.join(', ')} or status codes, without spaces${hint}`;
      collector.problem(subject, at, text, word);
    }
  }
}

/** Numbers in `retryOn` are status codes, and add `retriable-status-codes`. */
function parseRetryOn(text: string): Pick<RetryPolicy, 'retryOn' | 'retriableStatusCodes'> {
  const { retryOn, retriableStatusCodes } = defaultRetryPolicy;
  if (text === '') return { retryOn, retriableStatusCodes };
  const words = new Set<RetryOn>();
  const codes = new Set<number>();
  for (const part of text.split(',')) {
    const word = part.trim();
    if (isStatus(word)) codes.add(Number(word));
    else if (isRetryOn(word)) words.add(word);
  }
  if (codes.size > 0) words.add('retriable-status-codes');
  return { retryOn: [...words], retriableStatusCodes: [...codes] };
}

function isRetryOn(word: string): word is RetryOn {
  return (retryOnWords as readonly string[]).includes(word);
}

/** A status code with a name in Go, which is what Istio asks; Node knows one more. */
function isStatus(word: string): boolean {
  return /^\+?[0-9]+$/.test(word) && STATUS_CODES[Number(word)] !== undefined && Number(word) !== 509;
}
