import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { runPlainly } from '../support/plain-environment.ts';
import { filesOf, root } from '../support/source-files.ts';

/** A published package: its folder here, its name and the packed file. */
export interface Tarball {
  readonly name: string;
  readonly folder: string;
  readonly path: string;
  readonly files: readonly string[];
  /** Subpaths of `exports` that are code: `.`, `./config`. */
  readonly entries: readonly string[];
}

/** Packs every package of the workspace into `folder`. `dist` must be built. */
export function packAll(folder: string): readonly Tarball[] {
  const manifests = filesOf('package.json', 'packages/*/package.json');
  const { status, stdout, stderr } = runPlainly(
    'npm',
    ['pack', '--workspaces', '--json', '--pack-destination', folder],
    root,
  );
  if (status !== 0) throw new Error(`npm pack failed: ${stderr}`);
  const packed: unknown = JSON.parse(stdout);
  const list = (Array.isArray(packed) ? packed : Object.values(packed as object)) as readonly {
    readonly name: string;
    readonly filename: string;
    readonly files: readonly { readonly path: string }[];
  }[];
  return manifests.map((manifest) => {
    const { name, exports } = JSON.parse(readFileSync(`${root}${manifest}`, 'utf8'));
    const entry = list.find((candidate) => candidate.name === name);
    if (entry === undefined) throw new Error(`npm pack left out ${name}`);
    return {
      name,
      folder: join(root, manifest, '..'),
      path: join(folder, entry.filename),
      files: entry.files.map(({ path }) => path),
      entries: Object.keys(exports).filter((path) => path !== './package.json'),
    };
  });
}

/** A temporary folder with a function that removes it. */
export function temporaryFolder(name: string): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), `inmesh-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Makes a fresh application in `folder`, with these packages installed. */
export function freshApplication(folder: string, packages: readonly string[]): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'application', version: '1.0.0', private: true }));
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, stdout, stderr } = runPlainly('npm', ['install', ...quiet, ...packages], folder, 300);
  if (status !== 0) throw new Error(`npm install failed: ${stdout}${stderr}`);
}

/** The first Node in the PATH that is older than inmesh needs, if this machine has one. */
export function olderNode(): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (folder.includes('node_modules') || folder.startsWith(join(root, '.cache'))) continue;
    const node = join(folder, process.platform === 'win32' ? 'node.exe' : 'node');
    const version = runPlainly(node, ['--version'], root).stdout;
    const [, major = '99', minor = '0'] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
    if (Number(major) < 22 || (Number(major) === 22 && Number(minor) < 19)) return node;
  }
  return undefined;
}
