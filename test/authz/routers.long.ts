import t from 'tap';
import { countOf, stringAt } from '../support/paths/alphabet.ts';
import { findBypasses } from '../support/paths/bypasses.ts';
import { guards } from '../support/paths/guards.ts';
import { routersUnderTest } from '../support/paths/routers.ts';

t.setTimeout(900_000);

function* all(): Generator<string> {
  for (let i = 0; i < countOf(5); i++) yield `/${stringAt(i)}`;
}

t.test('of 579,194 targets none gets past policy to a handler that it guards, in any router and mode', async (t) => {
  const routers = await routersUnderTest();
  const started = performance.now();
  const { bypasses, asked, guarded } = await findBypasses(all(), routers, guards());
  t.same(bypasses.slice(0, 100), []);
  t.ok(asked > 300_000);
  t.ok(guarded > 5_000_000);
  const seconds = ((performance.now() - started) / 1_000).toFixed(0);
  t.comment(`${asked} requests, ${routers.length} readers, ${guarded} refusals that were needed, ${seconds} s`);
  for (const { close } of routers) await close();
});
