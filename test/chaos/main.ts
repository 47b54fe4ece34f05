// `npm run chaos`: faults, produced for real, and what came of them. docs/chaos.md says how to read it.
import { spawnSync } from 'node:child_process';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { CaseResult, ChaosCase } from './case.ts';
import { allCases } from './catalogue.ts';
import type { Size } from './lab.ts';
import { describe, summarize } from './report.ts';
import { missingOnThisMachine, runCase } from './run-case.ts';

const usage = `npm run chaos -- [--only EP-01,NET] [--bounded] [--quick] [--goals]
  --only      these cases: identifiers, or how they begin
  --bounded   fewer calls: what CI runs, a few minutes
  --quick     those that come out the same on any machine, in about a minute
  --goals     goals must be met, not only bounds: for a machine that does nothing else`;

interface Options {
  readonly only: readonly string[];
  readonly size: Size;
  readonly goals: boolean;
  /** Print results as JSON, for the process that started this one. */
  readonly json: boolean;
}

function parse(args: readonly string[]): Options {
  let only: readonly string[] = [];
  let size: Size = 'full';
  let json = false;
  let goals = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--only') only = (args[++i] ?? '').split(',').filter((id) => id !== '');
    else if (arg === '--bounded') size = 'bounded';
    else if (arg === '--quick') size = 'quick';
    else if (arg === '--goals') goals = true;
    else if (arg === '--json') json = true;
    else throw new Error(`unknown argument ${arg}\n${usage}`);
  }
  return { only, size, json, goals };
}

/** Runs a case in a process that has a network of its own. */
function runInside(each: ChaosCase, { goals, size }: Options): CaseResult {
  const args = ['--only', each.id, '--json', ...(size === 'full' ? [] : [`--${size}`]), ...(goals ? ['--goals'] : [])];
  const program = [process.execPath, '--conditions=@inmesh/source', fileURLToPath(import.meta.url), ...args];
  const env = { ...process.env, CHAOS_INSIDE: '1' };
  const child = spawnSync('unshare', ['-n', ...program], { env, encoding: 'utf8', timeout: 900_000 });
  const line = child.stdout.split('\n').find((text) => text.startsWith('{'));
  if (line !== undefined) return JSON.parse(line) as CaseResult;
  const reason = `the process in its own network ended with ${child.status ?? child.signal}: ${child.stderr}`;
  return { id: each.id, status: 'failed', measures: [], seconds: 0, reason };
}

async function main(): Promise<void> {
  // Where `ip` and `tc` are for those whose PATH has no programs of administrators.
  process.env['PATH'] = [process.env['PATH'], '/usr/sbin', '/sbin'].join(':');
  const options = parse(process.argv.slice(2));
  const { goals, json, only, size } = options;
  const inside = process.env['CHAOS_INSIDE'] === '1';
  if (inside) spawnSync('ip', ['link', 'set', 'lo', 'up']);
  const chosen = allCases
    .filter(({ id }) => only.length === 0 || only.some((text) => id === text || id.startsWith(`${text}-`)))
    .filter(({ quick }) => size !== 'quick' || quick === true);
  if (chosen.length === 0) throw new Error(`no case is called ${only.join(', ')}`);
  const results: CaseResult[] = [];
  const load = loadavg()[0]?.toFixed(1);
  const [{ model = 'unknown' } = {}] = cpus();
  if (!json) process.stdout.write(`Node ${process.version}, ${cpus().length} x ${model}, load average ${load}\n\n`);
  for (const each of chosen) {
    const elsewhere = each.needs === 'namespace' && !inside && missingOnThisMachine('namespace') === undefined;
    const result =
      elsewhere && each.pending === undefined ? runInside(each, options) : await runCase(each, size, goals);
    results.push(result);
    process.stdout.write(json ? `${JSON.stringify(result)}\n` : describe(each, result));
  }
  if (!json) process.stdout.write(summarize(results));
  process.exitCode = results.some(({ status }) => status === 'failed') ? 1 : 0;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
