import { type CelExpression, compileCel } from '../lib/cel.ts';
import { redactText } from '../lib/redact.ts';
import type { DirectionMetrics, MetricOverrides } from '../model/metric-overrides.ts';
import type { AccessRecord } from './access-record.ts';
import type { Metrics } from './metrics.ts';
import { shownNames } from './record-attributes.ts';
import type { Series } from './series.ts';
import type { TcpSeries } from './tcp-series.ts';

/** Tags that Telemetries add to metrics, and which have to be known when a request has ended. */
export interface MetricTags {
  /** Of calls. Absent: none, and nothing is to be done. */
  readonly client: TagSet | undefined;
  /** Of requests. */
  readonly server: TagSet | undefined;
  /** From now on. The same changes nothing. */
  use(overrides: MetricOverrides | undefined): void;
}

/** The series of calls whose tags have the same values. */
export interface TagSet {
  seriesOf(series: Series, record: AccessRecord): Series;
  connectionsOf(series: TcpSeries, record: AccessRecord): TcpSeries;
}

export function createMetricTags(metrics: Metrics): MetricTags {
  let current: MetricOverrides | undefined;
  const tags = {
    client: undefined as TagSet | undefined,
    server: undefined as TagSet | undefined,
    use(overrides: MetricOverrides | undefined): void {
      if (overrides === current) return;
      current = overrides;
      metrics.keepAll(overrides !== undefined);
      tags.client = overrides && tagSet(overrides.client, metrics);
      tags.server = overrides && tagSet(overrides.server, metrics);
    },
  };
  return tags;
}

interface Tag {
  readonly text: string;
  readonly expression: CelExpression<AccessRecord>;
}

/** Longest value of a label. */
const maxValue = 256;
/** So many values are found without a look at the list of all series. */
const maxKnown = 1_000;

function tagSet({ metrics: overrides }: DirectionMetrics, metrics: Metrics): TagSet | undefined {
  const texts = new Set<string>();
  for (const { disabled, tags } of overrides.values()) {
    if (!disabled) for (const text of tags.values()) if (text !== undefined) texts.add(text);
  }
  if (texts.size === 0) return undefined;
  const all = [...texts].sort().map((text): Tag => {
    return { text, expression: compileCel(text, shownNames, { makesTexts: true }) };
  });
  const find = <S extends { readonly labels: Series['labels'] }>(get: (labels: Series['labels']) => S) => {
    const known = new WeakMap<S, Map<string, S>>();
    return (series: S, record: AccessRecord): S => {
      const values = all.map(({ expression }) => labelOf(expression, record));
      const key = values.join('\0');
      let bySeries = known.get(series);
      if (bySeries === undefined) known.set(series, (bySeries = new Map()));
      let found = bySeries.get(key);
      if (found === undefined) {
        if (bySeries.size >= maxKnown) bySeries.clear();
        const tags = Object.fromEntries(all.map(({ text }, at) => [text, values[at] as string]));
        found = get({ ...series.labels, tags });
        bySeries.set(key, found);
      }
      return found;
    };
  };
  return { seriesOf: find(metrics.series), connectionsOf: find(metrics.tcp) };
}

/** As Istio writes it: what is not there is `unknown`. */
function labelOf({ evaluate }: CelExpression<AccessRecord>, record: AccessRecord): string {
  const value = evaluate(record);
  if (value === undefined) return 'unknown';
  return typeof value === 'string' ? redactText(value.slice(0, 4_096)).slice(0, maxValue) : String(value);
}
