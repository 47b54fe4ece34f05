// `npm run bench:mirror`: whether copies for a service that misbehaves are felt by the calls that are copied.
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { request, setGlobalDispatcher } from 'undici';
import { seededRandom } from '../../../src/lib/random.ts';
import { processors } from '../child.ts';
import { rawServer } from '../raw-server.ts';
import { expectOk } from '../variant.ts';
import { meshTo, resources, shadow, url } from '../variants/mesh.ts';
import { compare, type Pair } from './paired.ts';
import type { Misbehaviour } from './shadows.ts';

const kinds: readonly Misbehaviour[] = ['hang', 'reset', 'flood'];
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: kinds.join(',') },
    rate: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
    'window-ms': { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
  },
});
const rate = Number(values.rate);
/** Short against the half second or so between two stalls of a virtual machine: most windows have none. */
const windowMs = Number(values['window-ms']);
const random = seededRandom(Number(values.seed));

/** Pairs of windows before those that count: code that runs seldom, as that of copies, is compiled late. */
const warmUpPairs = 50;

/**
 * Who calls and who is called live in one thread, on a processor of their own. With a busy process on each of two
 * processors a virtual machine is stopped for milliseconds again and again, and that would be the p99.
 */
function pin(pid: number | undefined, processor: number | undefined): void {
  if (processor !== undefined) spawnSync('taskset', ['-acp', String(processor), String(pid)], { stdio: 'ignore' });
}

/** Pauses for garbage are the same for both sides, as long as these make the same of it: they are made between windows. */
const collect = (globalThis as { readonly gc?: (options: { readonly type: 'minor' }) => void }).gc;

/** Calls that were due so early in a window are not counted: what the window before left behind is not its own. */
const settlingMs = 10;

async function startShadow(kind: Misbehaviour): Promise<{ readonly port: number; readonly process: ChildProcess }> {
  const program = fileURLToPath(new URL('./shadow-process.ts', import.meta.url));
  const child = fork(program, [kind], { execArgv: [] });
  pin(child.pid, processors()[0]);
  const [port] = (await once(child, 'message')) as [number];
  return { port, process: child };
}

async function measure(kind: Misbehaviour, ports: readonly [number, number]): Promise<readonly Pair[]> {
  const { port, process: child } = await startShadow(kind);
  const copied = { match: [{ headers: { 'x-copied': { exact: 'yes' } } }], mirror: { host: 'shadow.bench' } };
  const mesh = await meshTo([...resources(ports, { first: copied }), shadow(port)]);
  setGlobalDispatcher(mesh.dispatcher);
  const headers = { on: { 'x-copied': 'yes' }, off: { 'x-copied': 'not' } } as const;
  let failed: unknown;
  const window = async (side: 'on' | 'off'): Promise<readonly number[]> => {
    const latencies: number[] = [];
    const under = new Set<Promise<void>>();
    const call = async (due: number, counts: boolean): Promise<void> => {
      try {
        const { statusCode, body } = await request(url, { headers: headers[side] });
        expectOk(statusCode);
        await body.text();
      } catch (error) {
        failed ??= error;
      }
      if (counts) latencies.push((performance.now() - due) * 1_000);
    };
    collect?.({ type: 'minor' });
    await pause(5);
    const start = performance.now();
    for (let due = start; due < start + windowMs; ) {
      for (const now = performance.now(); due <= now && due < start + windowMs; due += 1_000 / rate) {
        const made: Promise<void> = call(due, due >= start + settlingMs).finally(() => under.delete(made));
        under.add(made);
      }
      await nextTurn();
    }
    await Promise.all(under);
    if (failed !== undefined) throw failed;
    return latencies;
  };
  const pair = async (): Promise<Pair> => {
    if (random() < 0.5) return { on: await window('on'), off: await window('off') };
    const off = await window('off');
    return { on: await window('on'), off };
  };
  try {
    for (let i = 0; i < warmUpPairs; i++) await pair();
    const pairs: Pair[] = [];
    for (let i = 0; i < (Number(values.seconds) * 500) / windowMs; i++) pairs.push(await pair());
    return pairs;
  } finally {
    await mesh.close();
    child.kill();
  }
}

pin(process.pid, processors()[1]);
const targets = [rawServer(), rawServer()].map((server) => server.listen(0, '127.0.0.1'));
await Promise.all(targets.map((server) => once(server, 'listening')));
const [first = 0, second = 0] = targets.map((server) => (server.address() as AddressInfo).port);
process.stdout.write(`${rate} calls a second in windows of ${windowMs} ms, with copies and without, in random order\n`);
for (const kind of kinds.filter((each) => values.only.split(',').includes(each))) {
  const pairs = await measure(kind, [first, second]);
  for (const q of [0.5, 0.9, 0.95, 0.99]) {
    const { calls, from, off, on, ratio, to } = compare(pairs, q, random);
    const micros = `${on.toFixed(0)} µs with copies, ${off.toFixed(0)} µs without`;
    const interval = `${ratio.toFixed(3)} (95 %: ${from.toFixed(3)} to ${to.toFixed(3)})`;
    process.stdout.write(`a mirror that ${kind}s, p${q * 100}: ${interval}, ${micros}; ${calls} calls, 0 failed\n`);
  }
}
for (const server of targets) server.close();
