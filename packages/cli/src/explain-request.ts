import type { ExplainRequest } from 'inmesh/explain';
import { BadLine, isRecord } from './lines.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Programs in other languages write null for what is absent. */
export function withoutNulls(value: Fields): Fields {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== null && each !== undefined));
}

/** An object whose values are all texts. */
export function isTextMap(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((each) => typeof each === 'string');
}

type Check = (value: unknown) => boolean;
const text: Check = (value) => typeof value === 'string';
const port: Check = (value) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65_535;
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string);
const isPair: Check = (value) => Array.isArray(value) && value.length === 2 && value.every(text);

const aTime = 'a time: seconds since 1970, or a text like 2030-01-31T12:00:00Z';

/** Milliseconds since the epoch; nothing for what is no time. */
function timeOf(value: unknown): number | undefined {
  const ms =
    typeof value === 'number'
      ? value * 1_000
      : typeof value === 'string' && isTime(value)
        ? Date.parse(value)
        : Number.NaN;
  return Number.isFinite(ms) ? ms : undefined;
}

/** RFC 3339: what is less would be read by the clock of a place. */
function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text);
}

/** `now` of a line, in milliseconds. @throws BadLine when it is no time */
export function readTime(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = timeOf(value);
  if (ms === undefined) throw new BadLine(`now must be ${aTime}, got ${JSON.stringify(value).slice(0, 80)}`);
  return ms;
}

const requestFields: Readonly<Record<string, readonly [Check, string]>> = {
  url: [text, 'a text'],
  scheme: [oneOf('http', 'https'), 'http or https'],
  method: [(value) => text(value) && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value as string), 'a method'],
  authority: [text, 'a text'],
  path: [text, 'a text'],
  port: [port, 'an integer from 1 to 65535'],
  protocol: [oneOf('http', 'http2', 'grpc', 'tcp'), 'http, http2, grpc or tcp'],
  random: [(value) => typeof value === 'number' && value >= 0 && value < 1, 'a number from 0 to less than 1'],
  from: [isRecord, 'an object'],
  to: [isRecord, 'an object'],
  tls: [oneOf('mtls', 'tls', 'plaintext'), 'mtls, tls or plaintext'],
  sni: [text, 'a text'],
  claims: [isRecord, 'an object'],
  now: [(value) => timeOf(value) !== undefined, aTime],
};

const partyFields: Readonly<Record<string, readonly [Check, string]>> = {
  principal: [text, 'a text'],
  namespace: [text, 'a text'],
  serviceAccount: [text, 'a text'],
  ip: [text, 'a text'],
  host: [text, 'a text'],
  labels: [isTextMap, 'a map of texts'],
  port: [port, 'an integer from 1 to 65535'],
};

/** A request, and what was said about it that means nothing here. */
export interface ReadRequest {
  readonly request: ExplainRequest;
  readonly notes: readonly string[];
}

const words: ReadonlySet<string> = new Set(['scheme', 'protocol', 'tls']);

/** The request of a line. @throws BadLine with the name of the field that is wrong */
export function readRequest(value: unknown): ReadRequest {
  if (!isRecord(value)) throw new BadLine('request must be an object');
  const { headers, ...fields } = withoutNulls(value);
  const notes: string[] = [];
  const result: Record<string, unknown> = checkFields('request', fields, requestFields, notes);
  for (const name of ['from', 'to']) {
    const party = result[name];
    if (isRecord(party)) result[name] = checkFields(`request.${name}`, withoutNulls(party), partyFields, notes);
  }
  if (headers !== undefined) result['headers'] = readHeaders(headers);
  if ('now' in result) {
    result['nowMs'] = timeOf(result['now']);
    delete result['now'];
  }
  return { request: result as ExplainRequest, notes };
}

function checkFields(
  at: string,
  fields: Fields,
  table: Readonly<Record<string, readonly [Check, string]>>,
  notes: string[],
): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(fields)) {
    const field = Object.hasOwn(table, name) ? table[name] : undefined;
    if (field === undefined) {
      // A later version of the format must not make today's tables useless.
      notes.push(`${at}.${name} is not a known field, and was not looked at`);
      continue;
    }
    const value = words.has(name) && typeof given === 'string' ? given.toLowerCase() : given;
    const [holds, what] = field;
    if (!holds(value)) throw new BadLine(`${at}.${name} must be ${what}, got ${JSON.stringify(value).slice(0, 80)}`);
    result[name] = value;
  }
  return result;
}

/** Pairs, as the format has them; an object is understood as well. */
function readHeaders(value: unknown): readonly (readonly [string, string])[] {
  if (isTextMap(value)) return Object.entries(value);
  if (!Array.isArray(value) || !value.every(isPair)) {
    throw new BadLine('request.headers must be a list of [name, value]');
  }
  return value as readonly (readonly [string, string])[];
}
