import type { PathPattern } from '../model/authorization.ts';
import { foldPath, patternForms } from './path-views.ts';

/** Texts and beginnings of which a path must have one, or the patterns cannot match. */
export interface PathKeys {
  readonly exact: readonly string[];
  readonly prefixes: readonly string[];
}

/**
 * What an index looks patterns up by; nothing when they are not that simple. Goes with `compilePaths`
 * and `compileTemplates`: whatever those match in a reading must be found here. With `doubtMatches` the canonical path and all
 * of its views are looked up, and the keys are the pattern in every form that those are compared with;
 * without it the canonical path alone, as it is written.
 */
export function pathKeys(matches: readonly PathPattern[], doubtMatches: boolean): PathKeys | undefined {
  const exact = new Set<string>();
  const prefixes = new Set<string>();
  for (const match of matches) {
    if (match.kind === 'template') {
      addTemplate(match.value, doubtMatches, exact, prefixes);
      continue;
    }
    if (match.kind !== 'exact' && match.kind !== 'prefix') return undefined;
    const set = match.kind === 'exact' ? exact : prefixes;
    set.add(match.value);
    if (!doubtMatches) continue;
    for (const form of patternForms(match.value)) {
      if (match.kind === 'exact') exact.add(foldPath(form));
      else {
        prefixes.add(form);
        // `/admin/*` is about `/admin`, too, where that is a view that has lost its final slash.
        if (form.length > 1 && form.endsWith('/')) exact.add(form.slice(0, -1));
      }
    }
  }
  return { exact: [...exact], prefixes: [...prefixes] };
}

/** What stands before the first operator. */
function addTemplate(template: string, doubtMatches: boolean, exact: Set<string>, prefixes: Set<string>): void {
  prefixes.add(template.slice(0, template.indexOf('{')));
  if (!doubtMatches) return;
  for (const form of patternForms(template)) {
    const at = form.indexOf('{');
    if (at === -1) exact.add(foldPath(form));
    else {
      prefixes.add(form.slice(0, at));
      // `/files/{**}` is about `/files`, too.
      if (at > 1) exact.add(form.slice(0, at - 1));
    }
  }
}
