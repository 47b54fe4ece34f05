import t from 'tap';
import { compileRequestHash } from '../../src/balance/request-hash.ts';
import type { HeaderList } from '../../src/lib/header-list.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { xxHash64Big } from '../../src/lib/xxhash64.ts';
import type { HashKey } from '../../src/model/cluster.ts';
import type { Scope } from '../../src/pipeline/scope.ts';

interface Input {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: HeaderList;
  readonly host?: string;
  readonly scope?: Partial<Scope>;
}

/** The hash of a request, and the cookies that were made for it. */
function hashOf(keys: HashKey | readonly HashKey[], input: Input = {}) {
  const list: readonly HashKey[] = 'kind' in keys ? [keys] : keys;
  const { method = 'GET', path = '/', headers = [], host = 'reviews:9080', scope = {} } = input;
  const cookies: string[] = [];
  const hash = compileRequestHash(list, { random: seededRandom(1), ownAddress: () => '10.0.0.99' }).of(
    { method, path, headers },
    host,
    { requestId: '1', traceHeaders: [], ...scope },
    (cookie) => void cookies.push(cookie),
  );
  return { hash, cookies };
}

const header = (name: string): HashKey => ({ kind: 'header', name });
const query = (name: string): HashKey => ({ kind: 'query', name });
const sourceIp: HashKey = { kind: 'sourceIp' };
const cookie = (name: string, more: Partial<Extract<HashKey, { kind: 'cookie' }>> = {}): HashKey => ({
  kind: 'cookie',
  name,
  path: '',
  attributes: [],
  ...more,
});
/** In place of a text: the request has no key. */
const none = Symbol('no key');

for (const [name, key, input, wanted] of [
  ['the value of a header', header('x-user'), { headers: ['x-user', 'alice'] }, 'alice'],
  ['a header in whatever case', header('X-User'), { headers: ['X-uSeR', 'alice'] }, 'alice'],
  ['an empty header', header('x-user'), { headers: ['x-user', ''] }, ''],
  ['no such header', header('x-user'), { headers: ['x-users', 'alice'] }, none],
  ['several lines of a header', header('x-a'), { headers: ['x-a', 'one', 'x-b', '-', 'X-A', 'two'] }, 'onetwo'],
  ['several lines in another order', header('x-a'), { headers: ['x-a', 'two', 'x-a', 'one'] }, 'onetwo'],
  ['several lines in one list', header('x-a'), { headers: ['x-a', ['two', 'one']] }, 'onetwo'],
  ['lines and a list of them', header('x-a'), { headers: ['x-a', '3', 'x-a', ['2', '1']] }, '123'],
  ['one line with commas as it is', header('x-a'), { headers: ['x-a', 'two,one'] }, 'two,one'],
  ['the authority', header(':authority'), {}, 'reviews:9080'],
  ['the Host header first', header('host'), { headers: ['host', 'other'] }, 'other'],
  ['the method', header(':method'), { method: 'PUT' }, 'PUT'],
  ['the path with its query', header(':path'), { path: '/a?b=c' }, '/a?b=c'],
  ['a query parameter', query('id'), { path: '/a?x=1&id=7&y=2' }, '7'],
  ['the first of two parameters', query('id'), { path: '/?id=1&id=2' }, '1'],
  ['a parameter as it is written', query('id'), { path: '/?id=a%20b+c' }, 'a%20b+c'],
  ['a parameter with =', query('id'), { path: '/?id=a=b' }, 'a=b'],
  ['a parameter without a value', query('id'), { path: '/?id' }, ''],
  ['a parameter with an empty value', query('id'), { path: '/?id=&x' }, ''],
  ['no query', query('id'), { path: '/id=1' }, none],
  ['an empty query', query('id'), { path: '/?' }, none],
  ['parameters that begin or end alike', query('id'), { path: '/?idx=1&xid=2' }, none],
  ['case of parameters', query('id'), { path: '/?ID=1' }, none],
  ['the address of the caller', sourceIp, { scope: { callerAddress: '10.1.1.1' } }, '10.1.1.1'],
  ['the own address without a caller', sourceIp, {}, '10.0.0.99'],
  [
    'the last of x-forwarded-for',
    sourceIp,
    { headers: ['x-forwarded-for', '1.1.1.1, 2.2.2.2 '], scope: { callerAddress: '10.1.1.1' } },
    '2.2.2.2',
  ],
  ['no address in x-forwarded-for', sourceIp, { headers: ['x-forwarded-for', '1.1.1.1, unknown'] }, '10.0.0.99'],
  ['a cookie', cookie('user'), { headers: ['cookie', 'a=b; user=alice; c=d'] }, 'alice'],
  ['a cookie in quotes', cookie('user'), { headers: ['Cookie', 'user="alice"'] }, 'alice'],
  ['the first of two cookies', cookie('user'), { headers: ['cookie', 'user=1;user=2'] }, '1'],
  ['a cookie in a second header', cookie('user'), { headers: ['cookie', 'a=1', 'cookie', 'user=2'] }, '2'],
  ['a cookie in a list', cookie('user'), { headers: ['cookie', ['a=1', 'user=2']] }, '2'],
  ['a cookie with =', cookie('user'), { headers: ['cookie', 'user=a=b'] }, 'a=b'],
  ['no such cookie', cookie('user'), { headers: ['cookie', 'users=1; xuser=2; user'] }, none],
  ['an empty cookie', cookie('user'), { headers: ['cookie', 'user='] }, none],
  ['case of cookies', cookie('user'), { headers: ['cookie', 'USER=1'] }, none],
] as const satisfies readonly (readonly [string, HashKey, Input, string | typeof none])[]) {
  t.test(`hashes ${name}`, async (t) => {
    const { cookies, hash } = hashOf(key, input as Input);
    t.equal(hash, wanted === none ? undefined : xxHash64Big(wanted));
    t.same(cookies, []);
  });
}

