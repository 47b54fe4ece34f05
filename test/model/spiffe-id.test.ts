import t from 'tap';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';

t.test('an ID in the form of Istio has a namespace and a service account', async (t) => {
  t.same(parseSpiffeId('spiffe://cluster.local/ns/bookinfo/sa/reviews'), {
    uri: 'spiffe://cluster.local/ns/bookinfo/sa/reviews',
    trustDomain: 'cluster.local',
    path: '/ns/bookinfo/sa/reviews',
    namespace: 'bookinfo',
    serviceAccount: 'reviews',
  });
});

t.test('other forms are IDs all the same', async (t) => {
  for (const path of ['', '/ns/a', '/ns/a/sa', '/ns/a/sa/b/c', '/sa/a/ns/b', '/workload', '/a/b/c/d']) {
    const id = parseSpiffeId(`spiffe://td${path}`);
    t.equal(id.path, path);
    t.equal(id.namespace, undefined, path);
    t.equal(id.serviceAccount, undefined, path);
  }
});

t.test('every character that is allowed', async (t) => {
  t.equal(parseSpiffeId('spiffe://a-z_0.9/A-Z_a.z0').path, '/A-Z_a.z0');
  t.equal(parseSpiffeId(`spiffe://td/${'a'.repeat(2_048 - 12)}`).uri.length, 2_048);
  t.equal(parseSpiffeId('spiffe://td/...').path, '/...', 'three dots are a name');
  t.equal(parseSpiffeId(`spiffe://td${'/ns/a/sa/b'.repeat(8)}`).namespace, undefined, 'many names');
});

t.test('what the standard forbids is refused, and the message says why', async (t) => {
  const table: readonly (readonly [string, RegExp])[] = [
    ['', /scheme/],
    ['https://td/a', /scheme/],
    [`spiffe://td${'/ns/a/sa/b'.repeat(8)}/ns`, /too many segments/],
    ['SPIFFE://td/a', /scheme/],
    ['spiffe:/td/a', /scheme/],
    [' spiffe://td/a', /scheme/],
    ['spiffe://', /trust domain/],
    ['spiffe:///a', /trust domain/],
    ['spiffe://TD/a', /trust domain/],
    ['spiffe://td:443/a', /trust domain/],
    ['spiffe://user@td/a', /trust domain/],
    ['spiffe://td?x=1', /trust domain/],
    ['spiffe://td#x', /trust domain/],
    ['spiffe://t%64/a', /trust domain/],
    ['spiffe://tдd/a', /trust domain/],
    [`spiffe://${'a'.repeat(256)}/a`, /trust domain/],
    ['spiffe://td/', /path segment/],
    ['spiffe://td/a/', /path segment/],
    ['spiffe://td//a', /path segment/],
    ['spiffe://td/./a', /path segment/],
    ['spiffe://td/a/..', /path segment/],
    ['spiffe://td/a%2fb', /path segment/],
    ['spiffe://td/a?x=1', /path segment/],
    ['spiffe://td/a#x', /path segment/],
    ['spiffe://td/a b', /path segment/],
    ['spiffe://td/a\0', /path segment/],
    ['spiffe://td/a\n', /path segment/],
    [`spiffe://td/${'a'.repeat(2_048)}`, /2,048/],
  ];
  for (const [uri, message] of table) t.throws(() => parseSpiffeId(uri), { code: 'ERR_MESH_PEER_IDENTITY', message });
});

t.test('a hostile ID does not flood the message', async (t) => {
  try {
    parseSpiffeId(`http://${'x'.repeat(1_000_000)}`);
    t.fail('accepted');
  } catch (error) {
    t.ok((error as Error).message.length < 400);
  }
});
