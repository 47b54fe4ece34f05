import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import t from 'tap';
import { createTrustWatch } from '../../src/transport/trust-watch.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const setUp = () => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const untrusted = new Set<number>();
  const watch = createTrustWatch(clock, logger);
  let checks = 0;
  const connect = (number: number): PassThrough => {
    const connection = new PassThrough();
    connection.on('error', () => {});
    watch.add(connection, () => {
      checks++;
      if (untrusted.has(number)) throw new Error(`${number} is not trusted`);
    });
    return connection;
  };
  return { clock, logger, untrusted, watch, connect, checks: () => checks };
};
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

t.test('closes what is no longer trusted when trust changes, and nothing else', async (t) => {
  const { connect, logger, untrusted, watch } = setUp();
  const [good, bad] = [connect(1), connect(2)];
  watch.review();
  await turn();
  t.notOk(good.destroyed || bad.destroyed);
  t.same(logger.lines, []);
  untrusted.add(2);
  const closed = once(bad, 'error');
  watch.review();
  t.notOk(bad.destroyed, 'whoever hears of the change later has heard of it first');
  t.match(await closed, [{ message: '2 is not trusted' }]);
  t.notOk(good.destroyed);
  t.match(logger.lines, [
    { level: 'warn', message: /connections were closed/, fields: { connections: 1, error: '2 is not trusted' } },
  ]);
});

t.test('notices within a second what runs out by itself', async (t) => {
  const { clock, connect, untrusted } = setUp();
  const connection = connect(1);
  untrusted.add(1);
  clock.advance(999);
  t.notOk(connection.destroyed);
  clock.advance(1);
  t.ok(connection.destroyed);
});

t.test('looks at many, not all in one turn, and leaves nothing behind', async (t) => {
  const { clock, connect, untrusted, watch, checks } = setUp();
  const all = Array.from({ length: 300 }, (_, i) => connect(i));
  for (let i = 0; i < 300; i += 2) untrusted.add(i);
  watch.review();
  await turn();
  t.equal(checks(), 128);
  watch.review();
  for (let i = 0; i < 10; i++) await turn();
  t.equal(all.filter(({ destroyed }) => destroyed).length, 150);
  t.equal(checks(), 300 + 150, 'a change meanwhile is looked at once more');
  for (const connection of all) connection.destroy();
  await turn();
  clock.advance(1_000);
  t.equal(clock.pending(), 0, 'no connections, no timer');
});

t.test('ends', async (t) => {
  const { clock, connect, untrusted, watch } = setUp();
  const connection = connect(1);
  untrusted.add(1);
  watch.close();
  watch.review();
  await turn();
  clock.advance(5_000);
  t.notOk(connection.destroyed);
  t.equal(clock.pending(), 0);
});
