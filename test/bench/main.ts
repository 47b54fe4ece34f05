// `npm run bench`: what the mesh costs, measured against what it is built on. docs/benchmarks.md
// says how to read the result.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname, resolve } from 'node:path';
import { type BenchOptions, parseOptions, usage } from './arguments.ts';
import { processors, startWorker, type Worker } from './child.ts';
import type { Round } from './measure.ts';
import { formatTable, type Row, type Summary, summarize } from './report.ts';
import type { SecureTarget } from './secure.ts';
import { inboundVariants } from './variants/inbound.ts';
import { outboundVariants } from './variants/outbound.ts';
import { secureVariants } from './variants/secure.ts';

interface Lane {
  readonly name: string;
  readonly base: string;
  /** One measured round of this variant. */
  round(concurrency: number): Promise<Round>;
}

/** Everything whose name contains the text, the bases of that, and theirs. */
function select<T extends { name: string; base: string }>(variants: readonly T[], only: string): readonly T[] {
  const chosen = new Set(variants.filter(({ name }) => name.includes(only)).map(({ name }) => name));
  // A base comes before what is compared with it.
  for (const { base, name } of variants.toReversed()) if (chosen.has(name)) chosen.add(base);
  return variants.filter(({ name }) => chosen.has(name));
}

/** Each variant in a process of its own, so that none is compiled for the shapes of another. */
async function outboundLanes(options: BenchOptions, start: (core: 0 | 1) => Worker): Promise<readonly Lane[]> {
  const variants = select(outboundVariants, options.only);
  if (variants.length === 0) return [];
  const { ports = [] } = await start(1).ask({ do: 'target' });
  const lanes: Lane[] = [];
  for (const { name, base } of variants) {
    const worker = start(0);
    await worker.ask({ do: 'call', variant: name, ports: ports as [number, number] });
    lanes.push({
      name,
      base,
      round: async (concurrency) => (await worker.ask({ do: 'round', ...options, concurrency })).round as Round,
    });
  }
  return lanes;
}

/** The same over mutual TLS: connections that stay, and connections made anew for each call. */
async function secureLanes(options: BenchOptions, start: (core: 0 | 1) => Worker): Promise<readonly Lane[]> {
  const variants = select(secureVariants, options.only);
  if (variants.length === 0) return [];
  const { target } = await start(1).ask({ do: 'secure target' });
  const lanes: Lane[] = [];
  for (const { name, base } of variants) {
    const worker = start(0);
    await worker.ask({ do: 'call over TLS', variant: name, target: target as SecureTarget });
    lanes.push({
      name,
      base,
      round: async (concurrency) => (await worker.ask({ do: 'round', ...options, concurrency })).round as Round,
    });
  }
  return lanes;
}

/** The server under test on one core; the processor time is the server's. */
async function inboundLanes(options: BenchOptions, start: (core: 0 | 1) => Worker): Promise<readonly Lane[]> {
  const lanes: Lane[] = [];
  for (const { name, base } of select(inboundVariants, options.only)) {
    const server = start(1);
    const { folder, grpc, ports = [], tokens } = await server.ask({ do: 'serve', variant: name });
    const given = {
      ...(folder === undefined ? {} : { folder }),
      ...(tokens === undefined ? {} : { tokens }),
      ...(grpc === undefined ? {} : { grpc }),
    };
    lanes.push({
      name,
      base,
      async round(concurrency) {
        // Connected anew each time: a server closes connections that idle while others have their turn.
        const load = start(0);
        try {
          await load.ask({ do: 'load', port: ports[0] as number, connections: concurrency, ...given });
          await load.ask({ do: 'round', ...options, durationMs: options.warmUpMs, warmUpMs: 0, concurrency });
          const before = await server.ask({ do: 'cpu' });
          const { round } = await load.ask({ do: 'round', ...options, warmUpMs: 0, concurrency });
          const after = await server.ask({ do: 'cpu' });
          return { ...(round as Round), cpuMicros: (after.cpuMicros ?? 0) - (before.cpuMicros ?? 0) };
        } finally {
          await load.end();
        }
      },
    });
  }
  return lanes;
}

