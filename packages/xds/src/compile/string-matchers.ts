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
  if (exact !== undefined) {
    return ignoreCase ? patternOf(`(?is)${quote(exact)}`, at('exact')) : { kind: 'exact', value: exact };
  }
  const filled = (field: string, text: string): string => {
    if (text === '') throw new ResourceError(at(field), 'expected some characters');
    return text;
  };
  if (prefix !== undefined) {
    const value = filled('prefix', prefix);
    return ignoreCase ? patternOf(`(?is)${quote(value)}.*`, at('prefix')) : { kind: 'prefix', value };
  }
  if (suffix !== undefined) {
    const value = filled('suffix', suffix);
    return ignoreCase ? patternOf(`(?is).*${quote(value)}`, at('suffix')) : { kind: 'suffix', value };
  }
  if (contains === undefined) return undefined;
  return patternOf(`(?${ignoreCase ? 'i' : ''}s).*${quote(filled('contains', contains))}.*`, at('contains'));
}

const surelyShort = 200;

/** A text as a pattern is one in any case, unless it is too long for one. */
function patternOf(value: string, path: string): StringMatch {
  if (value.length <= surelyShort) return { kind: 'regex', value };
  return checkedPattern(value, path, 'expected a text that can be matched so');
}

/** @throws ResourceError for one that is no regular expression of RE2, or too long */
export function regexOf({ regex }: RegexMatcher, path: string): StringMatch {
  return checkedPattern(regex, `${path}.regex`, 'expected a regular expression of RE2');
}

/** @throws ResourceError saying what was `expected` in place of a pattern that is too long, too wide or none of RE2 */
export function checkedPattern(value: string, path: string, expected: string): StringMatch {
  const match: StringMatch = { kind: 'regex', value };
  try {
    compileStringMatch(match);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ResourceError(path, `${expected}: ${message}`, { value });
  }
  return match;
}

/** A text as a regular expression that matches it and nothing else. */
export function quote(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
