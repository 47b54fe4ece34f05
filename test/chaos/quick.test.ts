// The cases of `npm run chaos` that are quick, and come out the same on a busy machine.
import t from 'tap';
import { allCases } from './catalogue.ts';
import { runCase } from './run-case.ts';

for (const each of allCases.filter(({ defect, pending, quick }) => quick && !defect && !pending)) {
  t.test(`${each.id} ${each.fault}: ${each.expected}`, async (t) => {
    const { measures, reason, status } = await runCase(each, 'quick');
    for (const { ok, text } of measures) t.ok(ok, text);
    t.equal(reason, undefined);
    t.equal(status, 'ok');
  });
}

t.test('identifiers are unique, and what is pending says why', async (t) => {
  const ids = allCases.map(({ id }) => id);
  t.same(ids, [...new Set(ids)]);
  for (const { id, pending, run } of allCases) t.ok(run !== undefined || pending !== undefined, id);
});
