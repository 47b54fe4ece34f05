import { type HeaderList, takeHeader } from '../lib/header-list.ts';
import { defaultRetryPolicy, type RetryOn, type RetryPolicy, retryOnWords } from '../model/route.ts';

/** What a route says about time and retries, which headers of a request may override. */
export interface TryPolicies {
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  /** Envoy's `hedge_on_per_try_timeout`; nothing: what the route says. */
  readonly hedgeOnTimeout: boolean | undefined;
}

/** Envoy's headers, in the order in which they make up a key. */
const names = [
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-hedge-on-per-try-timeout',
] as const;
const shortest = Math.min(...names.map(({ length }) => length));

/** The values of {@link names}, '' for those that are not there. */
export type Overrides = readonly string[];

/** Takes these headers off a request: they are for this hop. Nothing when there are none. */
export function takeOverrides(headers: HeaderList): Overrides | undefined {
  let some = false;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.length >= shortest && name.length < 40 && (names as readonly string[]).includes(name.toLowerCase())) {
      some = true;
      break;
    }
  }
  return some ? names.map((name) => takeHeader(headers, name)?.trim() ?? '') : undefined;
}

/** Applies headers to what the route says, as Envoy's router does. What cannot be read is as if it were not there. */
export function applyOverrides(base: TryPolicies, overrides: Overrides): TryPolicies {
  const [timeout = '', perTry = '', on = '', grpcOn = '', most = '', codes = '', headers = '', hedge = ''] = overrides;
  const total = wholeNumber(timeout);
  const timeoutMs = total === undefined ? base.timeoutMs : total === 0 ? undefined : total;
  const perTryGiven = wholeNumber(perTry) ?? base.retry?.perTryTimeoutMs ?? 0;
  // A try that may take as long as the call needs no time of its own.
  const perTryTimeoutMs =
    perTryGiven === 0 || (timeoutMs !== undefined && perTryGiven >= timeoutMs) ? undefined : perTryGiven;
  const words = new Set<RetryOn>(base.retry?.retryOn);
  for (const word of [...list(on), ...list(grpcOn)]) if (isWord(word)) words.add(word);
  const { perTryTimeoutMs: _, ...rest } = base.retry ?? { ...defaultRetryPolicy, attempts: 1 };
  const retry: RetryPolicy = {
    ...rest,
    retryOn: [...words],
    attempts: words.size === 0 ? 0 : (wholeNumber(most) ?? rest.attempts),
    retriableStatusCodes: [...rest.retriableStatusCodes, ...list(codes).flatMap((code) => wholeNumber(code) ?? [])],
    ...(headers === '' ? {} : { retriableHeaders: [...(rest.retriableHeaders ?? []), ...named(headers)] }),
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
  };
  return {
    timeoutMs,
    retry,
    hedgeOnTimeout: hedge === '' ? base.hedgeOnTimeout : hedge === 'true',
  };
}

function named(headers: string): NonNullable<RetryPolicy['retriableHeaders']> {
  return list(headers).map((name) => ({ name: name.toLowerCase(), match: { kind: 'present' } }));
}

function list(text: string): readonly string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function isWord(word: string): word is RetryOn {
  return (retryOnWords as readonly string[]).includes(word);
}

/** At most 2^31-1, which is what a timer takes. */
function wholeNumber(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Math.min(Number(text), 2_147_483_647) : undefined;
}
