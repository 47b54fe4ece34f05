import type { Clock } from '../lib/clock.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type CompileOptions, compile } from './compile.ts';
import { type FileState, listConfigFiles, loadConfigFile } from './config-files.ts';
import type { ConfigDocument } from './document.ts';
import { describeProblem } from './problem.ts';
import type { ConfigProblem, ConfigSink, ConfigSource } from './source.ts';
import type { ParsedYaml } from './yaml.ts';

export interface FileSourceOptions extends Omit<CompileOptions, 'previous'> {
  readonly clock: Clock;
  /** How often the files are looked at. Default 200 ms; a slow disk is looked at less often. */
  readonly pollMs?: number;
}

/** Files must stand still for this long before they are read: nobody reads a half-written file. */
const settleMs = 40;
/** A file that is written to all the time is read in the end all the same. */
const maxUnsettledLooks = 25;
/** Looking at the files takes at most this part of the time. */
const maxPollShare = 1 / 5;
/** But they are looked at this often, however slow the disk or busy the process: an edit shows within a second. */
const maxPollMs = 500;

/**
 * A file or folder of YAML and JSON (`*.yaml`, `*.yml`, `*.json`, with sub-folders), read again
 * whenever it changes. Paths in messages are relative to the working directory. A bad state is
 * rejected as a whole and the last good one stays; a folder that is gone, or has no file left, is
 * `lost` until it is back.
 */
export function fileSource(path: string, options: FileSourceOptions): ConfigSource {
  return {
    name: `file:${path}`,
    run: (sink, signal) => watchFiles(path, options, sink, signal),
  };
}

async function watchFiles(
  path: string,
  options: FileSourceOptions,
  sink: ConfigSink,
  signal: AbortSignal,
): Promise<void> {
  const { clock, pollMs = 200, ...compiling } = options;
  const reader = createReader(compiling, sink);
  let applied: string | undefined;
  while (!signal.aborted) {
    let pause = pollMs;
    try {
      const started = clock.now();
      const files = await listConfigFiles(path);
      pause = Math.max(pollMs, Math.min(maxPollMs, (clock.now() - started) / maxPollShare));
      if (files.length === 0) throw new Error(`no *.yaml, *.yml or *.json file in ${path}`);
      const state = describeState(files);
      if (state !== applied) {
        const settled = applied === undefined && reader.isFirst() ? files : await settle(path, files, clock, signal);
        if (signal.aborted) return;
        const outcome = await reader.read(settled);
        // Whatever changed while it was being read may be half of a change: look again at once.
        const after = describeState(await listConfigFiles(path));
        if (signal.aborted) return;
        if (after === describeState(settled)) {
          outcome();
          applied = after;
        } else pause = settleMs;
      }
    } catch (error) {
      if (signal.aborted) return;
      applied = undefined;
      reader.lost(error instanceof Error ? error : new Error(String(error)));
    }
    await sleep(clock, pause, signal);
  }
}

/** Waits until two looks in a row see the same. */
async function settle(
  path: string,
  files: readonly FileState[],
  clock: Clock,
  signal: AbortSignal,
): Promise<readonly FileState[]> {
  let seen = files;
  for (let looks = 0; looks < maxUnsettledLooks; looks++) {
    await sleep(clock, settleMs, signal);
    if (signal.aborted) return seen;
    const next = await listConfigFiles(path);
    if (describeState(next) === describeState(seen)) return next;
    seen = next;
  }
  return seen;
}

function describeState(files: readonly FileState[]): string {
  return files.map((file) => `${file.path} ${file.state}`).join('\n');
}

interface Reader {
  /** Has nothing been read so far? */
  isFirst(): boolean;
  /** Reads and compiles; the function that comes back tells the sink. */
  read(files: readonly FileState[]): Promise<() => void>;
  lost(reason: Error): void;
}

function createReader(compiling: Omit<CompileOptions, 'previous'>, sink: ConfigSink): Reader {
  // Parsing costs far more than compiling, and one file changes at a time.
  let cache = new Map<string, { readonly state: string; readonly parsed: ParsedYaml }>();
  let previous: Snapshot | undefined;
  let first = true;
  /** What the sink heard last, so that it does not hear the same again and again. */
  let said = '';

  const load = async (file: FileState): Promise<ParsedYaml> => {
    const known = cache.get(file.path);
    return known?.state === file.state ? known.parsed : loadConfigFile(file, known?.parsed.documents);
  };

  return {
    isFirst: () => first,
    async read(files) {
      first = false;
      const fresh: typeof cache = new Map();
      const documents: ConfigDocument[] = [];
      const problems: ConfigProblem[] = [];
      for (const file of files) {
        const parsed = await load(file);
        fresh.set(file.path, { state: file.state, parsed });
        documents.push(...parsed.documents);
        problems.push(...parsed.problems);
      }
      cache = fresh;
      const options = previous === undefined ? compiling : { ...compiling, previous };
      const result = problems.length > 0 ? { ok: false as const, problems } : compile(documents, options);
      return () => {
        const saying = result.ok ? `ok ${result.snapshot.version}` : result.problems.map(describeProblem).join('\n');
        if (saying === said) return;
        said = saying;
        if (result.ok) {
          previous = result.snapshot;
          sink.update(result.snapshot, result.report);
        } else sink.reject(result.problems);
      };
    },
    lost(reason) {
      const saying = `lost ${reason.message}`;
      if (saying === said) return;
      said = saying;
      sink.lost(reason);
    },
  };
}

/** Resolves after the time, or at once when the signal aborts. */
function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(delayMs, finish);
  signal.addEventListener('abort', finish, { once: true });
  return promise;

  function finish(): void {
    cancel();
    signal.removeEventListener('abort', finish);
    resolve();
  }
}
