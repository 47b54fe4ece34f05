import { compileStringMatch, type StringMatch } from 'inmesh/model';
import type { RegexMatcher, StringMatcher } from '../proto/envoy/matchers.ts';
import type { HeaderMatcher } from '../proto/envoy/route-match.ts';
import { ResourceError } from '../resources.ts';

type Words = Pick<StringMatcher, 'contains' | 'exact' | 'prefix' | 'suffix'>;

/**
 * Envoy's `StringMatcher` in the words of the model; what has no word there becomes a regular expression.
 *
 * @throws ResourceError also for an empty `prefix`, `suffix` or `contains`, as Envoy refuses it
 */
export function stringMatchOf(matcher: StringMatcher | undefined, path: string): StringMatch {
  if (matcher?.safe_regex !== undefined) return regexOf(matcher.safe_regex, `${path}.safe_regex`);
  const match = matcher && wordsOf(matcher, matcher.ignore_case, (field) => `${path}.${field}`);
  if (match !== undefined) return match;
  throw new ResourceError(path, 'expected one of exact, prefix, suffix, safe_regex and contains', {
    unenforceable: true,
  });
}

/** The text that a header must have, also by the older fields for it; nothing: they do not ask for a text. */
export function headerTextOf(matcher: HeaderMatcher, path: string): StringMatch | undefined {
  const { contains_match, exact_match, prefix_match, safe_regex_match, string_match, suffix_match } = matcher;
  if (string_match !== undefined) return stringMatchOf(string_match, `${path}.string_match`);
  if (safe_regex_match !== undefined) return regexOf(safe_regex_match, `${path}.safe_regex_match`);
  const words = { contains: contains_match, exact: exact_match, prefix: prefix_match, suffix: suffix_match };
  return wordsOf(words, false, (field) => `${path}.${field}_match`);
}

function wordsOf(
  { contains, exact, prefix, suffix }: Words,
  ignoreCase: boolean,
  at: (field: string) => string,
): StringMatch | undefined {
  if (exact !== undefined) return ignoreCase ? anyCase(quote(exact)) : { kind: 'exact', value: exact };
  const filled = (field: string, text: string): string => {
    if (text === '') throw new ResourceError(at(field), 'expected some characters');
    return text;
  };
  if (prefix !== undefined) {
    const value = filled('prefix', prefix);
    return ignoreCase ? anyCase(`${quote(value)}.*`) : { kind: 'prefix', value };
  }
  if (suffix !== undefined) {
    const value = filled('suffix', suffix);
    return ignoreCase ? anyCase(`.*${quote(value)}`) : { kind: 'suffix', value };
  }
  if (contains === undefined) return undefined;
  const value = `.*${quote(filled('contains', contains))}.*`;
  return ignoreCase ? anyCase(value) : { kind: 'regex', value: `(?s)${value}` };
}

function anyCase(value: string): StringMatch {
  return { kind: 'regex', value: `(?is)${value}` };
}

/** @throws ResourceError for one that is no regular expression of RE2, or too long */
export function regexOf({ regex }: RegexMatcher, path: string): StringMatch {
  const match: StringMatch = { kind: 'regex', value: regex };
  try {
    compileStringMatch(match);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ResourceError(`${path}.regex`, `expected a regular expression of RE2: ${message}`, { value: regex });
  }
  return match;
}

/** A text as a regular expression that matches it and nothing else. */
export function quote(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
