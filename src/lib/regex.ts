import { RE2JS } from 're2js';
import { MeshError } from '../errors.ts';

/** Longest pattern accepted from configuration, in characters. */
export const maxPatternLength = 1_024;
/** Longest text matched, in characters; a longer one does not match. */
export const maxSubjectLength = 8_192;
/** Most instructions that a pattern may compile to: `(a{0,30}){0,30}` is short, and still a thousand. */
export const maxProgramSize = 1_000;
/**
 * Instructions times characters that one match may take. Linear time still multiplies the two: with this
 * bound the worst pattern and text found take less than 10 ms.
 */
export const maxRegexWork = 150_000;
/**
 * What one pattern may remember of texts seen, in bytes (of 8 MiB that RE2 allows itself): who sends the
 * texts must not be able to fill more, and filling costs more time than matching.
 */
const maxRememberedBytes = 65_536;

/**
 * Compiles a pattern from configuration (RE2 syntax, full match, as Envoy does it). Linear time:
 * JavaScript's `RegExp` backtracks, and a pattern from YAML must not be able to stop the process.
 *
 * A text longer than {@link subjectLimit} does not match.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` when the pattern is too long, too wide or not RE2.
 */
export function compileRegex(pattern: string): (text: string) => boolean {
  const compiled = compilePattern(pattern);
  if (isLiteral(pattern)) return (text) => text === pattern;
  const limit = limitOf(compiled);
  return (text) => text.length <= limit && compiled.testExact(text);
}

/**
 * Longest text, in characters, that this pattern is matched with: {@link maxSubjectLength}, and less for one that
 * compiles to more than 18 instructions ({@link maxRegexWork} divided by their number).
 *
 * @throws MeshError as {@link compileRegex}.
 */
export function subjectLimit(pattern: string): number {
  const compiled = compilePattern(pattern);
  return isLiteral(pattern) ? maxSubjectLength : limitOf(compiled);
}

function limitOf(compiled: RE2JS): number {
  return Math.min(maxSubjectLength, Math.floor(maxRegexWork / compiled.programSize()));
}

/** Nothing in it means anything but itself. */
function isLiteral(pattern: string): boolean {
  return !/[\\^$.|?*+()[\]{}]/.test(pattern);
}

/**
 * Compiles a replacement of every match in a text, as RE2's `GlobalReplace` does it: `\1` to `\9` in
 * `substitution` stand for groups, `\0` for the whole match, `\\` for a backslash. A text longer than
 * half of {@link subjectLimit} (of a pattern with 9 instructions and fewer: {@link maxSubjectLength}), or with so many
 * matches that they could take more than {@link maxRegexWork}, stays as it is.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for a pattern that is too long or not RE2, and for a
 * substitution with another escape or with a group that the pattern does not have.
 */
export function compileReplacement(pattern: string, substitution: string): (text: string) => string {
  const compiled = compilePattern(pattern);
  const parts = parseSubstitution(substitution, compiled.groupCount());
  const size = compiled.programSize();
  // Half of it: a text with one match is searched twice.
  const limit = Math.min(maxSubjectLength, Math.floor(maxRegexWork / 2 / size));
  return (text) => {
    if (text.length > limit) return text;
    const matcher = compiled.matcher(text);
    let result = '';
    let at = 0;
    let lastEnd = -1;
    let work = 0;
    while (at <= text.length) {
      // Looking for the next match may read all that is left, each time.
      work += (text.length - at) * size;
      if (work > maxRegexWork) return text;
      if (!matcher.find(at)) break;
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
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_MESH_CONFIG_INVALID', `not a valid RE2 pattern: ${reason}`, { cause });
  }
  const size = compiled.programSize();
  if (size > maxProgramSize && !isLiteral(pattern)) {
    const what = `pattern compiles to ${size} instructions, at most ${maxProgramSize} are allowed`;
    throw new MeshError('ERR_MESH_CONFIG_INVALID', what);
  }
  const { dfa } = compiled.re2();
  dfa.stateBudget = dfa.memBudget = Math.min(dfa.memBudget, maxRememberedBytes);
  return compiled;
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
