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
  /** More that only a refusal has to look at: `;` parameters taken out before dots were resolved. */
  readonly suspect: readonly string[];
}

/** `plain`: the path itself is its only view. */
export type PathReading = PathViews | 'plain';

/** All views of one request. A plain path, the usual case, costs one look at each character. */
export function pathViews(path: string, rawPath: string): PathReading {
  if (isPlain(path) && (rawPath === path || !rawPath.includes(';'))) return 'plain';
  const canonical = new Set<string>([foldPath(path)]);
  addForms(canonical, path);
  if (path.includes('%')) addForms(canonical, decodePath(path));
  const suspect = new Set<string>();
  if (rawPath.includes(';')) {
    for (const text of [cutAtSemicolon(rawPath), withoutParameters(rawPath)]) addForms(suspect, resolveDots(text));
  }
  return { canonical: [...canonical], suspect: [...suspect] };
}

/** What readers make of a path that they do not decode (any more). */
function addForms(views: Set<string>, text: string): void {
  views.add(foldPath(text));
  const slashed = text.includes('\\') ? text.replaceAll('\\', '/') : text;
  // `new URL(request.url, base)`
  views.add(foldPath(resolveDots(withoutAuthority(slashed))));
  const merged = mergeSlashes(slashed);
  // routers that are told to merge; file servers
  views.add(foldPath(merged));
  views.add(foldPath(resolveDots(merged)));
  if (!text.includes(';')) return;
  views.add(foldPath(resolveDots(cutAtSemicolon(merged))));
  // What is left of a segment may be nothing.
  views.add(foldPath(resolveDots(mergeSlashes(withoutParameters(merged)))));
}

/** The forms of a pattern from configuration that views are compared with; nearly always one. */
export function patternForms(pattern: string): readonly string[] {
  const decoded = decodePath(pattern);
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

/** Every escape decoded once, as UTF-8, and `\` read as `/`. */
function decodePath(path: string): string {
  if (!path.includes('%')) return path;
  const bytes = Buffer.alloc(path.length * 3);
  let length = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    const high = code === 0x25 ? hexValue(path.charCodeAt(i + 1)) : -1;
    const low = high < 0 ? -1 : hexValue(path.charCodeAt(i + 2));
    if (low < 0) {
      length += bytes.write(path.charAt(i), length, code > 0x7f ? 'utf8' : 'latin1');
    } else {
      bytes[length++] = high * 16 + low;
      i += 2;
    }
  }
  return bytes.toString('utf8', 0, length).replaceAll('\\', '/');
}

function mergeSlashes(path: string): string {
  let result = path;
  // Halves every run, so that even a path of slashes only takes a dozen rounds.
  while (result.includes('//')) result = result.replaceAll('//', '/');
  return result;
}

function cutAtSemicolon(path: string): string {
  const at = path.indexOf(';');
  return at === -1 ? path : path.slice(0, at);
}

/** `/a;x=1/b` is `/a/b` for Java-like routers. */
function withoutParameters(path: string): string {
  if (!path.includes(';')) return path;
  return path.split('/').map(cutAtSemicolon).join('/');
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
  if (!path.includes('/.')) return path;
  const segments: string[] = [];
  for (const part of path.split('/').slice(1)) {
    if (part === '..') segments.pop();
    else if (part !== '.') segments.push(part);
  }
  return `/${segments.join('/')}`;
}
