import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile } from '../../src/config/compile.ts';
import { documentOf } from '../../src/config/document.ts';
import type { ConfigSink } from '../../src/config/source.ts';
import { createMesh, type Mesh, type MeshOptions } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { type RecordingLogger, recordingLogger } from '../support/recording-logger.ts';
import type { Measure } from './case.ts';
import { type ChaosProxy, chaosProxy, type Fate } from './proxy.ts';
import { caller, type ServiceSetup, serviceResources } from './resources.ts';

/** A mesh under test. */
export interface LabMesh extends Mesh {
  readonly log: RecordingLogger;
  /** Takes a whole new configuration into force. */
  reconfigure(setup: ServiceSetup | readonly object[]): void;
}

/** How much is done: `quick` in `npm test`, `bounded` in CI, `full` in `npm run chaos`. */
export type Size = 'quick' | 'bounded' | 'full';

/** What a case works with. Everything that it makes is closed when the case is over. */
export class Lab {
  readonly size: Size;
  readonly measures: Measure[] = [];
  readonly #ends: (() => unknown)[] = [];
  readonly #goalsBind: boolean;

  /** @param goalsBind what is wanted on a quiet machine must hold, and is not only shown */
  constructor(size: Size, goalsBind = false) {
    this.size = size;
    this.#goalsBind = goalsBind;
  }

  /** The figure for the size of this run. */
  count(full: number, bounded: number = full, quick: number = bounded): number {
    return { full, bounded, quick }[this.size];
  }

  /** Something that must be exactly so. */
  equal(what: string, actual: unknown, expected: unknown): void {
    const [seen, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
    const ok = seen === wanted;
    this.measures.push({ text: ok ? `${what}: ${seen}` : `${what}: ${seen}, not ${wanted}`, ok });
  }

  /** Something that must hold; `text` says what was measured. */
  check(ok: boolean, text: string): void {
    this.measures.push({ text, ok });
  }

  /** A figure that must not be larger than `bound`. */
  atMost(what: string, value: number, bound: number, unit = ''): void {
    this.check(value <= bound, `${what}: ${round(value)}${unit} (at most ${bound})`);
  }

  /**
   * A time. `goalMs` is what is wanted on a quiet machine; `boundMs`, far above it, is what must hold on
   * a busy one too.
   */
  time(what: string, ms: number, goalMs: number, boundMs: number): void {
    this.goal(what, ms, goalMs, boundMs, 'ms');
  }

  /** As {@link time}, of something else that depends on the machine. */
  goal(what: string, value: number, goal: number, bound: number, unit: string): void {
    const verdict = value <= goal ? 'goal met' : 'over goal';
    const text = `${what}: ${round(value)} ${unit} (goal ${round(goal)}, ${verdict}; bound ${round(bound)})`;
    this.check(value <= (this.#goalsBind ? goal : bound), text);
  }

  /** A figure without a limit, for people. */
  note(text: string): void {
    this.measures.push({ text, ok: true });
  }

  /** Runs at the end of the case, the last one first. */
  teardown(end: () => unknown): void {
    this.#ends.push(end);
  }

  async close(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }

  /** An empty folder that is removed at the end of the case. */
  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'chaos-'));
    this.teardown(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  async proxy(target: number, fate?: Fate): Promise<ChaosProxy> {
    const proxy = await chaosProxy(target, fate === undefined ? {} : { fate });
    this.teardown(() => proxy.close());
    return proxy;
  }

  /** A mesh whose only service is `http://shop/`, or that has these resources. */
  async mesh(setup: ServiceSetup | readonly object[], options: MeshOptions = {}): Promise<LabMesh> {
    const log = recordingLogger();
    let taken: ConfigSink | undefined;
    let previous: ReturnType<typeof snapshotOf>['snapshot'] | undefined;
    const reconfigure: LabMesh['reconfigure'] = (next) => {
      const { report, snapshot } = snapshotOf(next, previous);
      previous = snapshot;
      taken?.update(snapshot, report);
    };
    const mesh = createMesh({
      workload: caller,
      identity: false,
      logger: log,
      config: {
        name: 'lab',
        async run(sink) {
          taken = sink;
          reconfigure(setup);
        },
      },
      ...options,
    });
    const release = holdProcess();
    this.teardown(async () => {
      await mesh.close();
      release();
    });
    await mesh.ready(20_000);
    return { ...mesh, log, reconfigure };
  }
}

function snapshotOf(setup: ServiceSetup | readonly object[], previous?: Parameters<typeof compile>[1]['previous']) {
  const resources = Array.isArray(setup) ? setup : serviceResources(setup as ServiceSetup);
  const documents = (resources as readonly object[]).map((resource) => documentOf(resource));
  const result = compile(documents, { workload: caller, ...(previous === undefined ? {} : { previous }) });
  if (!result.ok) throw new Error(`the lab's own configuration is bad: ${JSON.stringify(result.problems)}`);
  return result;
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Tells bodies apart that must be alike. */
export function digest(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}
