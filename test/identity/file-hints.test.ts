import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { watchFolders } from '../../src/identity/file-hints.ts';
import { fakeClock } from '../support/fake-clock.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('a change in a watched folder ends a long wait soon', async (t) => {
  const folder = t.testdir();
  const clock = fakeClock();
  const hints = watchFolders([join(folder, 'key.pem'), join(folder, 'root.pem')]);
  hints.renew();
  let over = false;
  const waiting = hints.wait(clock, 86_400_000, new AbortController().signal).then(() => (over = true));
  clock.advance(1_000);
  await turn();
  t.notOk(over, 'nothing happened yet');
  writeFileSync(join(folder, 'key.pem'), 'x');
  while (!over) {
    await turn();
    clock.advance(1);
  }
  await waiting;
  t.equal(clock.pending(), 0);
  hints.close();
});

t.test('without a folder to watch only the time counts, until there is one', async (t) => {
  const folder = t.testdir();
  const certs = join(folder, 'later');
  const clock = fakeClock();
  const hints = watchFolders([join(certs, 'key.pem')]);
  hints.renew();
  const waiting = hints.wait(clock, 500, new AbortController().signal);
  clock.advance(500);
  await waiting;
  mkdirSync(certs);
  hints.renew();
  writeFileSync(join(certs, 'key.pem'), 'x');
  let over = false;
  void hints.wait(clock, 86_400_000, new AbortController().signal).then(() => (over = true));
  while (!over) {
    await turn();
    clock.advance(1);
  }
  hints.close();
  t.equal(clock.pending(), 0);
});

t.test('an abort ends a wait at once, before it and in it', async (t) => {
  const clock = fakeClock();
  const hints = watchFolders([join(t.testdir(), 'key.pem')]);
  await hints.wait(clock, 500, AbortSignal.abort());
  const abort = new AbortController();
  const waiting = hints.wait(clock, 500, abort.signal);
  abort.abort();
  await waiting;
  t.equal(clock.pending(), 0);
  hints.close();
});
