import type { RbacValueMatch } from '../model/rbac.ts';
import { compileStringMatch } from '../model/string-match.ts';
import { memberOf } from './claim-match.ts';
import type { Condition } from './facts.ts';

/**
 * Compiles Envoy's `ValueMatcher` for a claim. Without a verified token, or without the claim, nothing matches.
 * A text that only has to be there must not be empty, as in AuthorizationPolicies.
 */
export function claimValue(path: readonly string[], match: RbacValueMatch): Condition {
  const matches = compileValue(match);
  return ({ claims }) => {
    let value: unknown = claims;
    for (const name of path) value = memberOf(value, name);
    return value !== undefined && matches(value);
  };
}

type ValuePredicate = (value: unknown) => boolean;

function compileValue(match: RbacValueMatch): ValuePredicate {
  switch (match.kind) {
    case 'text': {
      const matches = compileStringMatch(match.match);
      const filled = match.match.kind === 'present';
      return (value) => typeof value === 'string' && !(filled && value === '') && matches(value);
    }
    case 'number': {
      const { from, open, to } = match;
      return (value) => typeof value === 'number' && value >= from && (open === true ? value < to : value <= to);
    }
    case 'is': {
      const { value: wanted } = match;
      return (value) => value === wanted;
    }
    case 'present':
      return (value) => value !== null;
    case 'member': {
      const matches = compileValue(match.of);
      return (value) => Array.isArray(value) && value.some(matches);
    }
    default: {
      const all = match.of.map(compileValue);
      return (value) => all.some((matches) => matches(value));
    }
  }
}
