import { MeshError } from '../errors.ts';
import { compileRegex } from '../lib/regex.ts';

/** Istio `StringMatch`, plus `suffix` and `present` for authorization. Plain data. */
export type StringMatch =
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'suffix'; readonly value: string }
  /** Full match, RE2 syntax. */
  | { readonly kind: 'regex'; readonly value: string }
  /** Anything, the empty string included. */
  | { readonly kind: 'present' };

/** Does this text match? Built once per snapshot. */
export type StringPredicate = (text: string) => boolean;

/**
 * Compiles a match to a function. Exact, prefix and suffix become string operations; only `regex`
 * pays for a regular expression, and never JavaScript's own: patterns come from configuration.
 */
export function compileStringMatch(match: StringMatch, ignoreCase = false): StringPredicate {
  const value = match.kind === 'present' ? '' : ignoreCase ? match.value.toLowerCase() : match.value;
  const predicate = predicateFor(match.kind, value);
  return ignoreCase && match.kind !== 'regex' ? (text) => predicate(text.toLowerCase()) : predicate;
}

function predicateFor(kind: StringMatch['kind'], value: string): StringPredicate {
  switch (kind) {
    case 'exact':
      return (text) => text === value;
    case 'prefix':
      return (text) => text.startsWith(value);
    case 'suffix':
      return (text) => text.endsWith(value);
    case 'regex':
      return compileRegex(value);
    case 'present':
      return () => true;
    default:
      throw new MeshError('ERR_MESH_CONFIG_INVALID', `unknown kind of string match: ${String(kind satisfies never)}`);
  }
}