t.test('hashes the bytes that a header has on the wire', async (t) => {
  // One byte FC, hashed by the reference implementation.
  t.equal(hashOf(header('x'), { headers: ['x', '\u00fc'] }).hash, 0x2cbb584a8e1e9bd7n);
  t.not(hashOf(header('x'), { headers: ['x', '\u00fc'] }).hash, xxHash64Big('\u00fc'));
});

t.test('makes a cookie where there is none (ABUSE-016: it says nothing about anybody)', async (t) => {
  for (const [more, pattern] of [
    [{ ttlMs: 0 }, /^user="([0-9a-f]{16})"; HttpOnly$/],
    [{ ttlMs: 999 }, /^user="([0-9a-f]{16})"; HttpOnly$/],
    [{ ttlMs: 61_999 }, /^user="([0-9a-f]{16})"; Max-Age=61; HttpOnly$/],
    [{ ttlMs: 5_000, path: '/shop' }, /^user="([0-9a-f]{16})"; Max-Age=5; Path=\/shop; HttpOnly$/],
    [
      {
        ttlMs: 0,
        path: '/',
        attributes: [
          { name: 'SameSite', value: 'Strict' },
          { name: 'Secure', value: '' },
        ],
      },
      /^user="([0-9a-f]{16})"; Path=\/; SameSite=Strict; Secure; HttpOnly$/,
    ],
  ] as const) {
    const { cookies, hash } = hashOf(cookie('user', more), { headers: ['cookie', 'user='] });
    t.equal(cookies.length, 1);
    t.match(cookies[0], pattern);
    const value = pattern.exec(cookies[0] as string)?.[1] as string;
    t.equal(hash, xxHash64Big(value), 'what comes back leads to the same endpoint');
    const again = hashOf(cookie('user', more), { headers: ['cookie', `user="${value}"`] });
    t.same(again, { hash, cookies: [] });
  }
});

