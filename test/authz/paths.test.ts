import t from 'tap';
import { compileAuthorization } from '../../src/authz/decide.ts';
import type { AuthorizationFacts } from '../../src/authz/facts.ts';
import { compilePaths, type PathMatcher } from '../../src/authz/path-match.ts';
import { compileTemplates } from '../../src/authz/path-template.ts';
import { foldPath, maxViewedLength, pathViews, patternForms } from '../../src/authz/path-views.ts';
import { maxSubjectLength } from '../../src/lib/regex.ts';
import type { AuthorizationRule } from '../../src/model/authorization.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import { normalizePath } from '../../src/sanitize/normalize-path.ts';

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });
const suffix = (value: string): StringMatch => ({ kind: 'suffix', value });
const regex = (value: string): StringMatch => ({ kind: 'regex', value });

const nobody: AuthorizationFacts = {
  peer: undefined,
  method: 'GET',
  path: '/',
  rawPath: '/',
  host: 'web',
  localPort: 80,
  claims: undefined,
  sourceAddress: undefined,
  remoteAddress: undefined,
  destinationAddress: undefined,
  sni: '',
  rawHeaders: [],
};

/** What a policy says about a target, as it arrives, in both readings. */
function ask(match: readonly StringMatch[], target: string, literal = false): { allow: boolean; deny: boolean } {
  const path = normalizePath(target) ?? '';
  const matcher = compilePaths(match, literal);
  const views = pathViews(path, target);
  return { allow: matcher.surely(path, views), deny: matcher.possibly(path, views) };
}

t.test('what any router could read as a refused path is refused', async (t) => {
  const admin = [exact('/admin'), prefix('/admin/')];
  const refused = [
    '/admin',
    '/admin/',
    '/admin//',
    '/admin/x',
    '/ADMIN',
    '/Admin/X',
    '//admin',
    '///admin//',
    '/./admin',
    '/x/../admin',
    '/%61dmin',
    '/%41DMIN',
    '/adm%69n',
    '/admin%2F',
    '/admin%2fx',
    '/x%2f..%2fadmin',
    '/x%5C..%5Cadmin',
    '/x\\..\\admin',
    '/\\admin',
    '/admin;x=1',
    '/admin;/../public',
    '/..;/admin',
    '/a;b/../admin',
    '//evil.example/admin',
    '////evil.example/admin',
    '/\\/\\evil.example\\admin',
    '/;/admin',
    '/;x/;y/admin',
    '//admin%2f..',
    '/%61dmin;v=1',
    '/x/..%2fadmin',
    '/admin%3bx',
    '/.%2e%2fadmin',
    '/admin/%2e',
    '/AdMiN%2f',
  ];
  for (const target of refused) t.equal(ask(admin, target).deny, true, target);
  const others = [
    '/',
    '/administrator',
    '/public',
    '/admin%3Fx',
    '/admin%c0%af',
    '/%2561dmin',
    '/adm',
    '/x/admin',
    '//x',
    '/a;admin',
  ];
  for (const target of others) t.equal(ask(admin, target).deny, false, target);
});

t.test('without normalisation, readers still resolve dots and turn backslashes round', async (t) => {
  const [admin, open] = [
    [exact('/admin'), prefix('/admin/')],
    [exact('/public'), prefix('/public/')],
  ].map((match) => compilePaths(match, false)) as [PathMatcher, PathMatcher];
  const targets = [
    '/./admin',
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public\\..\\admin',
    '/public/.%2e%5cadmin',
  ];
  for (const path of targets) {
    const views = pathViews(path, path);
    t.equal(admin.possibly(path, views), true, path);
    t.equal(open.surely(path, views), false, path);
  }
  for (const path of ['/public/.well-known', '/public/a.b', '/public/a..', '/public/.../x']) {
    t.equal(open.surely(path, pathViews(path, path)), true, path);
    t.equal(admin.possibly(path, pathViews(path, path)), false, path);
  }
});

t.test('what any router could read as something else is not allowed', async (t) => {
  const pub = [exact('/public'), prefix('/public/')];
  const granted = [
    '/public',
    '/public/',
    '/public/a',
    '/public/A%20b',
    '/public/a;v=1',
    '/public/%7Euser',
    '/x/../public/a',
    '/public/a%2Fb',
  ];
  for (const target of granted) t.equal(ask(pub, target).allow, true, target);
  const refused = [
    '/PUBLIC',
    '/publicity',
    '/public/..%2fadmin',
    '/public%2f..%2fadmin',
    '//public/a',
    '/public/%5c..%5c..%5cadmin',
    '/public;/x',
  ];
  for (const target of refused) t.equal(ask(pub, target).allow, false, target);
});

t.test('a pattern with odd characters still allows what it names', async (t) => {
  for (const odd of ['/A/B', '/a%20b', '/a%2Fb', '/a//b', '/a;b=1', '/dir/', '/caf%C3%A9', '/x/a;b/c']) {
    t.equal(ask([exact(odd)], odd).allow, true, odd);
    t.equal(ask([prefix(odd)], odd).allow, true, `${odd}*`);
    t.equal(ask([suffix(odd.slice(1))], odd).allow, true, `*${odd.slice(1)}`);
    t.equal(ask([exact(odd)], odd).deny, true, odd);
  }
});

