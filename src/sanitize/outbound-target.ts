import type { PathNormalization } from '../model/inbound.ts';
import { normalizePath } from './normalize-path.ts';

const slash = 0x2f;
const backslash = 0x5c;
const percent = 0x25;
const dot = 0x2e;
const questionMark = 0x3f;
const hash = 0x23;

/**
 * The target of a call with its path in canonical form, as a sidecar brings it there before it looks for a route
 * (Istio `pathNormalization`). Whatever follows the path stays, and so does a target that is none.
 *
 * @returns nothing when the path contains an encoded NUL
 */
export function canonicalTarget(target: string, mode: PathNormalization): string | undefined {
  if (mode === 'NONE') return target;
  let before = 0;
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    // The usual end: nothing to do, and nothing was made.
    if (code === questionMark || code === hash) return target;
    if (code === percent || code === backslash) return normalized(target, mode);
    if (before === slash && (code === dot || code === slash)) return normalized(target, mode);
    before = code;
  }
  return target;
}

function normalized(target: string, mode: PathNormalization): string | undefined {
  if (target.charCodeAt(0) !== slash) return target;
  const end = target.search(/[?#]/);
  const path = end === -1 ? target : target.slice(0, end);
  const canonical = normalizePath(path, mode);
  return canonical === undefined || canonical === path ? canonical && target : canonical + target.slice(path.length);
}
