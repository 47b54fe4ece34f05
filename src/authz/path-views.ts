import { hexValue } from '../lib/hex.ts';

/**
 * The paths that a router could act on, beside the canonical one: Express folds letter case and a
 * final slash, Fastify decodes, others cut at `;`, merge slashes, or read `//a/b` as host and
 * path. A policy that looks at one of them only is passed by asking for another (CVE-2021-39156,
 * CVE-2026-22037 and their kind). All are lower case and without a final slash.
 */
export interface PathViews {
  /** What a router could make of the canonical path. The first is that path itself. */
  readonly canonical: readonly string[];
  /**
   * More that only a refusal has to look at: `;` parameters taken out before dots were resolved, and
   * views with the final slash that they had, behind which a router sees an empty parameter.
   */
  readonly suspect: readonly string[];
}

/** `plain`: the path itself is its only view. `doubt`: too long, or too contorted, to be viewed; it could be any path. */
export type PathReading = PathViews | 'plain' | 'doubt';

/**
 * Longest path of which views are made, in characters, and how many forms of it there may be on the
 * way: who asks must not cost a hundred times what asking costs.
 */
export const maxViewedLength = 2_048;
const maxForms = 24;

/** All views of one request. A plain path, the usual case, costs one look at each character. */
export function pathViews(path: string, rawPath: string): PathReading {
  const parameters = rawPath !== path && rawPath.includes(';');
  if (!parameters && isPlain(path)) return 'plain';
  if (path.length > maxViewedLength || (parameters && rawPath.length > maxViewedLength)) return 'doubt';
  const canonical = new Set<string>();
  const suspect = new Set<string>();
  let viewed = addViews(canonical, suspect, path);
  if (parameters) {
    viewed &&= addViews(suspect, suspect, cutAtSemicolon(rawPath));
    viewed &&= addViews(suspect, suspect, withoutParameters(rawPath));
  }
  return viewed ? { canonical: [...canonical], suspect: [...suspect] } : 'doubt';
}

/**
 * Readers decode before they cut, merge and resolve, or after it, or not at all; none does so twice.
 *
 * @returns false when there are too many
 */
function addViews(to: Set<string>, suspect: Set<string>, path: string): boolean {
  const forms = new Set([path]);
  if (!addForms(forms)) return false;
  const decoded = new Set<string>();
  for (const form of forms) {
    addFolded(to, suspect, form);
    if (form.includes('%')) decoded.add(decodePath(form));
  }
  if (!addForms(decoded)) return false;
  for (const form of decoded) addFolded(to, suspect, form);
  return true;
}

function addFolded(to: Set<string>, suspect: Set<string>, form: string): void {
  const folded = foldPath(form);
  to.add(folded);
  if (form.length > folded.length) suspect.add(`${folded}/`);
}

/**
 * Whatever routers, file servers and `new URL` make of these without decoding, one step after the other
 * in any order.
 *
 * @returns false when there are too many
 */
function addForms(forms: Set<string>): boolean {
  // What is added on the way is come to, too.
  for (const form of forms) {
    for (const step of steps) forms.add(step(form));
    if (forms.size > maxForms) return false;
  }
  return true;
}

/** The forms of a pattern from configuration that views are compared with; nearly always one. */
export function patternForms(pattern: string): readonly string[] {
  const decoded = withSlashes(decodePath(pattern));
  const forms = [pattern, decoded, mergeSlashes(decoded), cutAtSemicolon(decoded), withoutParameters(decoded)];
  return [...new Set(forms.map((form) => form.toLowerCase()))];
}

/** Lower case, without final slashes; the root stays. */
export function foldPath(path: string): string {
  let end = path.length;
  while (end > 1 && path.charCodeAt(end - 1) === 0x2f) end--;
  return path.slice(0, end).toLowerCase();
}

/** Nothing in it that any router folds, decodes, cuts, merges or resolves. */
function isPlain(path: string): boolean {
  let before = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    // `%`, `;`, `\`, upper case, beyond ASCII
    if (code === 0x25 || code === 0x3b || code === 0x5c || (code >= 0x41 && code <= 0x5a) || code > 0x7e) return false;
    // Doubled slash; a segment that begins with a dot may be a dot segment.
    if (before === 0x2f && (code === 0x2f || code === 0x2e)) return false;
    before = code;
  }
  return before !== 0x2f || path.length === 1;
}

/** Every escape decoded once, as UTF-8. */
function decodePath(path: string): string {
  if (!path.includes('%')) return path;
  const bytes = Buffer.from(path);
  let to = 0;
  for (let from = 0; from < bytes.length; from++) {
    const byte = bytes[from] as number;
    const high = byte === 0x25 ? hexValue(bytes[from + 1] ?? 0) : -1;
    const low = high < 0 ? -1 : hexValue(bytes[from + 2] ?? 0);
    if (low < 0) bytes[to++] = byte;
    else {
      bytes[to++] = high * 16 + low;
      from += 2;
    }
  }
  return bytes.toString('utf8', 0, to);
}

function withSlashes(path: string): string {
  return path.includes('\\') ? path.replaceAll('\\', '/') : path;
}

/** `new URL` takes `%2e` for a dot and decodes nothing else. */
function withDots(path: string): string {
  return path.includes('%2') ? path.replaceAll('%2e', '.').replaceAll('%2E', '.') : path;
}

function mergeSlashes(path: string): string {
  let at = path.indexOf('//');
  if (at === -1) return path;
  let result = '';
  let from = 0;
  while (at !== -1) {
    result += path.slice(from, at);
    from = at + 1;
    while (path.charCodeAt(from + 1) === 0x2f) from++;
    at = path.indexOf('//', from + 1);
  }
  return result + path.slice(from);
}

function cutAtSemicolon(path: string): string {
  const at = path.indexOf(';');
  return at === -1 ? path : path.slice(0, at);
}

/** `/a;x=1/b` is `/a/b` for Java-like routers. */
function withoutParameters(path: string): string {
  let at = path.indexOf(';');
  if (at === -1) return path;
  let result = '';
  let from = 0;
  while (at !== -1) {
    result += path.slice(from, at);
    from = path.indexOf('/', at);
    if (from === -1) return result;
    at = path.indexOf(';', from);
  }
  return result + path.slice(from);
}

/** `//evil.example/admin` is `/admin` for `new URL(request.url, base)`, however many slashes it begins with. */
function withoutAuthority(path: string): string {
  if (!path.startsWith('//')) return path;
  let from = 2;
  while (path.charCodeAt(from) === 0x2f) from++;
  const at = path.indexOf('/', from);
  return at === -1 ? '/' : path.slice(at);
}

function resolveDots(path: string): string {
  if (!hasDotSegment(path)) return path;
  const segments: string[] = [];
  for (const part of path.split('/').slice(1)) {
    if (part === '..') segments.pop();
    else if (part !== '.') segments.push(part);
  }
  return `/${segments.join('/')}`;
}

function hasDotSegment(path: string): boolean {
  for (let i = path.indexOf('/.'); i !== -1; i = path.indexOf('/.', i + 2)) {
    const after = path.charCodeAt(i + 2) === 0x2e ? i + 3 : i + 2;
    if (after === path.length || path.charCodeAt(after) === 0x2f) return true;
  }
  return false;
}

const steps = [
  withSlashes,
  withDots,
  mergeSlashes,
  resolveDots,
  withoutAuthority,
  cutAtSemicolon,
  withoutParameters,
] as const;
