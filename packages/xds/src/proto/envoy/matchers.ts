import { bool, message, string } from '../kinds.ts';
import { optional, type Schema, schema, single } from '../schema.ts';

/** `envoy.type.matcher.v3.RegexMatcher`. */
export interface RegexMatcher {
  readonly regex: string;
}

export const regexMatcherSchema: Schema<RegexMatcher> = schema<RegexMatcher>('envoy.type.matcher.v3.RegexMatcher', {
  fields: {
    regex: single(2, string),
  },
  ignored: { 1: 'google_re2' },
});

/** `envoy.type.matcher.v3.RegexMatchAndSubstitute`. */
export interface RegexMatchAndSubstitute {
  readonly pattern: RegexMatcher | undefined;
  readonly substitution: string;
}

export const regexMatchAndSubstituteSchema: Schema<RegexMatchAndSubstitute> = schema<RegexMatchAndSubstitute>(
  'envoy.type.matcher.v3.RegexMatchAndSubstitute',
  {
    fields: {
      pattern: single(
        1,
        message(() => regexMatcherSchema),
      ),
      substitution: single(2, string),
    },
  },
);

/** `envoy.type.matcher.v3.StringMatcher`. */
export interface StringMatcher {
  readonly exact: string | undefined;
  readonly prefix: string | undefined;
  readonly suffix: string | undefined;
  readonly safe_regex: RegexMatcher | undefined;
  readonly contains: string | undefined;
  readonly ignore_case: boolean;
}

export const stringMatcherSchema: Schema<StringMatcher> = schema<StringMatcher>('envoy.type.matcher.v3.StringMatcher', {
  fields: {
    exact: optional(1, string),
    prefix: optional(2, string),
    suffix: optional(3, string),
    safe_regex: single(
      5,
      message(() => regexMatcherSchema),
    ),
    contains: optional(7, string),
    ignore_case: single(6, bool),
  },
  ignored: { 8: 'custom' },
  oneofs: [['exact', 'prefix', 'suffix', 'safe_regex', 'contains']],
});
