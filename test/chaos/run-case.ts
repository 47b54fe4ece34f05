import { spawnSync } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import type { CaseResult, ChaosCase } from './case.ts';
import { Lab, round, type Size } from './lab.ts';

/** Runs one case and says what was measured. It never throws. */
export async function runCase(each: ChaosCase, size: Size, goalsBind = false): Promise<CaseResult> {
  const { id } = each;
  const none = { id, measures: [], seconds: 0 };
  if (each.pending !== undefined || each.run === undefined) {
    return { ...none, status: 'pending', reason: each.pending ?? 'not written yet' };
  }
  const missing = each.needs === undefined ? undefined : missingOnThisMachine(each.needs);
  if (missing !== undefined) return { ...none, status: 'skipped', reason: missing };
  const lab = new Lab(size, goalsBind);
  const started = performance.now();
  const seconds = (): number => round((performance.now() - started) / 1_000);
  try {
    await inTime(each.run(lab), 'the case');
    await inTime(lab.close(), 'its end');
    const ok = lab.measures.length > 0 && lab.measures.every((measure) => measure.ok);
    const result = { id, measures: lab.measures, seconds: seconds() };
    if (each.defect !== undefined) return { ...result, status: 'defect', reason: each.defect };
    return { ...result, status: ok ? 'ok' : 'failed' };
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    await inTime(lab.close(), 'its end').catch(() => {});
    return { id, status: 'failed', measures: lab.measures, seconds: seconds(), reason };
  }
}

/** Why a case cannot be run here; nothing when it can. */
export function missingOnThisMachine(need: NonNullable<ChaosCase['needs']>): string | undefined {
  if (need === 'ipv6') {
    const found = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'));
    return found ? undefined : 'this machine has no ::1';
  }
  if (process.env['CHAOS_INSIDE'] === '1') return undefined;
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux';
  if (spawnSync('unshare', ['-n', 'true']).status !== 0) return 'unshare -n is not allowed here';
  const absent = ['ip', 'tc'].find((program) => spawnSync(program, ['-V']).status !== 0);
  if (absent !== undefined) return `there is no ${absent} command`;
  return undefined;
}

/** Longer than any case takes; a call that never ends must not stop the others. */
const patienceMs = 900_000;

async function inTime(work: Promise<void>, what: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${patienceMs} ms`)), patienceMs);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
