import t from 'tap';
import { compileRegex, maxPatternLength, maxSubjectLength } from '../../src/lib/regex.ts';

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
