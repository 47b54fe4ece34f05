import fc from 'fast-check';
import Fastify, { type FastifyServerOptions } from 'fastify';
import t from 'tap';
import { extractTokens, maxTokensPerRequest, withoutParam } from '../../src/jwt/extract.ts';
import { compileTokenRules } from '../../src/jwt/rules.ts';
import { decodedQuery, rootOfName } from '../../src/lib/query-name.ts';
import { inlineKeysOf, jwksOf, makeTokenKey, tokenRule } from '../support/tokens.ts';

const jwks = jwksOf(makeTokenKey('ES256'));
const keysOf = inlineKeysOf();
const rulesFor = (params: readonly string[], cookies: readonly string[] = []) =>
  compileTokenRules([tokenRule(jwks, { fromParams: params, fromCookies: cookies })], (rule) => ({
    rule,
    source: keysOf(rule),
  }));
/** Fastify knows the option, its types do not. */
const semicolons = { routerOptions: { useSemicolonDelimiter: true } } as FastifyServerOptions;
const isFor = (raw: string, wanted: string): boolean => {
  const name = decodedQuery(raw);
  return name === wanted || rootOfName(name) === wanted;
};

t.test('names of parameters are looked at as their readers decode them', async () => {
  const part = fc.constantFrom(
    't',
    'a',
    'b',
    '%74',
    '%61',
    '%5b',
    '%5B',
    '[',
    ']',
    '%5d',
    '+',
    '%20',
    '%',
    '%f',
    '%c3%a4',
    '%ff',
    'ä',
  );
  const name = fc.array(part, { maxLength: 5 }).map((parts) => parts.join(''));
  const wanted = fc.constantFrom('t', 'ta', 'a b', '[t]', '%', 'ä', 't[a]', ' ', 'b+');
  fc.assert(
    fc.property(fc.array(name, { maxLength: maxTokensPerRequest }), wanted, (names, param) => {
      const url = `/p?${names.map((each, i) => `${each}=v${i}`).join('&')}`;
      const found = extractTokens(rulesFor([param]), { rawHeaders: [], url }).map(([first]) => first?.text);
      const expected = names.flatMap((each, i) => (isFor(each, param) ? [`v${i}`] : []));
      const kept = names.flatMap((each, i) => (isFor(each, param) ? [] : [`${each}=v${i}`]));
      const left = names.length === 0 ? undefined : kept.length === 0 ? '/p' : `/p?${kept.join('&')}`;
      return found.join() === expected.join() && (left === undefined || withoutParam(url, param) === left);
    }),
    { seed: 3, numRuns: 3_000 },
  );
});

t.test('parameters behind a semicolon of the path are those that Fastify reads there', async (t) => {
  const rules = rulesFor(['t']);
  const table: readonly (readonly [url: string, texts: readonly string[], without: string])[] = [
    ['/a;t=1', ['1'], '/a'],
    ['/a;x=0&t=1&y=2&%74=3', ['1', '3'], '/a;x=0&y=2'],
    ['/a;t=1&t=2?t=3&x=4', ['1', '2?t=3', '3'], '/a?x=4'],
    ['/a;x=1?t=2', ['2'], '/a;x=1'],
    ['/a;x?t=2&y;t=3', ['2'], '/a;x?y;t=3'],
    ['/a;t=1;t=2', ['1;t=2'], '/a'],
    ['/a;;t=1', [], '/a;;t=1'],
    ['/a?;t=1', [], '/a?;t=1'],
    ['/a%3Bt=1', [], '/a%3Bt=1'],
    ['/;t[]=1/b', ['1/b'], '/'],
    ['/a;', [], '/a;'],
    ['/t=1', [], '/t=1'],
  ];
  for (const [url, expected, without] of table) {
    t.same(
      extractTokens(rules, { rawHeaders: [], url }).map(([first]) => first?.text),
      expected,
      url,
    );
    t.equal(withoutParam(url, 't'), without, url);
  }
  const fastify = Fastify(semicolons);
  fastify.get('/*', (request) => request.query as object);
  for (const [url, texts] of table) {
    if (!url.includes(';') || url.indexOf('?') < url.indexOf(';')) continue;
    const { t: read = [] } = (await fastify.inject(url)).json() as { readonly t?: string | string[] };
    for (const text of [read].flat()) t.ok(texts.includes(text), `${url}: Fastify reads ${text}`);
  }
});

t.test('cookies are found among others, and no more tokens are gathered than are refused', async (t) => {
  const rules = rulesFor(['t'], ['c', 'd']);
  const texts = (cookie: string, url = '/'): readonly (string | undefined)[] =>
    extractTokens(rules, { rawHeaders: ['Cookie', cookie], url }).map(([first]) => first?.text);
  for (const [cookie, expected] of [
    ['c=1', ['1']],
    ['a=0; c=1;d="2" ; cc=3;c =4; C=5', ['1', '2', '4']],
    [';;\t c=1;c;=c', ['1', '']],
    ['ac=1; a=c=1', []],
  ] as const) {
    t.same(texts(cookie), expected, cookie);
  }
  t.equal(texts('c=1;'.repeat(1_000)).length, maxTokensPerRequest + 1);
  t.ok(texts('', `/?${'t=1&'.repeat(1_000)}`).length === maxTokensPerRequest + 1);
});
