import t from 'tap';
import type { Rewrite, RouteMatch } from '../../src/model/route.ts';
import { compilePathRewrite } from '../../src/route/rewrite.ts';

const prefix = (value: string): RouteMatch => ({ path: { kind: 'prefix', value } });
const exact = (value: string): RouteMatch => ({ path: { kind: 'exact', value } });
const regex = (value: string): RouteMatch => ({ path: { kind: 'regex', value } });

const table: readonly (readonly [string, string, Rewrite, RouteMatch | undefined, string])[] = [
  ['nothing to rewrite', '/a?x=1', {}, prefix('/a'), '/a?x=1'],
  ['only the authority', '/a', { authority: 'b' }, prefix('/a'), '/a'],
  ['prefix', '/old/1', { pathPrefix: '/new' }, prefix('/old'), '/new/1'],
  ['prefix with query', '/old/1?a=b/old', { pathPrefix: '/new' }, prefix('/old'), '/new/1?a=b/old'],
  ['prefix is the whole path', '/old', { pathPrefix: '/new' }, prefix('/old'), '/new'],
  ['prefix to the root', '/old/1', { pathPrefix: '/' }, prefix('/old/'), '/1'],
  ['prefix to the root doubles the slash, as in Envoy', '/old/1', { pathPrefix: '/' }, prefix('/old'), '//1'],
  ['prefix from the root', '/1', { pathPrefix: '/v2/' }, prefix('/'), '/v2/1'],
  ['prefix in another case', '/OLD/1', { pathPrefix: '/new' }, { ...prefix('/old'), pathIgnoreCase: true }, '/new/1'],
  ['exact', '/old', { pathPrefix: '/new' }, exact('/old'), '/new'],
  ['exact with query', '/old?x=1', { pathPrefix: '/new' }, exact('/old'), '/new?x=1'],
  ['regex replaces the whole path', '/a/b/c?x=1', { pathPrefix: '/new' }, regex('/a/.*'), '/new?x=1'],
  ['no match at all is prefix /', '/a?x=1', { pathPrefix: '/v2/' }, undefined, '/v2/a?x=1'],
  ['regex', '/api/v1/x?v1', { pathRegex: { pattern: '/v[0-9]+', substitution: '' } }, prefix('/api'), '/api/x?v1'],
  [
    'regex with groups',
    '/service/foo/v1/api',
    { pathRegex: { pattern: '^/service/([^/]+)(/.*)$', substitution: '\\2/instance/\\1' } },
    undefined,
    '/v1/api/instance/foo',
  ],
  ['regex without a match', '/a?b', { pathRegex: { pattern: 'x', substitution: 'y' } }, undefined, '/a?b'],
  ['what has no slash gets one', '/old/1', { pathPrefix: 'new' }, prefix('/old'), '/new/1'],
  ['nothing left of a path', '/old?x', { pathRegex: { pattern: '/old', substitution: '' } }, undefined, '/?x'],
  ['a match of headers only is prefix /', '/a', { pathPrefix: '/v2/' }, { headers: [] }, '/v2/a'],
];

for (const [name, target, rewrite, match, wanted] of table) {
  t.test(name, async (t) => {
    t.equal(compilePathRewrite(rewrite)?.(target, match) ?? target, wanted);
  });
}
