import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import t from 'tap';
import { filesOf, root, type SourceFile, sourceFiles } from './support/source-files.ts';

const sources = sourceFiles();
const core = sources.filter(({ path }) => path.startsWith('src/'));
const packages = sources.filter(({ path }) => path.startsWith('packages/'));

/** Which room may import which; its own files always. A room that is not named here is a feature. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  lib: ['errors'],
  model: ['errors', 'lib'],
  pipeline: ['errors', 'lib'],
  config: ['errors', 'lib', 'model'],
  identity: ['errors', 'lib', 'model'],
  transport: ['errors', 'lib', 'model', 'pipeline', 'identity'],
  host: ['errors', 'lib', 'pipeline'],
  runtime: ['errors', 'lib', 'model', 'feature'],
  explain: ['errors', 'lib', 'model', 'feature'],
  feature: ['errors', 'lib', 'model', 'pipeline'],
};

/** Packages from npm, and the only rooms (or files) of the core that know them, beside the wiring. */
const mayKnow: Readonly<Record<string, readonly string[]>> = {
  jose: ['src/jwt/'],
  opossum: ['src/breaker/circuit.ts'],
  re2js: ['src/lib/regex.ts'],
  yaml: ['src/config/'],
  undici: ['src/transport/', 'src/host/', 'src/runtime/endpoint.ts', 'src/pipeline/client-call.ts'],
};

/** These wire everything together, or publish it. */
const wiring = /^src\/([a-z-]+\.ts|exports\/.*)$/;

/** `src/retry/filter.ts` is in `retry`, `src/errors.ts` in `errors`. */
const roomOf = (path: string): string => path.split('/')[1]?.replace(/\.ts$/, '') ?? '';
const kindOf = (path: string): string => (roomOf(path) in mayImport ? roomOf(path) : 'feature');

