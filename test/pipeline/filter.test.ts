import t from 'tap';
import { compose, type Filter } from '../../src/pipeline/filter.ts';

const note =
  (name: string): Filter<string[], string> =>
  async (call, next) => {
    call.push(`${name} in`);
    const reply = await next(call);
    call.push(`${name} out`);
    return reply;
  };

t.test('the first filter is the outermost', async (t) => {
  const log: string[] = [];
  const service = compose([note('a'), note('b')], async (call: string[]) => {
    call.push('terminal');
    return 'reply';
  });
  t.equal(await service(log), 'reply');
  t.same(log, ['a in', 'b in', 'terminal', 'b out', 'a out']);
});

t.test('without filters the terminal itself answers', async (t) => {
  const terminal = async (): Promise<string> => 'reply';
  t.equal(compose([], terminal), terminal);
});

t.test('a filter may answer itself, and may call next again', async (t) => {
  let calls = 0;
  const terminal = async (): Promise<number> => ++calls;
  t.equal(await compose([async () => 7], terminal)(undefined), 7);
  t.equal(calls, 0);
  const twice: Filter<undefined, number> = async (call, next) => {
    await next(call);
    return next(call);
  };
  t.equal(await compose([twice, twice], terminal)(undefined), 4);
});

t.test('composing does not hold on to the list', async (t) => {
  const filters = [note('a')];
  const service = compose(filters, async () => 'reply');
  filters.length = 0;
  const log: string[] = [];
  await service(log);
  t.same(log, ['a in', 'a out']);
});
