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
  return (text) => text.length <= maxSubjectLength && compiled.testExact(text);
}
