import t from 'tap';
import type { ChaosCase } from './case.ts';
import { allCases } from './catalogue.ts';
import { runCase } from './run-case.ts';

/** The cases of an area that are quick, and come out the same on a busy machine, as tests. */
export function testQuickCases(belongs: (id: string) => boolean): void {
  const isQuick = ({ defect, id, pending, quick }: ChaosCase): boolean =>
    quick === true && defect === undefined && pending === undefined && belongs(id);
  for (const each of allCases.filter(isQuick)) {
    t.test(`${each.id} ${each.fault}: ${each.expected}`, async (t) => {
      const { measures, reason, status } = await runCase(each, 'quick');
      for (const { ok, text } of measures) t.ok(ok, text);
      // What this machine cannot do is nobody's fault.
      if (status !== 'skipped') t.equal(reason, undefined);
      t.not(status, 'failed');
    });
  }
}
