import { createPaint, wantsColor } from '../demo/ansi.ts';
import { Bookinfo } from '../demo/bookinfo.ts';
import { createRunFolder } from '../demo/folders.ts';
import type { Check } from './check.ts';
import { badYaml, changedWeight } from './configuration.ts';
import { ratingsDie, rotation } from './life.ts';
import { allReady, jasonGetsV2, split } from './routing.ts';
import { noCertificate, wrongCaller } from './security.ts';

const checks: readonly Check[] = [
  allReady,
  jasonGetsV2,
  split,
  wrongCaller,
  noCertificate,
  rotation,
  changedWeight,
  badYaml,
  ratingsDie,
];

/** Short, so that a rotation comes by soon. */
const certificateLifeMs = 30_000;
/** Something hangs: better a failure than a job that never ends. */
const limitMs = 180_000;

/** Brings Bookinfo up, checks every promise, stops every process. Returns the exit code. */
export async function runChecks(): Promise<number> {
  const paint = createPaint(wantsColor(process.stdout));
  const write = (line: string): void => void process.stdout.write(`${line}\n`);
  const bookinfo = new Bookinfo({ folder: createRunFolder('copy'), pagePort: 0, certificateLifeMs });
  const started = performance.now();
  const seconds = (since: number): string => `${((performance.now() - since) / 1_000).toFixed(1)} s`;
  const stopAndExit = (code: number): void => void bookinfo.stop().finally(() => process.exit(code));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopAndExit(130));
  const limit = setTimeout(() => {
    write(`${paint.bad('✗')} not done after ${limitMs / 1_000} s`);
    stopAndExit(1);
  }, limitMs);

  const failed: string[] = [];
  try {
    await bookinfo.start();
    write(paint.dim(`  Bookinfo is up at ${bookinfo.url} (${seconds(started)})`));
    for (const check of checks) {
      const from = performance.now();
      try {
        const figures = await check.run(bookinfo);
        write(`${paint.good('✓')} ${check.name} ${paint.dim(`— ${figures} (${seconds(from)})`)}`);
      } catch (error) {
        failed.push(check.name);
        const reason = error instanceof Error ? error.message : String(error);
        write(`${paint.bad('✗')} ${check.name} ${paint.bad(`— ${reason}`)} ${paint.dim(`(${seconds(from)})`)}`);
      }
    }
  } catch (error) {
    failed.push('bring-up');
    write(`${paint.bad('✗')} Bookinfo does not come up\n${error instanceof Error ? error.message : error}`);
  } finally {
    await bookinfo.stop();
    clearTimeout(limit);
  }
  if (failed.length > 0) write(`${failed.length} failed: ${failed.join('; ')}`);
  else write(`all ${checks.length} checks passed in ${seconds(started)}`);
  return failed.length === 0 ? 0 : 1;
}
