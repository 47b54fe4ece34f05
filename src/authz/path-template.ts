import type { PathMatcher } from './path-match.ts';
import { foldPath, patternForms } from './path-views.ts';

/** A template taken apart at its slashes; what stands before and behind `{**}`, if there is one. */
interface Template {
  readonly head: readonly Segment[];
  /** Absent: no `{**}`. */
  readonly tail: readonly Segment[] | undefined;
}

/** A text, or `{*}`. */
type Segment = string | undefined;

/**
 * Compiles path templates (Envoy `uri_template`), asked in the two directions that policies need; see
 * {@link PathMatcher}. `{*}` is one segment of at least one character, `{**}` everything from its
 * slash on: `/files/{**}` matches `/files/` and `/files/a/b`, but not `/files`. What they stand for has
 * neither `[` nor `]`, as far as something is to be allowed; such characters are no way around a
 * refusal, nor is an empty segment, which is a parameter for Fastify.
 */
export function compileTemplates(templates: readonly string[], literal: boolean): PathMatcher {
  const patterns = templates.map((text) => ({
    exactly: parseTemplate(text),
    loosely: literal ? [] : patternForms(text).map((form) => parseTemplate(foldPath(form))),
  }));
  return {
    surely(path, views) {
      for (const { exactly, loosely } of patterns) {
        if ((views === 'doubt' && !literal) || !matchesTemplate(exactly, path, 'exact')) continue;
        if (
          literal ||
          views === 'plain' ||
          views === 'doubt' ||
          views.canonical.every((view) => matchesAny(loosely, view, 'view'))
        )
          return true;
      }
      return false;
    },
    possibly(path, views) {
      for (const { exactly, loosely } of patterns) {
        if (matchesTemplate(exactly, path, 'exact')) return true;
        if (literal) continue;
        if (views === 'doubt') return true;
        if (views === 'plain') {
          if (matchesAny(loosely, path, 'doubt')) return true;
          continue;
        }
        const isView = (view: string): boolean => matchesAny(loosely, view, 'doubt');
        if (views.canonical.some(isView) || views.suspect.some(isView)) return true;
      }
      return false;
    },
  };
}

/**
 * `exact`: as in Istio. `view`: what is matched is folded, so that its final slash is gone, and made of
 * any characters. `doubt`: a view, in which `{*}` may stand for nothing.
 */
type Reading = 'exact' | 'view' | 'doubt';

function matchesAny(templates: readonly Template[], view: string, reading: Reading): boolean {
  for (const template of templates) if (matchesTemplate(template, view, reading)) return true;
  return false;
}

function parseTemplate(text: string): Template {
  const segments = text.split('/').slice(1);
  const rest = segments.indexOf('{**}');
  const read = (part: readonly string[]): readonly Segment[] =>
    part.map((segment) => (segment === '{*}' ? undefined : segment));
  if (rest === -1) return { head: read(segments), tail: undefined };
  return { head: read(segments.slice(0, rest)), tail: read(segments.slice(rest + 1)) };
}

function matchesTemplate({ head, tail }: Template, path: string, reading: Reading): boolean {
  let at = 0;
  for (const segment of head) {
    if (path.charCodeAt(at) !== slash) return false;
    const next = path.indexOf('/', at + 1);
    const end = next === -1 ? path.length : next;
    if (!matchesSegment(segment, path, at + 1, end, reading)) return false;
    at = end;
  }
  if (tail === undefined) return at === path.length;
  // The view `/files` stands for `/files/` too.
  if (reading !== 'exact' && tail.length === 0 && at === path.length) return true;
  if (path.charCodeAt(at) !== slash) return false;
  let end = path.length;
  for (let i = tail.length - 1; i >= 0; i--) {
    const before = path.lastIndexOf('/', end - 1);
    // The rest has a slash of its own.
    if (before <= at || !matchesSegment(tail[i], path, before + 1, end, reading)) return false;
    end = before;
  }
  return reading !== 'exact' || isMadeOfPathCharacters(path, at, end);
}

function matchesSegment(segment: Segment, path: string, from: number, to: number, reading: Reading): boolean {
  if (segment !== undefined) return segment.length === to - from && path.startsWith(segment, from);
  if (reading === 'doubt') return true;
  return to > from && (reading === 'view' || isMadeOfPathCharacters(path, from, to));
}

const slash = 0x2f;

function isMadeOfPathCharacters(path: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const code = path.charCodeAt(i);
    if (code > 0x7e || pathCharacters[code] !== 1) return false;
  }
  return true;
}

/** What Envoy's templates match after its normalisation: visible characters, but for brackets. */
const pathCharacters = new Uint8Array(128).fill(1, 0x21, 0x7f);
pathCharacters[0x5b] = 0;
pathCharacters[0x5d] = 0;
