import { operation, source, when } from './fields-security.ts';
import { policySelector } from './fields-selector.ts';
import type { KindTable } from './schema.ts';
import {
  boolean,
  duration,
  field,
  integer,
  list,
  nonEmptyList,
  object,
  oneOfValues,
  required,
  string,
} from './schema.ts';

const name = string({
  pattern: /^[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/,
  mustBe: 'a name: letters, digits, -, _ and .',
});
const headerName = string({ pattern: /^[-!#$%&'*+.^_`|~A-Za-z0-9]+$/, mustBe: 'the name of a header' });
const text = string({ minLength: 1, maxLength: 1_024 });

/** Exactly one of these. */
const keyFields = {
  principal: boolean,
  remoteAddress: boolean,
  method: boolean,
  path: boolean,
  host: boolean,
  header: headerName,
  claim: text,
};

const rules = list(
  object({
    from: nonEmptyList(object({ source: required(source) })),
    to: nonEmptyList(object({ operation: required(operation) })),
    when: nonEmptyList(when),
  }),
);
const headers = oneOfValues('LIMITED', 'ALWAYS', 'NEVER');

/** `inmesh.dev` RateLimit: how many requests a workload takes. */
export const rateLimitTable: KindTable = {
  kind: 'RateLimit',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  note: 'of inmesh, not of Istio',
  reference: 'reference/extensions.md#rate-limits',
  fields: {
    spec: field(
      object({
        selector: policySelector,
        local: list(
          object({
            name,
            rules,
            by: list(object(keyFields), 8),
            tokenBucket: required(
              object({
                maxTokens: required(integer(1)),
                tokensPerFill: integer(1),
                fillInterval: required(duration()),
              }),
            ),
            maxKeys: integer(1, 1_000_000),
            shadow: boolean,
            headers,
          }),
          32,
        ),
        global: object({
          service: required(
            string({
              pattern: /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}$/,
              mustBe: 'host:port of a rate limit service',
            }),
          ),
          domain: required(text),
          timeout: duration(),
          failureMode: oneOfValues('ALLOW', 'DENY'),
          shadow: boolean,
          headers,
          descriptors: required(
            nonEmptyList(
              object({
                rules,
                entries: required(
                  nonEmptyList(object({ key: required(text), value: text, otherwise: text, ...keyFields })),
                ),
              }),
            ),
          ),
        }),
      }),
    ),
  },
};
