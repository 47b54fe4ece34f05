/**
 * What a server says about its load: the part of ORCA's load report that balancers use, in the
 * response header `endpoint-load-metrics` as Envoy and gRPC read it (`TEXT a=1,b=2`, `JSON {…}`).
 */
export interface LoadReport {
  /** How busy it is: 1 is as much as it can. */
  readonly utilization: number;
  /** Requests a second, of all callers. */
  readonly rps: number;
  /** Failed ones among them, a second. */
  readonly eps: number;
}

/** Response header with the report. */
export const loadReportHeader = 'endpoint-load-metrics';

/** Request header of who wants reports; its value is the format, `TEXT` or `JSON`. */
export const loadFormatHeader = 'endpoint-load-metrics-format';

/** A longer header is no report: its sender can put anything there. */
const maxLength = 1_024;

/** Far beyond what one process does; more would only be meant to distort. */
const maxRate = 10_000_000;
const maxUtilization = 1_000;

/** What a report may say and is used here. */
const names = ['application_utilization', 'cpu_utilization', 'rps_fractional', 'eps'] as const;
type Values = { [K in (typeof names)[number]]?: number };

/**
 * The report in a header of an untrusted server. Nothing: there is none, or it is not to be used: no
 * number where one must be, one that is negative or not finite, a metric twice, no rate, or neither
 * utilization nor failures. `application_utilization` goes before `cpu_utilization` (gRFC A58, A114);
 * other metrics are passed over.
 */
export function parseLoadReport(header: string): LoadReport | undefined {
  if (header.length > maxLength) return undefined;
  const values = header.startsWith('TEXT ')
    ? readText(header.slice(5))
    : header.startsWith('JSON ')
      ? readJson(header.slice(5))
      : undefined;
  if (values === undefined) return undefined;
  const {
    application_utilization: application = 0,
    cpu_utilization: cpu = 0,
    rps_fractional: rps = 0,
    eps = 0,
  } = values;
  const utilization = application > 0 ? application : cpu;
  if (rps === 0 || (utilization === 0 && eps === 0)) return undefined;
  return {
    utilization: Math.min(utilization, maxUtilization),
    rps: Math.min(rps, maxRate),
    // Nobody fails more than there is.
    eps: Math.min(eps, rps, maxRate),
  };
}

/** The header of a report, in one of the formats. */
export function formatLoadReport({ utilization, rps, eps }: LoadReport, format: 'TEXT' | 'JSON'): string {
  const pairs = [
    ['application_utilization', utilization],
    ['rps_fractional', rps],
    ['eps', eps],
  ] as const;
  const text = pairs.map(([name, value]) => [name, Number(value.toFixed(4))] as const);
  return format === 'TEXT'
    ? `TEXT ${text.map(([name, value]) => `${name}=${value}`).join(',')}`
    : `JSON ${JSON.stringify(Object.fromEntries(text))}`;
}

/** `name=value` or `name:value`, with commas between. */
function readText(text: string): Values | undefined {
  const values: Values = {};
  for (const part of text.split(',')) {
    const sign = part.search(/[=:]/);
    if (sign === -1) return undefined;
    const name = nameOf(part.slice(0, sign).trim());
    if (name === undefined) continue;
    const written = part.slice(sign + 1).trim();
    const value = written === '' ? Number.NaN : Number(written);
    if (!isUsable(value) || values[name] !== undefined) return undefined;
    values[name] = value;
  }
  return values;
}

function readJson(text: string): Values | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const values: Values = {};
  for (const [key, value] of Object.entries(parsed)) {
    // The JSON of protobuf may have either form of a name.
    const name = nameOf(key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    if (name === undefined) continue;
    if (typeof value !== 'number' || !isUsable(value) || values[name] !== undefined) return undefined;
    values[name] = value;
  }
  return values;
}

function nameOf(name: string): (typeof names)[number] | undefined {
  return names.find((known) => known === name);
}

function isUsable(value: number): boolean {
  return value >= 0 && value < Number.POSITIVE_INFINITY;
}
