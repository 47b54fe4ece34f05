import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import { root } from '../../support/source-files.ts';
import { peerFolder, runOnce, startPeer } from '../peers.ts';

/** What a control plane has for everybody; each resource as protobuf's JSON. */
export interface GoSnapshot {
  readonly version: string;
  readonly listeners?: readonly object[];
  readonly routes?: readonly object[];
  readonly clusters?: readonly object[];
  readonly endpoints?: readonly object[];
}

/** A running go-control-plane. */
export interface GoControlPlane {
  readonly address: string;
  set(snapshot: GoSnapshot): Promise<void>;
  seen(): Promise<{
    readonly nacks: readonly string[];
    readonly acks: number;
    readonly node: string;
    readonly features: readonly string[];
  }>;
  stop(): void;
  /** It keeps its connections, and says nothing more. */
  freeze(): void;
}

/** Builds it once, from the module that `go.sum` fixes. */
function goControlPlane(): { readonly path: string } | { readonly why: string } {
  const found = peerFolder('go-control-plane-0.14.0', (folder) => {
    const source = join(folder, 'source');
    cpSync(join(root, 'test/interop/xds/go-control-plane'), source, { recursive: true });
    const args = ['build', '-o', join(folder, 'go-control-plane'), '.'];
    return runOnce('go', args, { cwd: source, env: { GOFLAGS: '-p=2 -mod=readonly' } });
  });
  return 'why' in found ? found : { path: join(found.folder, 'go-control-plane') };
}

/** Starts one that ends with the test; a reason when it cannot be had. */
export async function startGoControlPlane(t: Test): Promise<GoControlPlane | { why: string }> {
  const program = goControlPlane();
  if ('why' in program) return program;
  const [xds = 0, http = 0] = await freePorts(2);
  const child = await startPeer(t, program.path, [`127.0.0.1:${xds}`, `127.0.0.1:${http}`], { port: http });
  const base = `http://127.0.0.1:${http}`;
  return {
    address: `127.0.0.1:${xds}`,
    async set(snapshot) {
      const answer = await fetch(`${base}/snapshot`, { method: 'POST', body: JSON.stringify(snapshot) });
      if (!answer.ok) throw new Error(await answer.text());
    },
    seen: async () => (await (await fetch(`${base}/seen`)).json()) as Awaited<ReturnType<GoControlPlane['seen']>>,
    stop: () => void child.kill('SIGKILL'),
    freeze: () => void child.kill('SIGSTOP'),
  };
}

/** Waits up to two minutes. */
export async function until(what: string, reached: () => boolean | Promise<boolean>, ms = 120_000): Promise<void> {
  for (let i = 0; i < ms / 50; i++) {
    if (await reached()) return;
    await wait(50);
  }
  throw new Error(`waited in vain for ${what}`);
}
