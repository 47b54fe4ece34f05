import { MeshError } from '../errors.ts';
import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import { allOf, type Condition, not, type RuleReading } from './facts.ts';

/**
 * A list of values as one condition. With `doubtMatches` what may be one of them is one, without it
 * what may not be one is none.
 */
export type CompileList<T> = (list: readonly T[], doubtMatches: boolean) => Condition;

/** The fields of a source, an operation or a condition: all that are there must hold. */
export interface FieldList {
  add<T>(field: string, list: readonly T[] | undefined, compile: CompileList<T>): FieldList;
  /** The field whose values must not be the request's. What is in doubt stays on the same side. */
  addNot<T>(field: string, list: readonly T[] | undefined, compile: CompileList<T>): FieldList;
  all(): Condition;
}

export function fieldList(reading: RuleReading): FieldList {
  const conditions: Condition[] = [];
  const doubtMatches = reading.action === 'DENY';
  const fields: FieldList = {
    add(field, list, compile) {
      if (list !== undefined) conditions.push(compile(filled(field, list), doubtMatches));
      return fields;
    },
    addNot(field, list, compile) {
      if (list !== undefined) conditions.push(not(compile(filled(field, list), !doubtMatches)));
      return fields;
    },
    all: () => allOf(conditions),
  };
  return fields;
}

/** Any of these; exact texts, which most are, with one look-up. */
export function anyText(matches: readonly StringMatch[]): StringPredicate {
  const exact = matches.flatMap((match) => (match.kind === 'exact' ? [match.value] : []));
  const predicates = matches.filter(({ kind }) => kind !== 'exact').map((match) => compileStringMatch(match));
  const [text] = exact;
  if (exact.length === 1 && predicates.length === 0) return (given) => given === text;
  const [only] = predicates;
  if (exact.length === 0 && predicates.length === 1 && only !== undefined) return only;
  const texts = new Set(exact);
  if (predicates.length === 0) return (given) => texts.has(given);
  return (given) => texts.has(given) || predicates.some((matches) => matches(given));
}

/** An empty list must never mean "any". */
function filled<T>(field: string, list: readonly T[]): readonly T[] {
  if (list.length > 0) return list;
  throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: ${field} is an empty list`);
}
