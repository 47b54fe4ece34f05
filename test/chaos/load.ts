import { request } from 'undici';
import type { Mesh } from '../../src/index.ts';

/** What came of many calls. */
export interface Tally {
  readonly calls: number;
  /** `200`, `503 ERR_MESH_CONNECT_FAILED`, `body UND_ERR_SOCKET`, `error AbortError`, with counts. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Calls that did not end with 200 and a whole body. */
  readonly failures: number;
  /** Milliseconds from the call to the last byte, ascending. */
  readonly latencies: readonly number[];
  readonly ms: number;
}

export interface LoadOptions {
  readonly count: number;
  /** Calls at once. Default 10. */
  readonly concurrency?: number;
  readonly method?: string;
  readonly path?: string;
  readonly url?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Looks at each body; a text is what is wrong with it. */
  judge?(body: Buffer, headers: Record<string, string | string[] | undefined>): string | undefined;
  /** Pause before each call of a lane, milliseconds. */
  readonly pauseMs?: number;
  /** Ends early when true. */
  enough?(): boolean;
}

/** Calls `http://shop/` again and again; each call carries a number of its own in `x-call`. */
export async function load(mesh: Pick<Mesh, 'dispatcher'>, options: LoadOptions): Promise<Tally> {
  const outcomes: Record<string, number> = {};
  const latencies: number[] = [];
  let begun = 0;
  let failures = 0;
  const started = performance.now();
  const lane = async (): Promise<void> => {
    while (begun < options.count && options.enough?.() !== true) {
      const number = ++begun;
      if (options.pauseMs !== undefined) await pause(options.pauseMs);
      const from = performance.now();
      const outcome = await one(mesh, options, number);
      latencies.push(performance.now() - from);
      if (outcome !== '200') failures++;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: options.concurrency ?? 10 }, lane));
  latencies.sort((a, b) => a - b);
  return { calls: latencies.length, outcomes, failures, latencies, ms: performance.now() - started };
}

async function one(mesh: Pick<Mesh, 'dispatcher'>, options: LoadOptions, number: number): Promise<string> {
  const { body, headers = {}, judge, method = 'GET', path = '/', url = 'http://shop' } = options;
  try {
    const reply = await request(`${url}${path}`, {
      dispatcher: mesh.dispatcher,
      method: method as 'GET',
      headers: { 'x-call': String(number), ...headers },
      body: body ?? null,
    });
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of reply.body) chunks.push(chunk as Buffer);
    } catch (error) {
      return `body ${codeOf(error)}`;
    }
    if (reply.statusCode === 200) return judge?.(Buffer.concat(chunks), reply.headers) ?? '200';
    const reason = reply.headers['x-inmesh-error'];
    return reason === undefined ? `${reply.statusCode}` : `${reply.statusCode} ${reason}`;
  } catch (error) {
    return `error ${codeOf(error)}`;
  }
}

export function codeOf(error: unknown): string {
  const { code, name } = error as { readonly code?: string; readonly name?: string };
  return code ?? name ?? String(error);
}

/** The value below which `share` (0 to 1) of the ascending values are. */
export function percentile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until something has become true, at most `limitMs`; says whether it has. */
export async function within(limitMs: number, condition: () => boolean): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await pause(2);
  }
  return true;
}

/**
 * How late timers are because this thread was at work, by its processor time: other programs do not count, which on a
 * busy machine are most of {@link loopDelays}. Empty where Node.js cannot tell. Milliseconds ascending.
 */
export async function ownDelays(work: () => Promise<unknown>): Promise<readonly number[]> {
  const delays: number[] = [];
  const cpuMs = (): number | undefined => {
    const used = process.threadCpuUsage?.();
    return used && (used.user + used.system) / 1_000;
  };
  let running = true;
  const watch = (async () => {
    while (running) {
      const from = cpuMs();
      await pause(5);
      const to = cpuMs();
      if (from !== undefined && to !== undefined) delays.push(Math.max(0, to - from - 5));
    }
  })();
  await work();
  running = false;
  await watch;
  return delays.sort((a, b) => a - b);
}

/** How late timers are while something runs: the delay of the event loop, milliseconds ascending. */
export async function loopDelays(work: () => Promise<unknown>): Promise<readonly number[]> {
  const delays: number[] = [];
  let running = true;
  const watch = (async () => {
    while (running) {
      const from = performance.now();
      await pause(5);
      delays.push(Math.max(0, performance.now() - from - 5));
    }
  })();
  await work();
  running = false;
  await watch;
  return delays.sort((a, b) => a - b);
}
