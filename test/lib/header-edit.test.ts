import t from 'tap';
import { changeList, changeRaw, changeRecord, type HeaderChanges, removeHeader } from '../../src/lib/header-edit.ts';
import type { HeaderList } from '../../src/lib/header-list.ts';

const changes: HeaderChanges = {
  remove: ['gone', 'moved'],
  set: ['x', '2', 'new', 'n', 'moved', 'here'],
  add: ['more', 'b', 'x', '3'],
};

t.test('headers of a request: remove, then set, then add', async (t) => {
  const list: HeaderList = ['Gone', '1', 'X', '1', 'keep', 'k', 'GONE', '2', 'x', '1', 'More', 'a', 'moved', '1'];
  changeList(list, changes);
  t.same(list, ['X', '2', 'keep', 'k', 'More', 'a', 'new', 'n', 'moved', 'here', 'more', 'b', 'x', '3']);
});

t.test('parsed headers', async (t) => {
  const record = { gone: '1', x: ['1', '1'], keep: 'k', more: 'a', many: ['1', '2'] };
  changeRecord(record, { ...changes, add: [...changes.add, 'many', '3'] });
  t.same(record, { x: ['2', '3'], keep: 'k', more: ['a', 'b'], many: ['1', '2', '3'], new: 'n', moved: 'here' });
});

t.test('raw headers, as texts and as bytes', async (t) => {
  const raw = ['Gone', '1', 'X', '1', 'Keep', 'k', 'x', '1', 'More', 'ä'];
  const wanted = ['Keep', 'k', 'More', 'ä', 'x', '2', 'new', 'n', 'moved', 'here', 'more', 'b', 'x', '3'];
  t.same(changeRaw(raw, changes), wanted);
  const bytes = changeRaw(
    raw.map((each) => Buffer.from(each, 'latin1')),
    { ...changes, add: [...changes.add, 'y', 'ü'] },
  );
  t.ok(bytes.every((each) => Buffer.isBuffer(each)));
  t.same(
    bytes.map((each) => each.toString('latin1')),
    [...wanted, 'y', 'ü'],
  );
  t.equal(raw.length, 10, 'what was given stays');
});

t.test('removing what is not there changes nothing', async (t) => {
  const list: HeaderList = ['a', '1', 'b', ['2', '3']];
  removeHeader(list, 'c');
  t.same(list, ['a', '1', 'b', ['2', '3']]);
});
