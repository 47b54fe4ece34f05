import t from 'tap';
import { compileStringMatch, type StringMatch } from '../../src/model/string-match.ts';

const table: readonly (readonly [StringMatch, boolean, readonly string[], readonly string[]])[] = [
  [{ kind: 'exact', value: '/a' }, false, ['/a'], ['/A', '/a/', '', '/ab']],
  [{ kind: 'exact', value: '/Ab' }, true, ['/Ab', '/AB', '/ab'], ['/abc']],
  [{ kind: 'exact', value: '' }, false, [''], ['a']],
  [{ kind: 'prefix', value: '/a' }, false, ['/a', '/ab', '/a/b'], ['/A', 'x/a', '']],
  [{ kind: 'prefix', value: '/A' }, true, ['/a', '/AB'], ['/b']],
  [{ kind: 'prefix', value: '' }, false, ['', 'anything'], []],
  [{ kind: 'suffix', value: '.com' }, false, ['.com', 'a.com'], ['a.COM', 'com', '.com.']],
  [{ kind: 'suffix', value: '.com' }, true, ['a.COM'], ['a.org']],
  [{ kind: 'regex', value: 'v[12]' }, false, ['v1', 'v2'], ['v3', 'xv1', 'v12', 'V1']],
  [{ kind: 'regex', value: 'v[12]' }, true, ['v1'], ['V1']],
  [{ kind: 'present' }, false, ['', 'x'], []],
  [{ kind: 'present' }, true, ['', 'x'], []],
];

for (const [match, ignoreCase, yes, no] of table) {
  const name = `${match.kind} ${'value' in match ? JSON.stringify(match.value) : ''}${ignoreCase ? ', any case' : ''}`;
  t.test(name, async (t) => {
    const matches = compileStringMatch(match, ignoreCase);
    for (const text of yes) t.ok(matches(text), `matches ${JSON.stringify(text)}`);
    for (const text of no) t.notOk(matches(text), `does not match ${JSON.stringify(text)}`);
  });
}

t.test('a kind from the future is refused, not ignored', async (t) => {
  const unknown = { kind: 'glob', value: '*' } as unknown as StringMatch;
  t.throws(() => compileStringMatch(unknown), { code: 'ERR_MESH_CONFIG_INVALID', message: /glob/ });
});