t.test('letter case of a refused pattern does not matter either', async (t) => {
  t.equal(ask([exact('/Admin')], '/admin').deny, true);
  t.equal(ask([suffix('.PHP')], '/x.php').deny, true);
  t.equal(ask([suffix('/info/')], '/a/INFO').deny, true);
  t.equal(ask([suffix('/')], '/').deny, true);
  t.equal(ask([exact('/é')], '/%c3%a9').deny, true, 'a pattern in plain letters, a path in escapes');
});

t.test('present matches everything; the root is the root', async (t) => {
  t.same(ask([{ kind: 'present' }], '/a%2f;b//'), { allow: true, deny: true });
  t.same(ask([prefix('/')], '/anything'), { allow: true, deny: true });
  t.same(ask([exact('/')], '/'), { allow: true, deny: true });
  t.same(ask([exact('/')], '//').deny, true);
  t.equal(foldPath('///'), '/');
});

t.test('regular expressions are asked about every view, and too long a subject is in doubt', async (t) => {
  const users = [regex('/users/[^/]+/profile')];
  t.same(ask(users, '/users/7/profile'), { allow: true, deny: true });
  t.equal(ask(users, '/users/a%2Fb/profile').allow, false, 'the router hands on a/b');
  t.equal(ask(users, '/users//profile').allow, false);
  t.equal(ask(users, '/USERS/7/PROFILE/').deny, true);
  t.equal(ask([regex('/a/')], '/a').deny, true);
  const long = `/${'x'.repeat(maxSubjectLength + 1)}`;
  t.same(ask([regex('/x*')], long), { allow: false, deny: true });
  t.same(ask([regex('/x*')], long, true), { allow: false, deny: true });
});

t.test('the literal reading is that of Istio', async (t) => {
  const admin = [exact('/admin'), prefix('/admin/')];
  for (const target of ['/admin', '/%61dmin', '/x/../admin', '/admin/x'])
    t.equal(ask(admin, target, true).deny, true, target);
  for (const target of ['/ADMIN', '//admin', '/admin%2F', '/admin;x'])
    t.equal(ask(admin, target, true).deny, false, target);
});

t.test('a usual path has one view, and every path has few', async (t) => {
  for (const path of ['/', '/api/v1/items-2_3~x', '/a.b']) t.equal(pathViews(path, path), 'plain');
  const views = pathViews('//a;b%2F%41', '//a;b%2F..%41');
  t.ok(typeof views !== 'string' && views.canonical.length + views.suspect.length <= 30);
  t.same(patternForms('/plain/*x'), ['/plain/*x']);
});

t.test(
  'a path that is too long or too contorted to be viewed is never surely allowed, and possibly refused',
  async (t) => {
    const long = `/public/${'X'.repeat(maxViewedLength)}`;
    const contorted = '//a;b%2F..%5C/..;/..;/%2e/%41//%5c;';
    for (const path of [long, contorted]) {
      t.equal(pathViews(path, path), 'doubt');
      const patterns: readonly StringMatch[] = [exact(path), prefix('/public/'), prefix('//a')];
      t.same(ask(patterns, path), { allow: false, deny: true });
      t.same(ask([exact('/other')], path), { allow: false, deny: true });
      t.same(ask([{ kind: 'present' }], path), { allow: true, deny: true });
      t.same(ask([exact('/other')], path, true), { allow: false, deny: false });
      const templates = compileTemplates(['/{**}'], false);
      t.same([templates.surely(path, 'doubt'), templates.possibly(path, 'doubt')], [false, true]);
      t.equal(compileTemplates(['/public/{**}'], true).surely(long, 'doubt'), true, 'literally it is that path');
    }
    const plain = `/public/${'x'.repeat(maxViewedLength)}`;
    t.same(ask([prefix('/public/')], plain), { allow: true, deny: true }, 'length alone is no matter');
  },
);

t.test('a path in doubt meets every rule that an index knows', async (t) => {
  const rules: AuthorizationRule[] = Array.from({ length: 30 }, (_, i) => ({
    from: [],
    to: [{ paths: [i % 2 === 0 ? exact(`/a${i}`) : prefix(`/a${i}/`)] }],
  }));
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'many' } as const;
  const facts: AuthorizationFacts = { ...nobody, path: `/${'X'.repeat(maxViewedLength)}`, rawPath: '/' };
  t.equal(compileAuthorization([{ action: 'DENY', rules, provenance }])(facts)?.reason, 'denied');
  t.equal(compileAuthorization([{ action: 'ALLOW', rules, provenance }])(facts)?.reason, 'not-allowed');
});

t.test('a parameter may be empty where a template refuses, and not where it allows', async (t) => {
  const ways = (template: string, path: string): readonly boolean[] => {
    const templates = compileTemplates([template], false);
    const views = pathViews(path, path);
    return [templates.surely(path, views), templates.possibly(path, views)];
  };
  // Fastify runs the handler of `/users/:id` for `/users/`, with an empty id.
  t.same(ways('/users/{*}', '/users/'), [false, true]);
  t.same(ways('/users/{*}', '/users'), [false, false]);
  t.same(ways('/users/{*}', '/users%2f'), [false, true]);
  t.same(ways('/users/{*}/keys', '/users//keys'), [false, true]);
  t.same(ways('/users/{*}/keys', '/users/7/keys'), [true, true]);
  t.same(ways('/{*}/admin', '//admin'), [false, true]);
});
