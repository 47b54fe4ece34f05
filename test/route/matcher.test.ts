import t from 'tap';
import type { Route, RouteMatch } from '../../src/model/route.ts';
import { compileVirtualHost } from '../../src/route/matcher.ts';
import type { RoutableRequest } from '../../src/route/request-view.ts';
import { route } from '../support/snapshot.ts';

const request = (path: string, changes: Partial<RoutableRequest> = {}): RoutableRequest => ({
  method: 'GET',
  path,
  headers: [],
  secure: false,
  hostHeader: 'h',
  scope: undefined,
  ...changes,
});
const find = (routes: readonly Route[], path: string, headers: readonly string[] = []): string | undefined =>
  compileVirtualHost({ name: 'h:80', routes }).find(request(path, { headers: [...headers] }))?.route.name;
const matching = (name: string, ...matches: readonly RouteMatch[]): Route => route('c', { name, matches });

t.test('the first route that matches wins', async (t) => {
  const routes = [
    matching('exact', { path: { kind: 'exact', value: '/a' } }),
    matching('prefix', { path: { kind: 'prefix', value: '/a' } }),
    matching('regex', { path: { kind: 'regex', value: '/b/[0-9]+' } }),
    matching('rest'),
  ];
  t.equal(find(routes, '/a'), 'exact');
  t.equal(find(routes, '/a/1'), 'prefix');
  t.equal(find(routes, '/ab'), 'prefix', 'a prefix is not a path segment, as in Istio');
  t.equal(find(routes, '/b/17'), 'regex');
  t.equal(find(routes, '/b/x'), 'rest');
  t.equal(find([...routes].reverse(), '/a'), 'rest');
});

t.test('query and fragment do not take part in matching', async (t) => {
  const routes = [matching('exact', { path: { kind: 'exact', value: '/a' } })];
  t.equal(find(routes, '/a?x=/b'), 'exact');
  t.equal(find(routes, '/a#x'), 'exact');
  t.equal(find(routes, '/b?/a'), undefined);
});

t.test('the case of a path counts unless it is to be ignored', async (t) => {
  const path = { kind: 'prefix', value: '/Api' } as const;
  t.equal(find([matching('m', { path })], '/api/1'), undefined);
  t.equal(find([matching('m', { path, pathIgnoreCase: true })], '/aPI/1'), 'm');
});

t.test('any one match is enough, all conditions of it must hold', async (t) => {
  const routes = [
    matching(
      'm',
      { path: { kind: 'exact', value: '/a' } },
      {
        path: { kind: 'prefix', value: '/b' },
        headers: [
          { name: 'end-user', match: { kind: 'exact', value: 'jason' } },
          { name: 'x-canary', match: { kind: 'present' } },
        ],
      },
    ),
  ];
  t.equal(find(routes, '/a'), 'm');
  t.equal(find(routes, '/b', ['End-User', 'jason', 'X-Canary', '']), 'm');
  t.equal(find(routes, '/b', ['End-User', 'jason']), undefined, 'an absent header never matches');
  t.equal(find(routes, '/b', ['End-User', 'Jason', 'X-Canary', '1']), undefined, 'values have a case');
  t.equal(find(routes, '/c', ['End-User', 'jason', 'X-Canary', '1']), undefined);
});

t.test('headers: exact, prefix, suffix, regex', async (t) => {
  const rows: readonly (readonly [RouteMatch, string, string])[] = [
    [{ headers: [{ name: 'h', match: { kind: 'exact', value: 'v' } }] }, 'v', 'v1'],
    [{ headers: [{ name: 'h', match: { kind: 'prefix', value: 'v' } }] }, 'v1', 'w'],
    [{ headers: [{ name: 'h', match: { kind: 'suffix', value: 'v' } }] }, '1v', 'v1'],
    [{ headers: [{ name: 'h', match: { kind: 'regex', value: 'v.' } }] }, 'v1', 'v'],
  ];
  for (const [match, yes, no] of rows) {
    t.equal(find([matching('m', match)], '/', ['H', yes]), 'm', yes);
    t.equal(find([matching('m', match)], '/', ['H', no]), undefined, no);
  }
});

t.test('a header that stands there several times matches as one value', async (t) => {
  const routes = [matching('m', { headers: [{ name: 'h', match: { kind: 'exact', value: 'a,b' } }] })];
  t.equal(find(routes, '/', ['h', 'a', 'H', 'b']), 'm');
  t.equal(find(routes, '/', ['h', 'a']), undefined);
});

t.test('an empty match matches everything', async (t) => {
  t.equal(find([matching('m', {})], '/anything'), 'm');
});

t.test('a host without routes, or without one that fits, has no route', async (t) => {
  t.equal(find([], '/'), undefined);
  t.equal(find([matching('m', { path: { kind: 'exact', value: '/a' } })], '/b'), undefined);
});

t.test('the choice tells which match was met', async (t) => {
  const first: RouteMatch = { path: { kind: 'exact', value: '/a' } };
  const second: RouteMatch = { path: { kind: 'prefix', value: '/b' } };
  const choose = compileVirtualHost({ name: 'h:80', routes: [matching('m', first, second)] });
  t.equal(choose.find(request('/b/1'))?.match, second);
  t.equal(choose.find(request('/a'))?.match, first);
  t.equal(compileVirtualHost({ name: 'h:80', routes: [matching('m')] }).find(request('/'))?.match, undefined);
});
