import { decodedQuery, rootOfName } from '../lib/query-name.ts';
import { cookiePairs } from './cookies.ts';
import type { TokenLocation, TokenRules } from './rules.ts';

/** What of a request is looked at. */
export interface TokenRequest {
  /** Name, value, name, value, as received: a header that is there twice is there twice. */
  readonly rawHeaders: readonly string[];
  /** Path and query. */
  readonly url: string;
}

/** One way to read a credential. */
export interface TokenCandidate {
  readonly location: TokenLocation;
  readonly text: string;
}

/** A value of a request that is a token, or several, depending on the prefix that one expects. */
export type Credential = readonly TokenCandidate[];

const nothing: readonly Credential[] = [];

/**
 * Everything in a request that a rule takes for a token, in Envoy's order: headers by name, query
 * parameters, cookies. Envoy reads the first of several query parameters or cookies of one name; here each counts, since
 * nobody knows which of them the application would read.
 */
export function extractTokens({ cookies, headers, params }: TokenRules, request: TokenRequest): readonly Credential[] {
  let found: Credential[] | undefined;
  for (let i = 0; i < headers.length; i++) found = fromHeader(headers[i] as readonly TokenLocation[], request, found);
  if (params.length > 0) {
    const mark = request.url.indexOf('?');
    if (mark !== -1) found = fromQuery(params, request.url, mark + 1, found);
  }
  if (cookies.length > 0) found = fromCookies(cookies, request, found);
  return found ?? nothing;
}

function fromHeader(
  locations: readonly TokenLocation[],
  { rawHeaders }: TokenRequest,
  found: Credential[] | undefined,
): Credential[] | undefined {
  const { name } = locations[0] as TokenLocation;
  // There is to be one such header (RFC 9110 section 5.3). As in Envoy several are one value, which is no token.
  const single = name === 'authorization';
  let all = found;
  let joined: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!isNamed(rawHeaders[i] as string, name)) continue;
    const value = rawHeaders[i + 1] as string;
    if (single) joined = joined === undefined ? value : `${joined},${value}`;
    else all = fromValue(locations, value, all);
  }
  return joined === undefined ? all : fromValue(locations, joined, all);
}

function fromValue(
  locations: readonly TokenLocation[],
  value: string,
  found: Credential[] | undefined,
): Credential[] | undefined {
  let candidates: TokenCandidate[] | undefined;
  for (const location of locations) {
    const text = behindPrefix(value, location.prefix);
    if (text !== undefined) (candidates ??= []).push({ location, text });
  }
  if (candidates === undefined) return found;
  const all = found ?? [];
  all.push(candidates);
  return all;
}

function isNamed(raw: string, lower: string): boolean {
  return raw.length === lower.length && (raw === lower || raw.toLowerCase() === lower);
}

/**
 * As Envoy reads it: the prefix may stand anywhere, its letters count as written, and what cannot
 * begin a token is passed over behind it. Nothing when the prefix is not there.
 */
function behindPrefix(value: string, prefix: string): string | undefined {
  if (prefix === '') return value;
  const at = value.indexOf(prefix);
  if (at === -1) return undefined;
  let start = at + prefix.length;
  while (start < value.length && !isTokenChar(value.charCodeAt(start))) start++;
  return start === value.length ? value : value.slice(start);
}

/** Base64url and the dot. */
function isTokenChar(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x5f
  );
}

function fromQuery(
  locations: readonly TokenLocation[],
  url: string,
  start: number,
  found: Credential[] | undefined,
): Credential[] | undefined {
  // Most queries have no token: their names are not taken apart.
  if (!url.includes('%', start) && !locations.some(({ name }) => url.includes(name, start))) {
    if (!url.includes('+', start)) return found;
  }
  let all = found;
  for (const { name, value } of queryPairs(url, start)) {
    for (const location of locations) {
      if (isFor(name, location.name)) (all ??= []).push([{ location, text: decodedQuery(value) }]);
    }
  }
  return all;
}

function isFor(name: string, wanted: string): boolean {
  return name === wanted || rootOfName(name) === wanted;
}

interface Pair {
  /** Decoded. */
  readonly name: string;
  /** As written. */
  readonly value: string;
  /** The whole of it, as written. */
  readonly raw: string;
}

function* queryPairs(url: string, start: number): Generator<Pair> {
  for (let from = start; from <= url.length; ) {
    const ampersand = url.indexOf('&', from);
    const end = ampersand === -1 ? url.length : ampersand;
    const raw = url.slice(from, end);
    const equals = raw.indexOf('=');
    yield {
      name: decodedQuery(equals === -1 ? raw : raw.slice(0, equals)),
      value: equals === -1 ? '' : raw.slice(equals + 1),
      raw,
    };
    from = end + 1;
  }
}

/** A path and query without the parameters of one name; the rest as it was written. */
export function withoutParam(url: string, name: string): string {
  const mark = url.indexOf('?');
  if (mark === -1) return url;
  const kept: string[] = [];
  for (const pair of queryPairs(url, mark + 1)) if (!isFor(pair.name, name)) kept.push(pair.raw);
  return kept.length === 0 ? url.slice(0, mark) : `${url.slice(0, mark)}?${kept.join('&')}`;
}

function fromCookies(
  locations: readonly TokenLocation[],
  { rawHeaders }: TokenRequest,
  found: Credential[] | undefined,
): Credential[] | undefined {
  let all = found;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!isNamed(rawHeaders[i] as string, 'cookie')) continue;
    for (const { name, value } of cookiePairs(rawHeaders[i + 1] as string)) {
      for (const location of locations) {
        if (location.name === name) (all ??= []).push([{ location, text: value }]);
      }
    }
  }
  return all;
}
