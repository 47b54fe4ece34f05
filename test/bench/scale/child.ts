// One measurement in a process of its own: `child.ts load|edit|lookup <folder> [edits]`. Answers with
// one line of JSON.
import { readFileSync, writeFileSync } from 'node:fs';
import { listConfigFiles } from '../../../src/config/config-files.ts';
import { fileSource } from '../../../src/config/file-source.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createMesh } from '../../../src/mesh.ts';
import type { Mesh } from '../../../src/mesh-api.ts';
import { heldMegabytes, peakMegabytes } from './memory.ts';

const workload = {
  name: 'bench',
  namespace: 'shop',
  serviceAccount: 'bench',
  labels: {},
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** A clock whose waits end when they are told to. */
function createStoppedClock(): Clock & { go(): void; stop(): void } {
  let stopped = true;
  const waiting = new Set<() => void>();
  return {
    ...systemClock,
    after(_delayMs, action) {
      if (!stopped) {
        const soon = setImmediate(action);
        return () => clearImmediate(soon);
      }
      waiting.add(action);
      return () => void waiting.delete(action);
    },
    go() {
      stopped = false;
      for (const action of [...waiting]) action();
      waiting.clear();
    },
    stop() {
      stopped = true;
    },
  };
}

interface Loaded {
  readonly mesh: Mesh;
  readonly clock: ReturnType<typeof createStoppedClock>;
  readonly wallMs: number;
  readonly cpuMs: number;
}

async function load(folder: string): Promise<Loaded> {
  const clock = createStoppedClock();
  const before = process.cpuUsage();
  const started = performance.now();
  const mesh = createMesh({ workload, config: fileSource(folder, { workload, clock }), identity: false });
  await mesh.ready();
  const wallMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { mesh, clock, wallMs, cpuMs: (user + system) / 1_000 };
}

/** From a file that has changed to the snapshot in force. The waits of the watch are taken out. */
async function edit({ mesh, clock }: Loaded, path: string, change: (text: string) => string): Promise<object> {
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, change(text));
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = mesh.on('config', () => resolve());
  const before = process.cpuUsage();
  const started = performance.now();
  clock.go();
  await promise;
  const wallMs = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  clock.stop();
  end();
  return { wallMs, cpuMs: (user + system) / 1_000 };
}

const [, , what, folder = '', count = '20'] = process.argv;

async function main(): Promise<object> {
  const loaded = await load(folder);
  const { cpuMs, wallMs } = loaded;
  const peak = peakMegabytes();
  if (what === 'load') return { cpuMs, wallMs, peakMegabytes: peak, heldMegabytes: heldMegabytes() };
  const files = (await listConfigFiles(folder)).map(({ path }) => path);
  const values: object[] = [];
  const lines: object[] = [];
  for (let i = 0; i < Number(count); i++) {
    const path = files[(i * 37) % files.length] as string;
    values.push(await edit(loaded, path, (text) => text.replace('timeout: 10s', `timeout: ${100 + i}s`)));
    lines.push(
      await edit(loaded, path, (text) =>
        text.replace(
          '  http:\n',
          `  http:\n  - name: edit-${i}\n    directResponse:\n      status: 503\n    match:\n    - uri:\n        exact: /edit/${i}\n`,
        ),
      ),
    );
  }
  return { values, lines, heldMegabytes: heldMegabytes() };
}

process.stdout.write(`${JSON.stringify(await main())}\n`);
process.exit(0);
