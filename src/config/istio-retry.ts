import { STATUS_CODES } from 'node:http';
import type { RetryOn, RetryPolicy } from '../model/route.ts';
import { defaultRetryPolicy, retryOnWords } from '../model/route.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import { durationMs, suggest } from './values.ts';

/** Istio `HTTPRetry`. */
export interface RetrySpec {
  readonly attempts?: number;
  readonly perTryTimeout?: string;
  readonly retryOn?: string;
  readonly backoff?: string;
}

/** Envoy's words that have nothing to act on here. */
const wordsWithoutEffect: readonly string[] = ['retriable-headers', 'http3-post-connect-failure'];

/**
 * Istio's rules: no `retries` is the default policy; `attempts: 0` is none at all; what `retries`
 * leaves out has its default; numbers in `retryOn` are status codes.
 */
export function compileRetry(
  resource: Resource,
  spec: RetrySpec | undefined,
  path: Path,
  collector: Collector,
): RetryPolicy | undefined {
  if (spec === undefined) return defaultRetryPolicy;
  const attempts = spec.attempts ?? 0;
  if (attempts === 0) {
    const others = ['perTryTimeout', 'retryOn', 'backoff'].filter((name) => Object.hasOwn(spec, name));
    if (others.length > 0) {
      collector.problem(resource, path, `needs attempts of at least 1 when ${others.join(', ')} is set, as in Istio`);
    }
    return undefined;
  }
  const perTryTimeoutMs = durationMs(spec.perTryTimeout);
  return {
    attempts,
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    ...parseRetryOn(resource, spec.retryOn ?? '', [...path, 'retryOn'], collector),
    backoffBaseMs: durationMs(spec.backoff) ?? defaultRetryPolicy.backoffBaseMs,
  };
}

function parseRetryOn(
  resource: Resource,
  text: string,
  path: Path,
  collector: Collector,
): Pick<RetryPolicy, 'retryOn' | 'retriableStatusCodes'> {
  const { retryOn, retriableStatusCodes } = defaultRetryPolicy;
  if (text === '') return { retryOn, retriableStatusCodes };
  const words = new Set<RetryOn>();
  const codes = new Set<number>();
  for (const part of text.split(',')) {
    const word = part.trim();
    if (word === '') continue;
    if (/^[0-9]+$/.test(word)) {
      if (STATUS_CODES[word] === undefined)
        collector.problem(resource, path, 'must name HTTP status codes that exist', word);
      codes.add(Number(word));
    } else if (isRetryOn(word)) words.add(word);
    else if (!wordsWithoutEffect.includes(word)) {
      const meant = suggest(word, retryOnWords);
      const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
      collector.problem(resource, path, `must be a list of ${retryOnWords.join(', ')} or status codes${hint}`, word);
    }
  }
  if (codes.size > 0) words.add('retriable-status-codes');
  return { retryOn: [...words], retriableStatusCodes: [...codes] };
}

function isRetryOn(word: string): word is RetryOn {
  return (retryOnWords as readonly string[]).includes(word);
}
