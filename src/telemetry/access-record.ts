/** What an access log knows of one request; made when the request has ended, and only where there is a log. */
export interface AccessRecord {
  readonly direction: 'inbound' | 'outbound';
  /** Milliseconds since the epoch. */
  readonly startTimeMs: number;
  readonly durationMs: number;
  readonly method: string;
  /** As it was asked for, with its query: to decide by, not to show. */
  readonly target: string;
  readonly authority: string;
  readonly protocol: string;
  /** 0: no response. */
  readonly status: number;
  readonly flags: string;
  /** Why the response has its status: `via_upstream`, or what refused it. */
  readonly details: string;
  readonly bytesReceived: number | undefined;
  readonly bytesSent: number | undefined;
  readonly upstreamHost: string;
  readonly upstreamCluster: string;
  readonly transportFailure: string;
  /** The port that was called; 0: not known. */
  readonly localPort: number;
  readonly localAddress: string;
  readonly remoteAddress: string;
  /** SPIFFE ID of the caller. */
  readonly peer: string;
  readonly serverName: string;
  readonly routeName: string;
  readonly tries: number;
  /** -1: none. */
  readonly grpcStatus: number;
  /** `name` is lower case; see {@link loggedHeader} for those that are shown. */
  requestHeader(name: string): string | undefined;
  responseHeader(name: string): string | undefined;
}

/** What becomes of queries, in which there may be secrets: values become `*`, all stays, or nothing. */
export type LoggedQuery = 'redact' | 'keep' | 'omit';

/** A path, or a URL, as it is logged: never with the name and password that stand before a host. */
export function loggedPath(given: string, query: LoggedQuery): string {
  const target = given.startsWith('/') ? given : withoutUser(given);
  const at = target.search(/[?#]/);
  if (at === -1 || query === 'keep') return target;
  const path = target.slice(0, at);
  if (query === 'omit' || target[at] === '#') return path;
  const names = target
    .slice(at + 1, at + 1 + maxQuery)
    .split('#', 1)[0]
    ?.split('&')
    .map((pair) => (pair.includes('=') ? `${pair.slice(0, pair.indexOf('='))}=*` : pair === '' ? '' : '*'));
  return `${path}?${names?.join('&')}`;
}

const maxQuery = 2_048;

function withoutUser(url: string): string {
  const host = url.indexOf('://') + 3;
  const rest = url.slice(host).search(/[/?#]/);
  const at = url.lastIndexOf('@', rest === -1 ? url.length : host + rest);
  return host > 2 && at >= host ? url.slice(0, host) + url.slice(at + 1) : url;
}

/** Its value in an access record, which is `-1` of who counts. */
export const counted = (bytes: number | undefined): number | undefined => (bytes === -1 ? undefined : bytes);

/** A header as it is logged: those that repeat a target, or name the next one, have a query as well. */
export function loggedHeader(name: string, value: string | undefined, query: LoggedQuery): string | undefined {
  return value !== undefined && targets.has(name) ? loggedPath(value, query) : value;
}

const targets: ReadonlySet<string> = new Set([
  'x-envoy-original-path',
  'x-original-url',
  'referer',
  'location',
  'content-location',
]);
