// `npm run bench:scale`: what a large mesh costs to load, to edit and to look things up in.
// docs/benchmarks.md says how to read the result.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../report.ts';
import type { DecisionResult, EditResult, LoadResult, LookupResult } from './child.ts';
import { writeMesh } from './generate.ts';
import type { XdsResult } from './xds.ts';

const child = fileURLToPath(new URL('./child.ts', import.meta.url));

/** Runs one measurement in a process of its own. */
function measure<Result>(what: string, folder: string, count: number): Result {
  const flags = ['--disable-warning=ExperimentalWarning', '--conditions=@inmesh/source', '--expose-gc'];
  const program = [...flags, child, what, folder, String(count)];
  const { status, stdout } = spawnSync(process.execPath, program, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the process that should ${what} ended with ${status}`);
  return JSON.parse(stdout);
}

function whole(values: readonly number[]): string {
  return Math.round(median(values)).toLocaleString('en');
}

function scale(services: number, rules: number, rounds: number, json: string): void {
  const root = mkdtempSync(join(tmpdir(), 'inmesh-scale-'));
  try {
    const small = join(root, 'small');
    const large = join(root, 'large');
    const long = join(root, 'long');
    const longer = join(root, 'longer');
    writeMesh(small, { services: 10, rules, files: 1 });
    writeMesh(large, { services, rules, files: Math.ceil(services / 100) });
    writeMesh(long, { services: 10, rules: 10, files: 1 });
    writeMesh(longer, { services: 10, rules: 1_000, files: 1 });
    const loads = Array.from({ length: rounds }, () => measure<LoadResult>('load', large, 0));
    const edits = measure<EditResult>('edit', large, 20);
    const lookups = [
      { name: '10 hosts', ...measure<LookupResult>('lookup', small, 10) },
      { name: `10 of ${services.toLocaleString('en')} hosts`, ...measure<LookupResult>('lookup', large, 10) },
      { name: `${services.toLocaleString('en')} hosts in turn`, ...measure<LookupResult>('lookup', large, services) },
      { name: '10 rules in a host', ...measure<LookupResult>('lookup', long, 10) },
      { name: '1,000 rules in a host', ...measure<LookupResult>('lookup', longer, 10) },
    ];
    const decisions = (['authorize', 'envoy'] as const).flatMap((what) =>
      [1, 100, 10_000].map((count) => ({ what, count, ...measure<DecisionResult>(what, small, count) })),
    );
    const xds = measure<XdsResult>('xds', small, 0);
    const [walls, times] = [loads.map(({ wallMs }) => wallMs), loads.map(({ cpuMs }) => cpuMs)];
    const lines = [
      `${services.toLocaleString('en')} VirtualServices with ${(services * rules).toLocaleString('en')} rules, as many ServiceEntries`,
      `  load            ${whole(walls)} ms (processor time ${whole(times)} ms)`,
      `  memory          ${whole(loads.map((each) => each.heldMegabytes))} MB held, ${whole(loads.map((each) => each.peakMegabytes))} MB at most in the process`,
    ];
    for (const [name, all] of [
      ['edit a value', edits.values],
      ['add a rule', edits.rules],
    ] as const) {
      const [wall, cpu] = [all.map(({ wallMs }) => wallMs), all.map(({ cpuMs }) => cpuMs)];
      lines.push(`  ${name.padEnd(15)} ${whole(wall)} ms (processor time ${whole(cpu)} ms)`);
    }
    for (const { name, nanoseconds } of lookups) {
      lines.push(`  find a route    ${String(Math.round(nanoseconds)).padStart(4)} ns  among ${name}`);
    }
    for (const { compileMs, count, nanoseconds, what } of decisions) {
      const one = decisions.find((each) => each.what === what)?.nanoseconds ?? Number.NaN;
      const ratio = nanoseconds / one;
      const [rules, all] = [count.toLocaleString('en'), nanoseconds.toFixed(0).padStart(4)];
      lines.push(
        `  authorize       ${all} ns  by ${rules} rules${what === 'envoy' ? ' as istiod sends them' : ''} (${ratio.toFixed(2)} of one rule; compiled in ${compileMs.toFixed(0)} ms)`,
      );
    }
    for (const [name, { longestMs, wallMs }] of [
      ['500 clusters with 10,000 endpoints, first read', xds.first],
      ['one of 10,000 endpoints of a cluster changes', xds.oneChanged],
      ['all of 10,000 endpoints of a cluster change', xds.allChanged],
    ] as const) {
      lines.push(`  xDS             ${Math.round(wallMs)} ms  ${name} (longest step ${longestMs.toFixed(1)} ms)`);
    }
    process.stdout.write(
      `${lines.join('\n')}\n\nNode ${process.version}, ${cpus()[0]?.model}, ${cpus().length} cores\n`,
    );
    mkdirSync(dirname(resolve(json)), { recursive: true });
    writeFileSync(
      resolve(json),
      `${JSON.stringify({ services, rules, loads, edits, lookups, decisions, xds }, null, 2)}\n`,
    );
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10000' },
    rules: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'string', default: '.cache/bench-scale.json' },
  },
});
scale(Number(values.services), Number(values.rules), Number(values.rounds), values.json);
