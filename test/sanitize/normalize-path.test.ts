import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import {
  hasBrokenEscape,
  isCanonical,
  mergeSlashes,
  normalizePath,
  type PathNormalization,
} from '../../src/sanitize/normalize-path.ts';
import { isCanonicalTarget, parseTarget } from '../../src/sanitize/target.ts';

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

t.test('a target is taken as it is only if no mode would change anything about it', async (t) => {
  const part = fc.oneof(
    fc.constantFrom(
      '/',
      '//',
      '.',
      '..',
      '%41',
      '%',
      '?',
      '#',
      '\\',
      ';',
      ' ',
      '\t',
      '\x7f',
      '\xa0',
      'é',
      'a',
      'A',
      '~',
    ),
    fc.string({ maxLength: 2 }),
  );
  const targets = fc.array(part, { maxLength: 6 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.oneof(
        targets,
        targets.map((rest) => `/${rest}`),
      ),
      (target) => {
        if (!isCanonicalTarget(target)) return;
        const parts = parseTarget(target, 'GET');
        if (typeof parts === 'string') throw new Error(parts);
        if (parts.path !== target || hasBrokenEscape(target)) throw new Error(JSON.stringify(parts));
        for (const mode of modes) if (normalizePath(target, mode) !== target) throw new Error(mode);
      },
    ),
    { seed: 1, numRuns: 2_000 },
  );
  for (const target of ['/', '/a/b.c;d', "/a-_~!$&'()*+,=:@|{}"]) t.equal(isCanonicalTarget(target), true, target);
  for (const target of ['', '*', 'a', '/a?', '/a#', '/%41', '/a//b', '/.a', '/a\\b', '/é', '/a b'])
    t.equal(isCanonicalTarget(target), false, target);
});

t.test('targets hold visible ASCII and nothing else', async (t) => {
  for (let code = 0; code < 0x200; code++) {
    const visible = code > 0x20 && code < 0x7f;
    for (const target of [
      `/a${String.fromCharCode(code)}`,
      `/a?${String.fromCharCode(code)}`,
      `http://h/${String.fromCharCode(code)}`,
    ]) {
      t.equal(typeof parseTarget(target, 'GET') === 'object', visible, JSON.stringify(target));
    }
  }
});

t.test('thousands of dot segments take no time', async (t) => {
  t.equal(normalizePath(`${'/..'.repeat(4_000)}/admin`), '/admin');
  t.equal(mergeSlashes('/'.repeat(16_000)), '/');
});

t.test('an escape without two hexadecimal digits is seen wherever it stands', async (t) => {
  for (const path of ['/a%', '/a%2', '/a%zz', '/%g0', '/%41%4']) t.equal(hasBrokenEscape(path), true, path);
  for (const path of ['/a', '/%41', '/%ff%00']) t.equal(hasBrokenEscape(path), false, path);
});
