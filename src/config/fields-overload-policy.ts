import { policySelector } from './fields-selector.ts';
import type { KindTable } from './schema.ts';
import { duration, enforced, field, integer, list, nonEmptyList, number, object, required, string } from './schema.ts';

const count = integer(1, 1_000_000);
const percent = number(0, 100);
const match = string({ minLength: 1, maxLength: 2_048 });

/** `inmesh.dev` OverloadPolicy. */
export const overloadPolicyTable: KindTable = {
  kind: 'OverloadPolicy',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  note: 'a kind of inmesh: protects a server from more than it can do',
  reference: 'reference/extensions.md#overloadpolicy',
  fields: {
    spec: required(
      object({
        selector: policySelector,
        concurrency: object({
          maxRequests: enforced(count, 'absent: only `adaptiveConcurrency` limits'),
          maxQueue: enforced(integer(0, 1_000_000), 'default 0: nobody waits'),
          queueTimeout: enforced(duration(), 'default 100ms'),
          maxSharePercent: enforced(number(1, 100), 'default 100'),
        }),
        adaptiveConcurrency: object({
          sampleAggregatePercentile: enforced(percent, 'default 50'),
          updateInterval: enforced(duration(), 'default 100ms'),
          maxConcurrencyLimit: enforced(count, 'default 1000'),
          minConcurrencyLimit: enforced(count, 'absent: `minRtt.minConcurrency`'),
          minRtt: object({
            interval: enforced(duration(), 'default 60s'),
            requestCount: enforced(count, 'default 50'),
            jitterPercent: enforced(percent, 'default 15'),
            minConcurrency: enforced(count, 'default 3'),
            bufferPercent: enforced(number(0, 1_000), 'default 25'),
          }),
        }),
        eventLoop: object({
          maxDelay: required(duration()),
          resumeDelay: enforced(duration(), 'default half of `maxDelay`'),
          maxShedPercent: enforced(number(1, 100), 'default 95'),
        }),
        priority: object({
          header: enforced(
            string({ pattern: /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/, mustBe: 'a header name' }),
            'default `priority`',
          ),
          principals: enforced(nonEmptyList(match), 'absent: every caller with an identity'),
        }),
        exemptPaths: field(list(match)),
      }),
    ),
  },
};
