import t from 'tap';
import { compileRegex, compileReplacement, maxPatternLength, maxSubjectLength } from '../../src/lib/regex.ts';

t.test('a pattern matches the whole text, as in Envoy', async (t) => {
  const matches = compileRegex('/reviews/[0-9]+');
  t.ok(matches('/reviews/17'));
  t.notOk(matches('/reviews/17/details'));
  t.notOk(matches('x/reviews/17'));
});

t.test('alternatives match as a whole too', async (t) => {
  const matches = compileRegex('a|ab');
  t.ok(matches('ab'));
  t.notOk(matches('abc'));
});

t.test('what JavaScript would backtrack on for ever takes no time', async (t) => {
  const matches = compileRegex('(a+)+b');
  t.notOk(matches('a'.repeat(5_000)));
});

t.test('patterns that are too long or not RE2 are refused with the reason', async (t) => {
  t.throws(() => compileRegex('a'.repeat(maxPatternLength + 1)), { code: 'ERR_MESH_CONFIG_INVALID', message: /1024/ });
  t.throws(() => compileRegex('(a'), { code: 'ERR_MESH_CONFIG_INVALID', message: /not a valid RE2 pattern/ });
  t.throws(() => compileRegex('(?=look)'), { code: 'ERR_MESH_CONFIG_INVALID' });
});

t.test('a text that is too long does not match', async (t) => {
  const matches = compileRegex('a*');
  t.ok(matches('a'.repeat(maxSubjectLength)));
  t.notOk(matches('a'.repeat(maxSubjectLength + 1)));
});

t.test('a replacement changes every match, as RE2 does it', async (t) => {
  const rows: readonly (readonly [string, string, string, string])[] = [
    ['/v[0-9]+', '', '/api/v1/x/v22', '/api/x'],
    ['^/service/([^/]+)(/.*)$', '\\2/instance/\\1', '/service/foo/v1/api', '/v1/api/instance/foo'],
    ['one', 'two', '/xxx/one/yyy/one/zzz', '/xxx/two/yyy/two/zzz'],
    ['^(.*?)one(.*)$', '\\1two\\2', '/xxx/one/yyy/one/zzz', '/xxx/two/yyy/one/zzz'],
    ['(?i)/xxx/', '/yyy/', '/aaa/XxX/bbb', '/aaa/yyy/bbb'],
    ['(a)|(b)', '[\\1\\2]', 'abc', '[a][b]c'],
    ['b+', '<\\0>', 'abbc', 'a<bb>c'],
    ['a', '\\\\1', 'a', '\\1'],
    ['a', '$1$&', 'a', '$1$&'],
    ['x*', '-', 'xxb', '-b-'],
    ['x*', '-', '😀', '-😀-'],
    ['b*', 'bb', 'ppppp', 'bbpbbpbbpbbpbbpbb'],
    ['nothing', 'x', '/a', '/a'],
  ];
  for (const [pattern, substitution, text, wanted] of rows) {
    t.equal(compileReplacement(pattern, substitution)(text), wanted, `${pattern} → ${substitution}`);
  }
});

t.test('a substitution may only refer to what the pattern has', async (t) => {
  const refused = { code: 'ERR_MESH_CONFIG_INVALID' };
  t.throws(() => compileReplacement('(a)', '\\2'), { ...refused, message: /\\2 .* has 1/ });
  t.throws(() => compileReplacement('a', '\\x'), { ...refused, message: /backslash/ });
  t.throws(() => compileReplacement('a', 'x\\'), { ...refused, message: /backslash/ });
  t.throws(() => compileReplacement('(a', ''), refused);
});

t.test('a text that is too long is not rewritten', async (t) => {
  const long = 'a'.repeat(maxSubjectLength + 1);
  t.equal(compileReplacement('a', 'b')(long), long);
});
