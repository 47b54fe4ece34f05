import { double, enumOf, int32, int64, uint32 } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';

/** `envoy.type.v3.FractionalPercent.DenominatorType`. */
export type FractionalPercentDenominatorType = 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION';

const fractionalPercentDenominatorTypeKind = enumOf('HUNDRED', 'TEN_THOUSAND', 'MILLION');

/** `envoy.type.v3.Percent`. */
export interface Percent {
  readonly value: number;
}

export const percentSchema: Schema<Percent> = schema<Percent>('envoy.type.v3.Percent', {
  fields: {
    value: single(1, double),
  },
});

/** `envoy.type.v3.FractionalPercent`. */
export interface FractionalPercent {
  readonly numerator: number;
  readonly denominator: FractionalPercentDenominatorType | number;
}

export const fractionalPercentSchema: Schema<FractionalPercent> = schema<FractionalPercent>(
  'envoy.type.v3.FractionalPercent',
  {
    fields: {
      numerator: single(1, uint32),
      denominator: single(2, fractionalPercentDenominatorTypeKind),
    },
  },
);

/** `envoy.type.v3.Int32Range`. */
export interface Int32Range {
  readonly start: number;
  readonly end: number;
}

export const int32RangeSchema: Schema<Int32Range> = schema<Int32Range>('envoy.type.v3.Int32Range', {
  fields: {
    start: single(1, int32),
    end: single(2, int32),
  },
});

/** `envoy.type.v3.Int64Range`. */
export interface Int64Range {
  readonly start: number;
  readonly end: number;
}

export const int64RangeSchema: Schema<Int64Range> = schema<Int64Range>('envoy.type.v3.Int64Range', {
  fields: {
    start: single(1, int64),
    end: single(2, int64),
  },
});

/** `envoy.type.v3.DoubleRange`. */
export interface DoubleRange {
  readonly start: number;
  readonly end: number;
}

export const doubleRangeSchema: Schema<DoubleRange> = schema<DoubleRange>('envoy.type.v3.DoubleRange', {
  fields: {
    start: single(1, double),
    end: single(2, double),
  },
});
