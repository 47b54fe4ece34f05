import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { oldestNode } from '../../src/lib/require-node.ts';
import { runPlainly } from '../support/plain-environment.ts';
import { root } from '../support/source-files.ts';
import { freshApplication, olderNode, packAll, temporaryFolder } from './tarballs.ts';

const folder = temporaryFolder('installed');
t.teardown(() => folder.remove());
const tarballs = packAll(folder.path);
const pathOf = (name: string): string => tarballs.find((tarball) => tarball.name === name)?.path ?? name;

const { devDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const framework = (name: string): string => `${name}@${devDependencies[name]}`;

/** Every supported line of Node.js, the oldest release of the first one included. */
const nodes = ['oldest', '22', '24', '26'].map((line) => ({
  line,
  path: execFileSync(process.execPath, [`${root}.ci/node-versions.mjs`, line], { encoding: 'utf8' }).trim(),
}));

const older = olderNode();

const applications = ['express', 'fastify'].map((name) => {
  const home = join(folder.path, name);
  const packages = [
    'inmesh',
    '@inmesh/admin',
    '@inmesh/ca',
    '@inmesh/ext-authz',
    '@inmesh/grpc',
    '@inmesh/istiod',
    '@inmesh/otel',
    '@inmesh/ratelimit',
    '@inmesh/sds',
    '@inmesh/spiffe',
    '@inmesh/xds',
    `@inmesh/${name}`,
  ].map(pathOf);
  freshApplication(home, [...packages, framework(name)]);
  cpSync(fileURLToPath(new URL('./apps', import.meta.url)), home, { recursive: true });
  return { name, home };
});

t.test(`the oldest Node.js tried is the oldest supported one, ${oldestNode}`, async (t) => {
  const oldest = nodes.find(({ line }) => line === 'oldest')?.path ?? '';
  t.equal(runPlainly(oldest, ['--version'], folder.path).stdout.trim(), `v${oldestNode}`);
});

for (const { name, home } of applications) {
  for (const { line, path } of nodes) {
    for (const kind of ['mjs', 'cjs']) {
      t.test(`a fresh ${name} application, ${kind === 'mjs' ? 'import' : 'require()'}, Node ${line}`, async (t) => {
        const { status, stdout, stderr } = runPlainly(path, [`${name}.${kind}`], home, 60);
        t.equal(status, 0, stdout + stderr);
        t.match(stdout, /^called as spiffe:\/\/[\w./-]+ and got 200\n$/, 'a call through the mesh');
        t.equal(stderr, '', 'no warning');
      });
    }
  }
}

t.test('the command of a fresh installation checks a folder', async (t) => {
  const home = join(folder.path, 'cli');
  freshApplication(home, ['inmesh', '@inmesh/ca', '@inmesh/cli'].map(pathOf));
  const command = join(home, 'node_modules/.bin/inmesh');
  const metadata = 'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: default }\n';
  writeFileSync(join(home, 'good.yaml'), `${metadata}spec: { mtls: { mode: STRICT } }\n`);
  writeFileSync(join(home, 'bad.yaml'), `${metadata}spec: { mtls: { mode: STRIKT } }\n`);
  for (const { line, path } of nodes) {
    const good = runPlainly(path, [command, 'check', 'good.yaml'], home, 60);
    t.equal(good.status, 0, `Node ${line}: ${good.stdout}${good.stderr}`);
    const bad = runPlainly(path, [command, 'check', 'bad.yaml'], home, 60);
    t.equal(bad.status, 1, `Node ${line}`);
    t.match(bad.stdout + bad.stderr, /bad\.yaml:4:\d+: PeerAuthentication default\/default: .*STRIKT/);
  }
  if (older !== undefined)
    t.match(runPlainly(older, [command, 'check', 'good.yaml'], home, 60).stderr, /^inmesh needs [^\n]+\n$/);
});

t.test('strict TypeScript takes the declarations of every entry, libraries included', async (t) => {
  const home = join(folder.path, 'types');
  const types = ['@types/node', '@types/express', '@opentelemetry/api', 'express', 'fastify'].map(framework);
  freshApplication(home, [...tarballs.map(({ path }) => path), ...types]);
  const entries = tarballs.flatMap(({ name, entries }) => entries.map((entry) => name + entry.slice(1)));
  const lines = entries.map((entry, i) => `import * as entry${i} from '${entry}';\nexport { entry${i} };\n`);
  writeFileSync(join(home, 'all.mts'), lines.join(''));
  const strict = {
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, verbatimModuleSyntax: true },
    ...{ target: 'es2023', types: ['node'], noEmit: true, skipLibCheck: false },
  };
  for (const [module, moduleResolution] of [
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    const project = { compilerOptions: { ...strict, module, moduleResolution }, files: ['all.mts'] };
    writeFileSync(join(home, 'tsconfig.json'), JSON.stringify(project));
    const { status, stdout, stderr } = runPlainly(join(root, 'node_modules/.bin/tsc'), ['-p', home], home, 120);
    t.equal(status, 0, `${moduleResolution}: ${stdout}${stderr}`);
  }
});

t.test('import and require() give the same instance', async (t) => {
  const home = applications[0]?.home ?? '';
  const names = tarballs
    .filter(({ name }) => !/fastify|cli/.test(name))
    .flatMap(({ name, entries }) => entries.map((entry) => name + entry.slice(1)));
  const program = `
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    for (const name of ${JSON.stringify(names)}) {
      const [imported, required] = [await import(name), require(name)];
      for (const key of Object.keys(imported)) if (imported[key] !== required[key]) throw new Error(name + ' ' + key);
      if (Object.keys(imported).length === 0) throw new Error(name + ' is empty');
    }`;
  writeFileSync(join(home, 'same.mjs'), program);
  for (const { line, path } of nodes) {
    const { status, stdout, stderr } = runPlainly(path, ['same.mjs'], home, 60);
    t.equal(status, 0, `Node ${line}: ${stdout}${stderr}`);
  }
});

t.test(
  'an older Node.js is told in one line what is needed',
  { skip: older === undefined && 'no older Node' },
  async (t) => {
    const version = runPlainly(older ?? '', ['--version'], folder.path).stdout.trim();
    for (const { home, name } of applications) {
      for (const { name: published, entries } of tarballs.filter(
        ({ name: n }) => !/express|fastify|cli/.test(n) || n.endsWith(name),
      )) {
        for (const entry of entries) {
          const { status, stdout, stderr } = runPlainly(
            older ?? '',
            ['--input-type=module', '--eval', `import '${published}${entry.slice(1)}'`],
            home,
            60,
          );
          t.equal(status, 1, `${published}${entry.slice(1)}`);
          t.equal(stderr, `inmesh needs Node.js ${oldestNode} or newer; this is ${version}\n`);
          t.equal(stdout, '');
        }
      }
    }
  },
);
