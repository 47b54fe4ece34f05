import { RE2JS } from 're2js';
import { MeshError } from '../errors.ts';

/** Longest pattern accepted from configuration, in characters. */
export const maxPatternLength = 1_024;
/** Longest text matched, in characters; a longer one does not match. */
export const maxSubjectLength = 8_192;

/**
 * Compiles a pattern from configuration (RE2 syntax, full match, as Envoy does it). Linear time:
 * JavaScript's `RegExp` backtracks, and a pattern from YAML must not be able to stop the process.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` when the pattern is too long or not RE2.
 */
export function compileRegex(pattern: string): (text: string) => boolean {
  const compiled = compilePattern(pattern);
  return (text) => text.length <= maxSubjectLength && compiled.testExact(text);
}

/**
 * Compiles a replacement of every match in a text, as RE2's `GlobalReplace` does it: `\1` to `\9` in
 * `substitution` stand for groups, `\0` for the whole match, `\\` for a backslash. A text longer than
 * {@link maxSubjectLength} stays as it is.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for a pattern that is too long or not RE2, and for a
 * substitution with another escape or with a group that the pattern does not have.
 */
export function compileReplacement(pattern: string, substitution: string): (text: string) => string {
  const compiled = compilePattern(pattern);
  const parts = parseSubstitution(substitution, compiled.groupCount());
  return (text) => {
    if (text.length > maxSubjectLength) return text;
    const matcher = compiled.matcher(text);
    let result = '';
    let at = 0;
    let lastEnd = -1;
    while (at <= text.length && matcher.find(at)) {
      const start = matcher.start();
      result += text.slice(at, start);
      if (start === matcher.end() && start === lastEnd) {
        // No empty match right behind the last match; the next character stays as it is.
        const step = (text.codePointAt(start) ?? 0) > 0xffff ? 2 : 1;
        result += text.slice(start, start + step);
        at = start + step;
        continue;
      }
      for (const part of parts) result += typeof part === 'string' ? part : (matcher.group(part) ?? '');
      at = lastEnd = matcher.end();
    }
    return result + text.slice(at);
  };
}

function parseSubstitution(substitution: string, groups: number): readonly (string | number)[] {
  const parts: (string | number)[] = [];
  let text = '';
  for (let i = 0; i < substitution.length; i++) {
    const character = substitution[i] as string;
    if (character !== '\\') {
      text += character;
      continue;
    }
    const escaped = substitution[++i] ?? '';
    if (escaped === '\\') {
      text += '\\';
      continue;
    }
    const group = /^\d$/.test(escaped) ? Number(escaped) : -1;
    if (group === -1) {
      throw new MeshError('ERR_MESH_CONFIG_INVALID', 'a backslash in a substitution needs a digit or a backslash');
    }
    if (group > groups) {
      throw new MeshError('ERR_MESH_CONFIG_INVALID', `\\${group} stands for a group, and the pattern has ${groups}`);
    }
    if (text !== '') parts.push(text);
    text = '';
    parts.push(group);
  }
  if (text !== '') parts.push(text);
  return parts;
}

function compilePattern(pattern: string): RE2JS {
  if (pattern.length > maxPatternLength) {
    throw new MeshError('ERR_MESH_CONFIG_INVALID', `pattern is longer than ${maxPatternLength} characters`);
  }
  try {
    return RE2JS.compile(pattern);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_MESH_CONFIG_INVALID', `not a valid RE2 pattern: ${reason}`, { cause });
  }
}

/** Is this a pattern in RE2 syntax? Its length is not looked at. */
export function isRegex(pattern: string): boolean {
  try {
    RE2JS.compile(pattern);
    return true;
  } catch {
    return false;
  }
}
