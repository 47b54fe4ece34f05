import t from 'tap';
import { changeList } from '../../src/lib/header-edit.ts';
import type { HeaderList } from '../../src/lib/header-list.ts';
import type { HeaderEdit, HeaderEdits } from '../../src/model/route.ts';
import { formatContext } from '../../src/route/format-context.ts';
import { changesOf, compileEdits } from '../../src/route/header-edits.ts';
import { routable } from '../support/routable.ts';

type Pairs = Readonly<Record<string, string>>;
const edit = (set: Pairs = {}, add: Pairs = {}, remove: readonly string[] = []): HeaderEdit => {
  const values = (pairs: Pairs) => Object.entries(pairs).map(([name, value]) => ({ name, value }));
  return { set: values(set), add: values(add), remove };
};
const request = (set?: Pairs, add?: Pairs, remove?: readonly string[]): HeaderEdits => ({
  request: edit(set, add, remove),
});

/** Headers as they are sent. */
function sent(headers: HeaderList, route?: HeaderEdits, destination?: HeaderEdits, isAlone = false): HeaderList {
  const view = routable('/p?q', { headers });
  for (const level of compileEdits(route, destination, isAlone).request) {
    changeList(
      headers,
      changesOf(level, () => formatContext(view, 'r', 0)),
    );
  }
  return headers;
}

t.test('beside other destinations, those of the destination come first: the route has the last word', async (t) => {
  t.same(sent([], request({ x: 'route' }), request({ x: 'destination' })), ['x', 'route']);
  t.same(sent([], request({}, { x: 'route' }), request({}, { x: 'destination' })), ['x', 'destination', 'x', 'route']);
  t.same(sent([], request({}, {}, ['x']), request({ x: 'destination' })), []);
});

t.test('a destination alone is one level with its route, and has the last word', async (t) => {
  t.same(sent([], request({ x: 'route' }), request({ x: 'destination' }), true), ['x', 'destination']);
  t.same(sent([], request({}, { x: 'r' }), request({}, { x: 'd' }), true), ['x', 'r', 'x', 'd']);
  t.same(sent([], request({}, {}, ['x']), request({ x: 'd' }), true), ['x', 'd'], 'removed before anything is set');
  t.same(sent(['x', 'own'], request({ x: 'r' }), undefined, true), ['x', 'r']);
  t.same(sent(['x', 'own'], undefined, request({ x: 'd' }), true), ['x', 'd']);
});

t.test('values see the request; what is left empty changes nothing', async (t) => {
  t.same(sent(['a', '1'], request({ b: '%REQ(a)%-%REQ(:path)%' })), ['a', '1', 'b', '1-/p?q']);
  t.same(sent(['a', '1'], request({ a: '%REQ(none)%' })), ['a', '1']);
  t.same(sent(['a', '1'], request({ a: '' }, { b: '' })), ['a', '1']);
  t.same(sent(['a', '1'], request({ b: '%REQ(a)%' }, {}, ['a'])), [], 'what was removed can no longer be seen');
  t.same(
    sent([], request({ y: '%REQ(x)%' }), request({ x: '1' })),
    ['x', '1', 'y', '1'],
    'a later level sees what an earlier one did',
  );
});

t.test('some edits count only where a header is there, or is not; some leave an empty one', async (t) => {
  const level = (set: HeaderEdit['set'], add: HeaderEdit['add'], remove: readonly string[] = []): HeaderEdits => ({
    request: { set, add, remove },
  });
  const absent = [{ name: 'x', value: 'new', when: 'absent' }] as const;
  const present = [{ name: 'x', value: 'new', when: 'present' }] as const;
  t.same(sent(['X', 'own'], level([], absent)), ['X', 'own']);
  t.same(sent([], level([], absent)), ['x', 'new']);
  t.same(sent(['x', 'own'], level([], absent, ['x'])), ['x', 'new'], 'after what is removed');
  t.same(sent(['x', 'own', 'x', 'b'], level(present, [])), ['x', 'new']);
  t.same(sent([], level(present, [])), []);
  t.same(sent([], level([{ name: 'x', value: 'set' }], absent)), ['x', 'set', 'x', 'new'], 'before what is set');
  t.same(sent([], level([], absent), level([{ name: 'x', value: 'd' }], [])), ['x', 'd'], 'of its own level alone');
  t.same(sent([], level([], [{ name: 'x', value: '', keepEmpty: true }])), ['x', '']);
  t.same(sent(['x', 'a'], level([{ name: 'x', value: '%REQ(none)%', keepEmpty: true }], [])), ['x', '']);
  const response = compileEdits({ response: { set: present, add: [], remove: [] } }, undefined, true).response[0];
  const changes = (headers: Record<string, string>) =>
    response && changesOf(response, () => formatContext(routable('/'), 'r', 0, 200, headers));
  t.same(changes({ x: 'own' })?.set, ['x', 'new']);
  t.same(changes({})?.set, []);
});

t.test('authority: what is set before what is added, the route before the destination', async (t) => {
  const authority = (route?: HeaderEdits, destination?: HeaderEdits) =>
    compileEdits(route, destination, false).authority;
  t.equal(authority(request({ host: 'a' })), 'a');
  t.equal(authority(request({ ':authority': 'a' })), 'a');
  t.equal(authority(request({ host: 'a' }, { ':authority': 'b' })), 'a');
  t.equal(authority(request({}, { host: 'b' })), 'b');
  t.equal(authority(request({ host: 'a' }), request({ host: 'b' })), 'a');
  t.equal(authority(undefined, request({ host: 'b' })), 'b');
  t.equal(authority(request({ host: '' })), undefined);
  t.equal(authority({ response: edit({ host: 'a' }) }), undefined);
});

t.test('properties and framing of a request are no headers to change', async (t) => {
  const names = [
    'host',
    ':authority',
    ':path',
    ':method',
    'content-length',
    'transfer-encoding',
    'connection',
    'upgrade',
  ];
  const all = Object.fromEntries(names.map((name) => [name, '1']));
  t.same(compileEdits(request(all, all, names), undefined, false).request, []);
  const [response] = compileEdits(
    { response: edit({ 'content-length': '1', ':status': '200' }) },
    undefined,
    false,
  ).response;
  t.same(response?.fixed?.set, ['content-length', '1'], 'of a response only its properties');
});

t.test('nothing configured is no level', async (t) => {
  t.same(compileEdits(undefined, undefined, false), { request: [], response: [], authority: undefined });
  t.same(compileEdits(request(), { response: edit() }, true), { request: [], response: [], authority: undefined });
});
