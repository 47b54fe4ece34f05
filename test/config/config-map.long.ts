import t from 'tap';
import { configMap, flipAllTheTime, watch } from './watched.ts';

t.test('CFG-021 of 1_000 flips of a ConfigMap none is missed', { timeout: 480_000 }, async (t) => {
  const { flip, folder } = await configMap(t);
  const watched = watch(t, folder);
  t.same(await watched.next(), ['update a0 b0']);
  for (let i = 1; i <= 1_000; i++) {
    await flip(i);
    const [event, ...others] = await watched.next();
    if (event !== `update a${i} b${i}` || others.length > 0) t.fail(`flip ${i}: ${event} ${others.join()}`);
  }
});

t.test('CFG-021 of 1_000 flips at any moment none is read half', { timeout: 480_000 }, async (t) => {
  await flipAllTheTime(t, 1_000);
});
