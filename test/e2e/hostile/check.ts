import type { Test } from 'tap';
import { HostileRun } from './throw.ts';

/** Throws the bytes of these seeds. At least so many requests must get as far as an application. */
export async function throwAll(
  t: Test,
  { atLeast, count, from }: { readonly from: number; readonly count: number; readonly atLeast: number },
): Promise<void> {
  const run = new HostileRun();
  t.teardown(() => run.stop());
  const names = await run.start();
  const { escaped, handled, unserved } = await run.throw(from, count);
  t.same(escaped, [], 'nothing that nobody caught');
  t.same(unserved, [], `others are served: ${names.join(', ')}`);
  t.ok(handled >= atLeast, `${handled} of the requests got as far as an application, at least ${atLeast} are known`);
}
