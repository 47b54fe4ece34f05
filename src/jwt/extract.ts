import { hexValue } from '../lib/hex.ts';
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

/** More in one request are refused: each may cost several verifications. */
export const maxTokensPerRequest = 5;

/**
 * Everything in a request that a rule takes for a token, or a few more than {@link maxTokensPerRequest}, in Envoy's order: headers by name, query
 * parameters, cookies. Parameters are those behind `?`, and those that Fastify reads behind `;` where it is told to. Envoy reads the first of several query parameters or cookies of one name; here each counts, since
 * nobody knows which of them the application would read.
 */
export function extractTokens({ cookies, headers, params }: TokenRules, request: TokenRequest): readonly Credential[] {
  let found: Credential[] | undefined;
  for (let i = 0; i < headers.length; i++) found = fromHeader(headers[i] as readonly TokenLocation[], request, found);
  if (params.length > 0) {
    const { url } = request;
    const mark = url.indexOf('?');
    const semicolon = semicolonOf(url, mark);
    if (semicolon !== -1) found = fromQuery(params, url, semicolon + 1, mark === -1 ? url.length : mark, found);
    if (mark !== -1) found = fromQuery(params, url, mark + 1, url.length, found);
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

/** Where in its path a query begins for Fastify with `useSemicolonDelimiter`; -1 for nowhere. */
function semicolonOf(url: string, mark: number): number {
  const at = url.indexOf(';');
  return mark === -1 || at < mark ? at : -1;
}

/** Parameters that begin between these two places; for who reads a query from `start` on the last ends where it ends for it. */
function fromQuery(
  locations: readonly TokenLocation[],
  url: string,
  start: number,
  limit: number,
  found: Credential[] | undefined,
): Credential[] | undefined {
  // Most queries have no token: their names are not taken apart.
  if (!url.includes('%', start) && !locations.some(({ name }) => url.includes(name, start))) {
    if (!url.includes('+', start)) return found;
  }
  let all = found;
  const { lengths, haveSigns } = namesOf(locations);
  for (let from = start; from < limit; ) {
    const least = lengths[firstOf(url, from)] as number;
    // Most of thousands of parameters: no more than a look at each character.
    const end = least === 0 ? from : endWithin(url, from, least);
    if (least === 0 || end < from + least || !mayBeFor(url, from, locations, haveSigns)) {
      let at = end;
      while (at < url.length && url.charCodeAt(at) !== ampersand) at++;
      from = at + 1;
      continue;
    }
    const pairEnd = endOfPair(url, end);
    const nameEnd = endOfName(url, from, pairEnd);
    for (const location of locations) {
      if (!isFor(url, from, nameEnd, location.name)) continue;
      (all ??= []).push([{ location, text: decodedQuery(url.slice(nameEnd + 1, pairEnd)) }]);
      if (all.length > maxTokensPerRequest) return all;
    }
    from = pairEnd + 1;
  }
  return all;
}

/** Where a parameter ends, or so many characters further, whichever is first. */
function endWithin(url: string, from: number, count: number): number {
  const limit = Math.min(from + count, url.length);
  let at = from;
  while (at < limit && url.charCodeAt(at) !== ampersand) at++;
  return at;
}

function endOfPair(url: string, from: number): number {
  const end = url.indexOf('&', from);
  return end === -1 ? url.length : end;
}

function endOfName(url: string, from: number, end: number): number {
  let at = from;
  while (at < end && url.charCodeAt(at) !== equals) at++;
  return at;
}

const [ampersand, equals, plus, space, percent] = [0x26, 0x3d, 0x2b, 0x20, 0x25];
const [openBracket, closeBracket] = [0x5b, 0x5d];

/** Whether the name of a parameter, as it is written from `start` to `end`, is one that is wanted. */
function isFor(url: string, start: number, end: number, wanted: string): boolean {
  if (!beginsLike(url, start, wanted, wanted.includes('%'))) return false;
  const name = decodedQuery(url.slice(start, end));
  return name === wanted || rootOfName(name) === wanted;
}

/** Whether {@link isFor} has to be asked: a query has room for thousands of names, and to decode one costs as much as many looks. */
function mayBeFor(url: string, start: number, locations: readonly TokenLocation[], haveSigns: boolean): boolean {
  for (let i = 0; i < locations.length; i++) {
    if (beginsLike(url, start, (locations[i] as TokenLocation).name, haveSigns)) return true;
  }
  return false;
}

/** @param hasSign there may be a `%` in the name: nothing else is meant by what counts as it is written, for it has an escape that is none */
function beginsLike(url: string, start: number, wanted: string, hasSign: boolean): boolean {
  const first = firstOf(url, start);
  if (first !== openBracket && !mayBegin(first, wanted.charCodeAt(0))) return false;
  return readsLike(url, start, wanted, true) || (hasSign && readsLike(url, start, wanted, false));
}

/** The first character of a name, decoded; 0x80 for all that are no ASCII. */
function firstOf(url: string, start: number): number {
  const code = url.charCodeAt(start);
  if (code === plus) return space;
  if (code !== percent) return code;
  const high = hexValue(url.charCodeAt(start + 1));
  const low = hexValue(url.charCodeAt(start + 2));
  return high === -1 || low === -1 ? percent : high >= 8 ? 0x80 : high * 16 + low;
}

/** What names have in common that are looked for. */
interface Names {
  /** By the first character of a name: how many the shortest has that may be meant, 0 where none is. */
  readonly lengths: Uint16Array;
  /** In one of them is a `%`. */
  readonly haveSigns: boolean;
}

function namesOf(locations: readonly TokenLocation[]): Names {
  let names = knownNames.get(locations);
  if (names === undefined) {
    const lengths = new Uint16Array(0x81);
    for (let first = 0; first <= 0x80; first++) {
      const meant = locations.filter(({ name }) => first === openBracket || mayBegin(first, name.charCodeAt(0)));
      // However it is written, a name has no fewer characters than decoded.
      if (meant.length > 0) lengths[first] = Math.min(...meant.map(({ name }) => name.length));
    }
    names = { lengths, haveSigns: locations.some(({ name }) => name.includes('%')) };
    knownNames.set(locations, names);
  }
  return names;
}

/** Places are those of the rules in force: made once, asked by every request. */
const knownNames = new WeakMap<readonly TokenLocation[], Names>();

function mayBegin(first: number, wanted: number): boolean {
  // What begins with an escape may turn out to be none: then it begins with the sign itself.
  return first === wanted || wanted === percent || (first >= 0x80 && wanted >= 0x80);
}

/** @param decode with escapes, or as a name that cannot be decoded, and counts as it is written */
function readsLike(url: string, start: number, wanted: string, decode: boolean): boolean {
  let matched = 0;
  let opened = wanted.charCodeAt(0) === openBracket;
  let isFirst = !opened;
  for (let i = start; i < url.length; i++) {
    let code = url.charCodeAt(i);
    if (code === ampersand || code === equals) break;
    if (code === plus) code = space;
    else if (code === percent && decode) {
      const high = hexValue(url.charCodeAt(i + 1));
      const low = hexValue(url.charCodeAt(i + 2));
      if (high === -1 || low === -1) return false;
      code = high * 16 + low;
      // A part of a character: more than a look is needed.
      if (code >= 0x80) return wanted.charCodeAt(matched) >= 0x80;
      i += 2;
    }
    if (isFirst && code === openBracket) opened = true;
    else if (matched === wanted.length) return code === openBracket || (opened && code === closeBracket);
    else if (code !== wanted.charCodeAt(matched++)) return false;
    isFirst = false;
  }
  return matched === wanted.length;
}

/** A path and query without the parameters of one name, also behind a `;` of the path; the rest as it was written. */
export function withoutParam(url: string, name: string): string {
  const mark = url.indexOf('?');
  const semicolon = semicolonOf(url, mark);
  const pathEnd = mark === -1 ? url.length : mark;
  const path = semicolon === -1 ? url.slice(0, pathEnd) : withoutPairs(url, semicolon, pathEnd, name);
  return mark === -1 ? path : path + withoutPairs(url, mark, url.length, name, mark);
}

/** A text from `start` to `end`, in which parameters begin behind the sign at `delimiter`: the sign goes with the last of them. */
function withoutPairs(url: string, delimiter: number, end: number, wanted: string, start = 0): string {
  const kept: string[] = [];
  for (let from = delimiter + 1; from <= end; ) {
    const pairEnd = Math.min(end, endOfPair(url, from));
    if (!isFor(url, from, endOfName(url, from, pairEnd), wanted)) kept.push(url.slice(from, pairEnd));
    from = pairEnd + 1;
  }
  return kept.length === 0 ? url.slice(start, delimiter) : `${url.slice(start, delimiter + 1)}${kept.join('&')}`;
}

function fromCookies(
  locations: readonly TokenLocation[],
  { rawHeaders }: TokenRequest,
  found: Credential[] | undefined,
): Credential[] | undefined {
  let all = found;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!isNamed(rawHeaders[i] as string, 'cookie')) continue;
    const header = rawHeaders[i + 1] as string;
    for (let from = 0; from < header.length; ) {
      const semicolon = header.indexOf(';', from);
      const end = semicolon === -1 ? header.length : semicolon;
      while (from < end && isSpace(header.charCodeAt(from))) from++;
      for (const location of locations) {
        // A header has room for thousands of cookies: most are not taken apart.
        if (!header.startsWith(location.name, from)) continue;
        const [pair] = cookiePairs(header.slice(from, end));
        if (pair?.name === location.name) (all ??= []).push([{ location, text: pair.value }]);
      }
      if (all !== undefined && all.length > maxTokensPerRequest) return all;
      from = end + 1;
    }
  }
  return all;
}

/** What is trimmed off the name of a cookie; a header has bytes. */
function isSpace(code: number): boolean {
  return code === space || (code >= 0x09 && code <= 0x0d) || code === 0xa0;
}
