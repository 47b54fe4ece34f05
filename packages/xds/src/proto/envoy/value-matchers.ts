import { bool, double, message, string } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type StringMatcher, stringMatcherSchema } from './matchers.ts';
import { type DoubleRange, doubleRangeSchema } from './ranges.ts';

/** `envoy.type.matcher.v3.MetadataMatcher`. */
export interface MetadataMatcher {
  readonly filter: string;
  readonly path: readonly MetadataPathSegment[];
  readonly value: ValueMatcher | undefined;
  readonly invert: boolean;
}

export const metadataMatcherSchema: Schema<MetadataMatcher> = schema<MetadataMatcher>(
  'envoy.type.matcher.v3.MetadataMatcher',
  {
    fields: {
      filter: single(1, string),
      path: repeated(
        2,
        message(() => metadataPathSegmentSchema),
      ),
      value: single(
        3,
        message(() => valueMatcherSchema),
      ),
      invert: single(4, bool),
    },
  },
);

/** `envoy.type.matcher.v3.MetadataMatcher.PathSegment`. */
export interface MetadataPathSegment {
  readonly key: string | undefined;
}

export const metadataPathSegmentSchema: Schema<MetadataPathSegment> = schema<MetadataPathSegment>(
  'envoy.type.matcher.v3.MetadataMatcher.PathSegment',
  {
    fields: {
      key: optional(1, string),
    },
  },
);

/** `envoy.type.matcher.v3.ValueMatcher`. */
export interface ValueMatcher {
  readonly null_match: NullMatch | undefined;
  readonly double_match: DoubleMatcher | undefined;
  readonly string_match: StringMatcher | undefined;
  readonly bool_match: boolean | undefined;
  readonly present_match: boolean | undefined;
  readonly list_match: ListMatcher | undefined;
  readonly or_match: OrMatcher | undefined;
}

export const valueMatcherSchema: Schema<ValueMatcher> = schema<ValueMatcher>('envoy.type.matcher.v3.ValueMatcher', {
  fields: {
    null_match: single(
      1,
      message(() => nullMatchSchema),
    ),
    double_match: single(
      2,
      message(() => doubleMatcherSchema),
    ),
    string_match: single(
      3,
      message(() => stringMatcherSchema),
    ),
    bool_match: optional(4, bool),
    present_match: optional(5, bool),
    list_match: single(
      6,
      message(() => listMatcherSchema),
    ),
    or_match: single(
      7,
      message(() => orMatcherSchema),
    ),
  },
  oneofs: [['null_match', 'double_match', 'string_match', 'bool_match', 'present_match', 'list_match', 'or_match']],
});

/** `envoy.type.matcher.v3.ValueMatcher.NullMatch`. */
export type NullMatch = Readonly<Record<string, never>>;

export const nullMatchSchema: Schema<NullMatch> = schema<NullMatch>('envoy.type.matcher.v3.ValueMatcher.NullMatch', {
  fields: {},
});

/** `envoy.type.matcher.v3.DoubleMatcher`. */
export interface DoubleMatcher {
  readonly range: DoubleRange | undefined;
  readonly exact: number | undefined;
}

export const doubleMatcherSchema: Schema<DoubleMatcher> = schema<DoubleMatcher>('envoy.type.matcher.v3.DoubleMatcher', {
  fields: {
    range: single(
      1,
      message(() => doubleRangeSchema),
    ),
    exact: optional(2, double),
  },
  oneofs: [['range', 'exact']],
});

/** `envoy.type.matcher.v3.ListMatcher`. */
export interface ListMatcher {
  readonly one_of: ValueMatcher | undefined;
}

export const listMatcherSchema: Schema<ListMatcher> = schema<ListMatcher>('envoy.type.matcher.v3.ListMatcher', {
  fields: {
    one_of: single(
      1,
      message(() => valueMatcherSchema),
    ),
  },
});

/** `envoy.type.matcher.v3.OrMatcher`. */
export interface OrMatcher {
  readonly value_matchers: readonly ValueMatcher[];
}

export const orMatcherSchema: Schema<OrMatcher> = schema<OrMatcher>('envoy.type.matcher.v3.OrMatcher', {
  fields: {
    value_matchers: repeated(
      1,
      message(() => valueMatcherSchema),
    ),
  },
});

/** `envoy.type.matcher.v3.PathMatcher`. */
export interface PathMatcher {
  readonly path: StringMatcher | undefined;
}

export const pathMatcherSchema: Schema<PathMatcher> = schema<PathMatcher>('envoy.type.matcher.v3.PathMatcher', {
  fields: {
    path: single(
      1,
      message(() => stringMatcherSchema),
    ),
  },
});

/** `envoy.type.matcher.v3.FilterStateMatcher`. */
export interface FilterStateMatcher {
  readonly key: string;
  readonly string_match: StringMatcher | undefined;
}

export const filterStateMatcherSchema: Schema<FilterStateMatcher> = schema<FilterStateMatcher>(
  'envoy.type.matcher.v3.FilterStateMatcher',
  {
    fields: {
      key: single(1, string),
      string_match: single(
        2,
        message(() => stringMatcherSchema),
      ),
    },
  },
);

/** `envoy.type.matcher.v3.ListStringMatcher`. */
export interface ListStringMatcher {
  readonly patterns: readonly StringMatcher[];
}

export const listStringMatcherSchema: Schema<ListStringMatcher> = schema<ListStringMatcher>(
  'envoy.type.matcher.v3.ListStringMatcher',
  {
    fields: {
      patterns: repeated(
        1,
        message(() => stringMatcherSchema),
      ),
    },
  },
);
