import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { freePorts } from '../support/free-ports.ts';
import { plainEnvironment } from '../support/plain-environment.ts';
import { root } from '../support/source-files.ts';
import { fencesOf } from './fences.ts';

// Walks through the page as a reader would: one shell, the blocks in their order. A block with a file
// name is saved, a block of commands is run, and a block of text is what the commands before it print.

const folder = join(root, `.cache/quick-start-${process.pid}`);
/** Stands first in the PATH: `npx inmesh` runs the sources. */
const programs = join(folder, '.bin');
const cli = join(root, 'packages/cli/src/main.ts');
/** For a step on a machine that is busy with other tests. */
const patienceMs = 100_000;

/** A shell that keeps its variables and background processes from block to block. */
class Session {
  /** All that the shell and its background processes printed. */
  output: string;
  readonly #shell: ChildProcess;
  #blocks: number;

  constructor() {
    const path = [programs, dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter);
    this.output = '';
    this.#blocks = 0;
    this.#shell = spawn('bash', [], {
      cwd: folder,
      env: { ...plainEnvironment(), PATH: path },
      // A group of its own, which ends as a whole.
      detached: true,
    });
    for (const stream of [this.#shell.stdout, this.#shell.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
  }

  /** What tap puts into the environment of each child would slow every program of the page down. */
  async prepare(): Promise<void> {
    await this.run(`export NODE_OPTIONS='--conditions=@inmesh/source --disable-warning=ExperimentalWarning'`);
  }

  /** Runs commands to their end; those with `&` go on. */
  async run(commands: string): Promise<void> {
    const mark = `end of block ${++this.#blocks}`;
    this.#shell.stdin?.write(`${commands}\necho ${mark}\n`);
    await this.until(() => this.output.includes(mark));
  }

  /** Waits until something has happened; runs `commands` again and again, if there are any. */
  async until(condition: () => boolean, commands?: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!condition() && performance.now() < deadline) {
      await sleep(20);
      if (commands !== undefined) await this.run(commands);
    }
  }

  end(): void {
    if (this.#shell.pid === undefined) return;
    try {
      process.kill(-this.#shell.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
  }
}

/** Matches a line of output; numbers that `uniq -c` counted may differ. */
function pattern(line: string): RegExp {
  const counted = /^ *\d+ (?=\D)/.exec(line);
  const text = line.slice(counted?.[0].length ?? 0).replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  return new RegExp(counted === null ? text : `^ *\\d+ ${text}`, 'm');
}

const missing = ['bash', 'curl'].filter((program) => spawnSync(program, ['--version']).status !== 0);
const skip = missing.length === 0 ? false : `there is no ${missing.join(' and no ')}`;

t.test('the quick start works as it is written', { skip, timeout: 500_000 }, async (t) => {
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  mkdirSync(programs, { recursive: true });
  writeFileSync(join(programs, 'npx'), `#!/bin/sh\nshift\nexec node "${cli}" "$@"\n`, { mode: 0o755 });
  // Free ones take the place of those that the page names.
  const named = ['4000', '4001', '4002', '8443'];
  const free = await freePorts(named.length);
  const ports = new Map(named.map((port, i) => [port, String(free[i])]));
  const session = new Session();
  t.teardown(() => session.end());
  await session.prepare();

  const blocks = fencesOf('docs/quick-start.md').filter(({ text }) => !text.includes('npm install'));
  let commands = '';
  let from = 0;
  for (const { language, file, line, text: written } of blocks) {
    const text = written.replace(/\b\d{4}\b/g, (number) => ports.get(number) ?? number);
    if (file !== undefined) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    } else if (language === 'sh') {
      commands = text;
      from = session.output.length;
      await session.run(commands);
    } else {
      const lines = text.trimEnd().split('\n').map(pattern);
      const shown = (): boolean => lines.every((each) => each.test(session.output.slice(from)));
      // A change of the configuration takes a moment to be seen: who asked asks again.
      const again = /^(curl|node call|for i )/.test(commands) ? commands : undefined;
      await session.until(shown, again);
      const got = session.output.slice(from).slice(-2_000);
      t.ok(shown(), `docs/quick-start.md:${line}`, { wanted: text, got });
    }
  }
});
