import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from '../../support/source-files.ts';
import { peerFolder } from '../peers.ts';

/** Newer ones are not on every module proxy. */
const version = 'v1.13.3';

/** Where the programs are. */
export interface SpirePrograms {
  readonly server: string;
  readonly agent: string;
}

/**
 * SPIRE's server and agent, built from the Go module, once. Compiling all its cloud plugins takes
 * minutes on a fast machine and half an hour on a slow one: so only when somebody asks for it.
 */
export function spirePrograms(): SpirePrograms | { readonly why: string } {
  const found = peerFolder(`spire-${version}`, (folder) => {
    if (process.env['INMESH_BUILD_SPIRE'] !== '1') {
      return 'SPIRE is not built here; building takes 5 to 30 minutes, once: INMESH_BUILD_SPIRE=1 npm run test:interop';
    }
    return build(folder);
  });
  if ('why' in found) return found;
  return { server: join(found.folder, 'spire-server'), agent: join(found.folder, 'spire-agent') };
}

function build(folder: string): string | undefined {
  const env = {
    ...process.env,
    // Its module tree is large; here it goes when the cache goes.
    GOMODCACHE: join(root, '.cache/go/mod'),
    GOCACHE: join(root, '.cache/go/build'),
    GOFLAGS: `${process.env['GOFLAGS'] ?? ''} -modcacherw -buildvcs=false`.trim(),
  };
  const go = (args: readonly string[], cwd: string): { out: string } | { why: string } => {
    const { error, status, stderr, stdout } = spawnSync('go', args, {
      cwd,
      env,
      encoding: 'utf8',
      timeout: 3_600_000,
      maxBuffer: 16_777_216,
    });
    return status === 0
      ? { out: stdout }
      : { why: `go ${args[0]}: ${error?.message ?? `${stdout}${stderr}`.trim().slice(-500)}` };
  };
  const module = go(['mod', 'download', '-json', `github.com/spiffe/spire@${version}`], folder);
  if ('why' in module) return module.why;
  const { Dir } = JSON.parse(module.out) as { readonly Dir: string };
  const built = go(['build', '-ldflags', '-s -w', '-o', `${folder}/`, './cmd/spire-server', './cmd/spire-agent'], Dir);
  return 'why' in built ? built.why : undefined;
}
