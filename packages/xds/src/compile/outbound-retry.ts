import { type HeaderMatch, type HedgePolicy, type RetryOn, type RetryPolicy, retryOnWords } from 'inmesh/model';
import { typeOf } from '../proto/any.ts';
import type { RetryPolicy as Message } from '../proto/envoy/retry-policy.ts';
import type { HedgePolicy as HedgeMessage } from '../proto/envoy/route-action.ts';
import type { HeaderMatcher } from '../proto/envoy/route-match.ts';
import { ResourceError } from '../resources.ts';
import type { Remarks } from './outbound-remarks.ts';
import { headerTextOf } from './string-matchers.ts';

/** What Envoy's `RetryPolicy` says, and what of it belongs to the route. */
export interface ReadRetry {
  readonly retry?: RetryPolicy;
  readonly perTryIdleMs?: number;
}

const defaultBackoffMs = 25;

/** @param sticky the route has a hash policy */
export function retryOf(message: Message | undefined, sticky: boolean, path: string, remarks: Remarks): ReadRetry {
  if (message === undefined) return {};
  const attempts = message.num_retries ?? 1;
  const { retryOn, unknown } = conditionsOf(message.retry_on);
  for (const word of unknown) remarks.ignored(`${path}.retry_on`, `${word} is no condition that is known here`);
  const idleMs = message.per_try_idle_timeout;
  const idle = idleMs === undefined || idleMs <= 0 ? {} : { perTryIdleMs: idleMs };
  if (attempts === 0 || retryOn.length === 0) return idle;
  const backoff = message.retry_back_off;
  const baseMs = backoff === undefined ? defaultBackoffMs : backoff.base_interval;
  if (baseMs === undefined || baseMs <= 0) {
    throw new ResourceError(`${path}.retry_back_off.base_interval`, 'expected a time above 0', { value: baseMs });
  }
  const maxMs = backoff?.max_interval;
  if (maxMs !== undefined && maxMs < baseMs) {
    throw new ResourceError(`${path}.retry_back_off.max_interval`, 'expected at least the base interval', {
      value: maxMs,
    });
  }
  if (maxMs !== undefined && maxMs !== baseMs * 10) {
    remarks.approximated(`${path}.retry_back_off.max_interval`, 'waits grow up to ten times the base interval');
  }
  if (message.retriable_request_headers.length > 0) {
    remarks.ignored(`${path}.retriable_request_headers`, 'requests are retried whatever headers they have');
  }
  const headers = message.retriable_headers.flatMap((each, index) => {
    const match = headerMatch(each, `${path}.retriable_headers[${index}]`);
    if (match === undefined) {
      remarks.ignored(`${path}.retriable_headers[${index}]`, 'only headers that are there and match are looked at');
    }
    return match ?? [];
  });
  const passesOver = message.retry_host_predicate.some(({ name, typed_config: config }, index) => {
    const known =
      name.endsWith('previous_hosts') || (config !== undefined && typeOf(config).includes('previous_hosts'));
    if (!known) remarks.ignored(`${path}.retry_host_predicate[${index}]`, `${name} is not known here`);
    return known;
  });
  const timeoutMs = message.per_try_timeout;
  const retry: RetryPolicy = {
    attempts,
    ...(timeoutMs === undefined || timeoutMs <= 0 ? {} : { perTryTimeoutMs: timeoutMs }),
    retryOn,
    retriableStatusCodes: message.retriable_status_codes,
    ...(headers.length === 0 ? {} : { retriableHeaders: headers }),
    backoffBaseMs: baseMs,
    // istiod leaves the predicate out for the endpoint of a key, which is the right one again.
    ...(passesOver ? {} : { ignorePreviousHosts: sticky ? 'unreached' : false }),
    ...(otherPriorities(message, path, remarks) ? { otherPriorities: true } : {}),
  };
  return { retry, ...idle };
}

function otherPriorities({ retry_priority: priority }: Message, path: string, remarks: Remarks): boolean {
  if (priority === undefined) return false;
  const { name, typed_config: config } = priority;
  if (
    name.endsWith('previous_priorities') ||
    (config !== undefined && typeOf(config).includes('previous_priorities'))
  ) {
    remarks.approximated(`${path}.retry_priority`, 'priorities are left out after each two tries');
    return true;
  }
  remarks.ignored(`${path}.retry_priority`, `${name} is not known here`);
  return false;
}

const words: ReadonlySet<string> = new Set(retryOnWords);

function conditionsOf(text: string): { readonly retryOn: readonly RetryOn[]; readonly unknown: readonly string[] } {
  const all = [...new Set(text.split(',').map((word) => word.trim()))].filter((word) => word !== '');
  const isKnown = (word: string): word is RetryOn => words.has(word);
  // Envoy has it for HTTP/3, which is not spoken here: there is nothing to retry.
  const hasNoMeaning = (word: string): boolean => word === 'http3-post-connect-failure';
  return {
    retryOn: all.filter(isKnown),
    unknown: all.filter((word) => !isKnown(word) && !hasNoMeaning(word)),
  };
}

function headerMatch(matcher: HeaderMatcher, path: string): HeaderMatch | undefined {
  const name = matcher.name.toLowerCase();
  if (matcher.invert_match || matcher.present_match === false || matcher.range_match !== undefined) return undefined;
  return { name, match: headerTextOf(matcher, path) ?? { kind: 'present' } };
}

export function hedgeOf(message: HedgeMessage | undefined, retry: RetryPolicy | undefined): HedgePolicy | undefined {
  const applies = message?.hedge_on_per_try_timeout === true && retry?.perTryTimeoutMs !== undefined;
  return applies ? { when: { kind: 'perTryTimeout' } } : undefined;
}
