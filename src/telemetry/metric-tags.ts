import { type CelExpression, compileCel } from '../lib/cel.ts';
import { redactText } from '../lib/redact.ts';
import type { DirectionMetrics, MetricOverrides } from '../model/metric-overrides.ts';
import type { AccessRecord } from './access-record.ts';
import type { Metrics } from './metrics.ts';
import { legible } from './prometheus.ts';
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
      const [client, server] = [tagsOf(overrides?.client), tagsOf(overrides?.server)];
      current = overrides;
      metrics.keepAll(overrides !== undefined);
      // Edits of Telemetries must not use up the places that there are for tags.
      metrics.keepTags(new Set([...client, ...server].map(({ text }) => text)));
      tags.client = tagSet(client, metrics);
      tags.server = tagSet(server, metrics);
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
/** So many combinations of values are told apart for one caller or destination; more are `other`. */
const maxValues = 500;

function tagsOf(direction: DirectionMetrics | undefined): readonly Tag[] {
  const texts = new Set<string>();
  for (const { disabled, tags } of direction?.metrics.values() ?? []) {
    if (!disabled) for (const text of tags.values()) if (text !== undefined) texts.add(text);
  }
  return [...texts].sort().map((text) => ({
    text,
    expression: compileCel(text, shownNames, { makesTexts: true }),
  }));
}

function tagSet(all: readonly Tag[], metrics: Metrics): TagSet | undefined {
  if (all.length === 0) return undefined;
  const other = all.map(() => 'other');
  const find = <S extends { readonly labels: Series['labels'] }>(get: (labels: Series['labels']) => S) => {
    const known = new WeakMap<S, Map<string, S>>();
    return (series: S, record: AccessRecord): S => {
      let values = all.map(({ expression }) => labelOf(expression, record));
      let key = values.join('\0');
      let bySeries = known.get(series);
      if (bySeries === undefined) known.set(series, (bySeries = new Map()));
      let found = bySeries.get(key);
      if (found === undefined && bySeries.size >= maxValues) {
        values = other;
        key = values.join('\0');
        found = bySeries.get(key);
      }
      if (found === undefined) {
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
  try {
    const value = evaluate(record);
    if (value === undefined) return 'unknown';
    // What looks the same on the page must be the same: it takes no two samples of one series.
    return typeof value === 'string' ? legible(redactText(value.slice(0, 4_096)).slice(0, maxValue)) : String(value);
  } catch {
    // A record that cannot be told is no reason for a call to fail.
    return 'unknown';
  }
}