function importsOf({ path, code }: SourceFile): readonly string[] {
  const statement =
    /(?:^|\n)(?:import|export)\s(?:[^'"=();]*?\sfrom\s)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
  const found = code.matchAll(statement);
  return [...found].map(([, a, b]) => a ?? b ?? '').map((to) => (to.startsWith('.') ? posix.join(path, '..', to) : to));
}

function whyForbidden(from: string, to: string): string | undefined {
  if (to.startsWith('node:')) return undefined;
  if (!to.startsWith('src/')) {
    const name = to.split('/')[0] ?? '';
    const known = wiring.test(from) || mayKnow[name]?.some((place) => from.startsWith(place));
    return known ? undefined : `${name} is not for this place`;
  }
  if (wiring.test(from) && from !== 'src/errors.ts') return undefined;
  if (roomOf(from) === roomOf(to)) return undefined;
  if (wiring.test(to) && to !== 'src/errors.ts') return 'only wiring may import wiring';
  if (!(mayImport[kindOf(from)] ?? []).includes(kindOf(to))) return `${kindOf(from)} may not import ${kindOf(to)}`;
  if (kindOf(to) === 'feature' && /filter\.ts$/.test(to)) return 'filters belong to the pipeline files';
  return undefined;
}

t.test('the core: rooms import only what the dependency rule allows', async (t) => {
  for (const file of core) {
    for (const to of importsOf(file)) t.equal(whyForbidden(file.path, to), undefined, `${file.path} → ${to}`);
  }
});

t.test('packages import published entry points, themselves and what they declare', async (t) => {
  for (const file of packages) {
    const folder = file.path.split('/').slice(0, 2).join('/');
    const manifest = JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8'));
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    for (const to of importsOf(file)) {
      const name = to
        .split('/')
        .slice(0, to.startsWith('@') ? 2 : 1)
        .join('/');
      const sibling = name.startsWith('@inmesh/') && folder !== 'packages/cli';
      const allowed =
        to.startsWith('node:') || to.startsWith(`${folder}/src/`) || (declared.includes(name) && !sibling);
      t.ok(allowed, `${file.path} → ${to}`);
    }
  }
});

t.test('every file keeps the habits of the house', async (t) => {
  for (const { path, text, code } of sources) {
    const forbid = (pattern: RegExp, what: string): void => {
      const at = code.search(pattern);
      const line = code.slice(0, at).split('\n').length;
      if (at !== -1) t.fail(`${path}:${line}: ${what}`);
    };
    if (text.split('\n').length > 401) t.fail(`${path}: longer than 400 lines`);
    if (/\/src\/.*\/index\.ts$/.test(`/${path}`)) t.fail(`${path}: no index.ts inside src folders`);
    if (!/^[a-z0-9-]+\.ts$/.test(posix.basename(path))) t.fail(`${path}: file names are kebab-case`);
    forbid(/^export \*/m, 'names what it exports');
    forbid(/^export default\b|\bas default\b/m, 'has named exports only');
    forbid(/\bconsole\./, 'has no console: the injected logger speaks to people');
    forbid(/^(?!.*\basync\b).*\bawait\b(?<=^\S.*)/m, 'has no top-level await: require() of the package needs that');
    if (!/^src\/lib\/(clock|random)\.ts$/.test(path)) {
      forbid(
        /\b(Date\.now|Math\.random|performance\.now)\b|\bnew Date\(\)|(?<![.#\w])set(Timeout|Interval)\b(?!\([^()]*\)(: \w+)? \{)/,
        'takes Clock and Random',
      );
    }
    if (!path.startsWith('packages/ca/')) forbid(/['"]node-forge['"]/, 'leaves node-forge to packages/ca');
  }
  t.pass(`${sources.length} files`);
});

/**
 * Where JavaScript's `RegExp`, which backtracks, is made of anything but a literal: `match` and `search` make one of
 * any text, and `RegExp` is one however it is called.
 */
const regexMakers: readonly RegExp[] = [
  // As a type it stands behind a colon, a bar or an angle bracket.
  /\bRegExp\s*(?:\(|\.|\?\.)/,
  /(?:\bnew|[^=!<>]=|\(|=>|,|\.|\breturn)\s*RegExp\b/,
  /\[['"`]RegExp['"`]\]/,
  /\[['"`](?:match|matchAll|search)['"`]\]/,
];

t.test('no regular expression is made of what configuration or a request says: re2js matches these', async (t) => {
  const makes = (code: string): number => {
    const literals = new Set([...code.matchAll(/\bconst (\w+)(?:: RegExp)? =\s*\//g)].map(([, name]) => name));
    return code.split('\n').findIndex((line) => {
      const [, by] = /\.(?:match|matchAll|search)\((?!\/)(\w*\)?)/.exec(line) ?? [];
      if (by !== undefined && !(by.endsWith(')') && literals.has(by.slice(0, -1)))) return true;
      return regexMakers.some((maker) => maker.test(line));
    });
  };
  for (const { path, code } of sources) {
    const line = makes(code) + 1;
    if (line > 0) t.fail(`${path}:${line}: ${code.split('\n')[line - 1]?.trim()}`);
  }
  const hostile = [
    'new RegExp(x)',
    'RegExp(x)',
    'const R = RegExp;',
    'globalThis.RegExp(x)',
    "globalThis['RegExp'](x)",
  ];
  for (const code of [
    ...hostile,
    'text.match(pattern)',
    'text.search("a+")',
    'text.matchAll(all)',
    "text['match'](x)",
  ]) {
    t.equal(makes(code), 0, `${code} is found`);
  }
  for (const code of ['text.match(/a/)', 'x: RegExp = /a/', '(a: RegExp, b: RegExp): RegExp | undefined', 'A<RegExp>'])
    t.equal(makes(code), -1, code);
});

t.test('only the certificate authority and the helpers of tests load node-forge', async (t) => {
  const others = filesOf('test/**/*.ts', 'packages/*/test/**/*.ts', 'examples/**/*.ts');
  for (const path of others) {
    if (path.startsWith('test/support/') || path.startsWith('packages/ca/') || path === 'test/architecture.test.ts')
      continue;
    t.notMatch(readFileSync(`${root}${path}`, 'utf8'), /['"]node-forge['"]/, path);
  }
});
