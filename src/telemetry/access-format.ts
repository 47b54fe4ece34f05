import { isSecretName, redacted, redactText } from '../lib/redact.ts';
import type { JsonFormat, JsonTemplate } from '../model/access-log.ts';
import { type AccessRecord, type LoggedQuery, loggedHeader, loggedPath } from './access-record.ts';

/** A value of a log line: numbers stay numbers in JSON; nothing is `-` in text and null in JSON. */
type Value = string | number | undefined;
type Part = string | ((record: AccessRecord, query: LoggedQuery) => Value);

/** A format taken apart. */
export interface AccessFormat {
  /** One line with its end; `query`: what of queries is shown, default `redact`. */
  write(record: AccessRecord, query?: LoggedQuery): string;
  /** Operators that are not known here, as they were written; they are nothing in every line. */
  readonly unknown: readonly string[];
}

/** Istio's default format (`EnvoyTextLogFormat`). */
export const istioTextFormat: string =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ' +
  '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
  '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% ' +
  '%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n';

/** Istio's default for JSON. */
export const istioJsonFormat: Readonly<Record<string, string>> = {
  authority: '%REQ(:AUTHORITY)%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  connection_termination_details: '%CONNECTION_TERMINATION_DETAILS%',
  downstream_local_address: '%DOWNSTREAM_LOCAL_ADDRESS%',
  downstream_remote_address: '%DOWNSTREAM_REMOTE_ADDRESS%',
  duration: '%DURATION%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  protocol: '%PROTOCOL%',
  request_id: '%REQ(X-REQUEST-ID)%',
  requested_server_name: '%REQUESTED_SERVER_NAME%',
  response_code: '%RESPONSE_CODE%',
  response_code_details: '%RESPONSE_CODE_DETAILS%',
  response_flags: '%RESPONSE_FLAGS%',
  route_name: '%ROUTE_NAME%',
  start_time: '%START_TIME%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  upstream_host: '%UPSTREAM_HOST%',
  upstream_local_address: '%UPSTREAM_LOCAL_ADDRESS%',
  upstream_service_time: '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%',
  upstream_transport_failure_reason: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  user_agent: '%REQ(USER-AGENT)%',
  x_forwarded_for: '%REQ(X-FORWARDED-FOR)%',
};

/** What stands in a line of text; values cannot end it, nor the quotes around them. What is not there: `-`, or nothing. */
export function textFormat(format: string, omitEmpty = false): AccessFormat {
  const unknown: string[] = [];
  const parts = partsOf(format.endsWith('\n') ? format : `${format}\n`, unknown);
  const missing = omitEmpty ? '' : '-';
  return {
    unknown,
    write: (record, query = 'redact') =>
      parts.map((part) => (typeof part === 'string' ? part : asText(part(record, query) ?? missing))).join(''),
  };
}

/** One object of JSON a line. A value that is one operator keeps its type, as in Envoy. What is not there: null, or no field. */
export function jsonFormat(format: JsonFormat, omitEmpty = false): AccessFormat {
  const unknown: string[] = [];
  const root = templateOf(format, unknown, omitEmpty);
  return { unknown, write: (record, query = 'redact') => `${jsonLine(root(record, query) as object)}\n` };
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
type Template = (record: AccessRecord, query: LoggedQuery) => Json;

function templateOf(template: JsonTemplate, unknown: string[], omitEmpty: boolean): Template {
  if (typeof template === 'string') {
    const parts = partsOf(template, unknown);
    return (record, query) => jsonValue(parts, record, query, omitEmpty ? '' : '-');
  }
  if (typeof template !== 'object' || template === null) return () => template;
  if (Array.isArray(template)) {
    const items = (template as readonly JsonTemplate[]).map((each) => templateOf(each, unknown, omitEmpty));
    return (record, query) => items.map((each) => each(record, query));
  }
  const fields = Object.entries(template).map(([name, each]) => [name, templateOf(each, unknown, omitEmpty)] as const);
  return (record, query) => {
    const values = fields.map(([name, each]) => [name, each(record, query)] as const);
    return Object.fromEntries(omitEmpty ? values.filter(([, value]) => value !== null) : values);
  };
}

function jsonValue(
  parts: readonly Part[],
  record: AccessRecord,
  query: LoggedQuery,
  missing: string,
): string | number | null {
  const [only] = parts;
  if (parts.length === 1 && typeof only === 'function') {
    const value = only(record, query);
    return typeof value === 'string' ? safe(value) : (value ?? null);
  }
  return parts.map((part) => (typeof part === 'string' ? part : safe(String(part(record, query) ?? missing)))).join('');
}

/** JSON escapes what ends a line in ASCII; some readers know more that does. */
const jsonLine = (value: object): string =>
  JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029]/g, (char) => `\\u${hex(char, 4)}`);

