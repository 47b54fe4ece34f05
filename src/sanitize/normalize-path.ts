import { hexValue } from '../lib/hex.ts';
import type { PathNormalization } from '../model/inbound.ts';

export type { PathNormalization };

const slash = 0x2f;
const backslash = 0x5c;
const percent = 0x25;
const dot = 0x2e;

/**
 * The canonical form of a path without query. Order as in Envoy: encoded slashes (only
 * `DECODE_AND_MERGE_SLASHES`), unreserved characters, `\` to `/`, dot segments, doubled slashes.
 * Decoded once and never twice; linear in the length.
 *
 * @returns nothing when the path contains an encoded NUL, which is refused in every mode
 */
export function normalizePath(path: string, mode: PathNormalization = 'BASE'): string | undefined {
  if (isCanonical(path)) return path;
  if (path.includes('%00')) return undefined;
  if (mode === 'NONE') return path;
  let result = decodeEscapes(path, mode === 'DECODE_AND_MERGE_SLASHES');
  if (result.includes('\\')) result = result.replaceAll('\\', '/');
  if (result.includes('/.')) result = removeDotSegments(result);
  return mode === 'BASE' ? result : mergeSlashes(result);
}

/** True when no mode would change the path: the usual case, decided without an allocation. */
export function isCanonical(path: string): boolean {
  let before = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === percent || code === backslash) return false;
    if (before === slash && (code === dot || code === slash)) return false;
    before = code;
  }
  return true;
}

/** `/a//b` becomes `/a/b`. */
export function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path;
  let result = '';
  let from = 0;
  for (let i = 1; i <= path.length; i++) {
    const repeated = i < path.length && path.charCodeAt(i) === slash && path.charCodeAt(i - 1) === slash;
    if (!repeated && i < path.length) continue;
    result += path.slice(from, i);
    from = i + 1;
  }
  return result;
}

/** The byte that the escape at `index` stands for, or -1 when there is no whole escape. */
export function escapedByte(path: string, index: number): number {
  const high = hexValue(path.charCodeAt(index + 1));
  const low = hexValue(path.charCodeAt(index + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** A `%` that two hexadecimal digits do not follow. */
export function hasBrokenEscape(path: string): boolean {
  for (let i = path.indexOf('%'); i !== -1; i = path.indexOf('%', i + 1)) {
    if (escapedByte(path, i) < 0) return true;
  }
  return false;
}

function decodeEscapes(path: string, slashes: boolean): string {
  if (!path.includes('%')) return path;
  let result = '';
  let from = 0;
  for (let i = path.indexOf('%'); i !== -1; i = path.indexOf('%', i + 1)) {
    const byte = escapedByte(path, i);
    if (byte < 0 || !(isUnreserved(byte) || (slashes && (byte === slash || byte === backslash)))) continue;
    result += path.slice(from, i) + String.fromCharCode(byte);
    from = i + 3;
    i += 2;
  }
  return result + path.slice(from);
}

// RFC 3986 section 2.3.
function isUnreserved(byte: number): boolean {
  const letter = byte | 0x20;
  if (letter >= 0x61 && letter <= 0x7a) return true;
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === dot || byte === 0x5f || byte === 0x7e;
}

/** RFC 3986 section 5.2.4: `.` and `..` segments; an empty segment is a segment like any other. */
function removeDotSegments(path: string): string {
  const segments: string[] = [];
  const parts = path.slice(1).split('/');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string;
    const last = i === parts.length - 1;
    if (part === '..') segments.pop();
    if (part !== '.' && part !== '..') segments.push(part);
    else if (last) segments.push('');
  }
  return `/${segments.join('/')}`;
}
