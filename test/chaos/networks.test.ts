import t from 'tap';
import { allCases } from './catalogue.ts';
import { testQuickCases } from './quick-cases.ts';

testQuickCases((id) => id.startsWith('NET-'));

t.test('identifiers are unique, and what is pending says why', async (t) => {
  const ids = allCases.map(({ id }) => id);
  t.same(ids, [...new Set(ids)]);
  for (const { id, pending, run } of allCases) t.ok(run !== undefined || pending !== undefined, id);
});