const asText = (value: string | number): string =>
  typeof value === 'number'
    ? String(value)
    : safe(value)
        .replace(/["\\]/g, '\\$&')
        .replace(/[\p{Cc}\u2028\u2029]/gu, (char) => (char > '\xff' ? `\\u${hex(char, 4)}` : `\\x${hex(char, 2)}`));

const hex = (char: string, digits: number): string => char.charCodeAt(0).toString(16).padStart(digits, '0');

const safe = (value: string): string =>
  redactText(value.length > maxValue ? value.slice(0, maxValue) : value).toWellFormed();

/** A longer value is cut, whatever the format says. */
const maxValue = 4_096;

const operator = /%(?:%|([A-Z_0-9]+)(?:\(([^()%]*)\))?(?::(\d{1,4}))?%)/g;

function partsOf(format: string, unknown: string[]): readonly Part[] {
  const parts: Part[] = [];
  let literal = '';
  let at = 0;
  for (const found of format.matchAll(operator)) {
    const [whole, name, given, length] = found;
    literal += format.slice(at, found.index);
    at = found.index + whole.length;
    if (name === undefined) {
      literal += '%';
      continue;
    }
    if (literal !== '') parts.push(literal);
    literal = '';
    const known = operatorOf(name, given, length === undefined ? undefined : Number(length));
    if (known === undefined) unknown.push(whole);
    parts.push(known ?? nothing);
  }
  literal += format.slice(at);
  if (literal !== '') parts.push(literal);
  return parts;
}

const nothing = (): undefined => undefined;

function operatorOf(
  name: string,
  given: string | undefined,
  length: number | undefined,
): Exclude<Part, string> | undefined {
  if (name === 'REQ' || name === 'RESP') {
    const headers = (given ?? '').split('?').map((each) => each.trim().toLowerCase());
    if (headers.length > 2 || headers.includes('')) return undefined;
    return (record, query) => {
      for (const header of headers) {
        const value =
          name === 'REQ'
            ? requestValue(record, header, query)
            : loggedHeader(header, record.responseHeader(header), query);
        if (value === undefined) continue;
        if (isSecretName(header)) return redacted;
        // What is cut looks like no token any more.
        return length === undefined ? value : redactText(value.slice(0, maxValue)).slice(0, length);
      }
      return undefined;
    };
  }
  if (name === 'START_TIME')
    return given === undefined ? (record) => new Date(record.startTimeMs).toISOString() : undefined;
  if (given !== undefined || length !== undefined || !Object.hasOwn(simple, name)) return undefined;
  return simple[name];
}

function requestValue(record: AccessRecord, header: string, query: LoggedQuery): string | undefined {
  if (header === ':method') return record.method;
  if (header === ':path') return loggedPath(record.target, query);
  if (header === ':authority' || header === 'host') return record.authority || undefined;
  return loggedHeader(header, record.requestHeader(header), query);
}

const some = (value: string | undefined): string | undefined => (value === '' ? undefined : value);

/**
 * A name that a client gives in its handshake can be any text, and stands in a line without quotes: what is in no name
 * of a host becomes `_`, as in Envoy.
 */
function hostName(given: string): string {
  const name = given.replace(/[^A-Za-z0-9._-]/g, '_');
  return name === given ? name : `invalid:${name}`;
}

/** Envoy's command operators that have a meaning here. */
const simple: Readonly<Record<string, (record: AccessRecord) => Value>> = {
  PROTOCOL: ({ protocol }) => protocol,
  RESPONSE_CODE: ({ status }) => status,
  // Envoy has no empty flags, not in JSON either.
  RESPONSE_FLAGS: ({ flags }) => some(flags) ?? '-',
  RESPONSE_CODE_DETAILS: ({ details }) => some(details),
  BYTES_RECEIVED: ({ bytesReceived }) => bytesReceived,
  BYTES_SENT: ({ bytesSent }) => bytesSent,
  DURATION: ({ durationMs }) => Math.round(durationMs),
  UPSTREAM_HOST: ({ upstreamHost }) => some(upstreamHost),
  UPSTREAM_CLUSTER: ({ upstreamCluster }) => some(upstreamCluster),
  UPSTREAM_CLUSTER_RAW: ({ upstreamCluster }) => some(upstreamCluster),
  UPSTREAM_LOCAL_ADDRESS: nothing,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: ({ tries }) => tries,
  UPSTREAM_TRANSPORT_FAILURE_REASON: ({ transportFailure }) => some(transportFailure),
  CONNECTION_TERMINATION_DETAILS: nothing,
  DOWNSTREAM_LOCAL_ADDRESS: ({ localAddress }) => some(localAddress),
  DOWNSTREAM_REMOTE_ADDRESS: ({ remoteAddress }) => some(remoteAddress),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ({ remoteAddress }) => some(remoteAddress.replace(/:\d+$/, '')),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: ({ remoteAddress }) => some(remoteAddress),
  DOWNSTREAM_PEER_URI_SAN: ({ peer }) => some(peer),
  REQUESTED_SERVER_NAME: ({ serverName }) => some(hostName(serverName)),
  ROUTE_NAME: ({ routeName }) => some(routeName),
};
