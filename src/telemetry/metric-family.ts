/** Metrics of one name, as exporters read them: the text for Prometheus, and whatever else counts. */
export interface MetricFamily {
  /** Letters, digits and `_`; a name of Istio or Envoy where they have one. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** None where there is nothing to tell: such a family is not shown. */
  readonly samples: readonly MetricSample[];
}

/** One time series at one moment. Of a histogram `value` is the sum. */
export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  readonly histogram?: MetricHistogram;
}

export interface MetricHistogram {
  /** Upper bounds, ascending; the last bucket has none. */
  readonly bounds: readonly number[];
  /** Observations per bucket, not added up; one more than there are bounds. */
  readonly buckets: readonly number[];
  readonly count: number;
}
