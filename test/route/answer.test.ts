import t from 'tap';
import type { HeaderEdit, Route } from '../../src/model/route.ts';
import { compileAnswer } from '../../src/route/answer.ts';
import { routable } from '../support/routable.ts';
import { route } from '../support/snapshot.ts';

const answer = (changes: Partial<Route>, path = '/a') =>
  compileAnswer(route('', { destinations: [], ...changes }))?.(routable(path), undefined, 80);
const response = (edit: Partial<HeaderEdit>) => ({ headers: { response: { set: [], add: [], remove: [], ...edit } } });

t.test('a route to destinations answers nothing', async (t) => {
  t.equal(compileAnswer(route('c')), undefined);
});

t.test('a redirect has a location and no body', async (t) => {
  t.same(answer({ redirect: { status: 302, authority: 'new' } }), {
    status: 302,
    headers: { location: 'http://new/a', 'content-length': '0' },
    flag: '',
  });
});

t.test('a direct response has its body, as text', async (t) => {
  const { body, ...head } = answer({ direct: { status: 503, body: 'späte' } }) ?? {};
  t.same(head, { status: 503, headers: { 'content-type': 'text/plain', 'content-length': '6' }, flag: '' });
  t.equal(Buffer.from(body ?? []).toString(), 'späte');
  const bytes = answer({ direct: { status: 200, body: Uint8Array.of(1, 2, 255) } });
  t.same([...(bytes?.body ?? [])], [1, 2, 255]);
});

t.test('without a body there is no content type, also not one that is set', async (t) => {
  t.same(answer({ direct: { status: 404 } })?.headers, { 'content-length': '0' });
  const set = response({ set: [{ name: 'content-type', value: 'text/html' }] });
  t.same(answer({ direct: { status: 404 }, ...set })?.headers, { 'content-length': '0' });
});

t.test('204 and 304 have no body whatever is configured', async (t) => {
  t.same(answer({ direct: { status: 204, body: 'x' } }), { status: 204, headers: {}, flag: '' });
  t.equal(answer({ direct: { status: 304, body: 'x' } })?.body, undefined);
});

t.test('direct responses of a status that may have a location name the requested URL, as in Envoy', async (t) => {
  for (const status of [201, 301, 308]) t.equal(answer({ direct: { status } })?.headers['location'], 'http://h/a');
  for (const status of [200, 202, 404]) t.equal(answer({ direct: { status } })?.headers['location'], undefined);
});

t.test('header edits of the route apply to its answer', async (t) => {
  const edits = response({
    set: [
      { name: 'content-type', value: 'application/json' },
      { name: 'x-path', value: '%REQ(:path)%' },
    ],
    add: [
      { name: 'x-more', value: '1' },
      { name: 'x-more', value: '2' },
    ],
  });
  t.same(answer({ direct: { status: 200, body: '{}' }, ...edits }, '/a?b')?.headers, {
    'content-type': 'application/json',
    'content-length': '2',
    'x-path': '/a?b',
    'x-more': ['1', '2'],
  });
  const removed = answer({ redirect: { status: 301 }, ...response({ remove: ['location'] }) });
  t.same(removed?.headers, { 'content-length': '0' });
});

t.test('each request has an answer of its own', async (t) => {
  const make = compileAnswer(route('', { destinations: [], redirect: { status: 301 } }));
  t.equal(make?.(routable('/a'), undefined, 80).headers['location'], 'http://h/a');
  t.equal(make?.(routable('/b'), undefined, 80).headers['location'], 'http://h/b');
});
