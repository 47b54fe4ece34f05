import type { StringMatch } from '../model/string-match.ts';
import type { CompileList } from './fields.ts';
import { anyText } from './fields.ts';

/**
 * Compiles patterns for a claim: one of them matches its text, or one of the texts of its list.
 * Numbers, truth values, objects and lists in lists match nothing, as in Istio; `*` is a text of
 * some length. Without a verified token, or without the claim, nothing matches.
 */
export function claimTexts(path: readonly string[]): CompileList<StringMatch> {
  return (matches) => {
    const matcher = anyText(matches);
    const isMatch = (value: unknown): boolean => typeof value === 'string' && value !== '' && matcher(value);
    return ({ claims }) => {
      let value: unknown = claims;
      for (const name of path) value = memberOf(value, name);
      return Array.isArray(value) ? value.some(isMatch) : isMatch(value);
    };
  };
}

/** Of an object, and its own: tokens name what they like, `constructor` and `__proto__` too. */
export function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}
