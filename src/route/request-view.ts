import { baggageMember } from '../lib/baggage.ts';
import { type HeaderList, headerValue } from '../lib/header-list.ts';
import type { Scope } from '../pipeline/scope.ts';

/** What route conditions, redirects and header values look at: the request as it will be sent. */
export interface RoutableRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: HeaderList;
  /** The URL is `https:`. */
  readonly secure: boolean;
  /** Host header of a request that has none of its own. */
  readonly hostHeader: string;
  /** The inbound request that causes this one; headers that it hands on count as the request's own. */
  readonly scope: Scope | undefined;
}

/** Reads one property of a request; nothing when the request does not have it. */
export type Reader = (request: RoutableRequest) => string | undefined;

/** `:authority`: the Host header as the application has set it, else what its URL says. */
export function authorityOf(request: RoutableRequest): string {
  return headerValue(request.headers, 'host') ?? request.hostHeader;
}

/** `:scheme`: as in Envoy what `x-forwarded-proto` says, else how the request came. */
export function schemeOf(request: RoutableRequest): 'http' | 'https' {
  const forwarded = headerValue(request.headers, 'x-forwarded-proto')?.toLowerCase();
  if (forwarded === 'http' || forwarded === 'https') return forwarded;
  return request.secure ? 'https' : 'http';
}

/** Value of a header, set by the application or handed on by the scope. `name` is lower case. */
export function headerOf(request: RoutableRequest, name: string): string | undefined {
  return headerValue(request.headers, name) ?? scopeHeader(request.scope, name);
}

/** Member of the `baggage` that this request will have. */
export function baggageOf(request: RoutableRequest, name: string): string | undefined {
  const header = headerOf(request, 'baggage');
  return header === undefined ? undefined : baggageMember(header, name);
}

/** How to read a header; names with a colon are the properties that HTTP/2 calls so. */
export function headerReader(name: string): Reader {
  switch (name) {
    case ':authority':
    case 'host':
      return authorityOf;
    case ':method':
      return (request) => request.method;
    case ':path':
      return (request) => request.path;
    case ':scheme':
      return schemeOf;
    default:
      return (request) => headerOf(request, name);
  }
}

/** A header that the inbound request hands on. */
function scopeHeader(scope: Scope | undefined, name: string): string | undefined {
  if (scope === undefined) return undefined;
  return valueIn(scope.traceHeaders, name) ?? (scope.carried === undefined ? undefined : valueIn(scope.carried, name));
}

function valueIn(list: readonly string[], name: string): string | undefined {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return list[i + 1];
  return undefined;
}
