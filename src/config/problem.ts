import type { Provenance } from '../model/provenance.ts';
import type { ConfigProblem } from './source.ts';

/** Longest value that a message repeats, in characters. */
const maxValueLength = 80;

/** A value as JSON, shortened, for a message. */
export function showValue(value: unknown): string {
  let text: string | undefined;
  try {
    // JSON has no word for a number that was too large.
    text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  } catch {
    // A bigint or a cycle: only objects that a caller made by hand can hold one.
  }
  text ??= String(value);
  return text.length <= maxValueLength ? text : `${text.slice(0, maxValueLength)}…`;
}

/**
 * One line for people:
 * `mesh/reviews.yaml:12:7: VirtualService bookinfo/reviews: spec.http[0].timeout: must be …, got "ten"`.
 */
export function describeProblem(problem: ConfigProblem): string {
  const { at, field, value } = problem;
  const parts: string[] = [];
  if (at?.file !== undefined) parts.push(describePlace(at));
  const resource = at === undefined ? '' : describeResource(at);
  if (resource !== '') parts.push(resource);
  if (field !== undefined && field !== '') parts.push(field);
  parts.push(value === undefined ? problem.message : `${problem.message}, got ${value}`);
  return parts.join(': ');
}

/** `mesh/reviews.yaml:12:7`. */
export function describePlace(at: Provenance): string {
  return `${at.file ?? '<text>'}:${at.line ?? 1}:${at.column ?? 1}`;
}

/** `VirtualService bookinfo/reviews`, as much of it as is known. */
export function describeResource(at: Provenance): string {
  const name = at.name === '' ? '' : at.namespace === '' ? at.name : `${at.namespace}/${at.name}`;
  return `${at.kind} ${name}`.trim();
}
