import type { Field, KindTable } from './schema.ts';
import { boolean, duration, enforced, integer, list, map, object, required, string, text } from './schema.ts';

/** A destination, as far as our own kinds name one. */
export const destinationFields: Readonly<Record<'host' | 'port' | 'subset', Field>> = {
  host: required(enforced(string({ minLength: 1 }), 'as in a DestinationRule; `*.example.com` is possible')),
  port: enforced(integer(1, 65_535), 'absent: every port'),
  subset: enforced(string({ minLength: 1 }), 'absent: every subset, and calls to none'),
};

/** `inmesh.dev` CircuitBreaker. */
export const circuitBreakerTable: KindTable = {
  kind: 'CircuitBreaker',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  note: 'a kind of inmesh: a circuit breaker in Node’s sense',
  reference: 'reference/extensions.md#circuitbreaker',
  fields: {
    spec: required(
      object({
        ...destinationFields,
        errorThresholdPercentage: enforced(integer(0, 99), 'default 50; it opens above that'),
        rollingWindow: enforced(duration(10), 'default 10s'),
        volumeThreshold: enforced(integer(0, 1_000_000_000), 'calls in the window, default 20'),
        resetTimeout: enforced(duration(), 'default 30s'),
        trialTimeout: enforced(duration(), 'default 10s'),
        failures: object({
          statuses: enforced(list(integer(100, 599)), 'absent: 500 to 599'),
          errors: enforced(boolean, 'default true'),
          timeouts: enforced(boolean, 'default true'),
        }),
        fallback: object({
          status: required(integer(200, 599)),
          headers: map(string({ pattern: /^[^\r\n\0]*$/, mustBe: 'a header value' }), {
            pattern: /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/,
            mustBe: 'a header name',
          }),
          body: object({ string: text, bytes: string() }, ['string', 'bytes']),
        }),
      }),
    ),
  },
};
