import { hopByHop } from '../lib/hop-by-hop.ts';
import type { RbacHeaderMatch } from '../model/rbac.ts';
import { compileStringMatch, type StringMatch } from '../model/string-match.ts';
import { type Condition, not, type RuleReading } from './facts.ts';
import { headerValues } from './header-match.ts';

/**
 * Compiles matches for one header, of which one has to match. Hop-by-hop headers count as absent (gRFC A41), and what
 * is absent does not match, not even inverted. Several lines are several values, see {@link headerValues}.
 *
 * @param matches all of one name; several only without `invert`, `absentIsEmpty` and ranges
 */
export function rbacHeaders(matches: readonly RbacHeaderMatch[], reading: RuleReading): Condition {
  const [first] = matches as readonly [RbacHeaderMatch];
  const { absentIsEmpty, invert, match, name } = first;
  const doubtMatches = reading.action === 'DENY';
  const present = (doubt: boolean): Condition => headerValues(name, reading.literalPaths)([{ kind: 'present' }], doubt);
  if (match.kind === 'present') {
    return invert === true ? not(present(!doubtMatches)) : present(doubtMatches);
  }
  const matching = (doubt: boolean): Condition =>
    match.kind === 'range'
      ? inRange(name, match.from, match.below, doubt)
      : headerValues(name, reading.literalPaths)(textsOf(matches), doubt);
  const isThere = present(doubtMatches);
  let condition = matching(doubtMatches);
  if (invert === true) {
    const differs = not(matching(!doubtMatches));
    condition = (facts, derived) => isThere(facts, derived) && differs(facts, derived);
  }
  if (absentIsEmpty !== true) return condition;
  const empty = match.kind !== 'range' && compileStringMatch(match)('');
  if (empty === (invert === true)) return condition;
  const isAbsent = not(present(!doubtMatches));
  return (facts, derived) => isAbsent(facts, derived) || condition(facts, derived);
}

function textsOf(matches: readonly RbacHeaderMatch[]): readonly StringMatch[] {
  return matches.flatMap(({ match }) => (match.kind === 'range' ? [] : [match]));
}

/** Whole numbers, as Envoy reads them: each line by itself; to allow, all of them have to be in the range. */
function inRange(name: string, from: number, below: number, doubtMatches: boolean): Condition {
  if (hopByHop.has(name) || name === 'te') return () => false;
  return ({ rawHeaders }) => {
    let found = false;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      if ((rawHeaders[i] as string).toLowerCase() !== name) continue;
      const text = rawHeaders[i + 1] as string;
      const value = /^[+-]?\d{1,18}$/.test(text) ? Number(text) : Number.NaN;
      const isInside = value >= from && value < below;
      if (isInside === doubtMatches) return doubtMatches;
      found = true;
    }
    return found && !doubtMatches;
  };
}
