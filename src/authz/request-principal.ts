import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import type { Condition } from './facts.ts';

/** Issuer and subject of a token match. */
type TokenPredicate = (issuer: string, subject: string) => boolean;

/**
 * Compiles patterns for `<iss>/<sub>`. Both may hold slashes, so the text has several readings:
 * `https://idp/a` with `b` is written like `https://idp` with `a/b`. To allow, issuer and subject are
 * compared by themselves, with the pattern taken apart at its last slash, as Istio does it; to refuse,
 * the whole text is compared as well. A token that lacks one of them has no principal.
 */
export function requestPrincipals(matches: readonly StringMatch[], doubtMatches: boolean): Condition {
  const predicates = matches.map((match) => (doubtMatches ? either(match) : apart(match)));
  return ({ claims }) => {
    if (claims === undefined) return false;
    const { iss, sub } = claims;
    if (typeof iss !== 'string' || typeof sub !== 'string' || iss === '' || sub === '') return false;
    for (const matches of predicates) if (matches(iss, sub)) return true;
    return false;
  };
}

function either(match: StringMatch): TokenPredicate {
  const strict = apart(match);
  const whole = compileStringMatch(match);
  return (issuer, subject) => strict(issuer, subject) || whole(`${issuer}/${subject}`);
}

const any: StringPredicate = () => true;

function apart(match: StringMatch): TokenPredicate {
  if (match.kind === 'present') return any;
  if (match.kind === 'regex') {
    const whole = compileStringMatch(match);
    return (issuer, subject) => whole(`${issuer}/${subject}`);
  }
  const { kind, value } = match;
  const slash = value.lastIndexOf('/');
  if (slash === -1) {
    if (kind === 'prefix') return both(begins(value), any);
    return kind === 'suffix' ? both(any, ends(value)) : both(is(value), is(''));
  }
  const issuer = value.slice(0, slash);
  const subject = value.slice(slash + 1);
  if (kind === 'prefix') return both(is(issuer), subject === '' ? any : begins(subject));
  if (kind === 'suffix') return both(issuer === '' ? any : ends(issuer), is(subject));
  return both(is(issuer), is(subject));
}

const both =
  (issuer: StringPredicate, subject: StringPredicate): TokenPredicate =>
  (iss, sub) =>
    issuer(iss) && subject(sub);
const is = (value: string): StringPredicate => compileStringMatch({ kind: 'exact', value });
const begins = (value: string): StringPredicate => compileStringMatch({ kind: 'prefix', value });
const ends = (value: string): StringPredicate => compileStringMatch({ kind: 'suffix', value });
