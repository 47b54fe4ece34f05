import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../support/source-files.ts';
import { peerFolder, runOnce } from '../peers.ts';

const command = 'INMESH_BUILD_ISTIOD=1 npx tap --disable-coverage --timeout=1800 test/interop/istiod/*.interop.ts';

/**
 * Istio's control plane and the part of its agent that serves certificates, built from Istio's own
 * Go module, once. That takes minutes on a fast machine, so only when somebody asks for it.
 */
export function istioProgram(): { readonly path: string } | { readonly why: string } {
  const found = peerFolder('istiod', (folder) => {
    if (process.env['INMESH_BUILD_ISTIOD'] !== '1') {
      return `istiod is not built here; building takes 5 to 15 minutes, once: ${command}`;
    }
    const source = join(folder, 'source');
    cpSync(join(root, 'test/interop/istiod/server'), source, { recursive: true });
    const args = ['build', '-ldflags', '-s -w', '-o', join(folder, 'istiod'), '.'];
    return runOnce('go', args, { cwd: source, env: { GOFLAGS: '-p=2 -mod=readonly' }, timeoutMs: 1_800_000 });
  });
  return 'why' in found ? found : { path: join(found.folder, 'istiod') };
}
