import type { MetricFamily, MetricSample } from './metric-family.ts';

/** `text`: Prometheus text format 0.0.4. `openmetrics`: OpenMetrics text format 1.0.0. */
export type MetricsFormat = 'text' | 'openmetrics';

/** Value of the header `content-type`. */
export const metricsContentTypes: Readonly<Record<MetricsFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/**
 * Metrics as Prometheus reads them: names and series in a stable order, `HELP` and `TYPE` once for each
 * name. What stands in a label is escaped, and can begin no line of its own.
 *
 * @throws TypeError for a name of a metric or label that the format does not allow.
 */
export function prometheusText(families: readonly MetricFamily[], format: MetricsFormat = 'text'): string {
  const lines: string[] = [];
  const byName = new Map<string, MetricFamily[]>();
  for (const family of families) {
    if (!metricName.test(family.name)) throw new TypeError(`no name of a metric: ${JSON.stringify(family.name)}`);
    if (family.samples.length === 0) continue;
    const known = byName.get(family.name);
    if (known === undefined) byName.set(family.name, [family]);
    else known.push(family);
  }
  for (const name of [...byName.keys()].sort()) {
    const [first, ...more] = byName.get(name) as [MetricFamily, ...MetricFamily[]];
    const samples = [first, ...more].flatMap((family) => family.samples);
    write(lines, { ...first, samples }, format);
  }
  if (format === 'openmetrics') lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

function write(lines: string[], { help, name, samples, type }: MetricFamily, format: MetricsFormat): void {
  const named = shown(name, type, format);
  lines.push(`# HELP ${named.family} ${escapeHelp(help, format)}`, `# TYPE ${named.family} ${named.type}`);
  const series = samples.map((sample) => ({ sample, labels: labelText(sample.labels) }));
  series.sort((a, b) => (a.labels < b.labels ? -1 : a.labels > b.labels ? 1 : 0));
  let previous: string | undefined;
  for (const { labels, sample } of series) {
    // Two samples of one series make Prometheus refuse the whole page.
    if (labels === previous) continue;
    previous = labels;
    if (sample.histogram === undefined) lines.push(line(named.sample, labels, sample.value));
    else writeHistogram(lines, name, labels, sample, samples.length <= maxBucketed);
  }
}

/**
 * OpenMetrics wants counters to end in `_total`, which is no part of the family's name; those of Envoy
 * that do not are of type unknown there.
 */
function shown(name: string, type: MetricFamily['type'], format: MetricsFormat) {
  if (format === 'text' || type !== 'counter') return { family: name, type, sample: name };
  if (!name.endsWith('_total')) return { family: name, type: 'unknown', sample: name };
  return { family: name.slice(0, -'_total'.length), type, sample: name };
}

function writeHistogram(
  lines: string[],
  name: string,
  labels: string,
  sample: MetricSample,
  withBuckets: boolean,
): void {
  const { bounds, buckets, count } = sample.histogram as NonNullable<MetricSample['histogram']>;
  const before = labels === '' ? '' : `${labels},`;
  let below = 0;
  for (const [at, bound] of withBuckets ? bounds.entries() : []) {
    below += buckets[at] ?? 0;
    lines.push(line(`${name}_bucket`, `${before}le="${numberText(bound)}"`, below));
  }
  lines.push(line(`${name}_bucket`, `${before}le="+Inf"`, count));
  lines.push(line(`${name}_sum`, labels, sample.value), line(`${name}_count`, labels, count));
}

/**
 * A histogram with more samples than this is written without its buckets, which are twenty lines of each: no text of
 * JavaScript holds a page of 10,000, and sums and counts are worth more than no page.
 */
const maxBucketed = 4_000;

const line = (name: string, labels: string, value: number): string =>
  `${name}${labels === '' ? '' : `{${labels}}`} ${numberText(value)}`;

const metricName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.keys(labels)
    .sort()
    .map((name) => {
      if (!labelName.test(name)) throw new TypeError(`no name of a label: ${JSON.stringify(name)}`);
      return `${name}="${escapeValue(labels[name] as string)}"`;
    })
    .join(',');
}

/** Backslash, quote and line feed are all that the format knows; carriage returns end lines for some readers. */
function escapeValue(value: string): string {
  return legible(value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n'));
}

function escapeHelp(help: string, format: MetricsFormat): string {
  const text = legible(help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n'));
  return format === 'openmetrics' ? text.replace(/"/g, '\\"') : text;
}

/** What ends a line somewhere, or moves a terminal. */
const controls = /[\p{Cc}\u2028\u2029]/gu;

/** A text without what no reader of metrics shows: each such character becomes the same sign. */
export function legible(text: string): string {
  return text.toWellFormed().replace(controls, '\ufffd');
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

/** Which format an `Accept` header asks for. OpenMetrics only for who names it with a version there is. */
export function metricsFormat(accept: string | undefined): MetricsFormat {
  let best: MetricsFormat = 'text';
  let highest = 0;
  for (const part of (accept ?? '').slice(0, 1_024).split(',')) {
    const [type = '', ...parameters] = part.split(';').map((each) => each.trim().toLowerCase());
    const wanted = new Map(parameters.map((each) => each.split('=', 2) as [string, string | undefined]));
    const version = wanted.get('version');
    const openMetrics = type === 'application/openmetrics-text' && (version === undefined || version === '1.0.0');
    if (!openMetrics && type !== 'text/plain' && type !== 'text/*' && type !== '*/*') continue;
    const quality = Number(wanted.get('q') ?? 1);
    if (!(quality > highest)) continue;
    highest = quality;
    best = openMetrics ? 'openmetrics' : 'text';
  }
  return best;
}
