import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { compile, describeProblem, parseYaml } from '../../src/exports/config.ts';
import { runPlainly } from '../support/plain-environment.ts';
import { filesOf, root } from '../support/source-files.ts';
import { type Fence, fencesOf, pages } from './fences.ts';

// Inside the repository, so that `import 'inmesh'` finds the workspace. One folder for each page:
// blocks with a file name lie beside the programs that read them.
const work = join(root, '.cache/docs');
const folderOf = (page: string): string => join(work, page.replace(/[^\w]+/g, '-'));
const fileOf = (fence: Fence): string =>
  join(folderOf(fence.page), fence.file ?? `line-${fence.line}.${fence.language}`);
const nameOf = (fence: Fence): string => `${fence.page}:${fence.line}`;

const fences = pages().flatMap((page) => [...fencesOf(page)]);
const programs = fences.filter(({ language, marks }) => /^[jt]s$/.test(language) && !marks.includes('fragment'));

const known: Readonly<Record<string, readonly string[]>> = {
  ts: ['fragment', 'types'],
  js: ['fragment', 'types'],
  yaml: ['fragment', 'refused'],
  json: ['fragment'],
  jsonl: [],
  sh: ['run'],
  '': [],
  text: [],
  mermaid: [],
  diff: [],
};

t.before(() => {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  for (const fence of fences) {
    if (fence.file === undefined && !programs.includes(fence)) continue;
    mkdirSync(dirname(fileOf(fence)), { recursive: true });
    writeFileSync(fileOf(fence), fence.text);
  }
  const compilerOptions = {
    rootDir: '../..',
    noUnusedLocals: false,
    noUnusedParameters: false,
    moduleDetection: 'force',
  };
  const config = { extends: '../../tsconfig.json', compilerOptions, include: ['**/*.ts'], exclude: [] };
  writeFileSync(join(work, 'tsconfig.json'), JSON.stringify(config));
});

t.test('every block has a language and marks that mean something', async (t) => {
  for (const fence of fences) {
    const marks = known[fence.language];
    t.ok(marks !== undefined, `${nameOf(fence)}: language "${fence.language}"`);
    for (const mark of fence.marks) t.ok(marks?.includes(mark), `${nameOf(fence)}: mark "${mark}"`);
  }
});

t.test('every TypeScript block passes the type check', async (t) => {
  if (!programs.some(({ language }) => language === 'ts')) return;
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const { status, stdout, stderr } = runPlainly(process.execPath, [tsc, '-p', work], root);
  t.equal(status, 0, stdout + stderr);
});

for (const page of pages()) {
  const runnable = programs.filter((fence) => fence.page === page && !fence.marks.includes('types'));
  if (runnable.length === 0) continue;
  t.test(`the programs of ${page} run`, async (t) => {
    const host = fileURLToPath(new URL('./snippet-host.ts', import.meta.url));
    const args = [
      '--conditions=@inmesh/source',
      '--disable-warning=ExperimentalWarning',
      host,
      ...runnable.map(fileOf),
    ];
    const { status: code, stdout, stderr } = runPlainly(process.execPath, args, folderOf(page), 60);
    const output = stdout + stderr;
    t.equal(code, 0, code === 0 ? 'every one' : output);
    // `console.log(reply.status); // → 200`: what the page promises.
    const promised = runnable.flatMap(({ text }) =>
      [...text.matchAll(/\/\/ → (.+)$/gm)].map(([, shown = '']) => shown),
    );
    const lines = output.split('\n').map((each) => each.trim());
    for (const shown of promised) t.ok(lines.includes(shown.trim()), `prints "${shown}"`);
  });
}

t.test('JSON blocks can be read', async (t) => {
  for (const fence of fences.filter(({ language, marks }) => language === 'json' && !marks.includes('fragment'))) {
    t.doesNotThrow(() => JSON.parse(fence.text), nameOf(fence));
  }
});

/** Blocks with a file name lie in one folder and are compiled as one; others stand for themselves. */
function configurations(): readonly {
  readonly name: string;
  readonly refused: boolean;
  readonly parts: readonly Fence[];
}[] {
  const yaml = fences.filter(({ language, marks }) => language === 'yaml' && !marks.includes('fragment'));
  const named = yaml.filter((fence) => fence.file !== undefined && !fence.marks.includes('refused'));
  const folders = Map.groupBy(named, (fence) => dirname(fileOf(fence)));
  const alone = yaml.filter((fence) => !named.includes(fence));
  return [
    ...[...folders.values()].map((parts) => ({ name: parts.map(nameOf).join(' '), refused: false, parts })),
    ...alone.map((fence) => ({ name: nameOf(fence), refused: fence.marks.includes('refused'), parts: [fence] })),
  ];
}

t.test('mesh configuration compiles, unless it is shown to be refused', async (t) => {
  const workload = { name: 'docs', namespace: 'default', serviceAccount: 'default', labels: {} };
  const domains = { trustDomain: 'cluster.local', clusterDomain: 'cluster.local' };
  for (const { name, refused, parts } of configurations()) {
    const read = parts.map((fence) => parseYaml(fence.text, nameOf(fence)));
    const unread = read.flatMap(({ problems }) => problems);
    const isMesh = parts.some(({ text }) => /^apiVersion:/m.test(text));
    const documents = read.flatMap((part) => part.documents);
    const result =
      unread.length > 0 || !isMesh ? undefined : compile(documents, { workload: { ...workload, ...domains } });
    const problems = [...unread, ...(result?.ok === false ? result.problems : [])].map(describeProblem);
    if (refused) t.not(problems.length, 0, `${name} is refused`);
    else t.same(problems, [], `${name} is accepted`);
  }
});

t.test('npm scripts and files that commands name exist', async (t) => {
  const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  for (const fence of fences.filter(({ language }) => language === 'sh')) {
    for (const [, run, script = run ?? ''] of fence.text.matchAll(/^\s*npm (?:run ([\w:-]+)|(start|test)\b)/gm)) {
      t.ok(script in manifest.scripts, `${nameOf(fence)}: npm script "${script}"`);
    }
    for (const [file] of fence.text.matchAll(/\b(?:examples|packages|docs|src|test|\.ci)\/[\w./-]+/g)) {
      t.ok(existsSync(join(root, file)) || filesOf(file).length > 0, `${nameOf(fence)}: ${file}`);
    }
  }
});

t.test('commands marked "run" succeed', async (t) => {
  for (const fence of fences.filter(({ language, marks }) => language === 'sh' && marks.includes('run'))) {
    mkdirSync(folderOf(fence.page), { recursive: true });
    const cli = join(root, 'packages/cli/src/main.ts');
    const node = `"${process.execPath}" --conditions=@inmesh/source`;
    const prelude = `node() { ${node} "$@"; }\ninmesh() { ${node} "${cli}" "$@"; }\nset -e\n`;
    const { status, stdout, stderr } = spawnSync('sh', ['-c', prelude + fence.text], {
      cwd: folderOf(fence.page),
      encoding: 'utf8',
    });
    t.equal(status, 0, `${nameOf(fence)}\n${stdout}${stderr}`);
  }
});
