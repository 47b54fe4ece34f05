import t from 'tap';
import { formatPath } from '../../src/config/document.ts';
import type { HttpMatchSpec } from '../../src/config/istio-virtual-service.ts';
import { findUnusedRules } from '../../src/config/unused-rules.ts';

const http = (...rules: readonly (readonly HttpMatchSpec[])[]): readonly string[] =>
  findUnusedRules({ http: rules.map((match) => ({ match })) }).map(
    ({ path, reason }) => `${formatPath(path)}: ${reason}`,
  );
const a = { uri: { prefix: '/a' } };
const ab = { uri: { prefix: '/a/b' } };

t.test('rules that can all be reached say nothing', async (t) => {
  t.same(http([a], [{ uri: { prefix: '/b' } }], []), []);
  t.same(http([ab], [a]), []);
  t.same(http(), []);
});

t.test('what stands after a rule without conditions is never reached', async (t) => {
  t.same(http([], [a], []), [
    'http[1]: http[0] has no conditions and takes everything',
    'http[2]: http[0] has no conditions and takes everything',
  ]);
  t.match(findUnusedRules({ http: [{ name: 'all' }, { match: [a] }] }), [{ reason: /^rule all has/ }]);
});

t.test('a rule that delegates may let requests through', async (t) => {
  const delegate = { name: 'd' };
  t.same(findUnusedRules({ http: [{ delegate }, { match: [a] }, { match: [a], delegate }, { match: [ab] }] }), [
    { path: ['http', 2], reason: 'http[1] has the same conditions' },
    { path: ['http', 3, 'match', 0], reason: 'http[1] takes all paths that begin with /a before it' },
  ]);
  t.same(findUnusedRules({ http: [{ match: [a], delegate }, { match: [ab] }] }), []);
});

t.test('conditions that are there already', async (t) => {
  t.same(http([a], [a]), ['http[1]: http[0] has the same conditions']);
  t.same(http([a], [{ name: 'other', ...a }]), ['http[1]: http[0] has the same conditions']);
  t.same(http([a, { method: { exact: 'GET' } }], [{ method: { exact: 'GET' } }, { port: 1 }]), [
    'http[1].match[0]: http[0] has the same conditions',
  ]);
  t.same(
    http([{ headers: { x: {}, y: {} } }], [{ headers: { y: {}, x: {} } }]),
    ['http[1]: http[0] has the same conditions'],
    'in any order',
  );
  const match = { sniHosts: ['a'] };
  t.match(findUnusedRules({ tls: [{ match: [match] }, { match: [match] }] }), [{ path: ['tls', 1] }]);
  t.match(findUnusedRules({ tcp: [{}, { match: [{ port: 1 }] }] }), [{ path: ['tcp', 1] }]);
});

t.test('paths that an earlier prefix takes', async (t) => {
  const covered = ['http[1].match[0]: http[0] takes all paths that begin with /a before it'];
  const cases: readonly (readonly [before: HttpMatchSpec, after: HttpMatchSpec, is: boolean])[] = [
    [a, ab, true],
    [a, { uri: { exact: '/a' } }, true],
    [a, { uri: { exact: '/b' } }, false],
    [a, { uri: { regex: '/a/b' } }, false],
    [a, { ...ab, method: { exact: 'GET' } }, true],
    [{ ...a, method: { exact: 'GET' } }, ab, false],
    [{ ...a, method: { exact: 'GET' } }, { ...ab, method: { exact: 'PUT' } }, false],
    [{ ...a, method: { prefix: 'P' } }, { ...ab, method: { exact: 'PUT' } }, true],
    [{ ...a, headers: { x: {} } }, { ...ab, headers: { x: { exact: '1' } } }, true],
    [{ ...a, headers: { x: { exact: '1' } } }, { ...ab, headers: { y: { exact: '1' } } }, false],
    [{ ...a, headers: { x: { regex: '1' } } }, { ...ab, headers: { x: { regex: '1' }, y: {} } }, true],
    [{ ...a, queryParams: { q: { exact: '1' } } }, { ...ab, queryParams: { q: { exact: '2' } } }, false],
    [{ ...a, authority: { exact: 'h' } }, { ...ab, authority: { exact: 'h' } }, true],
    [{ ...a, withoutHeaders: { x: {} } }, ab, false],
    [{ ...a, port: 80 }, ab, false],
    [{ ...a, sourceNamespace: 'n' }, ab, false],
    [{ ...a, ignoreUriCase: true }, ab, false],
  ];
  for (const [before, after, is] of cases)
    t.same(http([before], [after]), is ? covered : [], JSON.stringify([before, after]));
});
