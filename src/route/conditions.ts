import { pathOnly, queryValue } from '../lib/request-target.ts';
import type { HeaderMatch, RouteMatch } from '../model/route.ts';
import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import { authorityOf, baggageOf, headerReader, type Reader, type RoutableRequest, schemeOf } from './request-view.ts';

/** One condition of a `match` entry besides its path, compiled. */
export interface Condition {
  /** For people: `header end-user`. */
  readonly what: string;
  readonly match: StringMatch;
  readonly read: Reader;
  readonly test: StringPredicate;
  /** The condition must not hold (`withoutHeaders`). */
  readonly inverted: boolean;
}

const none: readonly Condition[] = [];
const noNames: readonly HeaderMatch[] = [];

/** All conditions of a match but its path, cheap ones first. */
export function compileConditions(match: RouteMatch): readonly Condition[] {
  const list: Condition[] = [];
  const add = (what: string, on: StringMatch, read: Reader, inverted = false): void => {
    list.push({ what, match: on, read, test: compileStringMatch(on), inverted });
  };
  if (match.method !== undefined) add('method', match.method, (request) => request.method);
  if (match.scheme !== undefined) add('scheme', match.scheme, schemeOf);
  if (match.authority !== undefined) add('authority', match.authority, authorityOf);
  for (const { name, match: on } of match.headers ?? noNames) add(`header ${name}`, on, headerReader(name));
  for (const { name, match: on } of match.withoutHeaders ?? noNames)
    add(`header ${name}`, on, headerReader(name), true);
  for (const { name, match: on } of match.queryParams ?? noNames) {
    add(`query parameter ${name}`, on, (request) => queryValue(request.path, name));
  }
  for (const { name, match: on } of match.baggage ?? noNames) {
    add(`baggage member ${name}`, on, (request) => baggageOf(request, name));
  }
  return list.length === 0 ? none : list;
}

/**
 * Does a condition hold? Something absent never matches. Under `withoutHeaders` an absent header
 * counts as an empty one, which is how Istio has Envoy treat it: `withoutHeaders: {x: {regex: '.*'}}`
 * holds for no request, and only `present` asks whether the header is there.
 */
export function holds(condition: Condition, request: RoutableRequest): boolean {
  const value = condition.read(request);
  if (!condition.inverted) return value !== undefined && condition.test(value);
  if (condition.match.kind === 'present') return value === undefined;
  return !condition.test(value ?? '');
}

/** The test of a path without query; nothing when every path will do. */
export function compilePath({ path, pathIgnoreCase }: RouteMatch): StringPredicate | undefined {
  return path === undefined ? undefined : compileStringMatch(path, pathIgnoreCase);
}

/**
 * Why a request does not meet a match: the first condition that fails, for people; nothing when it
 * meets it. Compiles the match anew: for `explain`, not for traffic.
 */
export function whyNoMatch(match: RouteMatch, request: RoutableRequest): string | undefined {
  const path = pathOnly(request.path);
  if (match.path !== undefined && !(compilePath(match)?.(path) ?? true)) {
    return `uri ${path} ${unlike(match.path)}${match.pathIgnoreCase === true ? ', ignoring case' : ''}`;
  }
  const failed = compileConditions(match).find((condition) => !holds(condition, request));
  if (failed === undefined) return undefined;
  const { inverted, match: on, read, what } = failed;
  const value = read(request);
  if (value === undefined) return inverted ? `${what} is absent, which ${like(on)}` : `${what} is absent`;
  if (inverted) return on.kind === 'present' ? `${what} is present` : `${what} ${quote(value)} ${like(on)}`;
  return `${what} ${quote(value)} ${unlike(on)}`;
}

function like(match: StringMatch): string {
  switch (match.kind) {
    case 'exact':
      return `is ${quote(match.value)}`;
    case 'prefix':
      return `begins with ${quote(match.value)}`;
    case 'suffix':
      return `ends with ${quote(match.value)}`;
    case 'regex':
      return `matches the regex ${quote(match.value)}`;
    default:
      return 'is present';
  }
}

function unlike(match: StringMatch): string {
  switch (match.kind) {
    case 'exact':
      return `is not ${quote(match.value)}`;
    case 'prefix':
      return `does not begin with ${quote(match.value)}`;
    case 'suffix':
      return `does not end with ${quote(match.value)}`;
    case 'regex':
      return `does not match the regex ${quote(match.value)}`;
    default:
      return 'is absent';
  }
}

const quote = (text: string): string => JSON.stringify(text);
