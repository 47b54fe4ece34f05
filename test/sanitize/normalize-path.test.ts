import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  hasBrokenEscape,
  isCanonical,
  mergeSlashes,
  normalizePath,
  type PathNormalization,
} from '../../src/sanitize/normalize-path.ts';
import { parseTarget } from '../../src/sanitize/target.ts';

interface Vectors {
  readonly modes: readonly PathNormalization[];
  readonly vectors: readonly (Readonly<Record<PathNormalization, string>> & { readonly target: string })[];
}

const fixture = new URL('../fixtures/path-vectors.json', import.meta.url);
const { modes, vectors } = JSON.parse(readFileSync(fixture, 'utf8')) as Vectors;

function normalizeTarget(target: string, mode: PathNormalization): string {
  const parts = parseTarget(target, 'GET');
  if (typeof parts === 'string') return '400';
  const path = normalizePath(parts.path, mode);
  return path === undefined ? '400' : path + parts.query;
}

for (const mode of modes) {
  t.test(`mode ${mode} brings every vector to the form that Istio documents`, async (t) => {
    for (const vector of vectors) t.equal(normalizeTarget(vector.target, mode), vector[mode], vector.target);
  });

  t.test(`mode ${mode} decodes each of 255 escapes as far as it should and no further`, async (t) => {
    for (let byte = 1; byte < 256; byte++) {
      const escaped = `%${byte.toString(16).padStart(2, '0')}`;
      const character = String.fromCharCode(byte);
      const isSlash = character === '/' || character === '\\';
      const decoded =
        mode !== 'NONE' && (/[A-Za-z0-9\-._~]/.test(character) || (isSlash && mode === 'DECODE_AND_MERGE_SLASHES'));
      // After a letter, so that a decoded dot is no dot segment and a decoded slash no doubled one.
      const expected = !decoded ? `/x${escaped}y` : isSlash ? '/x/y' : `/x${character}y`;
      t.equal(normalizePath(`/x${escaped}y`, mode), expected, escaped);
    }
  });
}

t.test('a canonical path stays the very same text', async (t) => {
  for (const path of ['/', '/a', '/a/b.c', '/a/..b', '/a/b/', '/a;b=c,d']) {
    t.equal(isCanonical(path), !path.includes('/.'), path);
    t.equal(normalizePath(path), path, path);
  }
});

t.test('a second pass changes nothing that the first has not refused', async (t) => {
  const tokens = ['/', '.', '..', '%2e', '%2f', '%5c', '\\', 'a', '%25', '%61', '//', ';'];
  const changed: string[] = [];
  for (const a of tokens)
    for (const b of tokens)
      for (const c of tokens) {
        const once = normalizePath(`/${a}${b}${c}`, 'BASE') as string;
        if (normalizePath(once, 'BASE') !== once) changed.push(`/${a}${b}${c}`);
      }
  t.same(changed, []);
});

t.test('thousands of dot segments take no time', async (t) => {
  t.equal(normalizePath(`${'/..'.repeat(4_000)}/admin`), '/admin');
  t.equal(mergeSlashes('/'.repeat(16_000)), '/');
});

t.test('an escape without two hexadecimal digits is seen wherever it stands', async (t) => {
  for (const path of ['/a%', '/a%2', '/a%zz', '/%g0', '/%41%4']) t.equal(hasBrokenEscape(path), true, path);
  for (const path of ['/a', '/%41', '/%ff%00']) t.equal(hasBrokenEscape(path), false, path);
});