/** Rounds in turn, every other time backwards: what drifts while it runs hits all alike. */
async function measure(
  lanes: readonly Lane[],
  direction: Row['direction'],
  concurrency: number,
  rounds: number,
): Promise<readonly Row[]> {
  const results = new Map<Lane, Round[]>(lanes.map((lane) => [lane, []]));
  // Round 0 is for the compiler of Node and is not kept.
  for (let i = 0; i <= rounds; i++) {
    for (const lane of i % 2 === 0 ? lanes : lanes.toReversed()) {
      progress(`${direction}, ${concurrency} at a time, round ${i} of ${rounds}: ${lane.name}`);
      const round = await lane.round(concurrency);
      if (i > 0) results.get(lane)?.push(round);
    }
  }
  progress('');
  return lanes.map((lane) => ({
    name: lane.name,
    base: lane.base,
    direction,
    concurrency,
    rounds: results.get(lane) ?? [],
  }));
}

/** One line on a terminal, replaced by the next. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

function verdict(summaries: readonly Summary[]): string {
  const of = summaries.find(({ name, concurrency }) => /mesh\.dispatcher$/.test(name) && concurrency > 1);
  if (of === undefined || Number.isNaN(of.ofBase)) return '';
  const ratio = of.ofBase.toFixed(2);
  return `\ninmesh through mesh.dispatcher ÷ bare undici.request, ${of.concurrency} at a time: ${ratio} (budget: 0.80 now, 0.90 later)\n`;
}

const lanesOf = { outbound: outboundLanes, 'outbound, TLS': secureLanes, inbound: inboundLanes } as const;
const directions = Object.keys(lanesOf) as (keyof typeof lanesOf)[];

async function bench(options: BenchOptions): Promise<void> {
  const cores = processors();
  const pinned = cores.length >= 2;
  const workers: Worker[] = [];
  const start = (core: 0 | 1): Worker => {
    const worker = startWorker(pinned ? cores[core] : undefined);
    workers.push(worker);
    return worker;
  };
  const rows: Row[] = [];
  try {
    for (const direction of options.rate === undefined ? directions : (['outbound'] as const)) {
      const lanes = await lanesOf[direction](options, start);
      if (lanes.length === 0) continue;
      for (const concurrency of options.rate === undefined ? options.concurrencies : [options.rate]) {
        const measured = await measure(lanes, direction, concurrency, options.rounds);
        rows.push(...(options.rate === undefined ? measured : measured.map((row) => ({ ...row, isSteady: true }))));
      }
      for (const worker of workers.splice(0)) await worker.end();
    }
  } finally {
    await Promise.allSettled(workers.map((worker) => worker.end()));
  }
  if (rows.length === 0) throw new Error(`no variant has ${JSON.stringify(options.only)} in its name`);
  const summaries = summarize(rows);
  process.stdout.write(`${formatTable(summaries)}${options.rate === undefined ? verdict(summaries) : ''}`);
  const broken = rows.flatMap(({ name, rounds }) => {
    const first = rounds.find(({ firstError }) => firstError !== undefined)?.firstError;
    return first === undefined ? [] : [`${name}: ${first}`];
  });
  const undici = JSON.parse(readFileSync(new URL('../../node_modules/undici/package.json', import.meta.url), 'utf8'));
  const machine = {
    node: process.version,
    undici: undici.version,
    processor: cpus()[0]?.model,
    cores: cpus().length,
    pinned,
  };
  const path = resolve(options.json);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(
    path,
    `${JSON.stringify({ at: new Date().toISOString(), machine, options, summaries, rows }, null, 2)}\n`,
  );
  process.stdout.write(
    `\nNode ${process.version}, undici ${undici.version}, ${pinned ? 'pinned to two cores' : 'not pinned'}; ${path}\n`,
  );
  if (broken.length > 0) throw new Error(`calls failed, the figures are worthless:\n${broken.join('\n')}`);
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(usage);
  else await bench(options);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
