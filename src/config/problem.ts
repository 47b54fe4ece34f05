import { isSecretName, redacted, redactText } from '../lib/redact.ts';
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
 * It goes into logs and to whoever may ask about health: what may be a secret is not repeated.
 */
export function describeProblem(problem: ConfigProblem): string {
  const { at, field } = problem;
  const { message, value } = withoutSecrets(problem);
  const parts: string[] = [];
  if (at?.file !== undefined) parts.push(describePlace(at));
  const resource = at === undefined ? '' : describeResource(at);
  if (resource !== '') parts.push(resource);
  if (field !== undefined && field !== '') parts.push(field);
  parts.push(value === undefined ? message : `${message}, got ${value}`);
  return parts.join(': ');
}

function withoutSecrets({ field = '', message, value }: ConfigProblem): Pick<ConfigProblem, 'message' | 'value'> {
  if (value?.startsWith('"') !== true || !mayHoldSecret(field)) {
    return { message: hidden(message), ...(value === undefined ? {} : { value: hidden(value) }) };
  }
  // Messages about expressions repeat them, between these.
  return { message: hidden(message.replace(/`[^`]*`/g, redacted)), value: redacted };
}

/** Values of headers that are set, keys, and what stands under the name of a secret. */
function mayHoldSecret(field: string): boolean {
  if (/(^|\.)(headers\.(request|response)\.(set|add)\.|jwks$)/.test(field)) return true;
  if (/(headers|initialMetadata|InCheck)(\[\d+\]\.value|\.[^.]+)$/i.test(field) && !/\.(name|envName)$/.test(field)) {
    return !/(^|\.)match\[/.test(field);
  }
  const compared = /(?:^|\.)(?:withoutHeaders|headers)\.([^.]+)\.(?:exact|prefix|regex)$/.exec(field)?.[1];
  return isSecretName(compared ?? field.slice(field.lastIndexOf('.') + 1));
}

/** Without what stands before the `@` and behind the `?` of a URL, keys and tokens. */
const hidden = (text: string): string =>
  redactText(
    text
      .replace(/((?<![a-z0-9+.-])[a-z0-9+.-]+:\/\/)[^\s/?#@"]*@/gi, '$1')
      .replace(/((?<![a-z0-9+.-])[a-z0-9+.-]+:\/\/[^\s?"]*)\?[^\s"]*/gi, `$1?${redacted}`),
  );

/** `mesh/reviews.yaml:12:7`. */
export function describePlace(at: Provenance): string {
  return `${at.file ?? '<text>'}:${at.line ?? 1}:${at.column ?? 1}`;
}

/** `VirtualService bookinfo/reviews`, as much of it as is known. */
export function describeResource(at: Provenance): string {
  const name = at.name === '' ? '' : at.namespace === '' ? at.name : `${at.namespace}/${at.name}`;
  return `${at.kind} ${name}`.trim();
}
