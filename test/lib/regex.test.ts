import t from 'tap';
import {
  compileRegex,
  compileReplacement,
  maxPatternLength,
  maxProgramSize,
  maxRegexWork,
  maxSubjectLength,
  subjectLimit,
} from '../../src/lib/regex.ts';

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

t.test('RE-002 what JavaScript would backtrack on for ever takes no time', async (t) => {
  t.notOk(compileRegex('(a+)+b')('a'.repeat(5_000)));
  t.notOk(compileRegex('(x+x+)+y')('x'.repeat(28)));
  t.notOk(compileRegex('(.*)*(.*)*=')('x'.repeat(5_000)));
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

const refused = { code: 'ERR_MESH_CONFIG_INVALID' };

t.test('RE-005 huge repetitions are refused', async (t) => {
  for (const pattern of ['a{100000}', '((a{100}){100}){100}', 'a{1001}', '(((a{10}){10}){10}){10}']) {
    t.throws(() => compileRegex(pattern), { ...refused, message: /not a valid RE2 pattern|compiles to/ }, pattern);
  }
});

t.test('RE-007 a pattern without anchors is no search', async (t) => {
  const matches = compileRegex('/api');
  t.ok(matches('/api'));
  for (const text of ['/api-private', '/api/', 'x/api', '/api\n', '\n/api', '/API']) t.notOk(matches(text), text);
});

t.test('RE-008 flags inside a pattern and anchors work as in RE2', async (t) => {
  t.ok(compileRegex('(?i)/admin')('/ADMIN'));
  t.notOk(compileRegex('/admin')('/ADMIN'));
  t.ok(compileRegex('^/admin$')('/admin'));
  t.notOk(compileRegex('(?m)^/admin$')('/x\n/admin'), 'a line is not the whole text');
  t.notOk(compileRegex('/a.b')('/a\nb'));
  t.ok(compileRegex('(?s)/a.b')('/a\nb'));
});

t.test('RE-009 a pattern that compiles to more than its text shows is refused', async (t) => {
  const message = new RegExp(`compiles to 1\\d{3} instructions, at most ${maxProgramSize} are allowed`);
  t.throws(() => compileRegex('([a-z]{0,20}){0,40}x'), { ...refused, message });
  t.throws(() => compileReplacement('(a{0,30}){0,30}', ''), { ...refused, message });
});

t.test('RE-009 the wider a pattern is, the shorter the texts that it is matched with', async (t) => {
  t.equal(subjectLimit('/a/[0-9]+'), maxSubjectLength);
  t.equal(subjectLimit('^(.*?;)?(user=jason)(;.*)?$') > 4_500, true, 'cookies of any honest size');
  const wide = '(?:a?){400}';
  const limit = subjectLimit(wide);
  t.ok(limit > 150 && limit < maxRegexWork / 400, String(limit));
  t.ok(compileRegex(`(?:${wide})a*`)('a'.repeat(limit - 20)));
  t.notOk(compileRegex(`(?:${wide})a*`)('a'.repeat(limit + 1)), 'a longer one does not match');
  t.equal(compileReplacement(wide, 'b')('a'.repeat(limit + 1)), 'a'.repeat(limit + 1));
  t.throws(() => subjectLimit('('), refused);
});

t.test('RE-010 a pattern may match the empty text', async (t) => {
  t.ok(compileRegex('.*')(''));
  t.ok(compileRegex('')(''));
  t.notOk(compileRegex('')('a'));
});

t.test('a pattern in which nothing has a meaning is compared, at any length', async (t) => {
  const text = `/${'a'.repeat(maxPatternLength - 1)}`;
  t.ok(compileRegex(text)(text));
  t.notOk(compileRegex(text)(`${text}a`));
  t.equal(subjectLimit(text), maxSubjectLength);
  t.ok(compileRegex('/a b-c_d~e:f@g!h%20&i=j,k;l"m\'n<o>#')('/a b-c_d~e:f@g!h%20&i=j,k;l"m\'n<o>#'));
});

t.test('a text in which too much would have to be looked for stays as it is', async (t) => {
  // Each match is one character, and each search for the next reads all that is left.
  const replace = compileReplacement('(a.*z)|a', 'b');
  t.equal(replace('a'.repeat(100)), 'b'.repeat(100));
  t.equal(replace('a'.repeat(5_000)), 'a'.repeat(5_000));
});
