// The Node versions that inmesh supports, each as a binary in .cache/node-<version>. They come from
// npm, so that a machine needs nothing but npm. As a program: prints the path of one binary, for
// example `node .ci/node-versions.mjs 22`; without argument one line `<version> <path>` for each.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Newest patch of each supported line by its major, and the oldest Node that `engines` allows. */
export const nodeVersions = { 22: '22.23.3', 24: '24.21.0', 26: '26.10.0', oldest: '22.19.0' };

/** The package that carries a Node binary for this platform; the `node` package picks the same. */
function packageName() {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const prefix = process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node';
  return `${prefix}-${platform}-${process.arch}`;
}

/** Path of the binary of `line` ('22', '24', '26', 'oldest') or of an exact version; installed on first use. */
export function nodeBinary(line) {
  const version = nodeVersions[line] ?? line;
  if (!/^\d+\.\d+\.\d+$/.test(version)) {
    throw new Error(
      `unknown Node version ${line}; known: ${Object.keys(nodeVersions).join(', ')}, or one like 22.19.0`,
    );
  }
  if (process.versions.node === version) return process.execPath;
  const folder = fileURLToPath(new URL(`../.cache/node-${version}`, import.meta.url));
  const name = packageName();
  const manifest = `node_modules/${name}/package.json`;
  if (!existsSync(`${folder}/${manifest}`)) {
    // Into a folder of its own first: an interrupted install must not look like a finished one.
    const partial = `${folder}.${process.pid}`;
    mkdirSync(partial, { recursive: true });
    const flags = ['--prefix', partial, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
    // These, inherited from an outer npm script, would make npm work on that project instead.
    const { npm_config_local_prefix, npm_config_workspace, npm_config_workspaces, ...env } = process.env;
    try {
      execFileSync('npm', ['install', ...flags, `${name}@${version}`], {
        env,
        cwd: partial,
        stdio: ['ignore', 'ignore', 'inherit'],
        shell: process.platform === 'win32',
      });
      rmSync(folder, { recursive: true, force: true });
      renameSync(partial, folder);
    } finally {
      rmSync(partial, { recursive: true, force: true });
    }
  }
  const { bin } = JSON.parse(readFileSync(`${folder}/${manifest}`, 'utf8'));
  return `${folder}/node_modules/${name}/${bin.node}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [line] = process.argv.slice(2);
  try {
    if (line !== undefined) process.stdout.write(`${nodeBinary(line)}\n`);
    else for (const known of Object.keys(nodeVersions)) process.stdout.write(`${known} ${nodeBinary(known)}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
