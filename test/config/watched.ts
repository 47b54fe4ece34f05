import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Test } from 'tap';
import { fileSource } from '../../src/config/file-source.ts';
import { describeProblem } from '../../src/config/problem.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { serviceYaml, web } from './support.ts';

/** What a source said, in order: `update <names>`, `reject <problems>`, `lost <reason>`. */
export interface Watched {
  readonly events: string[];
  readonly snapshots: Snapshot[];
  /** Lets time pass until `count` more events have come; fails when nothing comes for too long. */
  next(count?: number): Promise<readonly string[]>;
  /** Lets a little time pass, in this many steps. */
  turns(count: number): Promise<void>;
  /** Lets a lot of time pass, for what must not happen. */
  quiet(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

/** An event that has not come by then does not come. */
const patienceMs = 20_000;

/** Follows the configuration in a file or folder. */
export function watch(t: Test, path: string): Watched {
  const clock = fakeClock();
  const controller = new AbortController();
  const events: string[] = [];
  const snapshots: Snapshot[] = [];
  const running = fileSource(path, { workload: web, clock }).run(
    {
      update: (snapshot) => {
        snapshots.push(snapshot);
        const names = [...snapshot.hosts.values()].map((host) => host.name.split('.')[0]);
        events.push(`update ${[...new Set(names)].sort().join(' ')}`);
      },
      reject: (problems) => void events.push(`reject ${problems.map(describeProblem).join(' ')}`),
      lost: (reason) => void events.push(`lost ${reason.message}`),
    },
    controller.signal,
  );
  // Time stands still while the source waits for the disk.
  const pass = async (): Promise<void> => {
    if (clock.pending() > 0) clock.advance(20);
    await setImmediate();
  };
  const stop = async (): Promise<void> => {
    controller.abort();
    await running;
  };
  t.teardown(stop);
  let seen = 0;
  return {
    events,
    snapshots,
    stop,
    async next(count = 1) {
      // In real time: how many turns a disk takes says the machine.
      for (const until = performance.now() + patienceMs; performance.now() < until && events.length < seen + count; ) {
        await pass();
      }
      const fresh = events.slice(seen);
      seen = events.length;
      return fresh;
    },
    async turns(count) {
      for (let i = 0; i < count; i++) await pass();
    },
    async quiet() {
      // Time passes only while the source waits for it, so this is enough for several looks.
      for (const until = clock.now() + 2_000; clock.now() < until; ) await pass();
      const fresh = events.slice(seen);
      seen = events.length;
      return fresh;
    },
  };
}

/** A folder as Kubernetes mounts a ConfigMap: `..data` is a link to the version in force. */
export async function configMap(t: Test): Promise<{ readonly folder: string; flip(version: number): Promise<void> }> {
  const folder = t.testdir({ '..v0': { 'a.yaml': serviceYaml('a0'), 'b.yaml': serviceYaml('b0') } });
  await symlink('..v0', join(folder, '..data'));
  await symlink('..data/a.yaml', join(folder, 'a.yaml'));
  await symlink('..data/b.yaml', join(folder, 'b.yaml'));
  return {
    folder,
    async flip(version) {
      const next = `..v${version}`;
      await mkdir(join(folder, next));
      await writeFile(join(folder, next, 'a.yaml'), serviceYaml(`a${version}`));
      await writeFile(join(folder, next, 'b.yaml'), serviceYaml(`b${version}`));
      await symlink(next, join(folder, '..tmp'));
      await rename(join(folder, '..tmp'), join(folder, '..data'));
      // What was in force before the last one is gone; whoever reads it still has to notice.
      if (version > 1) await rm(join(folder, `..v${version - 2}`), { recursive: true });
    },
  };
}

/** Flips at any moment of a reading: what is taken into force is of one version, and the last one in the end. */
export async function flipAllTheTime(t: Test, flips: number): Promise<void> {
  const { flip, folder } = await configMap(t);
  const watched = watch(t, folder);
  await watched.next();
  for (let i = 1; i <= flips; i++) {
    await flip(i);
    await watched.turns(i % 23);
  }
  await watched.quiet();
  for (const event of watched.events) {
    const [, a, b] = /^update a(\d+) b(\d+)$/.exec(event) ?? [];
    if (a === undefined || a !== b) t.fail(event);
  }
  t.equal(watched.events.at(-1), `update a${flips} b${flips}`);
  t.comment(`${flips} flips, ${watched.events.length} versions in force`);
}
