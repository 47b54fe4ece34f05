import t from 'tap';
import type { RouteMatch } from '../../src/model/route.ts';
import type { StringMatch } from '../../src/model/string-match.ts';
import { compileConditions, holds, whyNoMatch } from '../../src/route/conditions.ts';
import type { RoutableRequest } from '../../src/route/request-view.ts';
import { routable } from '../support/routable.ts';

const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });
const regex = (value: string): StringMatch => ({ kind: 'regex', value });
const present: StringMatch = { kind: 'present' };
const header = (name: string, match: StringMatch): RouteMatch => ({ headers: [{ name, match }] });
const without = (name: string, match: StringMatch): RouteMatch => ({ withoutHeaders: [{ name, match }] });
const query = (name: string, match: StringMatch): RouteMatch => ({ queryParams: [{ name, match }] });
const baggage = (name: string, match: StringMatch): RouteMatch => ({ baggage: [{ name, match }] });
const having = (...headers: readonly string[]): RoutableRequest => routable('/', { headers: [...headers] });
const scope = { requestId: 'r', traceHeaders: ['baggage', 'reviews=v2,a=1'], carried: ['end-user', 'jason'] };

/** Condition, request, and why it does not hold; nothing when it does. */
const table: readonly (readonly [string, RouteMatch, RoutableRequest, string | undefined])[] = [
  ['path', { path: prefix('/api') }, routable('/api/1?x'), undefined],
  ['other path', { path: prefix('/api') }, routable('/x?/api'), 'uri /x does not begin with "/api"'],
  ['other exact path', { path: exact('/a') }, routable('/a/'), 'uri /a/ is not "/a"'],
  ['path in another case', { path: exact('/A') }, routable('/a'), 'uri /a is not "/A"'],
  ['path, ignoring case', { path: exact('/A'), pathIgnoreCase: true }, routable('/a'), undefined],
  [
    'other path, ignoring case',
    { path: exact('/A'), pathIgnoreCase: true },
    routable('/b'),
    'uri /b is not "/A", ignoring case',
  ],
  ['path regex', { path: regex('/v[12]') }, routable('/v3'), 'uri /v3 does not match the regex "/v[12]"'],
  ['method', { method: exact('GET') }, routable('/'), undefined],
  ['other method', { method: exact('POST') }, routable('/'), 'method "GET" is not "POST"'],
  ['method regex', { method: regex('GET|HEAD') }, routable('/'), undefined],
  ['method has a case', { method: exact('get') }, routable('/'), 'method "GET" is not "get"'],
  ['scheme', { scheme: exact('http') }, routable('/'), undefined],
  ['scheme of https', { scheme: exact('https') }, routable('/', { secure: true }), undefined],
  ['other scheme', { scheme: exact('https') }, routable('/'), 'scheme "http" is not "https"'],
  ['scheme as forwarded', { scheme: exact('https') }, having('X-Forwarded-Proto', 'HTTPS'), undefined],
  ['odd scheme forwarded', { scheme: exact('http') }, having('x-forwarded-proto', 'ws'), undefined],
  ['authority from the URL', { authority: exact('h') }, routable('/'), undefined],
  ['authority with port', { authority: exact('h:81') }, routable('/', { hostHeader: 'h:81' }), undefined],
  [
    'authority without its port',
    { authority: exact('h') },
    routable('/', { hostHeader: 'h:81' }),
    'authority "h:81" is not "h"',
  ],
  ['authority as set', { authority: exact('other') }, having('Host', 'other'), undefined],
  ['authority as set, not the URL', { authority: exact('h') }, having('Host', 'other'), 'authority "other" is not "h"'],
  ['header', header('end-user', exact('jason')), having('End-User', 'jason'), undefined],
  ['no header', header('end-user', exact('jason')), having(), 'header end-user is absent'],
  ['no header for a regex of everything', header('x', regex('.*')), having(), 'header x is absent'],
  ['empty header', header('x', exact('')), having('x', ''), undefined],
  ['no header for an empty one', header('x', exact('')), having(), 'header x is absent'],
  ['header that is there', header('x', present), having('x', ''), undefined],
  ['header that shall be there', header('x', present), having(), 'header x is absent'],
  ['header prefix', header('x', prefix('a')), having('x', 'b'), 'header x "b" does not begin with "a"'],
  [
    'header suffix',
    header('x', { kind: 'suffix', value: 'a' }),
    having('x', 'b'),
    'header x "b" does not end with "a"',
  ],
  ['header in several lines', header('x', exact('a,b')), having('x', 'a', 'X', 'b'), undefined],
  [':method', header(':method', exact('GET')), routable('/'), undefined],
  [':authority', header(':authority', exact('h')), routable('/'), undefined],
  [':authority as set', header(':authority', exact('other')), having('host', 'other'), undefined],
  ['host', header('host', exact('h')), routable('/'), undefined],
  [':path with its query', header(':path', exact('/a?b')), routable('/a?b'), undefined],
  [':scheme', header(':scheme', exact('http')), routable('/'), undefined],
  ['header handed on', header('end-user', exact('jason')), routable('/', { scope }), undefined],
  [
    'header of the application before one handed on',
    header('end-user', exact('jason')),
    routable('/', { scope, headers: ['end-user', 'ann'] }),
    'header end-user "ann" is not "jason"',
  ],
  ['without a header', without('x', present), having(), undefined],
  ['without a header that is there', without('x', present), having('x', ''), 'header x is present'],
  ['without a value', without('x', exact('1')), having('x', '2'), undefined],
  ['without a value that is there', without('x', exact('1')), having('x', '1'), 'header x "1" is "1"'],
  ['without a value, header absent', without('x', exact('1')), having(), undefined],
  ['without a prefix that is there', without('x', prefix('a')), having('x', 'ab'), 'header x "ab" begins with "a"'],
  [
    'without a suffix that is there',
    without('x', { kind: 'suffix', value: 'b' }),
    having('x', 'ab'),
    'header x "ab" ends with "b"',
  ],
  ['absent counts as empty', without('x', regex('.*')), having(), 'header x is absent, which matches the regex ".*"'],
  ['absent is empty', without('x', exact('')), having(), 'header x is absent, which is ""'],
  ['query', query('debug', exact('1')), routable('/?debug=1'), undefined],
  ['other query', query('debug', exact('1')), routable('/?debug=2'), 'query parameter debug "2" is not "1"'],
  ['no query', query('debug', exact('1')), routable('/'), 'query parameter debug is absent'],
  ['query without value', query('debug', present), routable('/?debug'), undefined],
  ['query prefix', query('q', prefix('a')), routable('/?q=ab'), undefined],
  ['query regex', query('q', regex('[0-9]+')), routable('/?q=12'), undefined],
  ['query as it is written', query('q', exact('a b')), routable('/?q=a%20b'), 'query parameter q "a%20b" is not "a b"'],
  ['first of several', query('q', exact('1')), routable('/?q=1&q=2'), undefined],
  ['names have a case', query('Q', exact('1')), routable('/?q=1'), 'query parameter Q is absent'],
  ['baggage', baggage('reviews', exact('v2')), having('Baggage', 'reviews=v2'), undefined],
  ['baggage of the cause', baggage('reviews', exact('v2')), routable('/', { scope }), undefined],
  [
    'own baggage instead',
    baggage('reviews', exact('v2')),
    routable('/', { scope, headers: ['baggage', 'a=1'] }),
    'baggage member reviews is absent',
  ],
  ['other baggage', baggage('a', exact('2')), routable('/', { scope }), 'baggage member a "1" is not "2"'],
  ['no baggage at all', baggage('a', present), routable('/'), 'baggage member a is absent'],
  ['nothing', {}, routable('/'), undefined],
  [
    'the first condition that fails is named',
    {
      path: prefix('/'),
      method: exact('GET'),
      headers: [
        { name: 'a', match: present },
        { name: 'b', match: present },
      ],
    },
    having('a', '1'),
    'header b is absent',
  ],
];

for (const [name, match, request, reason] of table) {
  t.test(name, async (t) => {
    t.equal(whyNoMatch(match, request), reason);
    const { path, pathIgnoreCase, ...rest } = match;
    const held = compileConditions(rest).every((condition) => holds(condition, request));
    if (path === undefined) t.equal(held, reason === undefined, 'traffic is decided in the same way');
  });
}
