import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import t from 'tap';
import type { RateLimitKey } from '../../src/model/rate-limit.ts';
import { compileKey, type KeyFacts, partOf } from '../../src/ratelimit/key.ts';

const facts = (more: Partial<KeyFacts> = {}, request: object = {}): KeyFacts => ({
  request: { headers: {}, socket: { remoteAddress: '10.0.0.1' }, ...request } as unknown as IncomingMessage,
  method: 'GET',
  path: '/',
  host: 'web.shop',
  peer: undefined,
  claims: undefined,
  ...more,
});
const peer = { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', trustDomain: 'cluster.local' };

const cases: readonly (readonly [what: string, part: RateLimitKey, given: KeyFacts, value: string | undefined])[] = [
  ['the identity of the caller', { kind: 'principal' }, facts({ peer }), peer.spiffeId],
  ['a caller without identity', { kind: 'principal' }, facts(), undefined],
  ['the address of the connection', { kind: 'remoteAddress' }, facts(), '10.0.0.1'],
  [
    'an address of IPv4 on a socket for both',
    { kind: 'remoteAddress' },
    facts({}, { socket: { remoteAddress: '::ffff:10.0.0.9' } }),
    '10.0.0.9',
  ],
  ['an address of IPv6', { kind: 'remoteAddress' }, facts({}, { socket: { remoteAddress: '::1' } }), '::1'],
  ['a connection that is gone', { kind: 'remoteAddress' }, facts({}, { socket: {} }), undefined],
  ['the method', { kind: 'method' }, facts({ method: 'POST' }), 'POST'],
  ['a path as routers may read it', { kind: 'path' }, facts({ path: '//Api///Books/' }), '/api/books'],
  ['the root', { kind: 'path' }, facts({ path: '//' }), '/'],
  ['a host in any spelling', { kind: 'host' }, facts({ host: 'WEB.Shop.:8080' }), 'web.shop'],
  ['an address of IPv6 as host', { kind: 'host' }, facts({ host: '[::1]:80' }), '[::1]'],
  ['a header', { kind: 'header', name: 'x-key' }, facts({}, { headers: { 'x-key': 'a' } }), 'a'],
  [
    'a header that is there twice',
    { kind: 'header', name: 'x-key' },
    facts({}, { headers: { 'x-key': ['a', 'b'] } }),
    'a, b',
  ],
  ['a header that is not there', { kind: 'header', name: 'x-key' }, facts(), undefined],
  ['a claim', { kind: 'claim', name: 'sub' }, facts({ claims: { sub: 'ann' } }), 'ann'],
  ['a claim that is no text', { kind: 'claim', name: 'level' }, facts({ claims: { level: 3 } }), '3'],
  ['a claim of nothing', { kind: 'claim', name: 'sub' }, facts({ claims: { sub: null } }), undefined],
  ['no token', { kind: 'claim', name: 'sub' }, facts(), undefined],
];

t.test('parts of a key', async (t) => {
  for (const [what, part, given, value] of cases) t.equal(partOf(part, given), value, what);
  t.throws(() => partOf({ kind: 'moon' } as never, facts()), /unknown part/);
});

t.test('no parts: one bucket; one part that is missing: the bucket of all without it', async (t) => {
  t.equal(compileKey([])(facts()), '');
  t.equal(compileKey([{ kind: 'header', name: 'x-key' }])(facts()), '');
});

t.test('two requests have the same key only if all parts are the same', async (t) => {
  const key = compileKey([
    { kind: 'header', name: 'a' },
    { kind: 'header', name: 'b' },
  ]);
  const of = (a: string, b: string): string => key(facts({}, { headers: { a, b } }));
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (a, b, c, d) => {
      return (of(a, b) === of(c, d)) === (a === c && b === d);
    }),
  );
  t.not(of('1:x', ''), of('1', ':x'));
});
