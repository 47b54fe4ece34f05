import { maxSubjectLength } from '../lib/regex.ts';
import { compileStringMatch, type StringMatch, type StringPredicate } from '../model/string-match.ts';
import { foldPath, type PathReading, patternForms } from './path-views.ts';

/** A list of path patterns, asked in the two directions that policies need. */
export interface PathMatcher {
  /** The canonical path matches, and so does every view of it: safe to allow. */
  surely(path: string, views: PathReading): boolean;
  /** The canonical path matches, or any view of it does: reason enough to refuse. */
  possibly(path: string, views: PathReading): boolean;
}

/**
 * Compiles a list of path patterns. With `literal` only the canonical path counts, exactly as in
 * Istio; without, a request is allowed only if nothing that a router could read into it is outside
 * of the patterns, and refused if anything is inside.
 */
export function compilePaths(matches: readonly StringMatch[], literal: boolean): PathMatcher {
  const patterns = matches.map((match) => ({
    exactly: compileStringMatch(match),
    loosely: looseMatch(match),
    anything: match.kind === 'present',
  }));
  if (literal) {
    const surely = (path: string): boolean => patterns.some(({ exactly }) => exactly(path));
    const regex = matches.some(({ kind }) => kind === 'regex');
    return { surely, possibly: (path) => surely(path) || (regex && path.length > maxSubjectLength) };
  }
  return {
    surely(path, views) {
      for (const { exactly, loosely, anything } of patterns) {
        if (anything) return true;
        // What matches as it stands also matches folded: a plain path needs no second look.
        if (views !== 'doubt' && exactly(path) && (views === 'plain' || views.canonical.every(loosely))) return true;
      }
      return false;
    },
    possibly(path, views) {
      for (const { exactly, loosely } of patterns) {
        if (views === 'doubt' || exactly(path)) return true;
        if (views === 'plain' ? loosely(path) : views.canonical.some(loosely) || views.suspect.some(loosely))
          return true;
      }
      return false;
    },
  };
}

/** Compares a view, which is folded, with the pattern in every form that a router could take it for. */
function looseMatch(match: StringMatch): StringPredicate {
  if (match.kind === 'present') return () => true;
  if (match.kind === 'regex') {
    const matches = compileStringMatch(match);
    const folded = compileStringMatch({ kind: 'regex', value: `(?i)${match.value}` });
    // A path too long for the matcher is in doubt.
    return (view) => view.length >= maxSubjectLength || matches(view) || folded(view) || folded(`${view}/`);
  }
  const forms = patternForms(match.value);
  const predicates = forms.map((form) => looseForm(match.kind, form));
  const [only] = predicates;
  return predicates.length === 1 && only !== undefined ? only : (view) => predicates.some((matches) => matches(view));
}

function looseForm(kind: 'exact' | 'prefix' | 'suffix', form: string): StringPredicate {
  switch (kind) {
    case 'exact': {
      const folded = foldPath(form);
      return (view) => view === folded;
    }
    case 'prefix': {
      // A view has lost its final slash: `/admin` stands for `/admin/` too, which `/admin/*` is about.
      const folder = form.length > 1 && form.endsWith('/') ? form.slice(0, -1) : undefined;
      return (view) => view.startsWith(form) || view === folder;
    }
    case 'suffix': {
      const slashed = form.endsWith('/');
      return (view) => view.endsWith(form) || (slashed && `${view}/`.endsWith(form));
    }
  }
}