t.test('makes no cookie without a ttl, without need, or where nobody can give it to the caller', async (t) => {
  t.same(hashOf(cookie('user')), { hash: undefined, cookies: [] });
  const kept = hashOf(cookie('user', { ttlMs: 1_000 }), { headers: ['cookie', 'user=a'] });
  t.same(kept, { hash: xxHash64Big('a'), cookies: [] });
  const hash = compileRequestHash([cookie('user', { ttlMs: 1_000 })], { random: seededRandom(1) });
  t.equal(hash.makesCookies, true);
  t.equal(hash.of({ method: 'GET', path: '/', headers: [] }, '', undefined), undefined);
  t.equal(compileRequestHash([cookie('user'), sourceIp], { random: seededRandom(1) }).makesCookies, false);
});

t.test('cookies of different callers differ', async (t) => {
  const hash = compileRequestHash([cookie('user', { ttlMs: 0 })], { random: seededRandom(3) });
  const made = new Set<string>();
  for (let i = 0; i < 1_000; i++) {
    hash.of({ method: 'GET', path: '/', headers: [] }, '', undefined, (cookie) => void made.add(cookie));
  }
  t.equal(made.size, 1_000);
});

t.test('mixes keys: each rotates what there is by a bit, then exclusive or', async (t) => {
  const [a, b, c] = ['a', 'b', 'c'].map((text) => xxHash64Big(text)) as [bigint, bigint, bigint];
  const rotate = (hash: bigint): bigint => BigInt.asUintN(64, hash << 1n) | (hash >> 63n);
  const keys = [header('x-a'), header('x-b'), header('x-c')];
  const with3 = ['x-a', 'a', 'x-b', 'b', 'x-c', 'c'];
  t.equal(hashOf(keys, { headers: with3 }).hash, rotate(rotate(a) ^ b) ^ c);
  t.equal(hashOf(keys, { headers: ['x-a', 'a', 'x-c', 'c'] }).hash, rotate(a) ^ c);
  t.equal(hashOf(keys, { headers: ['x-b', 'b'] }).hash, b);
  t.equal(hashOf(keys).hash, undefined);
  t.equal(hashOf([], { headers: with3 }).hash, undefined);
  const twice = hashOf([header('x-a'), header('x-a')], { headers: with3 }).hash;
  t.equal(twice, rotate(a) ^ a);
  t.not(twice, 0n, 'a key that is there twice does not cancel itself');
});

t.test('a cookie that is asked for twice is made once', async (t) => {
  const key = cookie('user', { ttlMs: 0 });
  const made = hashOf([key, header('x'), { ...key, terminal: true }], { headers: ['x', 'x'] });
  t.equal(made.cookies.length, 1);
  const value = /"(.*)"/.exec(made.cookies[0] as string)?.[1] as string;
  const again = hashOf([key, header('x'), key], { headers: ['x', 'x', 'cookie', `user=${value}`] });
  t.same(again, { hash: made.hash, cookies: [] });
});

t.test('a terminal key that gave a hash ends it, one that gave none does not', async (t) => {
  const terminal: HashKey = { ...header('x-a'), terminal: true };
  const keys = [terminal, header('x-b')];
  t.equal(hashOf(keys, { headers: ['x-a', 'a', 'x-b', 'b'] }).hash, xxHash64Big('a'));
  t.equal(hashOf(keys, { headers: ['x-b', 'b'] }).hash, xxHash64Big('b'));
  // As Envoy has it: what earlier keys gave counts too.
  const late = [header('x-b'), terminal, header('x-c')];
  t.equal(hashOf(late, { headers: ['x-b', 'b', 'x-c', 'c'] }).hash, xxHash64Big('b'));
});

t.test('nobody has an address: no key', async (t) => {
  const hash = compileRequestHash([sourceIp], { random: seededRandom(1) });
  t.equal(hash.of({ method: 'GET', path: '/', headers: [] }, '', undefined), undefined);
});
